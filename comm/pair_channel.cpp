#include "comm/pair_channel.h"

#include <mpi.h>
#include <sched.h>

#include <exception>
#include <string>

#include "comm/errors.h"

namespace fmtrain {
namespace {

class MpiPairChannel final : public PairChannel {
 public:
  explicit MpiPairChannel(std::chrono::duration<double> limit) : limit_(limit), exceptions_(std::uncaught_exceptions()) {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
  }
  ~MpiPairChannel() override {
    if (std::uncaught_exceptions() == exceptions_) MPI_Comm_free(&comm_);
  }

  void send(const void* data, int64_t bytes, int to) override {
    MPI_Request request;
    MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, 0, comm_, &request);
    wait(request, "a message to", to);
  }
  void receive(void* data, int64_t bytes, int from) override {
    MPI_Request request;
    MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, 0, comm_, &request);
    wait(request, "a message from", from);
  }

 private:
  void wait(MPI_Request& request, const char* what, int rank) const {
    const auto start = std::chrono::steady_clock::now();
    for (int done = 0; !done;) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done) return;
      if (std::chrono::steady_clock::now() - start > limit_)
        throw PeerSilent(std::string("waited too long for ") + what + " rank " + std::to_string(rank));
      sched_yield();
    }
  }

  std::chrono::duration<double> limit_;
  int exceptions_;
  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace

std::unique_ptr<PairChannel> make_mpi_pair_channel(const MpiSession& /*session*/, std::chrono::duration<double> limit) {
  return std::make_unique<MpiPairChannel>(limit);
}

}  // namespace fmtrain

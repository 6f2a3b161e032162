// The contract over MPI, with the ranks of one machine as one node and as several, or with ranks of several machines. Started by
// mpirun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/statvfs.h>

#include <cstdio>

#include "comm/errors.h"
#include "comm/mpi_communicator.h"
#include "tests/multirank/comm_contract.h"

namespace {

using namespace fmtrain;

MpiSession* session = nullptr;

/// Rank 0 prints as always, the others only what fails.
class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", session->rank(), result.file_name() ? result.file_name() : "", result.line_number(), result.message());
  }
};

Backend placed(const std::string& name, const std::function<int(int)>& node_of) {
  const auto run = [node_of](const std::function<void(Communicator&)>& body) {
    MpiOptions options;
    options.wait_limit = std::chrono::seconds(20);
    if (node_of)
      for (int r = 0; r < session->size(); ++r) options.node_of_rank.push_back(node_of(r));
    const auto comm = make_mpi_communicator(*session, options);
    body(*comm);
  };
  const bool one_node = !node_of && session && session->local_size() == session->size();
  return {.name = name, .run = run, .run_to_ruin = one_node ? std::function(run) : nullptr};
}

}  // namespace

std::vector<Backend> fmtrain::backends() {
  std::vector<Backend> all{placed("as_it_is", {})};
  if (!session || session->size() < 2 || session->local_size() < session->size()) return all;  // machines cannot be joined to one node
  all.push_back(placed("a_node_a_rank", [](int r) { return r; }));
  if (session->size() < 3) return all;
  all.push_back(placed("pairs", [](int r) { return r / 2; }));
  all.push_back(placed("dealt_to_two_nodes", [](int r) { return r % 2; }));
  all.push_back(placed("one_and_the_rest", [](int r) { return r == 0 ? 0 : 1; }));
  return all;
}

/// Pages come when they are touched, so what was given out is not missing from what is free. A third of the room each, untouched.
TEST(Windows, ThatTogetherExceedTheRoomAreRefused) {
  if (session->size() < 2 || session->local_size() < session->size()) GTEST_SKIP() << "ranks that share the memory of one machine only";
  struct statvfs fs {};
  ASSERT_EQ(statvfs("/dev/shm", &fs), 0);
  int64_t third = static_cast<int64_t>(fs.f_bavail * fs.f_frsize) / (3 * session->size());
  MPI_Bcast(&third, 1, MPI_INT64_T, 0, MPI_COMM_WORLD);
  const auto comm = make_mpi_communicator(*session);
  comm->allocate(third, at::kByte);
  comm->allocate(third, at::kByte);
  const auto rest = [&] { comm->allocate(third, at::kByte), comm->allocate(third, at::kByte); };
  EXPECT_THAT(rest, testing::ThrowsMessage<CommError>(testing::AllOf(testing::HasSubstr("/dev/shm has "), testing::HasSubstr("--shm-size"))));
  comm->barrier();  // on every rank, and the world goes on
}

int main(int argc, char** argv) {
  MpiSession mpi;
  session = &mpi;
  testing::InitGoogleTest(&argc, argv);
  if (mpi.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  return RUN_ALL_TESTS();
}

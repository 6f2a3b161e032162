// MPI from start to end of the program: created in main, passed by reference, closed or aborted exactly once. MPI calls are
// made by the thread that created the session only (FUNNELED); abort may be called by any.
#pragma once
#include <string>

namespace fmtrain {

/// One line about the MPI library that is loaded; MPI need not be initialised.
std::string mpi_version();

class MpiSession {
 public:
  /// `launched`: processes that the launcher says it started, 0 if it does not say. Throws CommError when MPI sees fewer (srun
  /// without PMIx: N worlds of one).
  explicit MpiSession(int launched = 0);
  /// Orderly close; collective. While an exception unwinds it aborts the job with code 1 instead: a rank that leaves early
  /// would let the others wait for ever.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_rank() const { return local_rank_; }  ///< among the ranks of this host
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }
  /// Flushes stdout and stderr, then ends every rank of the job with `code`. Does not return; this process is gone after at
  /// most 5 seconds, whatever the launcher does.
  [[noreturn]] void abort(int code) noexcept;

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1, exceptions_ = 0;
  std::string host_;
};

}  // namespace fmtrain

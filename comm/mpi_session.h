// MPI from start to end of the program: created in main, passed by reference, closed or aborted exactly once.
#pragma once
#include <string>

namespace fmtrain {

class MpiSession {
 public:
  /// True when a launcher (Open MPI, MPICH, PMIx, Slurm) started this process: only then is MPI initialised.
  static bool launched();
  MpiSession();
  ~MpiSession();  ///< orderly close; collective
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_rank() const { return local_rank_; }  ///< among the ranks of this host
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }
  /// Ends every rank of the job now with `code`; does not return.
  [[noreturn]] void abort(int code);

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  std::string host_;
};

}  // namespace fmtrain

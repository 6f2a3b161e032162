#include "comm/mpi_session.h"

#include <mpi.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "comm/errors.h"

namespace fmtrain {
namespace {

constexpr auto kAbortLimit = std::chrono::seconds(5);

}  // namespace

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<size_t>(length));
  const std::string line = version.substr(0, version.find_first_of("\n,")), mpich = "MPICH Version:";
  return line.starts_with(mpich) ? "MPICH " + line.substr(line.find_first_not_of(" \t", mpich.size())) : line;
}

MpiSession::MpiSession(int launched) : exceptions_(std::uncaught_exceptions()) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  if (launched > size_)
    throw CommError("the launcher started " + std::to_string(launched) + " processes but MPI sees a world of " + std::to_string(size_) +
                    ": use the mpirun of " + mpi_version() + ", or srun --mpi=pmix, for MPICH --mpi=pmi2 (srun --mpi=list shows what it offers)");
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_size(node, &local_size_);
  MPI_Comm_free(&node);
  char name[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  MPI_Get_processor_name(name, &length);
  host_.assign(name, static_cast<size_t>(length));
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > exceptions_) abort(1);
  MPI_Finalize();
}

void MpiSession::abort(int code) noexcept {
  std::fflush(stdout);
  std::fflush(stderr);
  try {
    std::thread([code] {
      std::this_thread::sleep_for(kAbortLimit);
      ::_exit(code);
    }).detach();
  } catch (...) {
    ::_exit(code);  // no thread can be had: the launcher sees a rank end and ends the others
  }
  MPI_Abort(MPI_COMM_WORLD, code);
  ::_exit(code);
}

}  // namespace fmtrain

#include <hdf5.h>
#include <mpi.h>
#include <torch/version.h>

#include <cstdio>

#include "launch/commands.h"

namespace fmtrain {
namespace {

int version() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  std::printf("fmtrain   0.1.0\nLibTorch  %s\nMPI       %s\nHDF5      %d.%d.%d\ncompiler  %s\n", TORCH_VERSION, mpi, H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE, __VERSION__);
  return 0;
}

}  // namespace

void add_version(CLI::App& app, Action& action) {
  app.add_subcommand("version", "Versions of this program and its libraries.\nExample: fmtrain version")->callback([&action] { action = version; });
}

}  // namespace fmtrain

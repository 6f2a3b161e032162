// This program and what it runs on, for `fmtrain version` and the report.
#pragma once
#include "runtime/json.h"

namespace fmtrain {

/// {fmtrain, torch, mpi, hdf5, compiler, processor}: text each; processor lists the instruction sets that matter here.
Json program_versions();

/// Where the libraries that a machine may have several of were loaded from: {libtorch, libmpi}, "" for one that is not loaded.
Json library_paths();

}  // namespace fmtrain

// The HDF5 library can crash or hang on a file that was made to do so (CVE-2026-26200 among others): a file that fmtrain's own
// cache does not hold is read by a process of its own before this one opens it.
#pragma once
#include <string>

#include "runtime/config/config.h"

namespace fmtrain {

/// Nothing for a raw file. Throws DataError "file: what" when that process did not end by itself; what it found wrong with the file
/// is left to be found again here. Costs the start of this program and one reading of the file.
void trial_read(const std::string& path, Format format = Format::kAuto);
/// Of all files of a run.
void trial_read(const Config& config);

}  // namespace fmtrain

// Which program this is.
#pragma once
#include <string>

namespace fmtrain {

/// The linker's hash of the running program (its build id), hex: two builds differ in it, copies of one do not. Where the linker
/// wrote none, the SHA-256 of the file, which takes 30 ms.
std::string program_id();

}  // namespace fmtrain

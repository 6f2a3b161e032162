// Files that only grow while a run lasts.
#pragma once
#include <string>

namespace fmtrain {

/// A descriptor for appending, mode 0600; never follows a link. Throws StorageError.
int open_append(const std::string& path);
/// All of `bytes`, normally in one call, so that a reader sees whole lines or records. Throws StorageError naming `path`.
void append_all(int fd, const std::string& bytes, const std::string& path);

}  // namespace fmtrain

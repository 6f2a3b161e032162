// Copying and hashing whole files through FileOps, in pieces, so that no model has to fit in memory twice.
#pragma once
#include <string>
#include <vector>

#include "runtime/continual/lineage.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Size and SHA-256 of a file, not following a link. Throws StorageError naming it.
StoredFile hash_file(FileOps& files, const std::string& directory, const std::string& name);

/// Copies every file of `from` into the existing directory `to`, each fsynced; what was read is what is hashed. Sorted by name.
/// Throws StorageError; ConfigError where `from` holds something else than plain files with plain names.
std::vector<StoredFile> copy_files(FileOps& files, const std::string& from, const std::string& to);

}  // namespace fmtrain

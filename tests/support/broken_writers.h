// Writers and a reader that break one rule of docs/checkpoint-format.md each: a test of the rule that passes them proves nothing.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "runtime/file_ops.h"

namespace fmtrain {

/// Puts a file system between the store and another one.
using Wrap = std::function<std::unique_ptr<FileOps>(FileOps&)>;

enum class Broken {
  kNoFileSync,       ///< files are not fsynced
  kNoDirectorySync,  ///< directories are not
  kIgnoresClose,     ///< a close that failed is taken for one that worked
  kKeepsOpen,        ///< a file whose write failed is not closed
  kRepeatsSync,      ///< a failed fsync is called again: the system has dropped the pages and says yes
  kWritesInPlace,    ///< under the final name from the beginning
  kManifestFirst,    ///< shards are written after the checkpoint has its name
  kDeletesEarly,     ///< older checkpoints go before the new one was read back
  kDeletesInPlace,   ///< files are removed while their checkpoint has its name
  kNeverDeletes,
  kLeavesLeftovers,  ///< what a broken save left stays
};

Wrap broken(Broken rule);
std::string name_of(Broken rule);  ///< letters only

/// verify_checkpoint without a single hash. Throws what is wrong.
void verify_without_hashes(FileOps& files, const std::string& checkpoint);

}  // namespace fmtrain

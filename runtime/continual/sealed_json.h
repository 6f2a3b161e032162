// Small records on disk: JSON whose last member, sha256, is over all bytes before it, as in the manifests of checkpoints. It
// finds damage; against forgery only a hash kept elsewhere helps.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "runtime/file_ops.h"
#include "runtime/json.h"

namespace fmtrain {

/// `record` is an object with at least one member, none named sha256.
std::string seal(const Json& record);
/// seal() of a record that `parse` takes back: what cannot be read again must not be written. Throws ConfigError that says what
/// is wrong with it.
std::string seal_readable(const Json& record, const std::function<void(const Json&)>& parse);
/// The record without its seal. Throws std::runtime_error that says what is wrong: limits are 64 MiB and a depth of 16.
Json unseal(std::string_view text);

/// unseal() of a file. Throws StorageError where it cannot be read, CheckpointError naming it where it is damaged.
Json read_sealed(FileOps& files, const std::string& path);

// ---- members of records; all throw std::runtime_error naming the member --------------------------------------------

/// Every member is one of `names`, and all of them are there.
void require_members(const Json& record, std::initializer_list<const char*> names);
std::string text_of(const Json& record, const char* name, size_t longest = 4096);
/// A whole number in [first, last].
int64_t whole_of(const Json& record, const char* name, int64_t first = 0, int64_t last = int64_t{1} << 53);
/// 64 lower-case hexadecimal digits, or "" where `may_be_empty`.
std::string sha256_of(const Json& record, const char* name, bool may_be_empty = false);

}  // namespace fmtrain

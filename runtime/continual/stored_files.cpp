#include "runtime/continual/stored_files.h"

#include <algorithm>
#include <cerrno>
#include <functional>

#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr int64_t kPiece = 4 << 20;

/// Hashes a file, and hands each piece on.
StoredFile pass(FileOps& files, const std::string& path, const std::string& name,
                const std::function<void(const char*, size_t)>& piece) {
  int fd = -1;
  require_success(files.open_plain(path, &fd), path, "open");
  StoredFile file{name, "", 0};
  Sha256 hash;
  int error = files.size(fd, &file.bytes);
  try {
    std::vector<char> buffer(static_cast<size_t>(std::min(kPiece, std::max<int64_t>(file.bytes, 1))));
    for (int64_t at = 0; !error && at < file.bytes;) {
      const auto bytes = static_cast<size_t>(std::min(kPiece, file.bytes - at));
      error = files.read(fd, buffer.data(), bytes, at);
      if (error) break;
      hash.update(buffer.data(), bytes);
      piece(buffer.data(), bytes);
      at += static_cast<int64_t>(bytes);
    }
  } catch (...) {
    files.close(fd);
    throw;
  }
  files.close(fd);
  require_success(error, path, "read");
  file.sha256 = hash.hex();
  return file;
}

StoredFile copy_file(FileOps& files, const std::string& from, const std::string& to, const std::string& name) {
  int fd = -1;
  require_success(files.create_exclusive(to, &fd), to, "create");
  int error = 0;
  StoredFile file;
  try {
    file =
        pass(files, from, name, [&](const char* data, size_t bytes) { error = error ? error : files.write(fd, data, bytes); });
  } catch (...) {
    files.close(fd);
    throw;
  }
  if (!error) error = files.fsync(fd);
  const int closed = files.close(fd);
  require_success(error ? error : closed, to, "write");
  return file;
}

}  // namespace

StoredFile hash_file(FileOps& files, const std::string& directory, const std::string& name) {
  return pass(files, directory + "/" + name, name, [](const char*, size_t) {});
}

std::vector<StoredFile> copy_files(FileOps& files, const std::string& from, const std::string& to) {
  std::vector<std::string> names;
  require_success(files.list(from, &names), from, "list");
  std::sort(names.begin(), names.end());
  std::vector<StoredFile> copied;
  for (const auto& name : names) {
    if (!is_plain_name(name) || name == "lineage.json")
      throw ConfigError(from + ": holds " + quoted(name) + ", which cannot be registered");
    copied.push_back(copy_file(files, from + "/" + name, to + "/" + name, name));
  }
  return copied;
}

}  // namespace fmtrain

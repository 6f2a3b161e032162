#include "tests/support/broken_writers.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "runtime/checkpoint/manifest.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

bool contains(const std::string& path, const char* part) { return path.find(part) != std::string::npos; }
std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

class NoFileSync final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int fsync(int) override { return 0; }
};

class NoDirectorySync final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int sync_dir(const std::string&) override { return 0; }
};

class IgnoresClose final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int close(int fd) override { return ForwardingFiles::close(fd), 0; }
};

class KeepsOpen final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int write(int fd, const void* data, size_t bytes) override {
    const int error = ForwardingFiles::write(fd, data, bytes);
    if (error) failed_ = fd;
    return error;
  }
  int close(int fd) override { return fd == failed_ ? 0 : ForwardingFiles::close(fd); }

 private:
  int failed_ = -1;
};

class RepeatsSync final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int fsync(int fd) override { return ForwardingFiles::fsync(fd) == 0 ? 0 : ForwardingFiles::fsync(fd); }
};

class WritesInPlace final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int create_exclusive(const std::string& path, int* fd) override {
    return ForwardingFiles::create_exclusive(final_name(path), fd);
  }
  int make_dir(const std::string& path) override { return ForwardingFiles::make_dir(final_name(path)); }
  int sync_dir(const std::string& path) override { return ForwardingFiles::sync_dir(final_name(path)); }
  int rename(const std::string& from, const std::string& to) override {
    if (contains(to, "/.bad-")) return ENOENT;  // nothing is set aside: that is the one being written
    return final_name(from) == to ? 0 : ForwardingFiles::rename(final_name(from), final_name(to));
  }

 private:
  static std::string final_name(std::string path) {
    const auto at = path.find("/.tmp-");
    if (at == std::string::npos) return path;
    const auto nonce = path.find('-', at + 6), end = std::min(path.find('/', nonce), path.size());
    return path.erase(nonce, end - nonce).replace(at, 6, "/step-");
  }
};

class ManifestFirst final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int create_exclusive(const std::string& path, int* fd) override {
    const int error = ForwardingFiles::create_exclusive(path, fd);
    const std::lock_guard lock(mutex_);
    if (!error && contains(path, "/shard-")) held_[*fd] = "";
    return error;
  }
  int write(int fd, const void* data, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (!held_.count(fd)) return ForwardingFiles::write(fd, data, bytes);
    held_[fd].append(static_cast<const char*>(data), bytes);
    return 0;
  }
  int fsync(int fd) override { return holds(fd) ? 0 : ForwardingFiles::fsync(fd); }
  int close(int fd) override { return holds(fd) ? 0 : ForwardingFiles::close(fd); }
  int sync_dir(const std::string& path) override {
    const int error = ForwardingFiles::sync_dir(path);
    if (contains(path, "/.tmp-")) return error;
    const std::lock_guard lock(mutex_);
    for (const auto& [fd, data] : held_) {
      ForwardingFiles::write(fd, data.data(), data.size());
      ForwardingFiles::fsync(fd);
      ForwardingFiles::close(fd);
    }
    held_.clear();
    return error;
  }

 private:
  bool holds(int fd) {
    const std::lock_guard lock(mutex_);
    return held_.count(fd) > 0;
  }
  std::mutex mutex_;
  std::map<int, std::string> held_;
};

class DeletesEarly final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int rename(const std::string& from, const std::string& to) override {
    const int error = ForwardingFiles::rename(from, to);
    if (error || !contains(from, "/.tmp-") || !contains(to, "/step-")) return error;
    for (const auto step : checkpoint_steps(next(), folder_of(to)))
      if (!to.ends_with("/step-" + std::to_string(step))) delete_checkpoint(next(), folder_of(to), step);
    return 0;
  }
};

class DeletesInPlace final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int rename(const std::string& from, const std::string& to) override {
    if (contains(to, "/.del-")) remove_tree(next(), from);
    return ForwardingFiles::rename(from, to);
  }
};

class NeverDeletes final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int rename(const std::string& from, const std::string& to) override {
    return contains(to, "/.del-") ? EPERM : ForwardingFiles::rename(from, to);
  }
};

class LeavesLeftovers final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;
  int unlink(const std::string& path) override { return contains(path, "/.tmp-") ? EPERM : ForwardingFiles::unlink(path); }
  int remove_dir(const std::string& path) override {
    return contains(path, "/.tmp-") ? EPERM : ForwardingFiles::remove_dir(path);
  }
};

template <typename Files>
Wrap over() {
  return [](FileOps& files) { return std::make_unique<Files>(files); };
}

struct Rule {
  const char* name;
  Wrap wrap;
};

const Rule& rule_of(Broken rule) {
  static const std::map<Broken, Rule> rules{
      {Broken::kNoFileSync, {"NoFileSync", over<NoFileSync>()}},
      {Broken::kNoDirectorySync, {"NoDirectorySync", over<NoDirectorySync>()}},
      {Broken::kIgnoresClose, {"IgnoresClose", over<IgnoresClose>()}},
      {Broken::kKeepsOpen, {"KeepsOpen", over<KeepsOpen>()}},
      {Broken::kRepeatsSync, {"RepeatsSync", over<RepeatsSync>()}},
      {Broken::kWritesInPlace, {"WritesInPlace", over<WritesInPlace>()}},
      {Broken::kManifestFirst, {"ManifestFirst", over<ManifestFirst>()}},
      {Broken::kDeletesEarly, {"DeletesEarly", over<DeletesEarly>()}},
      {Broken::kDeletesInPlace, {"DeletesInPlace", over<DeletesInPlace>()}},
      {Broken::kNeverDeletes, {"NeverDeletes", over<NeverDeletes>()}},
      {Broken::kLeavesLeftovers, {"LeavesLeftovers", over<LeavesLeftovers>()}},
  };
  return rules.at(rule);
}

}  // namespace

Wrap broken(Broken rule) { return rule_of(rule).wrap; }
std::string name_of(Broken rule) { return rule_of(rule).name; }

void verify_without_hashes(FileOps& files, const std::string& checkpoint) {
  const Json manifest = parse_json(read_file(files, checkpoint + "/manifest.json", 1 << 20), {});
  for (const auto& entry : manifest.at("files"))
    with_file(files, checkpoint, entry, [&](int fd) {
      int64_t bytes = 0;
      if (files.size(fd, &bytes) || bytes != entry.at("bytes")) throw std::runtime_error("has another size");
    });
}

}  // namespace fmtrain

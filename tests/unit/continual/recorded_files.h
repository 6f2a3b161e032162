// The real file system with a list of the calls that make, move, sync and remove names.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {

class RecordedFiles : public ForwardingFiles {
 public:
  int make_dir(const std::string& path) override { return noted("make", path, ForwardingFiles::make_dir(path)); }
  int rename(const std::string& from, const std::string& to) override {
    return noted("rename", from, ForwardingFiles::rename(from, to));
  }
  int unlink(const std::string& path) override { return noted("unlink", path, ForwardingFiles::unlink(path)); }
  int remove_dir(const std::string& path) override { return noted("rmdir", path, ForwardingFiles::remove_dir(path)); }
  int sync_dir(const std::string& path) override { return noted("sync", path, ForwardingFiles::sync_dir(path)); }

  /// The calls that succeeded, from the first one that is `call`; empty: there was none.
  std::vector<std::string> from(const std::string& call) const {
    return {std::find(calls_.begin(), calls_.end(), call), calls_.end()};
  }

 private:
  int noted(const char* what, const std::string& path, int error) {
    if (!error) calls_.push_back(std::string(what) + " " + path);
    return error;
  }
  std::vector<std::string> calls_;
};

}  // namespace fmtrain

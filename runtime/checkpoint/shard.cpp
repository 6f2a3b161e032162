#include "runtime/checkpoint/shard.h"

#include <future>

#include "runtime/hash.h"

namespace fmtrain {
namespace {

int64_t to_int64(const std::string& hex) { return static_cast<int64_t>(std::stoull(hex, nullptr, 16)); }

/// One block is hashed while the one before it is on its way to the disk. After an error nothing more is written.
int write_blocks(FileOps& files, int fd, ShardImage& image, std::vector<int64_t>& facts) {
  std::future<int> writing;
  const auto written = [&] { return writing.valid() ? writing.get() : 0; };
  facts.assign(1, image.bytes());
  for (auto block = image.next(); !block.empty(); block = image.next()) {
    const auto hex = xxh3_hex(block.data(), block.size());
    facts.insert(facts.end(), {to_int64(hex.substr(0, 16)), to_int64(hex.substr(16))});
    if (const int error = written()) return error;
    writing = std::async(std::launch::async, [&files, &image, fd, block] {
      const int error = files.write(fd, block.data(), block.size());
      image.release();
      return error;
    });
  }
  const int error = written();
  return error ? error : image.failed() ? EIO : 0;
}

}  // namespace

int write_shard(FileOps& files, const std::string& path, ShardImage& image, std::vector<int64_t>& facts) {
  int fd = -1, error = files.create_exclusive(path, &fd);
  if (!error) {
    try {
      error = write_blocks(files, fd, image, facts);
    } catch (...) {
      image.give_up();
      files.close(fd);
      throw;
    }
    if (!error) error = files.fsync(fd);
    const int closed = files.close(fd);
    if (!error) error = closed;
  }
  if (error) image.give_up();
  return error;
}

}  // namespace fmtrain

#include "runtime/checkpoint/shard.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <utility>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/reader.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

int64_t to_int64(const std::string& hex) { return static_cast<int64_t>(std::stoull(hex, nullptr, 16)); }

SafetensorsHeader header_of(const StateDict& state) {
  SafetensorsHeader header;
  for (const auto& piece : state.pieces) {
    // a rank may own several parts of a large tensor
    const auto name = header.metadata.count(piece.name) ? piece.name + "#" + std::to_string(piece.offset) : piece.name;
    header.tensors.push_back({name, "F32", {piece.data.numel()}, 0, 0});
    header.metadata[name] = place_of(piece.offset, piece.shape);
  }
  return header;
}

int64_t bytes_of(const SafetensorsHeader& header) {
  return header.data_start + (header.tensors.empty() ? 0 : header.tensors.back().end);
}

constexpr int64_t kPage = 4096;  ///< so that FileOps can write whole blocks directly

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Block = std::unique_ptr<char[], Free>;

Block page_aligned(int64_t bytes) {
  if (bytes == 0) return nullptr;
  Block block(static_cast<char*>(std::aligned_alloc(kPage, static_cast<size_t>((bytes + kPage - 1) / kPage * kPage))));
  if (!block) throw std::bad_alloc();
  return block;
}

/// Collects bytes until a block is full, then hashes it and writes it in a thread, while the other block is filled. Errors as errno;
/// after one, nothing more is written.
class BlockWriter {
 public:
  BlockWriter(FileOps& files, int fd, int64_t total, std::vector<int64_t>& facts)
      : files_(files), fd_(fd), facts_(facts), room_(std::min(total, kCheckpointBlock)), block_(page_aligned(room_)),
        other_(page_aligned(total > room_ ? room_ : 0)) {}

  void append(std::string_view text) {
    while (!text.empty()) {
      const auto n = std::min(text.size(), static_cast<size_t>(room_ - used_));
      std::copy_n(text.data(), n, block_.get() + used_);
      text.remove_prefix(n);
      advance(static_cast<int64_t>(n));
    }
  }
  /// From any device straight into the block. Header and blocks are multiples of 4 bytes, so whole elements fit.
  void append(const at::Tensor& values) {
    const at::NoGradGuard no_grad;
    for (int64_t at = 0, n; at < values.numel(); at += n) {
      n = std::min(values.numel() - at, (room_ - used_) / 4);
      if (values.is_cpu()) std::memcpy(block_.get() + used_, values.const_data_ptr<float>() + at, static_cast<size_t>(n) * sizeof(float));
      else at::from_blob(block_.get() + used_, {n}, at::kFloat).copy_(values.narrow(0, at, n));
      advance(n * 4);
    }
  }
  int finish() {
    if (used_ > 0) write();
    written();
    return error_;
  }

 private:
  void advance(int64_t bytes) {
    used_ += bytes;
    if (used_ == room_) write();
  }
  void write() {
    const auto hex = xxh3_hex(block_.get(), static_cast<size_t>(used_));
    facts_.insert(facts_.end(), {to_int64(hex.substr(0, 16)), to_int64(hex.substr(16))});
    written();
    const auto bytes = static_cast<size_t>(std::exchange(used_, 0));
    if (!error_) writing_ = std::async(std::launch::async, [this, block = block_.get(), bytes] { return files_.write(fd_, block, bytes); });
    block_.swap(other_);
  }
  void written() {
    if (writing_.valid()) error_ = writing_.get();
  }
  FileOps& files_;
  int fd_;
  std::vector<int64_t>& facts_;
  int64_t room_, used_ = 0;
  int error_ = 0;
  Block block_, other_;
  std::future<int> writing_;  ///< last: it ends before its block goes
};

int write_pieces(FileOps& files, int fd, const StateDict& state, std::vector<int64_t>& facts) {
  auto header = header_of(state);
  const auto start = make_safetensors_header(header);
  facts.assign(1, bytes_of(header));
  BlockWriter writer(files, fd, facts[0], facts);
  writer.append(start);
  for (const auto& piece : state.pieces) writer.append(piece.data);
  return writer.finish();
}

}  // namespace

int64_t shard_bytes(const StateDict& state) {
  auto header = header_of(state);
  make_safetensors_header(header);
  return bytes_of(header);
}

int write_shard(FileOps& files, const std::string& path, const StateDict& state, std::vector<int64_t>& facts) {
  int fd = -1;
  if (const int error = files.create_exclusive(path, &fd)) return error;
  int error = EIO;
  try {
    error = write_pieces(files, fd, state, facts);
  } catch (...) {
    files.close(fd);
    throw;
  }
  if (!error) error = files.fsync(fd);
  const int closed = files.close(fd);
  return error ? error : closed;
}

}  // namespace fmtrain

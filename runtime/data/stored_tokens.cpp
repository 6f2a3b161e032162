#include "runtime/data/stored_tokens.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr int64_t kBytes = sizeof(int32_t), kContiguousRun = 64 * 1024;

}  // namespace

StoredTokens::StoredTokens(H5Reader& reader, const std::string& path, const char* name)
    : path_(path), name_(name), least_(std::numeric_limits<int32_t>::max()), greatest_(std::numeric_limits<int32_t>::min()) {
  const auto extent = reader.extent_int32(name);
  size_ = static_cast<int64_t>(extent.count);
  run_ = extent.chunk > 0 ? static_cast<int64_t>(extent.chunk) : kContiguousRun;
  if (run_ < std::min(kBlock, size_)) throw DataError(path + ": data set " + name + ": has chunks of " + std::to_string(run_) + " elements, too small for so large a file");
  blocks_ = (run_ + kBlock - 1) / kBlock;
  if (const int error = posix_files().open(path, &fd_)) throw DataError(path + ": cannot open: " + std::strerror(error));
  try {
    verify(reader, name, extent.chunk == 0);
  } catch (...) {
    posix_files().close(fd_);
    throw;
  }
}

StoredTokens::~StoredTokens() { posix_files().close(fd_); }

void StoredTokens::verify(H5Reader& reader, const char* name, bool contiguous) {
  Xxh3 all;
  std::vector<int32_t> ids;
  for (int64_t run = 0; run * run_ < size_; ++run) {
    ids.resize(static_cast<size_t>(in_run(run)));
    reader.read_int32(name, static_cast<uint64_t>(run * run_), ids);
    all.update(ids.data(), ids.size() * kBytes);
    for (const int32_t id : ids) {
      least_ = std::min(least_, id);
      greatest_ = std::max(greatest_, id);
    }
    find_run(reader, name, run, contiguous, ids);
    for (int64_t b = 0; b < blocks_; ++b) {
      const int64_t first = std::min(b * kBlock, in_run(run)), last = std::min(first + kBlock, in_run(run));
      hashes_.push_back(xxh3_64(ids.data() + first, static_cast<size_t>((last - first) * kBytes)));
    }
  }
  xxh3_ = all.hex();
}

/// Chunks mostly follow each other with a checksum of 4 bytes behind each: that is tried first, for HDF5 walks over all chunks to find
/// one. A guess cannot go wrong: the bytes are compared.
void StoredTokens::find_run(H5Reader& reader, const char* name, int64_t run, bool contiguous, std::span<const int32_t> expected) {
  const int64_t step = run_ * kBytes;
  if (run > 0)
    for (const int64_t guess : {runs_.back() + step, runs_.back() + step + 4})
      if (holds(guess, expected)) return runs_.push_back(guess);
  const int64_t found = reader.place_int32(name, static_cast<uint64_t>(run * run_));
  const int64_t at = found >= 0 && contiguous ? found + run * step : found;
  if (at < 0 || !holds(at, expected)) fail(run * run_, run * run_ + in_run(run));
  runs_.push_back(at);
}

bool StoredTokens::holds(int64_t at, std::span<const int32_t> expected) const {
  std::vector<int32_t> found(expected.size());
  return posix_files().read(fd_, found.data(), found.size() * kBytes, at) == 0 && std::equal(found.begin(), found.end(), expected.begin());
}

void StoredTokens::fail(int64_t first, int64_t last) const {
  throw DataError(path_ + ": data set " + name_ + ": elements " + std::to_string(first) + " to " + std::to_string(last - 1) +
                  " are damaged, or have changed since the file was opened; start again with a file that stays as it is");
}

void StoredTokens::copy(int64_t first, std::span<int32_t> out) const {
  thread_local std::vector<int32_t> blocks;
  while (!out.empty()) {
    const int64_t run = first / run_, in = first % run_;
    const int64_t count = std::min(static_cast<int64_t>(out.size()), in_run(run) - in);
    const int64_t begin = in / kBlock * kBlock, end = std::min((in + count + kBlock - 1) / kBlock * kBlock, in_run(run));
    blocks.resize(static_cast<size_t>(end - begin));
    if (posix_files().read(fd_, blocks.data(), blocks.size() * kBytes, runs_[static_cast<size_t>(run)] + begin * kBytes)) fail(first, first + count);
    for (int64_t b = begin; b < end; b += kBlock) {
      const auto bytes = static_cast<size_t>((std::min(b + kBlock, end) - b) * kBytes);
      if (xxh3_64(blocks.data() + (b - begin), bytes) != hashes_[static_cast<size_t>(run * blocks_ + b / kBlock)]) fail(run * run_ + b, run * run_ + std::min(b + kBlock, end));
    }
    std::copy_n(blocks.begin() + (in - begin), count, out.begin());
    out = out.subspan(static_cast<size_t>(count));
    first += count;
  }
}

}  // namespace fmtrain

#include "runtime/leaf_check.h"

#include <ATen/ATen.h>

#include <cstring>

#include "runtime/data/plan.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kHash = 32;  ///< hexadecimal digits

std::string hash_of(const void* data, size_t bytes) { return xxh3_hex(data, bytes); }

/// `bytes` bytes of every rank, of which `mine` fills the first.
std::vector<std::string> gathered(Communicator& comm, const std::string& mine, size_t bytes) {
  const auto width = static_cast<int64_t>(bytes);
  auto own = at::zeros({width}, at::kByte), all = at::zeros({width * comm.size()}, at::kByte);
  std::memcpy(own.data_ptr(), mine.data(), std::min(mine.size(), bytes));
  comm.all_gather(all, own).wait();
  std::vector<std::string> texts;
  for (int rank = 0; rank < comm.size(); ++rank)
    texts.emplace_back(static_cast<const char*>(all.const_data_ptr()) + static_cast<size_t>(rank) * bytes, bytes);
  return texts;
}

/// Of the bits: two NaNs may be equal.
std::string hash_of(const LeafDigest& digest) {
  const std::string text = hash_of(&digest.loss, sizeof digest.loss) + digest.gradient;
  return hash_of(text.data(), text.size());
}

}  // namespace

LeafCheck::LeafCheck(Communicator& comm, const std::string& host, const std::string& kind)
    : comm_(comm), names_(gathered(comm, host, 64)), kinds_(gathered(comm, hash_of(kind.data(), kind.size()), kHash)) {
  for (size_t rank = 0; rank < names_.size(); ++rank)
    names_[rank] = "rank " + std::to_string(rank) + " on " + names_[rank].substr(0, names_[rank].find('\0'));
}

LeafDuty LeafCheck::duty(int64_t step, int64_t slots, int64_t present) const {
  const int ranks = comm_.size();
  // Checks lie a fixed number of steps apart; the upper bits of the product with a large odd number reach every slot all the same.
  const uint64_t mixed = static_cast<uint64_t>(step) * 0x9E3779B97F4A7C15 >> 32;
  LeafDuty duty{static_cast<int64_t>(mixed % static_cast<uint64_t>(present)), 0, 0};
  while (leaves_of(duty.owner, ranks, slots).second <= duty.slot) ++duty.owner;
  const auto& kind = kinds_[static_cast<size_t>(duty.owner)];
  duty.checker = (duty.owner + 1) % ranks;
  while (kinds_[static_cast<size_t>(duty.checker)] != kind) duty.checker = (duty.checker + 1) % ranks;
  return duty;
}

void LeafCheck::compare(const LeafDuty& duty, const LeafDigest& owned, const LeafDigest& again) const {
  const auto all = gathered(comm_, hash_of(owned) + hash_of(again), 2 * kHash);
  const auto owner = static_cast<size_t>(duty.owner), checker = static_cast<size_t>(duty.checker);
  if (all[owner].substr(0, kHash) == all[checker].substr(kHash)) return;
  throw NumericError("leaf " + std::to_string(duty.slot) + " of this step has other bits when it is computed again: first on " + names_[owner] +
                     ", then on " + (owner == checker ? "the same" : names_[checker]) +
                     ". Memory or a processor may be broken there; start again without it: the run continues from the last checkpoint");
}

}  // namespace fmtrain

#include "runtime/leaf_check.h"

#include "comm/gather.h"
#include "runtime/data/plan.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kHash = 32;  ///< hexadecimal digits

std::string hash_of(const void* data, size_t bytes) { return xxh3_hex(data, bytes); }

/// Of the bits: two NaNs may be equal.
std::string hash_of(const LeafDigest& digest) {
  const std::string text = hash_of(&digest.loss, sizeof digest.loss) + digest.gradient;
  return hash_of(text.data(), text.size());
}

}  // namespace

LeafCheck::LeafCheck(Communicator& comm, const std::string& host, const std::string& kind)
    : comm_(comm), names_(gather_rows(comm, host, 64)), kinds_(gather_rows(comm, hash_of(kind.data(), kind.size()), kHash)) {
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
  const auto all = gather_rows(comm_, hash_of(owned) + hash_of(again), 2 * kHash);
  const auto owner = static_cast<size_t>(duty.owner), checker = static_cast<size_t>(duty.checker);
  if (all[owner].substr(0, kHash) == all[checker].substr(kHash)) return;
  throw NumericError("leaf " + std::to_string(duty.slot) + " of this step has other bits when it is computed again: first on " + names_[owner] +
                     ", then on " + (owner == checker ? "the same" : names_[checker]) +
                     ". Memory or a processor may be broken there; start again without it: the run continues from the last checkpoint");
}

}  // namespace fmtrain

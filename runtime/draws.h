// Random numbers that are a function of what is drawn, not of who draws it or when: every rank, and every number of ranks or
// threads, finds the same ones.
#pragma once
#include <array>
#include <cstdint>

#include "models/ops/philox.h"

namespace fmtrain {

/// One stream of 64-bit words with random access: Philox-4x32 with the seed as key, two words a call. `purpose` keeps the
/// streams of different uses apart; `stream` is the number of a resample, permutation, ... within one.
class Draws {
 public:
  Draws(uint64_t seed, uint32_t purpose, uint64_t stream)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream_(static_cast<uint32_t>(stream)),
        purpose_(purpose) {}

  /// Word i of the stream.
  uint64_t bits(uint64_t i) {
    if (i / 2 != pair_) {
      pair_ = i / 2;
      words_ = philox4x32({static_cast<uint32_t>(pair_), static_cast<uint32_t>(pair_ >> 32), stream_, purpose_}, key_);
    }
    return uint64_t{words_[2 * (i % 2) + 1]} << 32 | words_[2 * (i % 2)];
  }
  /// Word i scaled to [0, n): one multiplication; the bias is below n / 2^64.
  uint64_t below(uint64_t i, uint64_t n) { return static_cast<uint64_t>(static_cast<unsigned __int128>(bits(i)) * n >> 64); }
  /// Word i as a number in (0, 1), neither end included.
  double unit(uint64_t i) { return (static_cast<double>(bits(i) >> 11) + 0.5) * 0x1p-53; }

 private:
  std::array<uint32_t, 2> key_;
  uint32_t stream_, purpose_;
  uint64_t pair_ = UINT64_MAX;  ///< the pair of words that is kept
  std::array<uint32_t, 4> words_{};
};

}  // namespace fmtrain

// What the statistics of continual/ need of other ranks: two sums that are exact in any order.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

namespace fmtrain {

/// The default is one rank. Every rank calls the same functions with the same data and gets the same bits back: work is cut
/// into blocks that do not depend on the rank count, each block is computed by one rank, and sums run in the order of blocks.
struct Ranks {
  int rank = 0, size = 1;
  std::function<void(std::span<int64_t>)> add = [](std::span<int64_t>) {};  ///< in place, over ranks
  /// The same for numbers each of which is 0 on all ranks but one: x + 0 + ... is exact, so any order of addition will do.
  std::function<void(std::span<double>)> collect = [](std::span<double>) {};
};

}  // namespace fmtrain

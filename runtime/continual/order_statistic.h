// The k-th smallest of numbers that lie on several ranks, exactly, without moving them.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/continual/ranks.h"

namespace fmtrain {

/// Numbers of this rank, in any number of pieces. Negative ones (not -0.0) are skipped: they mark places without a number.
using Pieces = std::vector<std::span<const double>>;

/// The k-th smallest, from 0, of all ranks' numbers; k is below their count. Non-negative doubles have the order of their bit
/// patterns, so four passes fix 16 bits each, by counts that are added over the ranks: exact, and the same for every rank
/// count.
double order_statistic(const Pieces& mine, int64_t k, const Ranks& ranks);

}  // namespace fmtrain

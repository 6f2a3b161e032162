// The k-th smallest of numbers that lie on several ranks, exactly, without moving them.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/continual/ranks.h"

namespace fmtrain {

/// Numbers of this rank, in any number of pieces. Negative ones (not -0.0) are skipped: they mark places without a number.
using Pieces = std::vector<std::span<const double>>;

/// The k-th smallest for each k, from 0, of all ranks' numbers; each k is below their count. Non-negative doubles have the
/// order of their bit patterns, so four passes fix 16 bits each, by counts that are added over the ranks: exact, and the same
/// for every rank count.
std::vector<double> order_statistics(const Pieces& mine, const std::vector<int64_t>& ks, const Ranks& ranks);

}  // namespace fmtrain

#include "runtime/continual/psi.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/percentile.h"

namespace fmtrain {
namespace {

constexpr size_t kBins = 10;
constexpr double kFloor = 1e-4;  ///< a share of 0 would be an infinite term

using Edges = std::array<double, kBins - 1>;

Edges deciles(std::span<const double> reference) {
  std::vector<double> sorted(reference.begin(), reference.end());
  std::sort(sorted.begin(), sorted.end());
  Edges edges;
  for (size_t b = 0; b < edges.size(); ++b) edges[b] = percentile(sorted, static_cast<double>(b + 1) / kBins);
  return edges;
}

std::array<double, kBins> shares(std::span<const double> values, const Edges& edges) {
  std::array<double, kBins> result{};
  for (const double value : values) {
    const auto [first, last] = std::equal_range(edges.begin(), edges.end(), value);
    ++result[static_cast<size_t>((first - edges.begin()) + (last - edges.begin()) + 1) / 2];
  }
  for (auto& share : result) share = std::max(share / static_cast<double>(values.size()), kFloor);
  return result;
}

}  // namespace

Psi psi(std::span<const double> reference, std::span<const double> window) {
  const Edges edges = deciles(reference);
  const auto p = shares(reference, edges), q = shares(window, edges);
  Psi result;
  for (size_t b = 0; b < kBins; ++b) result.value += (q[b] - p[b]) * std::log(q[b] / p[b]);
  result.expected = (kBins - 1) * (1 / static_cast<double>(reference.size()) + 1 / static_cast<double>(window.size()));
  return result;
}

}  // namespace fmtrain

#include "runtime/scaling/collectives.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr const char* kNames[] = {"ring", "tree", "hierarchical", "in-network"};

double transfer(double bytes, const Link& link) { return link.rate > 0 ? bytes / link.rate : 0; }

/// The smallest k with base^k >= n.
int levels(int n, int base) {
  int k = 0;
  for (double reached = 1; reached < n; reached *= base) ++k;
  return k;
}

int nodes_of(int n, const Network& network) { return (n + network.per_node - 1) / network.per_node; }

/// What limits a ring or tree over all ranks.
Link slowest(int n, const Network& network) {
  if (n <= network.per_node) return network.inside;
  const double out = network.between.rate * network.per_node;
  return {std::max(network.inside.alpha, network.between.alpha),
          network.inside.rate > 0 ? std::min(network.inside.rate, out) : out};
}

}  // namespace

Algorithm algorithm_of(const std::string& word) {
  const auto* found = std::find(std::begin(kNames), std::end(kNames), word);
  if (found == std::end(kNames))
    throw ConfigError("algorithm " + quoted(word) + ": is none of ring, tree, hierarchical, in-network");
  return static_cast<Algorithm>(found - std::begin(kNames));
}

const char* name_of(Algorithm algorithm) { return kNames[static_cast<size_t>(algorithm)]; }

double ring_half(int n, double bytes, const Link& link) { return (n - 1) * link.alpha + transfer(bytes * (n - 1) / n, link); }

double ring_all_reduce(int n, double bytes, const Link& link) { return 2 * ring_half(n, bytes, link); }

double tree_all_reduce(int n, double bytes, const Link& link) {
  return n == 1 ? 0 : 2 * levels(n, 2) * link.alpha + transfer(2 * bytes, link);
}

double in_network_all_reduce(int n, double bytes, const Link& link, int radix) {
  return n == 1 ? 0 : 2 * levels(n, radix) * link.alpha + transfer(bytes, link);
}

double all_reduce_seconds(Algorithm algorithm, int n, double bytes, const Network& network) {
  if (algorithm == Algorithm::kRing) return ring_all_reduce(n, bytes, slowest(n, network));
  if (algorithm == Algorithm::kTree) return tree_all_reduce(n, bytes, slowest(n, network));
  const int nodes = nodes_of(n, network), local = std::min(n, network.per_node);
  const double inside = ring_all_reduce(local, bytes, network.inside), part = bytes / local;
  if (algorithm == Algorithm::kHierarchical) return inside + ring_all_reduce(nodes, part, network.between);
  return inside + in_network_all_reduce(nodes, part, network.between, network.radix);
}

double half_seconds(Algorithm algorithm, int n, double bytes, const Network& network) {
  if (algorithm == Algorithm::kRing || algorithm == Algorithm::kTree) return ring_half(n, bytes, slowest(n, network));
  const int local = std::min(n, network.per_node);
  return ring_half(local, bytes, network.inside) + ring_half(nodes_of(n, network), bytes / local, network.between);
}

double copies_reduce_seconds(Algorithm algorithm, int n, double bytes, const Network& network) {
  const int nodes = nodes_of(n, network), local = std::min(n, network.per_node);
  const double inside = ring_half(local, bytes, network.inside), part = bytes / local;
  if (algorithm == Algorithm::kTree) return inside + tree_all_reduce(nodes, part, network.between);
  if (algorithm == Algorithm::kInNetwork) return inside + in_network_all_reduce(nodes, part, network.between, network.radix);
  return inside + ring_all_reduce(nodes, part, network.between);
}

double copies_gather_seconds(int n, double bytes, const Network& network) { return ring_half(std::min(n, network.per_node), bytes, network.inside); }

namespace {

/// The share of a node's traffic that a ring of n sends on, of what each of its g ranks has.
double ring_share(int n, double bytes, const Network& network) { return bytes / network.per_node * (n - 1) / n; }

}  // namespace

double all_reduce_between(Algorithm algorithm, int n, double bytes, const Network& network) {
  if (n <= network.per_node) return 0;
  if (algorithm == Algorithm::kRing) return 2 * ring_share(n, bytes, network);
  return copies_reduce_between(algorithm, n, bytes, network);
}

double half_between(Algorithm algorithm, int n, double bytes, const Network& network) {
  if (n <= network.per_node) return 0;
  const bool flat = algorithm == Algorithm::kRing || algorithm == Algorithm::kTree;
  return ring_share(flat ? n : nodes_of(n, network), bytes, network);
}

double copies_reduce_between(Algorithm algorithm, int n, double bytes, const Network& network) {
  if (n <= network.per_node) return 0;
  if (algorithm == Algorithm::kTree) return 2 * bytes / network.per_node;
  if (algorithm == Algorithm::kInNetwork) return bytes / network.per_node;
  return 2 * ring_share(nodes_of(n, network), bytes, network);
}

/// With t = a x + c y, x = 2 (n-1) and y = 2 (n-1)/n bytes, and every row divided by its t: the normal equations of 1 = a x/t +
/// c y/t.
Link fit_ring(int n, const std::vector<std::pair<double, double>>& measured) {
  double xx = 0, xy = 0, yy = 0, x1 = 0, y1 = 0;
  for (const auto& [bytes, seconds] : measured) {
    const double x = 2.0 * (n - 1) / seconds, y = 2.0 * (n - 1) / n * bytes / seconds;
    xx += x * x, xy += x * y, yy += y * y, x1 += x, y1 += y;
  }
  const double determinant = xx * yy - xy * xy;
  double alpha = determinant > 0 ? (x1 * yy - y1 * xy) / determinant : 0,
         per_byte = determinant > 0 ? (y1 * xx - x1 * xy) / determinant : 0;
  if (alpha < 0) alpha = 0, per_byte = yy > 0 ? y1 / yy : 0;
  if (!(per_byte > 0) || !std::isfinite(per_byte))
    throw DataError("no bandwidth fits the measured collectives; measure at least two sizes");
  return {alpha, 1 / per_byte};
}

Link fit_between(int nodes, const std::vector<std::pair<double, double>>& measured, const Network& network) {
  std::vector<std::pair<double, double>> parts;
  for (const auto& [bytes, seconds] : measured) {
    const double left = seconds - ring_all_reduce(network.per_node, bytes, network.inside);
    if (left > 0) parts.emplace_back(bytes / network.per_node, left);
  }
  return fit_ring(nodes, parts);
}

}  // namespace fmtrain

// Seconds that collectives take in the alpha-beta model: a message of b bytes costs alpha + b / B, alpha the latency and B the
// bandwidth of a link (Hockney, "The communication challenge for MPP: Intel Paragon and Meiko CS-2", Parallel Computing 20,
// 1994). Arithmetic only. The time to add is inside B, for it is measured so.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fmtrain {

/// A rank's own link. A rate of 0 stands for a link that nothing crosses.
struct Link {
  double alpha = 0;  ///< seconds
  double rate = 0;   ///< bytes a second in one direction
};

/// kRing: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69, 2009.
/// kTree: two pipelined binary trees, Sanders, Speck and Träff, "Two-tree algorithms for full bandwidth broadcast, reduction
/// and scan", Parallel Computing 35, 2009 (as NCCL does since 2.4). kHierarchical: ring inside nodes, then a ring between nodes
/// for each rank's part, then the ring inside again. kInNetwork: the switches add, Graham et al., "Scalable hierarchical
/// aggregation and reduction protocol (SHARP)", SC 2020; inside nodes a ring, as in kHierarchical.
enum class Algorithm { kRing, kTree, kHierarchical, kInNetwork };

/// "ring", "tree", "hierarchical", "in-network"; ConfigError for another word.
Algorithm algorithm_of(const std::string& word);
const char* name_of(Algorithm algorithm);

struct Network {
  Link inside{2e-6, 0};   ///< between ranks of a node
  Link between{5e-6, 0};  ///< of one rank to other nodes, when all ranks of its node use theirs at once
  int per_node = 8;       ///< ranks
  int radix = 40;         ///< ports of a switch, for kInNetwork
};

// Of n ranks over one link, `bytes` the whole buffer. n = 1: 0.
double ring_all_reduce(int n, double bytes, const Link& link);                   ///< 2 (n-1) alpha + 2 (n-1)/n bytes/B
double ring_half(int n, double bytes, const Link& link);                         ///< reduce-scatter or all-gather: half of that
double tree_all_reduce(int n, double bytes, const Link& link);                   ///< 2 ceil(log2 n) alpha + 2 bytes/B
double in_network_all_reduce(int n, double bytes, const Link& link, int radix);  ///< 2 ceil(log_radix n) alpha + bytes/B

/// All-reduce of `bytes` by n ranks. A ring or a tree over several nodes is as slow as its slowest link: in a ring one rank of
/// a node sends to the next node, so it has the links of all of them.
double all_reduce_seconds(Algorithm algorithm, int n, double bytes, const Network& network);
/// Reduce-scatter or all-gather of `bytes` by n ranks; kTree and kInNetwork take a ring, for they have no such half.
double half_seconds(Algorithm algorithm, int n, double bytes, const Network& network);

/// Where every node has a copy (engine.shard_group: node). Reduction: a reduce-scatter in the node, then an all-reduce of each
/// rank's part between nodes (kTree and kInNetwork theirs, else a ring). Gathering stays in the node.
double copies_reduce_seconds(Algorithm algorithm, int n, double bytes, const Network& network);
double copies_gather_seconds(int n, double bytes, const Network& network);

// Bytes that a rank sends to other nodes meanwhile: 0 on one node; else, with N nodes of g ranks, bytes/g times
//   all-reduce: ring 2 (n-1)/n, tree 2, hierarchical 2 (N-1)/N, in-network 1
//   half: ring and tree (n-1)/n, else (N-1)/N
//   copies: tree 2, in-network 1, else 2 (N-1)/N
double all_reduce_between(Algorithm algorithm, int n, double bytes, const Network& network);
double half_between(Algorithm algorithm, int n, double bytes, const Network& network);
double copies_reduce_between(Algorithm algorithm, int n, double bytes, const Network& network);

/// The link that fits measured all-reduces of n ranks best by ring_all_reduce, the squares of relative errors summed: {bytes,
/// seconds} each. At least two sizes; a latency below 0 becomes 0. Throws DataError when no rate fits.
Link fit_ring(int n, const std::vector<std::pair<double, double>>& measured);
/// Network::between from hierarchical all-reduces over `nodes` nodes, of network.per_node ranks each, which use the link at once:
/// less what network.inside takes of them.
Link fit_between(int nodes, const std::vector<std::pair<double, double>>& measured, const Network& network);

}  // namespace fmtrain

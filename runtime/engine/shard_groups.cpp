#include "runtime/engine/shard_groups.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <bit>
#include <map>
#include <memory>

#include "comm/gather.h"
#include "comm/group.h"
#include "runtime/config/config.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr size_t kHost = 64;  ///< bytes of a name

int64_t ranks_of(const std::vector<int>& nodes, int node) { return std::count(nodes.begin(), nodes.end(), node); }

/// A line a node: its host, and its ranks.
std::string node_table(Communicator& world, const std::vector<int>& nodes, const std::string& host) {
  const auto hosts = gather_rows(world, host, kHost);
  std::map<int, std::string> lines;
  for (size_t r = 0; r < nodes.size(); ++r) {
    auto& line = lines[nodes[r]];
    line += line.empty() ? std::string(hosts[r].c_str()) + ": " + std::to_string(ranks_of(nodes, nodes[r])) + ", rank " : " ";
    line += std::to_string(r);
  }
  std::string text;
  for (const auto& [node, line] : lines) text += "\n  " + line;
  return text;
}

}  // namespace

std::string uneven_nodes(const std::vector<int>& nodes) {
  const int64_t each = ranks_of(nodes, nodes[0]);
  for (size_t r = 0; r < nodes.size(); ++r) {
    if (ranks_of(nodes, nodes[r]) != each) return "hosts have different numbers of ranks";
    if (r % static_cast<size_t>(each) != 0 && nodes[r] != nodes[r - 1]) return "the ranks of a host do not follow one another";
  }
  return std::has_single_bit(static_cast<uint64_t>(each)) ? "" : std::to_string(each) + " ranks of a host are no power of two";
}

ShardGroups::ShardGroups(Communicator& world, ShardGroup group, const std::string& host) : ShardGroups(world) {
  const auto nodes = world.nodes();
  if (group == ShardGroup::kWorld || ranks_of(nodes, nodes[0]) == world.size()) return;
  if (const auto fault = uneven_nodes(nodes); !fault.empty())
    throw ConfigError("engine.shard_group: node needs the same power of two of ranks on every host, one after the other, but " +
                      fault + "; start it so (mpirun: --map-by ppr:N:node; srun: --ntasks-per-node=N --distribution=block), " +
                      "or use world" + node_table(world, nodes, host));
  const auto each = static_cast<int>(ranks_of(nodes, nodes[0]));
  within_ = &world.split(world.rank() / each, Group::kNode);
  across_ = &world.split(world.rank() % each, Group::kAcross);
}

Work ShardGroups::reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) const {
  Work work = within_->reduce_scatter(shard, std::move(full), op);
  if (!across_) return work;
  if (shard.is_cuda()) {  // a stream of its own waits for the first part, not the caller's
    const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
    const c10::StreamGuard guard(cuda.getStreamFromGlobalPool(shard.device()));
    work.wait();
    return across_->all_reduce(shard, op);
  }
  return Work([across = across_, shard, op, first = std::make_shared<Work>(std::move(work))] {
    first->wait();
    across->all_reduce(shard, op).wait();
  });
}

}  // namespace fmtrain

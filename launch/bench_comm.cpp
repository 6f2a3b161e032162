// `fmtrain bench comm`: algorithm and bus bandwidth of the collectives, beside MPI's own all-reduce and the rate at which the ranks
// together change memory in place, all of the same round.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <cstdio>
#include <optional>
#include <set>

#include "comm/mpi_communicator.h"
#include "comm/plain_mpi.h"
#include "launch/bench.h"
#include "launch/environment.h"

namespace fmtrain {
namespace {

/// Bytes of a buffer; 91 and 440 MiB are about what the gradients of MiniLM-L6-H384 and of BERT-base take.
constexpr std::array<int64_t, 11> kSizes{1 << 10, 4 << 10,  16 << 10, 64 << 10,  256 << 10,         1 << 20,
                                         4 << 20, 25 << 20, 91 << 20, 440 << 20, int64_t{1} << 30};
/// A measurement repeats its call until it has taken this long, so that clocks and the first wake-up do not count.
constexpr double kCallSeconds = 0.05;

struct CommOptions : BenchOptions {
  uint64_t from = 1 << 10, to = 440 << 20;  ///< bytes
};

struct BenchWorld {
  std::optional<MpiSession> session;
  std::unique_ptr<Communicator> comm;
  BenchWorld() {
    if (launched_by_mpi()) session.emplace(launched_processes());
    comm = session ? make_mpi_communicator(*session) : make_single_communicator();
  }
  ~BenchWorld() { comm.reset(); }  // before MPI closes
};

/// One call of an arm. `traffic`: bytes that memory sees of all ranks together for one byte of the buffer, read or written, at the
/// least: a reduction reads every rank's buffer once. `bus`: factor from algorithm to bus bandwidth, as nccl-tests define them
/// (doc/PERFORMANCE.md there).
struct CommArm {
  const char* name;
  std::function<void(int64_t numel)> call;
  double traffic, bus;
  std::vector<double> seconds, share;  ///< of each round
};

struct Memory {
  at::Tensor window, heap;  ///< fp32, of the largest size: shared with the other ranks, and this rank's own
};

/// Seconds of one call on the slowest rank.
double call_seconds(const std::function<void(int64_t)>& call, int64_t numel, Communicator& comm) {
  auto facts = at::zeros({1}, at::kDouble);
  const auto slowest = [&](double value) {
    facts.fill_(value);
    comm.all_reduce(facts, ReduceOp::kMax).wait();
    return facts.item<double>();
  };
  const auto run = [&](int64_t repetitions) {
    comm.barrier();
    const double start = bench_clock();
    for (int64_t i = 0; i < repetitions; ++i) call(numel);
    return slowest(bench_clock() - start) / static_cast<double>(repetitions);
  };
  const double once = run(1);
  return run(std::max<int64_t>(1, static_cast<int64_t>(kCallSeconds / once)));
}

/// Numbers without zeros, which some memory systems and compilers would treat better than others; sums of them stay finite for long.
void fill(const Memory& memory, int rank) {
  for (const auto& buffer : {memory.window, memory.heap}) buffer.fill_(rank % 2 == 0 ? 1.5 : -1.25);
}

std::vector<CommArm> comm_arms(const Memory& memory, Communicator& comm, bool mpi) {
  const double n = comm.size(), reduced = 2 * (n - 1) / n, moved = (n - 1) / n;
  const auto piece = [&comm](const at::Tensor& full) {
    const int64_t shard = full.numel() / comm.size();
    return std::pair{full.narrow(0, 0, shard * comm.size()), full.narrow(0, comm.rank() * shard, shard)};
  };
  const auto window = memory.window, heap = memory.heap;
  std::vector<CommArm> arms{
      {"in_place", [heap](int64_t k) { heap.narrow(0, 0, k).mul_(0.999f); }, 2 * n, 1, {}, {}},
      {"all_reduce", [window, &comm](int64_t k) { comm.all_reduce(window.narrow(0, 0, k), ReduceOp::kTreeSum).wait(); }, 2 * n, reduced, {}, {}},
      {"reduce_scatter", [=, &comm](int64_t k) { const auto [full, shard] = piece(window.narrow(0, 0, k)); comm.reduce_scatter(shard, full, ReduceOp::kTreeSum).wait(); },
       n + 1, moved, {}, {}},
      {"all_gather", [=, &comm](int64_t k) { const auto [full, shard] = piece(window.narrow(0, 0, k)); comm.all_gather(full, shard).wait(); },
       n, moved, {}, {}},
      {"broadcast", [window, &comm](int64_t k) { comm.broadcast(window.narrow(0, 0, k), 0).wait(); }, n, 1, {}, {}}};
  if (mpi) arms.push_back({"mpi_all_reduce", [heap](int64_t k) { plain_mpi_all_reduce(heap.narrow(0, 0, k)); }, 2 * n, reduced, {}, {}});
  return arms;
}

void measure_comm(std::vector<CommArm>& arms, int64_t bytes, Communicator& comm) {
  double ceiling = 0;  // bytes a second
  for (auto& arm : arms) {
    const double seconds = call_seconds(arm.call, bytes / 4, comm), rate = arm.traffic * static_cast<double>(bytes) / seconds;
    if (ceiling == 0) ceiling = rate;  // the first arm's
    arm.seconds.push_back(seconds);
    arm.share.push_back(rate / ceiling);
  }
}

Json report_comm(std::vector<CommArm>& arms, int64_t bytes, bool print) {
  Json rows = Json::array();
  for (auto& arm : arms) {
    std::vector<double> bus, beside;  // GB/s, and times MPI's own speed
    for (size_t i = 0; i < arm.seconds.size(); ++i) {
      bus.push_back(1e-9 * static_cast<double>(bytes) / arm.seconds[i] * arm.bus);
      beside.push_back(arms.back().seconds[i] / arm.seconds[i]);
    }
    const Spread seconds = spread_of(arm.seconds), rate = spread_of(bus), share = spread_of(arm.share), ratio = spread_of(beside);
    Json row{{"arm", arm.name}, {"bytes", bytes}, {"seconds", to_json(seconds)}, {"bus_gb_per_second", to_json(rate)},
             {"algorithm_gb_per_second", 1e-9 * static_cast<double>(bytes) / seconds.median}, {"share_of_in_place", to_json(share)}};
    const bool ours = std::string_view(arm.name) == "all_reduce" && std::string_view(arms.back().name) == "mpi_all_reduce";
    if (ours) row["times_mpi_all_reduce"] = to_json(ratio);
    rows.push_back(row);
    if (!print) continue;
    std::printf("%11lld %-15s %12.1f us %8.3f GB/s bus (%.3f-%.3f) %6.1f %% of in place", static_cast<long long>(bytes), arm.name, 1e6 * seconds.median,
                rate.median, rate.least, rate.most, 100 * share.median);
    if (ours) std::printf(" %6.2fx MPI_Allreduce (%.2f-%.2f)", ratio.median, ratio.least, ratio.most);
    std::printf("\n");
    std::fflush(stdout);
  }
  return rows;
}

int bench_comm(const CommOptions& options) {
  const auto from = static_cast<int64_t>(options.from), to = static_cast<int64_t>(std::min<uint64_t>(options.to, kSizes.back()));
  BenchWorld world;
  Communicator& comm = *world.comm;
  const bool first = comm.rank() == 0;
  if (first) std::printf("%d ranks, %d threads each, bytes of the buffer, slowest rank, median of %d rounds\n", comm.size(), at::get_num_threads(), options.rounds);
  const Memory memory{comm.allocate(to / 4, at::kFloat), at::empty({to / 4}, at::kFloat)};
  Json rows = Json::array();
  for (const int64_t bytes : kSizes) {
    if (bytes < from || bytes > to) continue;
    auto arms = comm_arms(memory, comm, world.session.has_value());
    for (int round = 0; round <= options.rounds; ++round) {
      fill(memory, comm.rank());
      measure_comm(arms, bytes, comm);
      if (round > 0) continue;
      for (auto& arm : arms) arm.seconds.clear(), arm.share.clear();  // warm-up
    }
    for (auto& row : report_comm(arms, bytes, first)) rows.push_back(row);
  }
  const auto of_rank = comm.nodes();
  const std::set<int> nodes(of_rank.begin(), of_rank.end());
  if (first) write_bench(options, "comm", {{"ranks", comm.size()}, {"nodes", nodes.size()}, {"rows", rows}});
  return 0;
}

}  // namespace

void add_bench_comm(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("comm", "Algorithm and bus bandwidth of the collectives (as nccl-tests define them), beside memory changed in place and\n"
                                               "MPI_Allreduce. Alone or under mpirun.\nExample: mpirun -np 2 fmtrain bench comm --from 64K --to 91M");
  const auto options = std::make_shared<CommOptions>();
  add_bench_options(*command, *options);
  command->add_option("--from", options->from, "smallest buffer: bytes, or 64K, 25M, 1G")->transform(CLI::AsSizeValue(false))->default_str("1K");
  command->add_option("--to", options->to, "largest buffer, at most 1G; memory: twice that for each rank, half of it shared")->transform(CLI::AsSizeValue(false))->default_str("440M");
  command->callback([&action, options] { action = [options] { return bench_comm(*options); }; });
}

}  // namespace fmtrain

#include "runtime/preflight/measure.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "runtime/preflight/gather.h"

namespace fmtrain {
namespace {

constexpr int64_t kSmallest = 64 << 10, kLargest = 32 << 20;  ///< bytes of a message
constexpr double kEnough = 0.02;   ///< seconds of a message that are a measurement
constexpr double kPatience = 0.1;  ///< seconds for each of a pair's measurements, to the end of a message
constexpr size_t kAgain = 8;       ///< pairs that are measured again
constexpr int kTries = 3;

/// What a asks b for.
struct PairOrder {
  enum Kind : int64_t { kPing, kPush, kPull, kEnd } kind;
  int64_t bytes;
};

/// b's part.
void serve(PairChannel& channel, int a, const MeasureClocks& clocks) {
  std::vector<char> bulk;
  for (;;) {
    PairOrder order{};
    channel.receive(&order, sizeof order, a);
    const double wall = clocks.wall();
    if (order.kind == PairOrder::kEnd) return;
    bulk.resize(std::max(bulk.size(), static_cast<size_t>(order.bytes)));
    if (order.kind == PairOrder::kPush) channel.receive(bulk.data(), order.bytes, a);
    if (order.kind == PairOrder::kPull) channel.send(bulk.data(), order.bytes, a);
    else channel.send(&wall, sizeof wall, a);
  }
}

/// a's part.
class Asker {
 public:
  Asker(PairChannel& channel, int b, const MeasureClocks& clocks) : channel_(channel), b_(b), clocks_(clocks) {}

  void ping(PairFigures& figures) {
    double shortest = 1e9;
    const double start = clocks_.steady();
    for (int i = 0; i < 20 && (i < 3 || clocks_.steady() - start < kPatience); ++i) {
      const double began = clocks_.steady(), wall = clocks_.wall();
      double theirs = 0;
      order({PairOrder::kPing, 0});
      channel_.receive(&theirs, sizeof theirs, b_);
      const double took = clocks_.steady() - began;
      if (took >= shortest) continue;
      shortest = took;
      figures.ahead = theirs - (wall + took / 2);
    }
    figures.latency = shortest / 2;
  }

  /// GB/s of messages one way: the best, for a busy machine makes some late.
  double rate(PairOrder::Kind kind, double round_trip) {
    double best = 0;
    const double start = clocks_.steady();
    for (int64_t bytes = kSmallest;;) {
      const double began = clocks_.steady();
      transfer(kind, bytes);
      const double now = clocks_.steady(), took = std::max(now - began - round_trip, 1e-9);
      best = std::max(best, 1e-9 * static_cast<double>(bytes) / took);
      if (now - start > kPatience) return best;
      if (took < kEnough) bytes = std::min(4 * bytes, kLargest);
    }
  }

  void end() { order({PairOrder::kEnd, 0}); }

 private:
  void transfer(PairOrder::Kind kind, int64_t bytes) {
    bulk_.resize(static_cast<size_t>(bytes));
    order({kind, bytes});
    if (kind == PairOrder::kPush) channel_.send(bulk_.data(), bytes, b_);
    double answer = 0;
    if (kind == PairOrder::kPull) channel_.receive(bulk_.data(), bytes, b_);
    else channel_.receive(&answer, sizeof answer, b_);
  }
  void order(PairOrder what) { channel_.send(&what, sizeof what, b_); }

  PairChannel& channel_;
  int b_;
  const MeasureClocks& clocks_;
  std::vector<char> bulk_;
};

Json to_json(const PairFigures& p) { return {p.a, p.b, p.latency, p.rate, p.ahead}; }

double slowest(Communicator& comm, double value) {
  auto all = at::full({1}, value, at::kDouble);
  comm.all_reduce(all, ReduceOp::kMax).wait();
  return all.item<double>();
}

/// Collective. What this rank has measured as the first of its pair in one round.
void measure_round(Communicator& comm, PairChannel& channel, const std::vector<std::pair<int, int>>& pairs,
                   const MeasureClocks& clocks, Json& mine) {
  comm.barrier();
  for (const auto& [a, b] : pairs) {
    if (comm.rank() != a && comm.rank() != b) continue;
    const auto figures = measure_pair(channel, a, b, comm.rank(), clocks);
    if (comm.rank() == a) mine.push_back(to_json(figures));
  }
}

/// Collective. The better figures of each pair.
std::vector<PairFigures> gathered(Communicator& comm, const Json& mine) {
  std::map<std::pair<int, int>, PairFigures> best;
  for (const auto& of_rank : gather_json(comm, mine))
    for (const auto& p : of_rank) {
      const PairFigures figures{p[0], p[1], p[2], p[3], p[4]};
      auto& known = best.try_emplace({figures.a, figures.b}, figures).first->second;
      if (figures.latency < known.latency) known.latency = figures.latency, known.ahead = figures.ahead;
      known.rate = std::max(known.rate, figures.rate);
    }
  std::vector<PairFigures> all;
  for (const auto& [pair, figures] : best) all.push_back(figures);
  return all;
}

}  // namespace

MeasureClocks real_clocks() {
  return {[] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); },
          [] { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }};
}

PairFigures measure_pair(PairChannel& channel, int a, int b, int me, const MeasureClocks& clocks) {
  PairFigures figures{a, b};
  if (me == b) {
    serve(channel, a, clocks);
    return figures;
  }
  Asker asker(channel, b, clocks);
  asker.ping(figures);
  figures.rate = std::min(asker.rate(PairOrder::kPush, 2 * figures.latency), asker.rate(PairOrder::kPull, 2 * figures.latency));
  asker.end();
  return figures;
}

std::vector<PairFigures> measure_pairs(Communicator& comm, PairChannel& channel, const std::vector<int>& leaders,
                                       double expected, const MeasureClocks& clocks, double budget) {
  Json mine = Json::array();
  const double start = clocks.steady();
  for (const auto& round : rounds_of(static_cast<int>(leaders.size()))) {
    if (slowest(comm, clocks.steady() - start) > budget) break;
    std::vector<std::pair<int, int>> pairs;
    for (const auto& [a, b] : round) pairs.emplace_back(leaders[static_cast<size_t>(a)], leaders[static_cast<size_t>(b)]);
    measure_round(comm, channel, pairs, clocks, mine);
  }
  for (int again = 0; again < kTries; ++again) {
    const auto slow = slow_pairs(gathered(comm, mine), expected);
    for (size_t i = 0; i < std::min(slow.size(), kAgain); ++i) measure_round(comm, channel, {{slow[i].a, slow[i].b}}, clocks, mine);
  }
  return gathered(comm, mine);
}

CollectiveFigures measure_collectives(Communicator& comm, at::Device device, int64_t most) {
  constexpr int64_t kElements = 1 << 15;
  const int64_t n = comm.size();
  CollectiveFigures figures;
  const auto numbers = at::arange(1, kElements + 1, at::kLong).to(device);
  auto sum = numbers * (comm.rank() + 1);
  comm.all_reduce(sum, ReduceOp::kTreeSum).wait();
  figures.wrong =
      static_cast<int64_t>(slowest(comm, static_cast<double>(at::ne(sum, numbers * (n * (n + 1) / 2)).sum().item<int64_t>())));
  if (n == 1) return figures;
  const auto clock = real_clocks().steady;
  auto buffer = comm.allocate(std::max(most, kSmallest) / 4, at::kFloat);
  for (figures.bytes = kSmallest;; figures.bytes *= 2) {
    comm.barrier();
    const double start = clock();
    auto part = buffer.narrow(0, 0, figures.bytes / 4);
    comm.all_reduce(part, ReduceOp::kTreeSum).wait();
    if (!device.is_cpu()) part[0].item<float>();  // waits for the GPU
    const double took = slowest(comm, clock() - start), size = static_cast<double>(n);
    figures.rate = 1e-9 * static_cast<double>(figures.bytes) / took * 2 * (size - 1) / size;
    if (took > kEnough || 2 * figures.bytes > most) return figures;
  }
}

}  // namespace fmtrain

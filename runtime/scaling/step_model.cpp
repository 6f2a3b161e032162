#include "runtime/scaling/step_model.h"

#include <algorithm>
#include <cmath>

namespace fmtrain {
namespace {

/// Bytes of the sums of squares, one fp64 for 4,096 elements (runtime/engine/shard_plan.h).
double norm_bytes(const Timeline& t) { return t.parameters / 512; }

/// How much slower a rank computes when ranks take turns on a node's cores, than when it was recorded.
double turns(const Timeline& t, const Scenario& s) {
  if (s.cores <= 0) return 1;
  const auto share = [&](int ranks, int cores) { return std::max(1.0, static_cast<double>(ranks) * t.threads / cores); };
  return share(std::min(s.ranks, s.network.per_node), s.cores) / share(std::max(1, t.ranks), t.cores > 0 ? t.cores : s.cores);
}

struct Channel {
  double free = 0;  ///< when the last transfer ends
  double busy = 0;  ///< seconds of all transfers
  double send(double ready, double seconds) {
    free = std::max(ready, free) + seconds;
    busy += seconds;
    return free;
  }
};

/// Parameters are gathered before they are used.
bool gathers_early(const Timeline& t, const Scenario& s) { return s.stage == 3 && !t.on_cpu; }

class Replay {
 public:
  Replay(const Timeline& t, const Scenario& s) : t_(t), s_(s), turns_(turns(t, s)) {}

  PredictedStep step() {
    const double forward = t_.forward * turns_, backward = t_.backward * turns_;
    double end = 0;  // of compute, with its waits for parameters
    for (int64_t leaf = 0; leaf < s_.leaves; ++leaf) {
      const bool last = leaf + 1 == s_.leaves;
      if (gathers_early(t_, s_)) end = gathered_pass(gathered_pass(end, forward, false, false), backward, true, last);
      else end = plain_leaf(end, forward, backward, last);
    }
    PredictedStep step;
    step.compute = static_cast<double>(s_.leaves) * (forward + backward);
    step.exposed = std::max(end, channel_.free) - step.compute + afterwards();
    step.hidden = std::max(0.0, channel_.busy + afterwards() - step.exposed);
    step.optimizer = t_.optimizer * turns_ / (s_.stage > 0 ? s_.sharers() : 1);
    step.straggling = t_.jitter * expected_largest(s_.ranks);
    step.other = t_.other;
    return step;
  }

 private:
  double reduce(double bytes) const {
    if (s_.stage == 0) return all_reduce_seconds(s_.algorithm, s_.ranks, bytes, s_.network);
    return s_.by_node ? copies_reduce_seconds(s_.algorithm, s_.ranks, bytes, s_.network) : gather(bytes);
  }
  double gather(double bytes) const {
    return s_.by_node ? copies_gather_seconds(s_.ranks, bytes, s_.network) : half_seconds(s_.algorithm, s_.ranks, bytes, s_.network);
  }

  double plain_leaf(double begin, double forward, double backward, bool last) {
    const double end = begin + forward + backward;
    if (last)
      for (const Bucket& bucket : t_.buckets)
        channel_.send(t_.on_cpu ? end : begin + forward + bucket.ready * backward, reduce(bucket.bytes));
    return end;
  }

  /// One pass over the units of stage 3: each waits for its parameters, which are asked for when the unit before it begins. In
  /// backward of the last leaf a unit's gradient follows.
  double gathered_pass(double begin, double seconds, bool backward, bool reduces) {
    const double scale = t_.gradient_bytes() > 0 ? t_.parameters * t_.parameter_bytes / t_.gradient_bytes() : 0;
    const double unit = seconds / static_cast<double>(std::max<size_t>(1, t_.buckets.size()));
    double asked = begin, at = begin;
    for (size_t i = 0; i < t_.buckets.size(); ++i) {
      const Bucket& bucket = t_.buckets[backward ? i : t_.buckets.size() - 1 - i];
      const double there = channel_.send(asked, gather(bucket.bytes * scale));
      asked = std::max(at, there);
      at = asked + unit;
      if (reduces) pending_.push_back({at, bucket.bytes});
      if (reduces && i > 0) send_gradient(pending_[i - 1]);
    }
    if (reduces && !pending_.empty()) send_gradient(pending_.back());
    return t_.buckets.empty() ? begin + seconds : at;
  }

  struct Gradient {
    double ready, bytes;
  };
  void send_gradient(const Gradient& g) { channel_.send(g.ready, reduce(g.bytes)); }

  /// All that follows backward, with nothing to hide behind.
  double afterwards() const {
    const auto all = [&](double bytes) {
      return bytes > 0 ? all_reduce_seconds(s_.algorithm, s_.ranks, bytes, s_.network) : 0.0;
    };
    const bool hands_out = s_.stage > 0 && !gathers_early(t_, s_);
    return all(t_.rest) + all(norm_bytes(t_)) + (hands_out ? gather(t_.parameters * t_.parameter_bytes) : 0.0);
  }

  const Timeline& t_;
  const Scenario& s_;
  double turns_;
  Channel channel_;
  std::vector<Gradient> pending_;  ///< gradients of stage 3, each sent behind the next gather
};

double seconds_of(const Timeline& timeline, Scenario scenario, int ranks, int64_t leaves) {
  scenario.ranks = ranks;
  scenario.leaves = leaves;
  return predict(timeline, scenario).total();
}

}  // namespace

PredictedStep predict(const Timeline& timeline, const Scenario& scenario) { return Replay(timeline, scenario).step(); }

double between_bytes(const Timeline& t, const Scenario& s) {
  const auto all = [&](double bytes) { return all_reduce_between(s.algorithm, s.ranks, bytes, s.network); };
  const auto half = [&](double bytes) { return half_between(s.algorithm, s.ranks, bytes, s.network); };
  const double early = t.gradient_bytes() - t.rest, handed_out = t.parameters * t.parameter_bytes;
  const double rest = all(t.rest) + all(norm_bytes(t));
  if (s.stage == 0) return all(early) + rest;
  if (s.by_node) return copies_reduce_between(s.algorithm, s.ranks, early, s.network) + rest;
  const double gathers = gathers_early(t, s) ? 2 * static_cast<double>(s.leaves) : 1;  // before forward and backward of every leaf
  return half(early) + gathers * half(handed_out) + rest;
}

int64_t leaves_of_rank(const Timeline& timeline, int ranks) { return (timeline.leaves + ranks - 1) / ranks; }

double strong_efficiency(const Timeline& timeline, Scenario scenario) {
  const int n = scenario.ranks;
  return seconds_of(timeline, scenario, 1, timeline.leaves) /
         (n * seconds_of(timeline, scenario, n, leaves_of_rank(timeline, n)));
}

double weak_efficiency(const Timeline& timeline, Scenario scenario) {
  return seconds_of(timeline, scenario, 1, scenario.leaves) / seconds_of(timeline, scenario, scenario.ranks, scenario.leaves);
}

double expected_largest(int n) {
  constexpr double kEnd = 9, kStep = 1e-3;  // beyond 9 standard deviations nothing is left that a double would show
  double sum = 0;
  for (double x = kStep / 2; x < kEnd; x += kStep) {
    const double above = std::erfc(x / std::sqrt(2.0)) / 2;  // 1 - F(x) = F(-x)
    sum += -std::expm1(n * std::log1p(-above)) - std::pow(above, n);
  }
  return sum * kStep;
}

double state_bytes(int stage, double parameters, double parameter_bytes, int n, double largest_unit) {
  const double p = parameters, part = parameters / n;
  const bool half = parameter_bytes < 4;
  if (stage == 0) return 16 * p;
  if (stage == 1) return half ? 4 * p + 12 * part : 8 * p + 8 * part;
  if (stage == 2) return half ? 2 * p + 14 * part : 4 * p + 12 * part;
  return 16 * part + largest_unit;
}

}  // namespace fmtrain

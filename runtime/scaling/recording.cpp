#include "runtime/scaling/recording.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/errors.h"
#include "runtime/scaling/spread.h"

namespace fmtrain {
namespace {

constexpr double kBackward = 2.0 / 3;

struct Update {
  double compute = 0, optimizer = 0, other = 0, samples = 0, tokens = 0;
};

std::map<int64_t, Update> updates_of(const std::vector<Json>& log, int64_t warmup) {
  std::map<int64_t, Update> updates;
  for (const Json& line : log) {
    const Json& seconds = line.at("seconds");
    const auto at = line.at("step").get<int64_t>();
    if (at <= warmup) continue;
    updates[at - 1] = {seconds.at("compute"), seconds.at("optimizer"),
                       seconds.at("other").get<double>() + seconds.at("data").get<double>(), line.at("samples"),
                       line.at("tokens")};
  }
  if (updates.empty()) throw DataError("the recorded run has no update after its warm-up; take more --steps");
  return updates;
}

/// Sums over updates of what each bucket was.
struct Sums {
  std::vector<Bucket> buckets;
  double rest = 0;
};

void add_recorded_update(Sums& sums, std::vector<RecordedCall> calls, double backward) {
  double end = calls.front().awaited;
  for (const RecordedCall& call : calls) end = std::min(end, call.awaited);
  std::sort(calls.begin(), calls.end(), [](const RecordedCall& a, const RecordedCall& b) { return a.issued < b.issued; });
  const auto behind = std::find_if(calls.begin(), calls.end(), [end](const RecordedCall& call) { return call.issued >= end; });
  const auto count = static_cast<size_t>(behind - calls.begin());
  if (sums.buckets.empty()) sums.buckets.resize(count, {0, 0});
  if (sums.buckets.size() != count)
    throw DataError("the recorded updates sent different numbers of buckets; record without finetune.unfreeze_every");
  for (size_t i = 0; i < count; ++i) {
    sums.buckets[i].bytes += calls[i].bytes;
    sums.buckets[i].ready += std::clamp(1 - (end - calls[i].issued) / backward, 0.0, 1.0);
  }
  for (auto call = behind; call != calls.end(); ++call) sums.rest += call->bytes;
}

template <class Figure>
double median_over(const std::map<int64_t, Update>& updates, const Figure& figure) {
  std::vector<double> values;
  for (const auto& [at, update] : updates) values.push_back(figure(update));
  return spread_of(std::move(values)).median;
}

/// Of the compute seconds a token, times the mean tokens: updates of more tokens take longer without any jitter. 1.4826 times the median
/// distance from the median, which is the standard deviation of normals and takes no notice of few updates that something else held up, as
/// the median update, to which predictions are compared, does not (Rousseeuw & Croux, "Alternatives to the median absolute deviation", 1993).
double jitter_of(const std::map<int64_t, Update>& updates, double usual_compute, double mean_tokens) {
  const double usual = usual_compute / mean_tokens;
  return 1.4826 * median_over(updates, [&](const Update& u) { return std::abs(u.compute / u.tokens - usual) * mean_tokens; });
}

void add_work(Timeline& t, const std::map<int64_t, Update>& updates, int64_t leaves_of_rank) {
  for (const auto& [at, u] : updates) {
    t.samples += u.samples / static_cast<double>(updates.size());
    t.tokens += u.tokens / static_cast<double>(updates.size());
  }
  const double compute = t.tokens * median_over(updates, [](const Update& u) { return u.compute / u.tokens; });
  const double leaf = compute / static_cast<double>(leaves_of_rank);
  t.forward = leaf * (1 - kBackward);
  t.backward = leaf * kBackward;
  t.optimizer = median_over(updates, [](const Update& u) { return u.optimizer; });
  t.other = median_over(updates, [](const Update& u) { return u.other; });
  t.jitter = jitter_of(updates, compute, t.tokens);
}

}  // namespace

Timeline timeline_of(const Recording& r, const std::vector<Json>& log, int64_t warmup) {
  const auto updates = updates_of(log, warmup);
  Timeline t;
  t.name = r.name;
  t.source =
      "recorded at stage 0 on " + std::to_string(r.ranks) + " ranks, " + std::to_string(updates.size()) +
      " updates: readiness, bytes, compute, optimizer and jitter are measured; forward is taken to be a third of a leaf's time";
  t.ranks = r.ranks;
  t.threads = r.threads;
  t.cores = r.cores;
  t.leaves = r.leaves;
  t.parameters = r.parameters;
  t.on_cpu = true;
  add_work(t, updates, r.leaves_of_rank);
  std::map<int64_t, std::vector<RecordedCall>> calls;
  for (const RecordedCall& call : r.calls)
    if (updates.contains(call.update)) calls[call.update].push_back(call);
  Sums sums;
  for (const auto& [at, of_update] : calls) add_recorded_update(sums, of_update, t.backward);
  const double n = static_cast<double>(std::max<size_t>(1, calls.size()));
  double ready = 0;
  for (const Bucket& sum : sums.buckets) t.buckets.push_back({sum.bytes / n, ready = std::max(ready, sum.ready / n)});
  t.rest = std::max(0.0, sums.rest / n - r.parameters / 512);  // without the sums of squares, which the model adds itself
  return t;
}

}  // namespace fmtrain

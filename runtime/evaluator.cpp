#include "runtime/evaluator.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>

#include "comm/journal.h"
#include "models/ops/product.h"
#include "runtime/data/loader.h"
#include "runtime/metrics/classification.h"
#include "runtime/metrics/tagging.h"

namespace fmtrain {
namespace {

/// The intervals' resampling is part of the metric's definition, not of the run.
constexpr uint64_t kBootstrapSeed = 1;

/// Samples [first, second) of each text.
std::vector<std::pair<int64_t, int64_t>> samples_of_texts(const Dataset& data) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (int64_t id = 0; id < data.size(); ++id) {
    if (id == 0 || data.texts()[static_cast<size_t>(id)] != data.texts()[static_cast<size_t>(id - 1)]) ranges.emplace_back(id, id);
    ranges.back().second = id + 1;
  }
  return ranges;
}

int64_t tokens_of(const Dataset& data, std::pair<int64_t, int64_t> samples) {
  const auto lengths = data.lengths().subspan(static_cast<size_t>(samples.first), static_cast<size_t>(samples.second - samples.first));
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

void count_text(TaggingCounts& counts, int64_t text, const std::vector<int32_t>& gold, const std::vector<int32_t>& predicted) {
  counts.add_text(text, gold, predicted);
}

void count_text(ClassCounts& counts, int64_t text, const std::vector<int32_t>& gold, const std::vector<int32_t>& predicted) {
  counts.add_text(text, gold[0], predicted[0]);
}

/// Everything ranks exchange: integer counts, and one loss sum per batch.
template <class Counts>
struct DataTally {
  Counts counts;
  std::vector<double> losses;
};

/// Of the rows of target_logits(), [..] -> [T] or [S], 0 where a row has no target.
at::Tensor in_all_rows(const at::Tensor& best, const Batch& batch) {
  if (!batch.target_rows.defined()) return best;
  return at::zeros_like(batch.targets).index_copy_(0, batch.target_rows, best);
}

template <class Counts>
void run_batches(TaskModel& model, const Dataset& data, Communicator& comm, const std::vector<std::vector<int64_t>>& batches,
                 DataTally<Counts>& tally, const BatchDone& batch_done) {
  PackedWeights packed(kPackedBytes, kEvaluationTokens);
  const Pass pass{.packed = &packed};
  visit_batches(model, data, comm, batches, [&](size_t b, std::span<const int64_t> ids, const Batch& batch) {
    const auto logits = model.target_logits(batch, pass);
    tally.losses[b] = at::cross_entropy_loss(logits, targets_of_logits(batch), {}, at::Reduction::Sum, kIgnoreTarget).template item<double>();
    const auto best = in_all_rows(logits.argmax(1), batch).cpu();
    const std::span<const int64_t> rows(best.template data_ptr<int64_t>(), static_cast<size_t>(best.numel()));
    visit_texts(data, ids, [&](std::span<const int64_t> samples, int64_t first) {
      count_text(tally.counts, data.texts()[static_cast<size_t>(samples[0])], text_gold(data, samples),
                 text_predictions(data, samples, batch, first, rows));
    });
    if (batch_done && b + static_cast<size_t>(comm.size()) < batches.size()) batch_done(false);
  });
  if (batch_done) batch_done(true);
}

template <class Counts>
Json evaluate_as(TaskModel& model, const Dataset& data, Communicator& comm, int64_t bootstrap, const BatchDone& batch_done) {
  const auto batches = evaluation_batches(data);
  DataTally<Counts> tally{Counts(data.info().labels, data.info().texts), std::vector<double>(batches.size(), 0.0)};
  const double start = steady_seconds();
  run_batches(model, data, comm, batches, tally, batch_done);
  auto& counts = tally.counts.values();
  comm.all_reduce(at::from_blob(counts.data(), {static_cast<int64_t>(counts.size())}, at::kLong), ReduceOp::kSum).wait();
  comm.all_reduce(at::from_blob(tally.losses.data(), {static_cast<int64_t>(batches.size())}, at::kDouble), ReduceOp::kSum).wait();
  auto seconds = at::full({1}, steady_seconds() - start, at::kDouble);
  comm.all_reduce(seconds, ReduceOp::kMax).wait();

  const auto targets = std::accumulate(data.valid_targets().begin(), data.valid_targets().end(), int64_t{0});
  const double loss = std::accumulate(tally.losses.begin(), tally.losses.end(), 0.0);
  const double elapsed = seconds.item<double>();
  Json result;
  result["loss"] = loss / static_cast<double>(std::max<int64_t>(targets, 1));
  result["samples"] = data.size();
  result["texts"] = data.info().texts;
  result["tokens"] = data.info().tokens;
  result["seconds"] = elapsed;
  result["samples_per_s"] = static_cast<double>(data.size()) / elapsed;
  result["tokens_per_s"] = static_cast<double>(data.info().tokens) / elapsed;
  result.update(metrics_of(tally.counts, bootstrap, kBootstrapSeed));
  return result;
}

}  // namespace

std::vector<std::vector<int64_t>> evaluation_batches(const Dataset& data, int64_t token_budget) {
  auto texts = samples_of_texts(data);
  std::stable_sort(texts.begin(), texts.end(), [&](auto a, auto b) { return tokens_of(data, a) > tokens_of(data, b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = 0;
  for (const auto& text : texts) {
    const int64_t more = tokens_of(data, text);
    if (batches.empty() || tokens + more > token_budget) {
      batches.emplace_back();
      tokens = 0;
    }
    for (int64_t id = text.first; id < text.second; ++id) batches.back().push_back(id);
    tokens += more;
  }
  return batches;
}

std::vector<int32_t> text_predictions(const Dataset& data, std::span<const int64_t> samples, const Batch& batch, int64_t first,
                                      std::span<const int64_t> rows) {
  if (data.info().task == Task::kSequenceClassification) return {static_cast<int32_t>(rows[static_cast<size_t>(first)])};
  const auto* offsets = batch.offsets.data_ptr<int64_t>();
  std::vector<int32_t> labels;
  for (size_t i = 0; i < samples.size(); ++i)
    for (const auto token : data.words(samples[i]).token)
      labels.push_back(token < 0 ? 0 : static_cast<int32_t>(rows[static_cast<size_t>(offsets[first + static_cast<int64_t>(i)] + token)]));
  return labels;
}

std::vector<int32_t> text_gold(const Dataset& data, std::span<const int64_t> samples) {
  if (data.info().task == Task::kSequenceClassification) return {data.label(samples[0])};
  std::vector<int32_t> gold;
  for (const auto id : samples) {
    const auto words = data.words(id).gold;
    gold.insert(gold.end(), words.begin(), words.end());
  }
  return gold;
}

void visit_batches(TaskModel& model, const Dataset& data, const Communicator& comm,
                   const std::vector<std::vector<int64_t>>& batches, const BatchVisit& visit) {
  const auto size = static_cast<size_t>(comm.size());
  size_t next_read = static_cast<size_t>(comm.rank());
  Loader loader(data, [&]() -> std::optional<std::vector<int64_t>> {
    if (next_read >= batches.size()) return std::nullopt;
    next_read += size;
    return batches[next_read - size];
  });
  const c10::InferenceMode no_graph;
  const auto device = model.parameters()[0].value.device();
  for (size_t b = static_cast<size_t>(comm.rank()); b < batches.size(); b += size)
    visit(b, batches[b], to(*loader.next(), device));
}

void visit_texts(const Dataset& data, std::span<const int64_t> ids, const TextVisit& visit) {
  const auto text_of = [&](size_t i) { return data.texts()[static_cast<size_t>(ids[i])]; };
  for (size_t i = 0; i < ids.size();) {
    size_t end = i + 1;
    while (end < ids.size() && text_of(end) == text_of(i)) ++end;
    visit(ids.subspan(i, end - i), static_cast<int64_t>(i));
    i = end;
  }
}

Json evaluate(TaskModel& model, const Dataset& data, Communicator& comm, int64_t bootstrap, const BatchDone& batch_done) {
  return data.info().task == Task::kTokenClassification ? evaluate_as<TaggingCounts>(model, data, comm, bootstrap, batch_done)
                                                        : evaluate_as<ClassCounts>(model, data, comm, bootstrap, batch_done);
}

}  // namespace fmtrain

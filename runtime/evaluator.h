// Exact evaluation: whole texts are packed into batches whatever the number of ranks, ranks share the batches, and only
// integer counts and per-batch loss sums are added up, so every rank count gives the same figures.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "models/task_model.h"
#include "runtime/data/dataset.h"
#include "runtime/json.h"

namespace fmtrain {

/// Tokens of one evaluation batch: enough to keep the products large, few enough to stay in cache. For MiniLM in bf16, 512 to 4,096
/// differ by less than the noise of measuring, at 31 and at 128 tokens a sample; 8,192 is slower.
inline constexpr int64_t kEvaluationTokens = 1024;

/// Most that an evaluation packs of the weights (models/ops/product.h): all of a small encoder, the first layers of a large one, which would
/// pay with memory that it lacks for the 2 % that this is worth.
inline constexpr int64_t kPackedBytes = 64 << 20;

/// Sample ids of each evaluation batch: all samples of a text stay together, texts of similar length too, at most
/// `token_budget` tokens a batch unless one text alone has more.
std::vector<std::vector<int64_t>> evaluation_batches(const Dataset& data, int64_t token_budget = kEvaluationTokens);

/// Label ids of one text: for token classification of each of its words (a word without tokens: 0, "O"), else one id.
/// `rows` are the label ids of the batch's rows (tokens or samples), `first` the batch's index of the first sample.
std::vector<int32_t> text_predictions(const Dataset& data, std::span<const int64_t> samples, const Batch& batch, int64_t first,
                                      std::span<const int64_t> rows);

/// Gold label ids of one text, as many as text_predictions() gives.
std::vector<int32_t> text_gold(const Dataset& data, std::span<const int64_t> samples);

/// Gets a batch on the model's device and the ids of its samples. `number`: its index in the list of batches.
using BatchVisit = std::function<void(size_t number, std::span<const int64_t> ids, const Batch& batch)>;
/// This rank's share of `batches`, every size()-th, read ahead; without a graph.
void visit_batches(TaskModel& model, const Dataset& data, const Communicator& comm,
                   const std::vector<std::vector<int64_t>>& batches, const BatchVisit& visit);

/// Gets the samples of one text and the batch's index of the first of them.
using TextVisit = std::function<void(std::span<const int64_t> samples, int64_t first)>;
void visit_texts(const Dataset& data, std::span<const int64_t> ids_of_batch, const TextVisit& visit);

/// Told after each batch of this rank; `last`: no other follows, then figures are added up and computed. Also told when there is none.
using BatchDone = std::function<void(bool last)>;

/// Collective. {loss (mean over valid targets), samples, texts, tokens, seconds, samples_per_s, tokens_per_s, metrics {...},
/// intervals, per_label, token_report, confusion ...}; the same on every rank except for the seconds, which are the slowest
/// rank's. `bootstrap` resamples for the intervals.
Json evaluate(TaskModel& model, const Dataset& data, Communicator& comm, int64_t bootstrap, const BatchDone& batch_done = {});

}  // namespace fmtrain

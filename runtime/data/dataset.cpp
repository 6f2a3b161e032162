#include "runtime/data/dataset.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>

#include <algorithm>

#include "models/ops/kernels.h"
#include "runtime/data/dataset_file.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

class PreparedDataset final : public Dataset {
 public:
  PreparedDataset(const std::string& path, int64_t vocab_size, int64_t limit, int64_t in_memory) : data_(read_dataset_file(path, in_memory)) {
    check_ids(path, vocab_size);
    if (limit >= 0 && limit < data_.samples()) shorten(static_cast<size_t>(limit));
    measure();
  }

  const DatasetInfo& info() const override { return data_.info; }
  int64_t size() const override { return data_.samples(); }
  std::span<const int32_t> lengths() const override { return lengths_; }
  std::span<const int32_t> valid_targets() const override { return valid_targets_; }
  std::span<const int32_t> texts() const override { return data_.texts; }
  int32_t label(int64_t id) const override { return data_.labels.at(static_cast<size_t>(id)); }

  SampleWords words(int64_t id) const override {
    const auto first = static_cast<size_t>(data_.word_offsets[static_cast<size_t>(id)]);
    const auto count = static_cast<size_t>(data_.word_offsets[static_cast<size_t>(id) + 1]) - first;
    return {std::span(data_.word_gold).subspan(first, count), std::span(data_.word_token).subspan(first, count)};
  }

  Batch get(std::span<const int64_t> ids) const override {
    int64_t rows = 0, valid_targets = 0;
    for (const auto id : ids) {
      const auto at = static_cast<size_t>(id);
      rows += lengths_.at(at);
      valid_targets += valid_targets_[at];
      __builtin_prefetch(&data_.offsets[at]);
      if (!data_.labels.empty()) __builtin_prefetch(&data_.labels[at]);
    }
    const auto samples = static_cast<int64_t>(ids.size());
    const bool tagging = data_.info.task == Task::kTokenClassification;
    Batch batch{longs(rows), zeros(rows), longs(rows), longs(samples + 1), longs(samples), longs(tagging ? rows : samples), {}, valid_targets};
    batch.offsets.data_ptr<int64_t>()[0] = 0;
    if (tagging) std::fill_n(batch.targets.data_ptr<int64_t>(), rows, kIgnoreTarget);
    if (tagging && valid_targets > 0) batch.target_rows = longs(valid_targets);
    auto* target_row = batch.target_rows.defined() ? batch.target_rows.data_ptr<int64_t>() : nullptr;
    std::vector<int32_t> scratch;
    for (int64_t s = 0, row = 0; s < samples; ++s) {
      if (s + kAhead < samples) fetch(static_cast<size_t>(ids[static_cast<size_t>(s + kAhead)]));
      row = put(batch, s, row, ids[static_cast<size_t>(s)], target_row, scratch);
    }
    return batch;
  }

 private:
  /// Without a dispatch: finding at::empty's and at::zeros' functions takes as long as filling the memory of a batch.
  static at::Tensor longs(int64_t numel) { return at::detail::empty_cpu({numel}, at::kLong); }
  /// In memory that a thread's batches share, for nobody writes there.
  static at::Tensor zeros(int64_t numel) {
    thread_local at::Tensor all;
    if (!all.defined() || all.numel() < numel) {
      all = longs(2 * numel);
      std::fill_n(all.data_ptr<int64_t>(), all.numel(), int64_t{0});
    }
    auto some = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(all.storage()), all.key_set(), all.dtype());
    some.unsafeGetTensorImpl()->set_sizes_contiguous({numel});
    return some;
  }

  void check_ids(const std::string& path, int64_t vocab_size) const {
    int32_t least = data_.stored ? data_.stored->least() : 0, greatest = data_.stored ? data_.stored->greatest() : 0;
    for (const int32_t token : data_.tokens) {  // without a branch: several ids an instruction
      least = std::min(least, token);
      greatest = std::max(greatest, token);
    }
    if (data_.token_count() == 0 || (least >= 0 && greatest < vocab_size)) return;
    throw DataError(path + ": token id " + std::to_string(least < 0 ? least : greatest) + " is outside the model's vocabulary of " + std::to_string(vocab_size));
  }

  static constexpr int64_t kAhead = 8;  ///< samples stand anywhere in memory: so many are on their way from it
  void fetch(size_t at) const {
    if (data_.stored) return;
    const auto* first = data_.tokens.data() + data_.offsets[at];
    for (int32_t i = 0; i < lengths_[at]; i += 16) __builtin_prefetch(first + i);  // lines of 64 bytes
  }

  /// Tokens of sample `at`; of a large file by way of `scratch`.
  const int32_t* tokens_of(size_t at, std::vector<int32_t>& scratch) const {
    if (!data_.stored) return data_.tokens.data() + data_.offsets[at];
    scratch.resize(static_cast<size_t>(lengths_[at]));
    data_.stored->copy(data_.offsets[at], scratch);
    return scratch.data();
  }

  /// Sample `id` as number `s` of the batch from row `row` on; returns the next free row. Appends to target_rows at `target_row`.
  int64_t put(Batch& batch, int64_t s, int64_t row, int64_t id, int64_t*& target_row, std::vector<int32_t>& scratch) const {
    const auto at = static_cast<size_t>(id);
    const int64_t length = lengths_[at];
    kernels().widen(tokens_of(at, scratch), length, batch.tokens.data_ptr<int64_t>() + row);
    kernels().count_up(length, batch.positions.data_ptr<int64_t>() + row);
    batch.sample_ids.data_ptr<int64_t>()[s] = id;
    batch.offsets.data_ptr<int64_t>()[s + 1] = row + length;
    auto* targets = batch.targets.data_ptr<int64_t>();
    if (data_.info.task == Task::kSequenceClassification) {
      targets[s] = data_.labels[at];
    } else {
      const auto [gold, token] = words(id);
      for (size_t w = 0; w < gold.size(); ++w)
        if (token[w] >= 0) targets[*target_row++ = row + token[w]] = gold[w];
    }
    return row + length;
  }

  void shorten(size_t samples) {
    data_.texts.resize(samples);
    data_.offsets.resize(samples + 1);
    if (!data_.stored) data_.tokens.resize(static_cast<size_t>(data_.offsets.back()));
    data_.info.texts = samples == 0 ? 0 : data_.texts.back() + 1;
    data_.info.tokens = data_.offsets.back();
    if (data_.info.task == Task::kTokenClassification) data_.word_offsets.resize(samples + 1);
    else data_.labels.resize(samples);
  }

  void measure() {
    for (int64_t s = 0; s < data_.samples(); ++s) {
      const auto at = static_cast<size_t>(s);
      lengths_.push_back(static_cast<int32_t>(data_.offsets[at + 1] - data_.offsets[at]));
      if (data_.info.task == Task::kSequenceClassification) {
        valid_targets_.push_back(1);
        continue;
      }
      const auto tokens = words(s).token;
      valid_targets_.push_back(static_cast<int32_t>(std::count_if(tokens.begin(), tokens.end(), [](int32_t t) { return t >= 0; })));
    }
  }

  DatasetFile data_;
  std::vector<int32_t> lengths_, valid_targets_;
};

}  // namespace

std::unique_ptr<Dataset> open_dataset(const std::string& path, int64_t vocab_size, int64_t limit, int64_t in_memory) {
  return std::make_unique<PreparedDataset>(path, vocab_size, limit, in_memory);
}

}  // namespace fmtrain

#include "runtime/continual/observe.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <stdexcept>

#include "runtime/evaluator.h"
#include "runtime/metrics/tagging.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// What ranks tell each other of every text, in one piece of memory. Only the rank that has the text writes, so a sum is a
/// copy. Numbers travel as their bits, for a sum of floats turns -0 into 0.
class Rows {
 public:
  Rows(const std::vector<std::vector<int32_t>>& gold, int64_t dims, int64_t classes) : dims_(dims), classes_(classes) {
    size_t end = 0;
    for (const auto& words : gold) {
      begin_.push_back(end);
      end += static_cast<size_t>(dims + classes) + 2 + words.size();
    }
    begin_.push_back(end);
    cells_.assign(end, 0);
  }

  std::span<int32_t> features(int64_t text) { return part(text, 0, dims_); }
  std::span<int32_t> probabilities(int64_t text) { return part(text, dims_, classes_); }
  int32_t& word(int64_t text) { return part(text, dims_ + classes_, 1)[0]; }         ///< whose probabilities they are
  int32_t& unknown(int64_t text) { return part(text, dims_ + classes_ + 1, 1)[0]; }  ///< tokens that are [UNK]
  std::span<int32_t> predicted(int64_t text) {
    const auto all = std::span(cells_).subspan(at(text), at(text + 1) - at(text));
    return all.subspan(static_cast<size_t>(dims_ + classes_) + 2);
  }

  void exchange(Communicator& comm) {
    comm.all_reduce(at::from_blob(cells_.data(), {static_cast<int64_t>(cells_.size())}, at::kInt), ReduceOp::kSum).wait();
  }

 private:
  size_t at(int64_t text) const { return begin_[static_cast<size_t>(text)]; }
  std::span<int32_t> part(int64_t text, int64_t from, int64_t count) {
    return std::span(cells_).subspan(at(text) + static_cast<size_t>(from), static_cast<size_t>(count));
  }
  int64_t dims_, classes_;
  std::vector<size_t> begin_;
  std::vector<int32_t> cells_;
};

/// A batch and what the model said of it, on the CPU.
struct Observed {
  const Batch& batch;
  at::Tensor tokens, hidden, probabilities, best;
  const float* hidden_of(int64_t row) const { return hidden.const_data_ptr<float>() + row * hidden.size(1); }
  const float* probabilities_of(int64_t row) const {
    return probabilities.const_data_ptr<float>() + row * probabilities.size(1);
  }
  int64_t begin(int64_t sample) const { return batch.offsets.const_data_ptr<int64_t>()[sample]; }
};

Observed observed(TaskModel& model, const Batch& batch) {
  const auto hidden = model.hidden_states(batch, Pass{});
  const auto logits = model.logits_from(hidden, batch, Pass{});
  const auto probabilities = at::softmax(logits, 1);
  return {batch, batch.tokens.cpu(), hidden.cpu().contiguous(), probabilities.cpu().contiguous(), logits.argmax(1).cpu()};
}

void copy_bits(const float* from, std::span<int32_t> to) {
  for (auto& cell : to) cell = std::bit_cast<int32_t>(*from++);
}

/// Mean over the rows [begin, end), added up in their order.
void write_mean(const Observed& o, int64_t begin, int64_t end, std::span<int32_t> to) {
  std::vector<double> sum(to.size(), 0.0);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = o.hidden_of(row);
    for (size_t d = 0; d < sum.size(); ++d) sum[d] += static_cast<double>(x[d]);
  }
  const auto count = static_cast<double>(end - begin);
  for (size_t d = 0; d < sum.size(); ++d) to[d] = std::bit_cast<int32_t>(static_cast<float>(sum[d] / count));
}

/// The word that is least likely O, and its row; row -1: no word has a token.
struct Word {
  int32_t number = 0;
  int64_t row = -1;
};
Word likeliest_entity(const Dataset& data, std::span<const int64_t> samples, int64_t first, const Observed& o) {
  Word found;
  int32_t number = 0;
  for (const auto sample : samples) {
    const int64_t begin = o.begin(first++);
    for (const auto token : data.words(sample).token) {
      const bool less = token >= 0 && (found.row < 0 || *o.probabilities_of(begin + token) < *o.probabilities_of(found.row));
      if (less) found = {number, begin + token};
      ++number;
    }
  }
  return found;
}

void write_text(const Dataset& data, std::span<const int64_t> samples, int64_t first, const Observed& o, int32_t unknown,
                Rows& rows) {
  const int64_t text = data.texts()[static_cast<size_t>(samples[0])];
  const int64_t begin = o.begin(first), end = o.begin(first + std::ssize(samples));
  write_mean(o, begin, end, rows.features(text));
  const auto* tokens = o.tokens.const_data_ptr<int64_t>();
  rows.unknown(text) = static_cast<int32_t>(std::count(tokens + begin, tokens + end, int64_t{unknown}));
  const bool tagging = data.info().task == Task::kTokenClassification;
  const Word word = tagging ? likeliest_entity(data, samples, first, o) : Word{0, first};
  rows.word(text) = word.number;
  if (word.row >= 0) copy_bits(o.probabilities_of(word.row), rows.probabilities(text));
  else rows.probabilities(text)[0] = std::bit_cast<int32_t>(1.0f);
  const std::span best(o.best.const_data_ptr<int64_t>(), static_cast<size_t>(o.best.numel()));
  const auto labels = text_predictions(data, samples, o.batch, first, best);
  std::copy(labels.begin(), labels.end(), rows.predicted(text).begin());
}

/// Returns the seconds a text of this rank took; 0 without any.
double observe_share(TaskModel& model, const Dataset& data, const Communicator& comm, int32_t unknown, Rows& rows) {
  const double start = now();
  int64_t texts = 0;
  visit_batches(model, data, comm, evaluation_batches(data), [&](size_t, std::span<const int64_t> ids, const Batch& batch) {
    const Observed o = observed(model, batch);
    visit_texts(data, ids, [&](std::span<const int64_t> samples, int64_t first) {
      write_text(data, samples, first, o, unknown, rows);
      ++texts;
    });
  });
  return texts ? (now() - start) / static_cast<double>(texts) : 0;
}

/// Of every text, without the model: gold labels and tokens.
struct Known {
  std::vector<std::vector<int32_t>> gold;
  std::vector<double> lengths;
};

Known known(const Dataset& data) {
  Known all;
  all.gold.resize(static_cast<size_t>(data.info().texts));
  all.lengths.resize(all.gold.size(), 0.0);
  std::vector<int64_t> ids(static_cast<size_t>(data.size()));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  visit_texts(data, ids, [&](std::span<const int64_t> samples, int64_t) {
    const auto text = static_cast<size_t>(data.texts()[static_cast<size_t>(samples[0])]);
    all.gold[text] = text_gold(data, samples);
    for (const auto id : samples) all.lengths[text] += data.lengths()[static_cast<size_t>(id)];
  });
  return all;
}

void append_floats(std::span<const int32_t> bits, std::vector<float>& to) {
  for (const auto cell : bits) to.push_back(std::bit_cast<float>(cell));
}

void take(Observation& o, const Known& all, Rows& rows, bool has_unknown) {
  std::vector<double> unknown;
  for (size_t i = 0; i < all.gold.size(); ++i) {
    const auto text = static_cast<int64_t>(i);
    append_floats(rows.features(text), o.features);
    append_floats(rows.probabilities(text), o.probabilities);
    const auto& gold = all.gold[i];
    o.labels.push_back(gold.empty() ? 0 : gold[static_cast<size_t>(rows.word(text))]);
    const auto labels = rows.predicted(text);
    o.predicted.emplace_back(labels.begin(), labels.end());
    unknown.push_back(all.lengths[i] > 0 ? rows.unknown(text) / all.lengths[i] : 0);
  }
  o.gold = all.gold;
  o.quantities.push_back({"length", all.lengths});
  if (has_unknown) o.quantities.push_back({"unknown", unknown});
}

void require_alike(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

/// {correct, predicted, truth} entities of each text, over all types.
std::vector<int64_t> entity_counts(const Observation& o, const std::vector<std::string>& labels) {
  TaggingCounts counts(labels, std::ssize(o.gold));
  std::vector<int64_t> result(3 * o.gold.size(), 0);
  for (size_t i = 0; i < o.gold.size(); ++i) {
    const auto text = static_cast<int64_t>(i);
    counts.add_text(text, o.gold[i], o.predicted[i]);
    const auto groups = counts.row(text).first(static_cast<size_t>(3 * counts.groups()));
    for (size_t c = 0; c < groups.size(); ++c) result[3 * i + c % 3] += groups[c];
  }
  return result;
}

std::vector<int64_t> accuracy_counts(const Observation& o) {
  std::vector<int64_t> result;
  for (size_t i = 0; i < o.gold.size(); ++i) result.insert(result.end(), {o.gold[i] == o.predicted[i], 1});
  return result;
}

}  // namespace

DriftSample Observation::sample(bool labelled) const {
  return {features, dims, rows(), labelled ? std::span<const int32_t>(labels) : std::span<const int32_t>(), quantities};
}

Observation observe(TaskModel& model, const Dataset& data, Communicator& comm, int32_t unknown) {
  Observation o;
  o.dims = model.config().hidden_size;
  o.classes = model.config().labels;
  const Known all = known(data);
  Rows rows(all.gold, o.dims, o.classes);
  auto seconds = at::full({1}, observe_share(model, data, comm, unknown, rows), at::kDouble);
  rows.exchange(comm);
  comm.all_reduce(seconds, ReduceOp::kMax).wait();
  o.seconds_per_text = seconds.item<double>();
  take(o, all, rows, unknown >= 0);
  return o;
}

PairedCounts paired_counts(const Observation& champion, const Observation& challenger, const std::vector<std::string>& labels,
                           Task task) {
  require_alike(champion.gold == challenger.gold, "champion and challenger observed different texts");
  const auto fits = [](const auto& gold, const auto& predicted) { return gold.size() == predicted.size(); };
  for (const auto* o : {&champion, &challenger})
    require_alike(std::equal(o->gold.begin(), o->gold.end(), o->predicted.begin(), o->predicted.end(), fits),
                  "gold and predicted labels are of different texts");
  if (task == Task::kTokenClassification) return {3, entity_counts(champion, labels), entity_counts(challenger, labels), {}};
  PairedCounts counts{2, accuracy_counts(champion), accuracy_counts(challenger), {}};
  for (const auto& gold : champion.gold) counts.strata.push_back(gold.at(0));
  return counts;
}

}  // namespace fmtrain

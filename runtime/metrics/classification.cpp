#include "runtime/metrics/classification.h"

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "runtime/errors.h"
#include "runtime/metrics/bootstrap.h"

namespace fmtrain {

ClassCounts::ClassCounts(std::vector<std::string> labels, int64_t texts)
    : labels_(std::move(labels)), texts_(texts), values_(static_cast<size_t>(2 * texts)) {
  if (labels_.empty()) throw DataError("a classification set needs at least one label");
  std::set<std::string> seen;
  for (const auto& label : labels_)
    if (!seen.insert(label).second) throw DataError("label " + quoted(label) + " is listed twice");
}

void ClassCounts::add_text(int64_t text, int32_t gold, int32_t predicted) {
  const auto l = static_cast<int32_t>(labels_.size());
  if (text < 0 || text >= texts_) throw std::logic_error("add_text: no such text");
  if (gold < 0 || gold >= l || predicted < 0 || predicted >= l) throw std::logic_error("add_text: label id out of range");
  int64_t* at = values_.data() + 2 * text;
  if (at[0] != 0) throw std::logic_error("add_text: text counted twice");
  at[0] = gold + 1;
  at[1] = predicted + 1;
}

std::pair<int64_t, int64_t> ClassCounts::pair(int64_t text) const {
  const int64_t gold = values_.at(static_cast<size_t>(2 * text)), predicted = values_.at(static_cast<size_t>(2 * text + 1));
  const auto l = static_cast<int64_t>(labels_.size());
  if (gold < 0 || gold > l || predicted < 0 || predicted > l || (gold == 0) != (predicted == 0))
    throw std::logic_error("a text was counted by two ranks");
  return {gold - 1, predicted - 1};
}

std::vector<Tally> ClassCounts::classes(std::span<const int64_t> texts) const {
  std::vector<Tally> tallies(labels_.size());
  for (const int64_t text : texts) {
    const auto [gold, predicted] = pair(text);
    if (gold < 0) continue;
    ++tallies[static_cast<size_t>(gold)].truth;
    ++tallies[static_cast<size_t>(predicted)].predicted;
    if (gold == predicted) ++tallies[static_cast<size_t>(gold)].correct;
  }
  return tallies;
}

namespace {

Json class_confusion_json(const ClassCounts& counts) {
  std::map<std::pair<int64_t, int64_t>, int64_t> cells;
  for (int64_t text = 0; text < counts.texts(); ++text)
    if (const auto pair = counts.pair(text); pair.first >= 0) ++cells[pair];
  Json rows = Json::array();
  for (const auto& [cell, n] : cells) rows.push_back({cell.first, cell.second, n});
  return {{"labels", counts.labels()}, {"cells", std::move(rows)}};
}

/// Mean recall of the classes that occur in the truth.
double balanced_accuracy(const std::vector<Tally>& classes) {
  double sum = 0, present = 0;
  for (const Tally& tally : classes) {
    if (tally.truth == 0) continue;
    sum += tally.recall();
    ++present;
  }
  return present == 0 ? 0 : sum / present;
}

/// Matthews correlation for many classes (Gorodkin 2004), 0 when truth or prediction is constant; Cohen's kappa, null when
/// chance agreement is complete (both are one and the same class).
struct Agreement {
  double mcc = 0;
  Json kappa;
};
Agreement agreement(const std::vector<Tally>& classes) {
  double n = 0, correct = 0, chance = 0, truth = 0, predicted = 0;
  for (const Tally& tally : classes) {
    const auto t = static_cast<double>(tally.truth), p = static_cast<double>(tally.predicted);
    n += t;
    correct += static_cast<double>(tally.correct);
    chance += t * p;
    truth += t * t;
    predicted += p * p;
  }
  const double scale = (n * n - truth) * (n * n - predicted);
  Agreement result;
  if (scale > 0) result.mcc = (n * correct - chance) / std::sqrt(scale);
  if (n * n > chance) result.kappa = (n * correct - chance) / (n * n - chance);
  return result;
}

Json class_intervals(const ClassCounts& counts, int64_t resamples, uint64_t seed) {
  return intervals_json(counts.texts(), resamples, seed, {"f1", "accuracy", "macro_f1"},
                        [&](std::span<const int64_t> drawn, std::span<double> values) {
                          const Averages all = averages(counts.classes(drawn));
                          values[0] = values[2] = all.macro.f1;
                          values[1] = all.micro.f1;
                        });
}

}  // namespace

Json metrics_of(const ClassCounts& counts, int64_t bootstrap, uint64_t seed) {
  std::vector<int64_t> texts(static_cast<size_t>(counts.texts()));
  std::iota(texts.begin(), texts.end(), 0);
  const auto classes = counts.classes(texts);
  const Averages all = averages(classes);
  const Agreement agree = agreement(classes);
  return {{"headline", "accuracy"},
          {"metrics",
           {{"f1", all.macro.f1},
            {"precision", all.macro.precision},
            {"recall", all.macro.recall},
            {"accuracy", all.micro.f1},
            {"macro_f1", all.macro.f1},
            {"weighted_f1", all.weighted.f1},
            {"weighted_precision", all.weighted.precision},
            {"weighted_recall", all.weighted.recall},
            {"balanced_accuracy", balanced_accuracy(classes)},
            {"mcc", agree.mcc},
            {"kappa", agree.kappa},
            {"undefined", all.undefined},
            {"texts", all.truth}}},
          {"intervals", class_intervals(counts, bootstrap, seed)},
          {"per_label", label_rows(counts.labels(), classes)},
          {"averages",
           {accuracy_row(all.micro.f1, all.truth), average_row("macro avg", all.macro, all.truth),
            average_row("weighted avg", all.weighted, all.truth)}},
          {"confusion", class_confusion_json(counts)}};
}

}  // namespace fmtrain

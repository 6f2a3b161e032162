#include "runtime/continual/gate_counts.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "runtime/continual/calibration.h"
#include "runtime/continual/examples.h"
#include "runtime/continual/observe.h"
#include "runtime/continual/sealed_json.h"
#include "runtime/continual/slices.h"
#include "runtime/continual/text_store.h"
#include "runtime/data/raw.h"
#include "runtime/model_dir.h"

namespace fmtrain {
namespace {

double score(const PairedCounts& counts, const std::vector<int64_t>& of_model, const Metric& metric) {
  std::vector<int64_t> sums(static_cast<size_t>(counts.width));
  for (size_t i = 0; i < of_model.size(); ++i) sums[i % sums.size()] += of_model[i];
  return metric(sums);
}

std::vector<int64_t> whole_numbers(const Json& list) {
  if (!list.is_array()) throw std::runtime_error("counts are no list");
  std::vector<int64_t> numbers;
  for (const auto& one : list) {
    if (!one.is_number_integer()) throw std::runtime_error("a count is no whole number");
    numbers.push_back(one.get<int64_t>());
  }
  return numbers;
}

PairedCounts counts_of(const Json& json) {
  PairedCounts counts;
  counts.width = whole_of(json, "width", 1, 16);
  counts.champion = whole_numbers(json.at("champion"));
  counts.challenger = whole_numbers(json.at("challenger"));
  for (const auto stratum : whole_numbers(json.at("strata"))) counts.strata.push_back(static_cast<int32_t>(stratum));
  return counts;
}

Json counts_json(const PairedCounts& counts) {
  return {{"width", counts.width}, {"champion", counts.champion}, {"challenger", counts.challenger}, {"strata", counts.strata}};
}

std::vector<RawText> texts_in(const std::string& file, Task task) {
  std::string scheme;
  return read_raw(file, task, Format::kAuto, {}, "", &scheme);
}

Hashes hashes_of(const std::string& file, Task task) {
  Hashes hashes;
  if (std::filesystem::exists(file))
    for (const auto& text : texts_in(file, task)) hashes.insert(content_hash(plain_text(text, task)));
  return hashes;
}

}  // namespace

void relabel(Observation& seen, const std::vector<std::string>& from, const std::vector<std::string>& to) {
  std::map<std::string, int32_t> ids;
  for (size_t i = 0; i < to.size(); ++i) ids.emplace(to[i], static_cast<int32_t>(i));
  for (auto* lists : {&seen.gold, &seen.predicted})
    for (auto& list : *lists)
      for (auto& id : list) id = ids.at(from.at(static_cast<size_t>(id)));
}

void GateCounts::add(const std::string& name, NamedObservation champion, NamedObservation challenger) {
  const auto labels = grown_labels(champion.labels, challenger.labels);
  Observation &before = champion.seen, &after = challenger.seen;
  relabel(before, champion.labels, labels);
  relabel(after, challenger.labels, labels);
  if (after.texts() > most_) {
    most_ = after.texts();
    seconds_ = after.seconds_per_text;
  }
  PairedCounts counts = paired_counts(before, after, labels, task_);
  tests_.push_back({name, std::move(counts), {before.classes, std::move(before.probabilities), std::move(before.labels)},
                    {after.classes, std::move(after.probabilities), std::move(after.labels)}});
}

const GateCounts::Test* GateCounts::test(const char* name) const {
  const auto found = std::find_if(tests_.begin(), tests_.end(), [&](const Test& t) { return t.name == name; });
  return found == tests_.end() ? nullptr : &*found;
}

Json GateCounts::scores() const {
  Json scores = Json::object();
  for (const auto& t : tests_)
    scores[t.name] = {{"texts", t.counts.examples()},
                      {"champion", score(t.counts, t.counts.champion, gate_metric(task_))},
                      {"challenger", score(t.counts, t.counts.challenger, gate_metric(task_))}};
  return scores;
}

/// Texts whose label the model does not know say nothing of its temperature.
double GateCounts::temperature_of(Sure Test::*model) const {
  const Test* rolling = test("rolling");
  if (!rolling) return 1;
  const Sure& sure = rolling->*model;
  const auto width = static_cast<size_t>(sure.classes);
  std::vector<float> known;
  std::vector<int32_t> labels;
  for (size_t i = 0; i < sure.labels.size(); ++i) {
    if (sure.labels[i] >= sure.classes) continue;
    known.insert(known.end(), sure.probabilities.begin() + static_cast<std::ptrdiff_t>(i * width),
                 sure.probabilities.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
    labels.push_back(sure.labels[i]);
  }
  return labels.empty() ? 1 : fit_temperature({known, sure.classes}, labels);
}

double GateCounts::ece_of(Sure Test::*model) const {
  const Test* core = test("core");
  if (!core) return 0;
  const Sure& sure = core->*model;
  const auto calibrated = scaled({sure.probabilities, sure.classes}, temperature_of(model));
  const Probabilities rows{calibrated, sure.classes};
  const auto tops = predictions(rows);
  std::vector<bool> correct;
  for (size_t i = 0; i < tops.size(); ++i) correct.push_back(tops[i] == sure.labels[i]);
  return expected_calibration_error(confidences(rows), correct);
}

Json GateCounts::ece() const { return {{"champion", ece_of(&Test::champion)}, {"challenger", ece_of(&Test::challenger)}}; }

Json GateCounts::temperature() const {
  return {{"champion", temperature_of(&Test::champion)}, {"challenger", temperature_of(&Test::challenger)}};
}

Json GateCounts::json() const {
  Json json{{"version", 1}, {"tests", Json::object()}};
  for (const auto& t : tests_) json["tests"][t.name] = counts_json(t.counts);
  return json;
}

Metric gate_metric(Task task) { return task == Task::kTokenClassification ? Metric(f1_of_sums) : Metric(accuracy_of_sums); }

GateInputs gate_inputs(const Json& counts, Task task) {
  GateInputs inputs;
  inputs.metric = gate_metric(task);
  const int64_t width = task == Task::kTokenClassification ? 3 : 2;
  inputs.rolling.width = inputs.core.width = width;
  const Json tests = counts.at("tests");
  if (tests.contains("rolling")) inputs.rolling = counts_of(tests.at("rolling"));
  if (tests.contains("core")) inputs.core = counts_of(tests.at("core"));
  return inputs;
}

void add_slices(GateInputs& inputs, const std::string& test, const std::string& file, const std::vector<std::string>& slices,
                Task task) {
  const auto texts = texts_in(file, task);
  const PairedCounts& counts = test == "core" ? inputs.core : inputs.rolling;
  for (const auto& [name, ids] : slice_ids(parse_slices(slices), texts, task))
    inputs.slices.emplace_back(test + ": " + name, counts.of(ids));
}

int64_t leaked_texts(const std::string& train, const std::vector<std::string>& tests, Task task) {
  const Hashes trained = hashes_of(train, task);
  int64_t leaks = 0;
  for (const auto& test : tests)
    for (const auto& hash : hashes_of(test, task)) leaks += static_cast<int64_t>(trained.count(hash));
  return leaks;
}

}  // namespace fmtrain

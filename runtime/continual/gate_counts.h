// From observations of two models to what the gate judges. Champion and challenger may know different labels: they are compared by
// name.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "runtime/continual/gate.h"
#include "runtime/json.h"

namespace fmtrain {

struct Observation;  // observe.h
struct NamedObservation;

/// Gold and predicted ids become those of `to`, which has every name of `from`.
void relabel(Observation& seen, const std::vector<std::string>& from, const std::vector<std::string>& to);

class GateCounts {
 public:
  explicit GateCounts(Task task) : task_(task) {}
  void add(const std::string& test, NamedObservation champion, NamedObservation challenger);

  /// {test: {"texts", "champion", "challenger"}}: the gate's metric of both.
  Json scores() const;
  /// {"champion", "challenger"}: expected calibration error on core, with the temperature that fits the rolling set; 0 without core.
  Json ece() const;
  Json temperature() const;  ///< {"champion", "challenger"}: of that fit; 1 without a rolling set
  double seconds_per_text() const { return seconds_; }  ///< the challenger's, on the largest test
  Json json() const;                                     ///< the counts of all tests, for gate_inputs()

 private:
  /// What calibration needs of one model.
  struct Sure {
    int64_t classes = 0;
    std::vector<float> probabilities;
    std::vector<int32_t> labels;
  };
  struct Test {
    std::string name;
    PairedCounts counts;
    Sure champion, challenger;
  };
  const Test* test(const char* name) const;
  double temperature_of(Sure Test::*model) const;
  double ece_of(Sure Test::*model) const;
  Task task_;
  std::vector<Test> tests_;
  double seconds_ = 0;
  int64_t most_ = 0;
};

/// F1 of entities for tagging, accuracy for classification.
Metric gate_metric(Task task);
/// Rolling and core counts and the metric; nothing else is set. Throws std::runtime_error that says what is wrong.
GateInputs gate_inputs(const Json& counts, Task task);
/// Adds the slices of the config for the texts of `file`, whose counts are inputs.rolling or inputs.core: "rolling: words>=20".
void add_slices(GateInputs& inputs, const std::string& test, const std::string& file, const std::vector<std::string>& slices, Task task);
/// Texts of `train` that one of `tests` has too, by content; a file that is missing has none.
int64_t leaked_texts(const std::string& train, const std::vector<std::string>& tests, Task task);

}  // namespace fmtrain

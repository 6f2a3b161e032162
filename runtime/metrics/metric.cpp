#include "runtime/metrics/metric.h"

#include <algorithm>

#include "runtime/errors.h"

namespace fmtrain {

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names{"auto", "f1", "accuracy", "macro_f1", "precision", "recall", "loss"};
  return names;
}

double metric_value(const Json& evaluation, const std::string& name) {
  const auto& names = metric_names();
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw ConfigError("evaluate.metric: unknown metric " + quoted(name) +
                      "; choose auto, f1, accuracy, macro_f1, precision, recall or loss");
  if (name == "loss") return evaluation.at("loss").get<double>();
  return evaluation.at("metrics").at(name == "auto" ? evaluation.at("headline").get<std::string>() : name).get<double>();
}

bool larger_is_better(const std::string& name) { return name != "loss"; }

}  // namespace fmtrain

#include <filesystem>

#include "runtime/config/keys.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

/// As written, relative to the config file's folder, or to the working directory; absolute. Empty when there is no such file.
std::string found(const std::string& path, const std::string& folder) {
  namespace fs = std::filesystem;
  for (const auto& candidate : {fs::path(folder) / path, fs::path(path)})
    if (fs::exists(candidate)) return fs::absolute(candidate).lexically_normal().string();
  return "";
}

}  // namespace

/// Rules between keys, and the files the config names.
void cross_check(Config& config, const std::string& folder, std::vector<std::string>& faults) {
  const auto fault = [&](const std::string& path, const std::string& what) {
    const auto origin = config.origin.find(path);
    faults.push_back((origin == config.origin.end() ? "default" : origin->second) + ": " + path + ": " + what);
  };
  for (auto& [path, file] : {std::pair<std::string, std::string*>{"data.train", &config.data.train}, {"data.validation", &config.data.validation}, {"data.test", &config.data.test}}) {
    if (file->empty()) continue;
    const auto full = found(*file, folder);
    if (full.empty()) fault(path, "no file " + *file + " (looked in the config file's folder and the working directory)");
    else *file = full;
  }
  if (const auto full = found(config.model.path, folder); std::filesystem::exists(full + "/config.json")) config.model.path = full;
  if (config.batch.global % config.batch.micro != 0)
    fault("batch.micro", std::to_string(config.batch.micro) + " does not divide batch.global " + std::to_string(config.batch.global));
  if (config.schedule.warmup >= 1 && config.schedule.warmup != static_cast<double>(static_cast<int64_t>(config.schedule.warmup)))
    fault("schedule.warmup", "must be a share below 1 or a whole number of steps");
  if (config.engine.zero != 0) fault("engine.zero", "stages 1 to 3 are not available, use 0");
  if (config.engine.recompute != "none") fault("engine.recompute", "only none is available");
  const std::vector<std::string> metrics{"auto", "f1", "accuracy", "macro_f1", "precision", "recall", "loss"};
  bool known = false;
  for (const auto& name : metrics) known = known || name == config.evaluate.metric;
  if (!known) fault("evaluate.metric", "must be one of auto, f1, accuracy, macro_f1, precision, recall, loss");
  if (config.evaluate.patience && config.data.validation.empty()) fault("evaluate.early_stop.patience", "needs data.validation");
  if (config.run.dir.empty()) config.run.dir = "runs/" + config.name;
}

std::vector<std::string> computation_lines(const Config& config) {
  std::vector<std::string> lines;
  for (const auto& key : config_keys())
    if (key.fixes_computation && key.path != "model.path") lines.push_back(key.path + "=" + key.get(config));
  return lines;
}

std::string computation_hash(const Config& config) {
  Sha256 hash;
  for (const auto& line : computation_lines(config)) {
    hash.update(line.data(), line.size());
    hash.update("\n", 1);
  }
  return hash.hex();
}

}  // namespace fmtrain

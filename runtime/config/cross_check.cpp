#include "runtime/config/cross_check.h"

#include <cmath>
#include <filesystem>
#include <vector>

#include "runtime/config/scalars.h"
#include "runtime/continual/schedule.h"
#include "runtime/errors.h"
#include "runtime/model_path.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

class Checks {
 public:
  Checks(Config& config, const Origins& origins, const std::string& file, Faults& faults)
      : config_(config), origins_(origins), file_(file), faults_(faults) {}

  void run() {
    find_data("data.train", config_.data.train);
    find_data("data.validation", config_.data.validation);
    find_data("data.test", config_.data.test);
    find_model();
    batch();
    schedule();
    task();
    l2_start();
    offload();
    continual();
    if (config_.finetune.unfreeze_every && config_.finetune.freeze_backbone)
      fault({"finetune.unfreeze_every", "finetune.freeze"},
            "trains more and more of the backbone, which finetune.freeze keeps as it is; remove one of them");
    if (config_.evaluate.weights == Weights::kEma && config_.optimizer.ema == 0)
      fault({"evaluate.weights", "optimizer.ema"}, "ema needs optimizer.ema above 0, e.g. 0.999");
    if (config_.evaluate.patience && config_.data.validation.empty())
      fault({"evaluate.early_stop.patience", "data.validation"}, "needs data.validation");
    if (config_.run.dir.empty()) config_.run.dir = "runs/" + config_.name;
  }

 private:
  /// About the first of `keys`, at the place of the first that is written; says nothing when one of them is wrong by itself.
  void fault(const std::vector<std::string>& keys, const std::string& what) {
    Place place{file_, 1, 1};
    for (auto k = keys.rbegin(); k != keys.rend(); ++k) {
      if (origins_.faulty.count(*k)) return;
      const auto found = origins_.places.find(*k);
      if (found != origins_.places.end()) place = found->second;
    }
    faults_.add(place, keys[0], what);
  }

  /// As written below the config file's folder, else below the working directory.
  std::vector<fs::path> candidates(const std::string& path) const {
    const fs::path folder = fs::absolute(fs::path(file_)).parent_path();
    return {(folder / path).lexically_normal(), fs::absolute(path).lexically_normal()};
  }

  void find_data(const std::string& key, std::string& path) {
    if (path.empty()) return;
    bool folder = false;
    for (const auto& candidate : candidates(path)) {
      std::error_code none;
      folder = folder || fs::is_directory(candidate, none);
      if (!fs::is_regular_file(candidate, none)) continue;
      path = candidate.string();
      return;
    }
    if (folder) return fault({key}, quoted(path) + " is a folder; name a file");
    fault({key}, "no file " + quoted(path) + " (looked in the config file's folder and in the working directory)");
  }

  void find_model() {
    auto& path = config_.model.path;
    if (path.empty()) return;
    for (const auto& candidate : candidates(path)) {
      std::error_code none;
      if (!fs::exists(candidate / "config.json", none)) continue;
      path = candidate.string();
      return;
    }
    try {
      resolve_model(path);  // a name in the cache stays a name: the resolved config then fits other machines
    } catch (const ConfigError& error) {
      fault({"model.path"}, error.what());
    }
  }

  void batch() {
    const auto& b = config_.batch;
    if (b.global % b.micro != 0)
      fault({"batch.micro", "batch.global"},
            std::to_string(b.micro) + " does not divide batch.global " + std::to_string(b.global));
  }

  void schedule() {
    const auto& s = config_.schedule;
    if (s.warmup >= 1 && s.warmup != std::floor(s.warmup))
      fault({"schedule.warmup"}, "must be a share below 1 or a whole number of steps");
    else if (s.steps && s.warmup >= 1 && s.warmup > static_cast<double>(*s.steps))
      fault({"schedule.warmup", "schedule.steps"}, "is longer than the run of " + std::to_string(*s.steps) + " steps");
  }

  void offload() {
    if (config_.engine.offload != Offload::kNone && config_.engine.device == Device::kCpu)
      fault({"engine.offload", "engine.device"}, "moves what is on a GPU to host memory; with engine.device: cpu there is nothing to move, remove it");
  }

  void continual() {
    const auto& c = config_.continual;
    try {
      CycleSchedule{c.schedule};
    } catch (const ConfigError& error) {
      const std::string what = error.what();
      fault({"continual.schedule"}, what.substr(what.find(": ") + 2));  // which begins with "schedule"
    }
    const double least = std::ceil(1 / c.drift.alpha) - 1;
    if (static_cast<double>(c.drift.permutations) < least)
      fault({"continual.drift.permutations", "continual.drift.alpha"},
            "are too few for continual.drift.alpha: no p value could be as small; use at least " + yaml_number(least));
  }

  void l2_start() {
    const double pull = config_.finetune.l2_start;
    if (pull > 0 && config_.finetune.freeze_backbone)
      fault({"finetune.l2_start", "finetune.freeze"}, "pulls the backbone, which finetune.freeze keeps as it is; remove one of them");
    if (pull * config_.optimizer.lr > 1)
      fault({"finetune.l2_start", "optimizer.lr"}, "times optimizer.lr is more than 1: the pull would go past the weights it goes to");
  }

  void task() {
    const auto format = config_.data.format;
    const bool tagging = config_.model.task == Task::kTokenClassification;
    if (format != Format::kAuto && format != Format::kHdf5 && (format == Format::kConll) != tagging)
      fault({"data.format", "model.task"},
            tagging ? "token-classification needs conll or hdf5" : "conll is for token-classification");
    if (tagging && config_.model.pooling != Pooling::kPooler)
      fault({"model.pooling", "model.task"}, "is for sequence-classification; remove it");
  }

  Config& config_;
  const Origins& origins_;
  const std::string& file_;
  Faults& faults_;
};

}  // namespace

void cross_check(Config& config, const Origins& origins, const std::string& file, Faults& faults) {
  Checks(config, origins, file, faults).run();
}

}  // namespace fmtrain

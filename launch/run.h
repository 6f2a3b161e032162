// From a config file to an exit code: world, device, threads, trainer.
#pragma once
#include <string>
#include <vector>

namespace fmtrain {

/// `fmtrain train`: runs on every rank; returns the exit code, or ends all ranks together when one fails.
int run_training(const std::string& config_path, const std::vector<std::string>& overrides, bool resume);

}  // namespace fmtrain

// Random legal configs, the same for the same seed.
#pragma once
#include <random>
#include <string>
#include <vector>

namespace fmtrain {

/// Overrides "key=value" that make a legal config of the least one. `files` are data files.
std::vector<std::string> random_overrides(std::mt19937_64& random, const std::vector<std::string>& files);

}  // namespace fmtrain

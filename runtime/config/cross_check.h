// Rules between keys, and the files a config names.
#pragma once
#include <map>
#include <set>
#include <string>

#include "runtime/config/config.h"
#include "runtime/config/faults.h"

namespace fmtrain {

/// Where the keys of a config come from; a key without a place has its default.
struct Origins {
  std::map<std::string, Place> places;
  std::set<std::string> faulty;  ///< keys whose value was refused
};

/// Checks `config` and puts in what depends on other keys and on the file system: run.dir, absolute data paths, and the
/// absolute model path when a folder is meant. `file` is the config file.
void cross_check(Config& config, const Origins& origins, const std::string& file, Faults& faults);

}  // namespace fmtrain

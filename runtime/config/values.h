// One value of a config file against the type and range of its key.
#pragma once
#include <string>
#include <vector>

#include "runtime/config/faults.h"
#include "runtime/config/keys.h"
#include "runtime/config/yaml_tree.h"

namespace fmtrain {

/// `node` as a value of `key`. False when it is none; then `faults` says why, at the place of the wrong part.
bool read_value(const Key& key, const YamlNode& node, Value& value, Faults& faults);

/// " (did you mean X?)" for the known word closest to `written`, or nothing when none is close.
std::string suggestion(const std::string& written, const std::vector<std::string>& known);

/// The name of a key as it may stand in a message: quoted unless it is an ordinary one.
std::string shown(const std::string& name);

}  // namespace fmtrain

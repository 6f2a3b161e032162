#include <algorithm>
#include <filesystem>
#include <map>

#include "runtime/config/cross_check.h"
#include "runtime/config/values.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"

namespace fmtrain {
namespace {

using Type = YamlNode::Type;

/// Keys of other sections called `name`, for a key that stands in the wrong place.
std::vector<std::string> elsewhere(const std::string& name) {
  std::vector<std::string> paths;
  for (const auto& key : config_keys())
    if (key.path.ends_with("." + name)) paths.push_back(key.path);
  return paths;
}

class Reader {
 public:
  Reader(Config& config, Origins& origins, Faults& faults) : config_(config), origins_(origins), faults_(faults) {}

  /// The members of `map`, which stands at `path`.
  void group(const YamlNode& map, const std::string& path) {
    std::map<std::string, Place> seen;
    for (size_t i = 0; i < map.items.size(); ++i) {
      const auto& name = map.keys[i];
      const auto below = (path.empty() ? "" : path + ".") + shown(name.text);
      if (name.type != Type::kScalar) faults_.add(name.place, path, "a key must be a name, not " + described(name));
      else if (const auto [first, fresh] = seen.emplace(name.text, name.place); !fresh)
        faults_.add(name.place, below, "is written twice (first in line " + std::to_string(first->second.line) + ")");
      else if (name.text.find('.') != std::string::npos)
        faults_.add(name.place, below,
                    find_key(name.text) ? "is two levels in a file: a section and a key in it" : "unknown key");
      else member(name.text, path, name.place, map.items[i]);
    }
  }

  /// `value` for the key or section `name` at `parent`.
  void member(const std::string& name, const std::string& parent, const Place& place, const YamlNode& value) {
    const auto path = (parent.empty() ? "" : parent + ".") + name;
    if (const Key* key = find_key(path)) return leaf(*key, value);
    const auto names = names_below(path);
    if (names.empty() || name.empty()) return unknown(name, parent, place);
    origins_.places.emplace(path, place);
    if (value.type == Type::kMap) return group(value, path);
    if (value.type != Type::kNull)
      faults_.add(value.place, path, "must be a group of keys (" + listed(names) + "), not " + described(value));
  }

  void missing(const std::string& file) {
    for (const auto& key : config_keys()) {
      if (key.example.empty() || origins_.places.count(key.path) || origins_.faulty.count(key.path)) continue;
      const auto section = origins_.places.find(key.path.substr(0, key.path.find('.')));
      faults_.add(section == origins_.places.end() ? Place{file, 1, 1} : section->second, key.path,
                  "is missing (" + key.meaning + ")");
    }
  }

 private:
  void leaf(const Key& key, const YamlNode& node) {
    Value value;
    if (!read_value(key, node, value, faults_)) {
      origins_.faulty.insert(key.path);
      return;
    }
    key.set(config_, value);
    origins_.places[key.path] = node.place;
    config_.origin[key.path] = node.place.row();
  }

  void unknown(const std::string& name, const std::string& parent, const Place& place) {
    const auto path = (parent.empty() ? "" : parent + ".") + shown(name);
    if (name == "<<") return faults_.add(place, path, "merge keys are not allowed; write the values out");
    if (find_key(parent)) return faults_.add(place, path, "unknown key (" + parent + " is one value; set it as a whole)");
    auto hint = suggestion(name, names_below(parent));
    if (const auto paths = elsewhere(name); hint.empty() && !paths.empty())
      hint = " (did you mean " + listed(paths, " or ") + "?)";
    faults_.add(place, path, "unknown key" + hint);
  }

  Config& config_;
  Origins& origins_;
  Faults& faults_;
};

/// One "a.b=c"; the value is YAML.
void read_override(Reader& reader, const std::string& text, Faults& faults) {
  const Place place{"--set"};
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return faults.add(place, "", "must be KEY=VALUE, as optimizer.lr=1e-4, not " + quoted(text));
  const auto path = text.substr(0, equals);
  if (shown(path) != path) return faults.add(place, quoted(path), "unknown key");
  const auto value = parse_yaml(text.substr(equals + 1), "--set", path, faults);
  if (!value) return;
  const auto dot = path.rfind('.');
  if (dot == std::string::npos) reader.member(path, "", place, *value);
  else reader.member(path.substr(dot + 1), path.substr(0, dot), place, *value);
}

std::string content(const std::string& file) {
  namespace fs = std::filesystem;
  std::error_code none;
  if (std::any_of(file.begin(), file.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    throw ConfigError(quoted(file) + ": control characters are not allowed in the name of a config file");
  if (fs::is_directory(file, none)) throw ConfigError(file + ": is a folder; name a config file in it");
  if (!fs::is_regular_file(file, none)) throw ConfigError(file + ": no such config file");
  if (fs::file_size(file, none) > kMaxYamlBytes) throw ConfigError(file + ": larger than 1 MiB, the limit for config files");
  return read_file(posix_files(), file, kMaxYamlBytes);
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  config.name = std::filesystem::path(path).stem().string();
  Origins origins;
  Faults faults;
  Reader reader(config, origins, faults);
  const auto root = parse_yaml(content(path), path, "", faults);
  if (!root) faults.raise();
  if (root->type != Type::kMap) {
    faults.add({path, 1, 1}, "", "must be a group of keys (" + listed(names_below("")) + "), not " + described(*root));
    faults.raise();
  }
  reader.group(*root, "");
  for (const auto& item : overrides) read_override(reader, item, faults);
  reader.missing(path);
  cross_check(config, origins, path, faults);
  if (!faults.empty()) faults.raise();
  return config;
}

}  // namespace fmtrain

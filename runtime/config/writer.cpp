#include <algorithm>

#include "runtime/config/keys.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

std::string section_of(const std::string& path) { return path.substr(0, path.rfind('.')); }

/// All keys as nested YAML; `comment` gives the text after each value.
template <class Comment>
std::string yaml(const Config& config, const Comment& comment) {
  std::string out, open;
  for (const auto& key : config_keys()) {
    const std::string section = section_of(key.path);
    if (section != open) {
      const bool nested = section.find('.') != std::string::npos;
      const std::string top = section.substr(0, section.find('.'));
      if (open.substr(0, open.find('.')) != top) out += (out.empty() ? "" : "\n") + top + ":\n";
      if (nested) out += "  " + section.substr(section.find('.') + 1) + ":\n";
      open = section;
    }
    const std::string indent(2 * static_cast<size_t>(std::count(key.path.begin(), key.path.end(), '.')), ' ');
    std::string line = indent + key.path.substr(section.size() + 1) + ": " + key.get(config);
    if (line.size() < 40) line.resize(40, ' ');
    out += line + "  # " + comment(key) + "\n";
  }
  return out;
}

std::string explained(const Key& key) {
  if (key.words.empty() || key.kind == Kind::kFreeze) return key.meaning;
  std::string words;
  for (const auto& w : key.words) words += (words.empty() ? "" : " | ") + w;
  return key.meaning + " (" + words + (key.kind == Kind::kWord ? ")" : " | number)");
}

Json schema_of(const Key& key) {
  Json s;
  switch (key.kind) {
    case Kind::kInteger: s = {{"type", "integer"}}; break;
    case Kind::kNumber: s = {{"type", "number"}}; break;
    case Kind::kBoolean: s = {{"type", "boolean"}}; break;
    case Kind::kText: s = {{"type", "string"}}; break;
    case Kind::kWord: s = {{"enum", key.words}}; break;
    case Kind::kEvery: s = Json::parse(R"({"oneOf": [{"const": "epoch"}, {"type": "integer", "minimum": 1}]})"); break;
    case Kind::kBetas: s = Json::parse(R"({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})"); break;
    case Kind::kFreeze:
      s = Json::parse(R"({"oneOf": [{"enum": ["none", "backbone"]}, {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"embeddings": {"type": "boolean"}, "layers": {"type": "integer", "minimum": 0}}, "additionalProperties": false}]})");
      break;
  }
  if (key.kind == Kind::kInteger || key.kind == Kind::kNumber) {
    s["minimum"] = key.low;
    if (key.high < 9e15) s["maximum"] = key.high;
  }
  if (key.nullable) s = Json{{"oneOf", Json::array({s, key.words.empty() ? Json{{"type", "null"}} : Json{{"enum", key.words}}})}};
  s["description"] = key.meaning;
  return s;
}

}  // namespace

std::string resolved_yaml(const Config& config) {
  return "# The resolved config; after each value: where it comes from.\n" + yaml(config, [&](const Key& key) {
    const auto origin = config.origin.find(key.path);
    return origin == config.origin.end() ? std::string("default") : origin->second;
  });
}

std::string reference_yaml() {
  return "# Every key with its default and meaning. A config file needs model.path and data.train; the rest is optional.\n" +
         yaml(Config{}, explained);
}

std::string config_schema() {
  Json root{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "fmtrain config"}, {"type", "object"}, {"additionalProperties", false},
            {"properties", Json::object()}};
  for (const auto& key : config_keys()) {
    Json* at = &root;
    std::string rest = key.path;
    for (auto dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
      Json& group = (*at)["properties"][rest.substr(0, dot)];
      if (group.is_null()) group = Json{{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
      at = &group;
      rest = rest.substr(dot + 1);
    }
    (*at)["properties"][rest] = schema_of(key);
    if (key.required) (*at)["required"].push_back(rest);
  }
  return root.dump(2) + "\n";
}

}  // namespace fmtrain

#include "runtime/config/keys.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

/// A YAML value of the table as JSON; what is not JSON is a word.
Json as_json(const std::string& yaml) {
  const auto json = Json::parse(yaml, nullptr, false);
  return json.is_discarded() ? Json(yaml) : json;
}

Json any_of(Json first, Json second) { return {{"anyOf", Json::array({std::move(first), std::move(second)})}}; }

Json bounded(const Key& key, const std::string& type) {
  const auto bound = [&](double x) { return type == "number" ? Json(x) : Json(static_cast<int64_t>(x)); };
  return {{"type", type}, {"minimum", bound(key.low)}, {"maximum", bound(key.high)}};
}

Json texts() { return {{"type", "array"}, {"items", {{"type", "string"}, {"minLength", 1}}}}; }

Json freeze_forms(const Key& key) {
  const Json map{
      {"type", "object"},
      {"additionalProperties", false},
      {"properties",
       {{"embeddings", {{"type", "boolean"}}}, {"layers", {{"type", "integer"}, {"minimum", 0}, {"maximum", 100000}}}}}};
  return {{"anyOf", Json::array({Json{{"enum", key.words}}, map, texts()})}};
}

Json value_schema(const Key& key) {
  switch (key.kind) {
    case Kind::kInteger:
      return bounded(key, "integer");
    case Kind::kNumber:
      return bounded(key, "number");
    case Kind::kBoolean:
      return {{"type", "boolean"}};
    case Kind::kWord:
      return {{"enum", key.words}};
    case Kind::kEvery:
      return any_of({{"const", "epoch"}}, bounded(key, "integer"));
    case Kind::kSegments:
      return any_of({{"enum", Json::array({"none", "full"})}},
                    {{"type", "object"}, {"required", Json::array({"every"})}, {"additionalProperties", false},
                     {"properties", {{"every", {{"type", "integer"}, {"minimum", 1}, {"maximum", 100000}}}}}});
    case Kind::kBetas:
      return {{"type", "array"}, {"items", bounded(key, "number")}, {"minItems", 2}, {"maxItems", 2}};
    case Kind::kFreeze:
      return freeze_forms(key);
    case Kind::kTexts:
      return texts();
    default:
      return {{"type", "string"}, {"minLength", 1}};
  }
}

Json key_schema(const Key& key) {
  Json s = value_schema(key);
  if (key.nullable)
    s = any_of(std::move(s), key.words.empty() ? Json{{"type", "null"}} : Json{{"enum", Json::array({nullptr, key.words[0]})}});
  s["description"] = key.meaning + (key.unit.empty() ? "" : " (" + key.unit + ")");
  if (key.example.empty()) s["default"] = as_json(key.get(Config{}));
  else s["examples"] = Json::array({key.example});
  return s;
}

/// A group of keys; one without required keys may also be empty.
Json group_schema(const std::string& path) {
  Json properties = Json::object(), required = Json::array();
  for (const auto& name : names_below(path)) {
    const auto below = path.empty() ? name : path + "." + name;
    const Key* key = find_key(below);
    properties[name] = key ? key_schema(*key) : group_schema(below);
    if (key ? !key->example.empty() : properties[name].contains("required")) required.push_back(name);
  }
  Json s{{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(properties)}};
  if (required.empty()) s["type"] = Json::array({"object", "null"});
  else s["required"] = std::move(required);
  return s;
}

}  // namespace

std::string config_schema() {
  Json root{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "fmtrain config"}};
  root.update(group_schema(""));
  return root.dump(2) + "\n";
}

}  // namespace fmtrain

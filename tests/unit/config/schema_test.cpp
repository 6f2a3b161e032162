// The JSON Schema against the reader: what the one takes the other takes, and what is wrong by itself both refuse.
#include <gmock/gmock.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "runtime/config/yaml_tree.h"
#include "runtime/json.h"
#include "tests/unit/config/config_folder.h"
#include "tests/unit/config/random_config.h"
#include "tests/unit/config/wrong_configs.h"

namespace fmtrain {
namespace {

using Adapter = valijson::adapters::NlohmannJsonAdapter;

/// YAML 1.2's plain scalars are JSON's, or text.
SortedJson json_of(const YamlNode& node) {
  if (node.type == YamlNode::Type::kNull) return nullptr;
  if (node.type == YamlNode::Type::kScalar) {
    const auto json = node.quoted ? SortedJson(node.text) : SortedJson::parse(node.text, nullptr, false);
    return json.is_discarded() ? SortedJson(node.text) : json;
  }
  SortedJson json = node.type == YamlNode::Type::kList ? SortedJson::array() : SortedJson::object();
  for (size_t i = 0; i < node.items.size(); ++i)
    if (node.type == YamlNode::Type::kList) json.push_back(json_of(node.items[i]));
    else json[node.keys[i].text] = json_of(node.items[i]);
  return json;
}

class ConfigSchema : public ConfigFolder {
 protected:
  void SetUp() override {
    ConfigFolder::SetUp();
    const auto text = SortedJson::parse(config_schema());
    const Adapter adapter(text);
    valijson::SchemaParser().populateSchema(adapter, schema_);
  }
  /// What the schema says against a YAML text; empty: nothing.
  std::string complaint(const std::string& yaml) const {
    Faults faults;
    const auto tree = parse_yaml(yaml, "c.yaml", "", faults);
    if (!tree) return "not YAML";
    const auto json = json_of(*tree);
    const Adapter adapter(json);
    valijson::ValidationResults results;
    if (valijson::Validator().validate(schema_, adapter, &results)) return "";
    valijson::ValidationResults::Error error;
    results.popError(error);
    return error.description;
  }
  valijson::Schema schema_;
};

/// Every keyword is one of JSON Schema's, and of the right type.
void check_keywords(const Json& schema, const std::string& at) {
  static const std::map<std::string, Json::value_t> keywords{
      {"$schema", Json::value_t::string},     {"title", Json::value_t::string},
      {"description", Json::value_t::string}, {"properties", Json::value_t::object},
      {"required", Json::value_t::array},     {"additionalProperties", Json::value_t::boolean},
      {"anyOf", Json::value_t::array},        {"enum", Json::value_t::array},
      {"items", Json::value_t::object},       {"examples", Json::value_t::array}};
  static const std::set<std::string> any{"type", "const", "default", "minimum", "maximum", "minLength", "minItems", "maxItems"};
  for (const auto& [word, value] : schema.items()) {
    const auto known = keywords.find(word);
    EXPECT_TRUE(any.count(word) || (known != keywords.end() && known->second == value.type())) << at << "/" << word;
    if (word == "properties")
      for (const auto& [name, below] : value.items()) check_keywords(below, at + "/" + name);
    if (word == "anyOf")
      for (const auto& below : value) check_keywords(below, at + "/anyOf");
    if (word == "items") check_keywords(value, at + "/items");
  }
}

TEST_F(ConfigSchema, IsASchemaOfTheDraftItNames) {
  const Json schema = Json::parse(config_schema());
  EXPECT_EQ(schema.at("$schema"), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema.at("required"), Json::array({"model", "data"}));
  check_keywords(schema, "");
}

TEST_F(ConfigSchema, TakesEveryConfigOfTheTree) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FMTRAIN_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    EXPECT_EQ(complaint(text.str()), "") << entry.path();
    ++files;
  }
  EXPECT_GE(files, 6);
}

TEST_F(ConfigSchema, TakesWhatTheReaderTakes) {
  std::mt19937_64 random(4711);
  for (int i = 0; i < 300; ++i) {
    const auto resolved = resolved_yaml(load(kLeastConfig, random_overrides(random, {"t.conll", "v.conll"})));
    ASSERT_EQ(complaint(resolved), "") << resolved;
  }
}

TEST_F(ConfigSchema, RefusesWhatIsWrongByItself) {
  size_t refused = 0;
  for (const auto& wrong : wrong_configs()) {
    if (!wrong.schema) continue;
    EXPECT_NE(complaint(wrong.text), "") << wrong.text;
    ++refused;
  }
  EXPECT_GE(refused, 60u);
}

}  // namespace
}  // namespace fmtrain

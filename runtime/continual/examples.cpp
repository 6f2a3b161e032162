#include "runtime/continual/examples.h"

#include <algorithm>
#include <stdexcept>

#include "runtime/continual/sealed_json.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

std::vector<Example> examples_in(const Json& record) {
  require_members(record, {"format", "examples"});
  whole_of(record, "format", 1, 1);
  if (!record.at("examples").is_array()) throw std::runtime_error("examples is not a list");
  std::vector<Example> examples;
  for (const Json& line : record.at("examples")) {
    if (!line.is_array() || line.size() != 3) throw std::runtime_error("an example is not [hash, class, time]");
    const Json named{{"hash", line[0]}, {"class", line[1]}, {"time", line[2]}};
    examples.push_back({sha256_of(named, "hash"), static_cast<int32_t>(whole_of(named, "class", INT32_MIN, INT32_MAX)),
                        whole_of(named, "time")});
    if (examples.size() > 1 && examples.back().hash <= examples[examples.size() - 2].hash)
      throw std::runtime_error("hashes do not ascend");
  }
  return examples;
}

bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

std::string content_hash(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (!blank(c)) plain += c;
    else if (!plain.empty() && plain.back() != ' ') plain += ' ';
  }
  if (!plain.empty() && plain.back() == ' ') plain.pop_back();
  return sha256_hex(plain.data(), plain.size());
}

std::vector<Example> unique_examples(std::vector<Example> examples) {
  std::sort(examples.begin(), examples.end(), [](const Example& a, const Example& b) {
    return std::tie(a.hash, a.time, a.klass) < std::tie(b.hash, b.time, b.klass);
  });
  const auto same = [](const Example& a, const Example& b) { return a.hash == b.hash; };
  examples.erase(std::unique(examples.begin(), examples.end(), same), examples.end());
  return examples;
}

std::string print_manifest(const std::vector<Example>& examples) {
  Json lines = Json::array();
  for (const auto& e : unique_examples(examples)) lines.push_back({e.hash, e.klass, e.time});
  return seal_readable({{"format", 1}, {"examples", lines}}, examples_in);
}

std::vector<Example> parse_manifest(std::string_view text) { return examples_in(unseal(text)); }

int64_t exclude(std::vector<Example>& examples, const Hashes& tests) {
  return static_cast<int64_t>(std::erase_if(examples, [&](const Example& e) { return tests.contains(e.hash); }));
}

int64_t leaked(const std::vector<Example>& examples, const Hashes& tests) {
  return std::count_if(examples.begin(), examples.end(), [&](const Example& e) { return tests.contains(e.hash); });
}

}  // namespace fmtrain

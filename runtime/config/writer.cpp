#include <algorithm>

#include "runtime/config/keys.h"
#include "runtime/config/scalars.h"

namespace fmtrain {
namespace {

constexpr size_t kCommentColumn = 38;

std::string section_of(const std::string& path) { return path.substr(0, path.rfind('.')); }

/// The headings to write when the table goes on from section `from` to section `to`.
std::string headings(const std::string& from, const std::string& to) {
  const auto top = [](const std::string& section) { return section.substr(0, section.find('.')); };
  std::string out;
  if (top(from) != top(to)) out += (from.empty() ? "" : "\n") + top(to) + ":\n";
  if (from != to && to.find('.') != std::string::npos) out += "  " + to.substr(to.find('.') + 1) + ":\n";
  return out;
}

/// Every key as nested YAML; `value` and `comment` give the text for a key.
template <class Text, class Comment>
std::string yaml(const Text& value, const Comment& comment) {
  std::string out, open;
  for (const auto& key : config_keys()) {
    const auto section = section_of(key.path);
    out += headings(open, section);
    open = section;
    std::string line(2 * static_cast<size_t>(std::count(key.path.begin(), key.path.end(), '.')), ' ');
    line += key.path.substr(section.size() + 1) + ": " + value(key);
    line.resize(std::max(kCommentColumn, line.size() + 2), ' ');
    out += line + "# " + comment(key) + "\n";
  }
  return out;
}

std::string range_of(const Key& key) {
  const auto low = yaml_number(key.low);
  const auto range = key.high >= 9e15 ? low + " or more" : key.low == key.high ? low : low + " to " + yaml_number(key.high);
  return range + (key.unit.empty() ? "" : " " + key.unit);
}

/// What may be written: words, a range, or nothing when any text may.
std::string choices(const Key& key, const char* between) {
  switch (key.kind) {
    case Kind::kWord:
      return listed(key.words, between);
    case Kind::kBoolean:
      return std::string("true") + between + "false";
    case Kind::kInteger:
    case Kind::kEvery:
    case Kind::kNumber:
      return (key.words.empty() ? "" : key.words[0] + between) + range_of(key);
    default:
      return "";
  }
}

std::string explained(const Key& key) {
  const auto allowed = key.kind == Kind::kBoolean ? "" : choices(key, " | ");
  return key.meaning + (allowed.empty() ? "" : " [" + allowed + "]");
}

std::string shown_default(const Key& key) {
  static const Config defaults;
  return key.example.empty() ? key.get(defaults) : key.example;
}

}  // namespace

std::string resolved_yaml(const Config& config) {
  const auto value = [&](const Key& key) { return key.get(config); };
  const auto origin = [&](const Key& key) {
    const auto found = config.origin.find(key.path);
    return found == config.origin.end() ? std::string("default") : found->second;
  };
  return "# The resolved config; after each value, where it comes from.\n\n" + yaml(value, origin);
}

std::string reference_yaml() {
  return "# Every key, with its default, meaning and allowed values.\n"
         "# model.path and data.train have no default and stand here with an example; all other keys may be left out.\n\n" +
         yaml(shown_default, explained);
}

std::string config_table() {
  std::string out = "| key | default | allowed | meaning |\n|---|---|---|---|\n";
  for (const auto& key : config_keys())
    out += "| `" + key.path + "` | " + (key.example.empty() ? "`" + shown_default(key) + "`" : "required") + " | " +
           choices(key, ", ") + " | " + key.meaning + " |\n";
  return out;
}

}  // namespace fmtrain

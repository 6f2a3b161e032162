#include "runtime/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "runtime/errors.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

/// Ends the parse; the fault is already noted.
struct Stop {};

class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& source, const std::string& path, Faults& faults) : source_(source), path_(path), faults_(faults) {}

  YamlNode take() {
    root_.place.source = source_;
    return std::move(root_);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) stop(mark, "only one document is allowed (remove ---)");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(node(YamlNode::Type::kNull, mark, "", anchor)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    stop(mark, "aliases (*name) are not allowed; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    auto scalar = node(YamlNode::Type::kScalar, mark, tag, anchor);
    scalar.text = text;
    scalar.quoted = tag == "!";
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(node(YamlNode::Type::kList, mark, tag, anchor));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(node(YamlNode::Type::kMap, mark, tag, anchor));
  }
  void OnMapEnd() override { close(); }

  Place place(const YAML::Mark& mark) const {
    return source_ == "--set" || mark.is_null() ? Place{source_} : Place{source_, mark.line + 1, mark.column + 1};
  }

 private:
  [[noreturn]] void stop(const YAML::Mark& mark, const std::string& what) {
    faults_.add(place(mark), path_, what);
    throw Stop();
  }

  YamlNode node(YamlNode::Type type, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) faults_.add(place(mark), path_, "anchors (&name) are not allowed");
    if (!tag.empty() && tag != "?" && tag != "!") faults_.add(place(mark), path_, "tags (!name) are not allowed");
    YamlNode made;
    made.type = type;
    made.place = place(mark);
    return made;
  }

  void open(YamlNode group) {
    if (static_cast<int>(open_.size()) == kMaxYamlDepth) {
      faults_.add(group.place, path_, "nested deeper than " + std::to_string(kMaxYamlDepth) + " levels");
      throw Stop();
    }
    open_.push_back(std::move(group));
  }

  void close() {
    YamlNode group = std::move(open_.back());
    open_.pop_back();
    add(std::move(group));
  }

  /// Keys and values of a map arrive in turn.
  void add(YamlNode made) {
    if (open_.empty()) root_ = std::move(made);
    else if (open_.back().type == YamlNode::Type::kMap && open_.back().keys.size() == open_.back().items.size())
      open_.back().keys.push_back(std::move(made));
    else open_.back().items.push_back(std::move(made));
  }

  const std::string &source_, &path_;
  Faults& faults_;
  std::vector<YamlNode> open_;
  YamlNode root_;
  int documents_ = 0;
};

/// The place of byte `at` in the file `source`.
Place place_of_byte(const std::string& text, const std::string& source, size_t at) {
  if (source == "--set") return {source};
  const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  const size_t start = lines == 0 ? 0 : text.rfind('\n', at - 1) + 1;
  return {source, static_cast<int>(lines) + 1, static_cast<int>(at - start) + 1};
}

/// The place of a tab among the blanks that begin `line`; without a line in it when there is none. yaml-cpp speaks of
/// illegal map values then.
Place tab_before(const std::string& text, const std::string& source, int line) {
  size_t start = 0;
  for (int n = 1; n < line; ++n) start = std::min(text.find('\n', start), text.size() - 1) + 1;
  const auto tab = text.find_first_not_of(' ', start);
  return tab == std::string::npos || text[tab] != '\t' ? Place{source} : place_of_byte(text, source, tab);
}

/// A message of yaml-cpp, which may hold characters of the file.
std::string harmless(const std::string& message) {
  const auto text = quoted(message);
  return text.substr(1, text.size() - 2);
}

}  // namespace

std::optional<YamlNode> parse_yaml(const std::string& text, const std::string& source, const std::string& path,
                                   Faults& faults) {
  size_t bad = 0;
  if (text.size() > kMaxYamlBytes) {
    faults.add({source}, path, "larger than 1 MiB");
    return std::nullopt;
  }
  if (!valid_utf8(text, &bad)) {
    faults.add(place_of_byte(text, source, bad), path, "invalid UTF-8 or NUL");
    return std::nullopt;
  }
  Builder builder(source, path, faults);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take();
  } catch (const YAML::Exception& error) {
    const Place place = builder.place(error.mark), tab = tab_before(text, source, place.line);
    if (tab.line > 0) faults.add(tab, path, "tabs cannot indent YAML; use spaces");
    else faults.add(place, path, "not valid YAML: " + harmless(error.msg));
  } catch (const Stop&) {
  }
  return std::nullopt;
}

std::string described(const YamlNode& node) {
  switch (node.type) {
    case YamlNode::Type::kNull:
      return "nothing";
    case YamlNode::Type::kList:
      return "a list";
    case YamlNode::Type::kMap:
      return "a group of keys";
    default:
      return quoted(node.text);
  }
}

}  // namespace fmtrain

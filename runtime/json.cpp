#include "runtime/json.h"

#include <stdexcept>
#include <unordered_set>

#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

[[noreturn]] void fail(size_t at, const std::string& what) {
  throw std::runtime_error("byte " + std::to_string(at) + ": " + what);
}

// nlohmann's builder recurses into nothing, but keeps the last of two equal keys and has no depth limit. This handler
// forwards every event to it and adds the checks.
template <class Tree>
class Checker {
 public:
  using json = Tree;
  Checker(Tree& root, int depth_limit) : builder_(root, true), depth_limit_(depth_limit) {}
  bool null() { return builder_.null(); }
  bool boolean(bool v) { return builder_.boolean(v); }
  bool number_integer(int64_t v) { return builder_.number_integer(v); }
  bool number_unsigned(uint64_t v) { return builder_.number_unsigned(v); }
  bool number_float(double v, const std::string& s) { return builder_.number_float(v, s); }
  bool string(std::string& v) { return builder_.string(v); }
  bool binary(std::vector<uint8_t>&) { return false; }
  bool start_object(size_t n) {
    enter();
    return builder_.start_object(n);
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) throw std::runtime_error("duplicate key \"" + name.substr(0, 200) + "\"");
    return builder_.key(name);
  }
  bool end_object() {
    keys_.pop_back();
    return builder_.end_object();
  }
  bool start_array(size_t n) {
    enter();
    return builder_.start_array(n);
  }
  bool end_array() {
    keys_.pop_back();
    return builder_.end_array();
  }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception&) { fail(at, "not valid JSON"); }

 private:
  void enter() {
    keys_.emplace_back();
    if (static_cast<int>(keys_.size()) > depth_limit_)
      throw std::runtime_error("nested deeper than " + std::to_string(depth_limit_) + " levels");
  }
  nlohmann::detail::json_sax_dom_parser<Tree> builder_;
  std::vector<std::unordered_set<std::string>> keys_;
  int depth_limit_;
};

template <class Tree>
Tree parse(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) fail(limits.bytes, "larger than the limit of " + std::to_string(limits.bytes) + " bytes");
  size_t bad = 0;
  if (!valid_utf8(text, &bad)) fail(bad, "invalid UTF-8 or NUL");
  Tree root;
  Checker<Tree> checker(root, limits.depth);
  Tree::sax_parse(text, &checker);
  return root;
}

}  // namespace

Json parse_json(std::string_view text, const JsonLimits& limits) { return parse<Json>(text, limits); }
SortedJson parse_sorted_json(std::string_view text, const JsonLimits& limits) { return parse<SortedJson>(text, limits); }

}  // namespace fmtrain

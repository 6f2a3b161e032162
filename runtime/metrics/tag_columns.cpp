#include "runtime/metrics/tag_columns.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/errors.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxTags = 2001;      // O and two for each of TagSet's types
constexpr size_t kMaxTagBytes = 256;
constexpr std::string_view kBlank = " \t\r";

struct Words {
  std::vector<int32_t> gold, predicted;  // indices into the order of first appearance
};

/// The file while it is read: tags get ids by first appearance.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  void line(std::string_view text) {
    ++line_;
    std::string_view rest = text;
    const std::string_view predicted = last_column(rest), gold = last_column(rest);
    if (predicted.empty()) {
      open_ = false;
      return;
    }
    if (rest.find_first_not_of(kBlank) == std::string_view::npos)
      fail(quoted(std::string(text)) + ": expected word, gold tag and predicted tag, divided by tabs or spaces");
    if (!open_) sentences_.emplace_back();
    open_ = true;
    sentences_.back().gold.push_back(id(gold));
    sentences_.back().predicted.push_back(id(predicted));
  }

  TaggingCounts counts() const {
    if (sentences_.empty()) throw DataError("no words; expected lines with word, gold tag and predicted tag");
    auto labels = sorted_tags();
    std::vector<int32_t> final_id(labels.size());
    for (size_t i = 0; i < labels.size(); ++i) final_id[static_cast<size_t>(ids_.at(labels[i]))] = static_cast<int32_t>(i);
    const auto renamed = [&](std::vector<int32_t> tags) {
      for (auto& tag : tags) tag = final_id[static_cast<size_t>(tag)];
      return tags;
    };
    TaggingCounts counts(std::move(labels), static_cast<int64_t>(sentences_.size()));
    for (size_t i = 0; i < sentences_.size(); ++i)
      counts.add_text(static_cast<int64_t>(i), renamed(sentences_[i].gold), renamed(sentences_[i].predicted));
    return counts;
  }

 private:
  /// Cut the last column off `rest`; empty when only blanks are left.
  static std::string_view last_column(std::string_view& rest) {
    const size_t end = rest.find_last_not_of(kBlank) + 1;  // npos + 1 = 0
    rest = rest.substr(0, end);
    const size_t begin = rest.find_last_of(kBlank) + 1;
    const std::string_view column = rest.substr(begin);
    rest = rest.substr(0, begin);
    return column;
  }

  int32_t id(std::string_view tag) {
    const std::string key(tag);
    const auto known = ids_.find(key);
    if (known != ids_.end()) return known->second;
    size_t bad = 0;
    const bool readable =
        tag.size() <= kMaxTagBytes && valid_utf8(tag, &bad) &&
        std::all_of(tag.begin(), tag.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
    if (!readable || !is_iob2(key)) fail("invalid tag " + quoted(key) + "; tags are O, B-TYPE and I-TYPE");
    if (ids_.size() == kMaxTags) fail("more than 1,000 entity types; check that the last two columns are tags");
    const auto next = static_cast<int32_t>(ids_.size());
    ids_.emplace(key, next);
    return next;
  }

  /// O, then by type, B before I.
  std::vector<std::string> sorted_tags() const {
    std::vector<std::string> tags;
    for (const auto& entry : ids_) tags.push_back(entry.first);
    const auto key = [](const std::string& tag) { return std::tuple(tag != "O", tag.substr(tag == "O" ? 1 : 2), tag[0]); };
    std::sort(tags.begin(), tags.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
    return tags;
  }

  [[noreturn]] void fail(const std::string& what) const { throw DataError(name_ + ":" + std::to_string(line_) + ": " + what); }

  std::string name_;
  int64_t line_ = 0;
  bool open_ = false;  // a sentence has begun
  std::map<std::string, int32_t> ids_;
  std::vector<Words> sentences_;
};

}  // namespace

TaggingCounts score_tag_columns(std::string_view content, const std::string& name) {
  Reader reader(name);
  while (!content.empty()) {
    const size_t end = content.find('\n');
    reader.line(content.substr(0, end));
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
  }
  try {
    return reader.counts();
  } catch (const DataError& error) {
    throw DataError(name + ": " + error.what());
  }
}

}  // namespace fmtrain

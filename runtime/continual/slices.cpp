#include "runtime/continual/slices.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "runtime/continual/text_store.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using SliceKind = Slice::Kind;
constexpr int64_t kMostWords = 1'000'000;

struct Form {
  std::string_view begin;
  SliceKind kind;
};
constexpr Form kForms[] = {
    {"label=", SliceKind::kLabel}, {"words>=", SliceKind::kAtLeast}, {"words<", SliceKind::kFewer},
    {"contains=", SliceKind::kContains}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result) c = lower(c);
  return result;
}

[[noreturn]] void refuse(const std::string& text, const char* what) {
  throw ConfigError("continual.gate.slices: " + quoted(text) + " " + what);
}

int64_t parse_words(const std::string& text, std::string_view digits) {
  int64_t words = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), words);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || words < 1 || words > kMostWords) refuse(text, "needs a whole number of words from 1 to 1,000,000");
  return words;
}

Slice parse_slice(const std::string& text) {
  for (const auto& form : kForms) {
    if (!text.starts_with(form.begin)) continue;
    const auto rest = std::string_view(text).substr(form.begin.size());
    if (rest.empty()) refuse(text, "has nothing behind its sign");
    if (form.kind == SliceKind::kLabel) return {text, form.kind, std::string(rest), 0};
    if (form.kind == SliceKind::kContains) return {text, form.kind, lower(rest), 0};
    return {text, form.kind, "", parse_words(text, rest)};
  }
  refuse(text, "is no slice: write label=NAME, words>=N, words<N or contains=WORD");
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Part of a letter or digit; bytes beyond ASCII are taken for letters.
bool in_word(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}

int64_t count_words(const RawText& raw, Task task) {
  if (task == Task::kTokenClassification) return std::ssize(raw.words);
  int64_t words = 0;
  bool blank = true;
  for (const char c : raw.text) {
    words += blank && !is_blank(c);
    blank = is_blank(c);
  }
  return words;
}

bool stands_in(const std::string& word, const std::string& text) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    // Beside a sign of the word itself anything may stand: contains=:-) is in "hm:-)".
    const bool before = at > 0 && in_word(word.front()) && in_word(text[at - 1]);
    const bool behind = end < text.size() && in_word(word.back()) && in_word(text[end]);
    if (!before && !behind) return true;
  }
  return false;
}

bool has_label(const RawText& raw, const std::string& name, Task task) {
  if (task == Task::kSequenceClassification) return raw.label == name;
  return std::any_of(raw.tags.begin(), raw.tags.end(), [&](const std::string& tag) { return tag == "B-" + name; });
}

bool holds(const Slice& slice, const RawText& raw, Task task) {
  switch (slice.kind) {
    case SliceKind::kLabel:
      return has_label(raw, slice.text, task);
    case SliceKind::kAtLeast:
      return count_words(raw, task) >= slice.words;
    case SliceKind::kFewer:
      return count_words(raw, task) < slice.words;
    case SliceKind::kContains:
      return stands_in(slice.text, lower(plain_text(raw, task)));
  }
  return false;
}

}  // namespace

std::vector<Slice> parse_slices(const std::vector<std::string>& texts) {
  std::vector<Slice> slices;
  for (const auto& text : texts) {
    if (std::count(texts.begin(), texts.end(), text) > 1) refuse(text, "stands there twice");
    slices.push_back(parse_slice(text));
  }
  return slices;
}

std::vector<std::pair<std::string, std::vector<int64_t>>> slice_ids(const std::vector<Slice>& slices,
                                                                    std::span<const RawText> texts, Task task) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> all;
  for (const auto& slice : slices) {
    auto& ids = all.emplace_back(slice.name, std::vector<int64_t>()).second;
    for (size_t i = 0; i < texts.size(); ++i)
      if (holds(slice, texts[i], task)) ids.push_back(static_cast<int64_t>(i));
  }
  return all;
}

}  // namespace fmtrain

// Whether a page that the program wrote is well-formed, bounded, and loads nothing.
#pragma once
#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <string>
#include <vector>

namespace fmtrain {

/// What keeps `page` from being well-formed XML of elements, quoted attributes and the five entities; "" when nothing does.
class XmlCheck {
 public:
  explicit XmlCheck(const std::string& page) : page_(page) {}
  std::string error() {
    if (page_.compare(0, 16, "<!DOCTYPE html>\n") != 0) return "no doctype";
    for (at_ = 16; at_ < page_.size() && error_.empty();) page_[at_] == '<' ? tag() : void(text("<"));
    if (error_.empty() && !open_.empty()) error_ = "never closed: " + open_.back();
    return error_.empty() && roots_ != 1 ? "not one root" : error_;
  }

 private:
  void fail(const std::string& what) { error_ = what + " before: " + page_.substr(at_, 80); }
  /// Characters up to one of `ends`, which is not consumed.
  std::string text(const char* ends) {
    const size_t end = std::min(page_.find_first_of(ends, at_), page_.size());
    const std::string out = page_.substr(at_, end - at_);
    static const std::regex entity("&(?!(amp|lt|gt|quot|#39);)|[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]");
    if (std::regex_search(out, entity)) fail("bad character");
    if (open_.empty() && out.find_first_not_of("\n") != std::string::npos) fail("text outside the root");
    at_ = end;
    return out;
  }
  std::string name() {
    const size_t begin = at_;
    while (at_ < page_.size() && (std::isalnum(static_cast<unsigned char>(page_[at_])) || page_[at_] == '-')) ++at_;
    if (at_ == begin) fail("no name");
    return page_.substr(begin, at_ - begin);
  }
  bool skip(char c) { return at_ < page_.size() && page_[at_] == c && ++at_; }
  void attributes() {
    std::vector<std::string> seen;
    while (error_.empty() && skip(' ')) {
      const std::string key = name();
      if (std::count(seen.begin(), seen.end(), key) > 0) return fail("repeated attribute " + key);
      seen.push_back(key);
      if (!skip('=') || !skip('"')) return fail("attribute without quotes");
      text("<\"");
      if (!skip('"')) return fail("attribute holds <");
    }
  }
  void tag() {
    ++at_;
    const bool closes = skip('/');
    const std::string element = name();
    if (closes) {
      if (open_.empty() || open_.back() != element || !skip('>')) return fail("wrong end " + element);
      return open_.pop_back();
    }
    roots_ += open_.empty();
    open_.push_back(element);
    attributes();
    if (skip('/')) open_.pop_back();
    if (error_.empty() && !skip('>')) fail("tag does not end");
  }
  const std::string& page_;
  size_t at_ = 0;
  int roots_ = 0;
  std::vector<std::string> open_;
  std::string error_;
};

/// Well-formed, bounded, without scripts, and nothing to load.
inline void expect_sound(const std::string& page, size_t most = 300000) {
  EXPECT_EQ(XmlCheck(page).error(), "");
  EXPECT_LT(page.size(), most);
  for (const char* word :
       {"<script", "http:", "https:", "url(", "@import", " src=", " href=", "<link", "<img", " onload", "NaN"})
    EXPECT_THAT(page, testing::Not(testing::HasSubstr(word)));
  for (const char* word : {">nan", ">inf", "=\"nan", ",nan", ",inf", "%nan"})
    EXPECT_THAT(page, testing::Not(testing::HasSubstr(word)));
}

}  // namespace fmtrain

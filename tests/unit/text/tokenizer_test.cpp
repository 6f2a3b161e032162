// What holds for every text, however strange; and the words and limits of one text.
#include <gmock/gmock.h>

#include <chrono>
#include <random>

#include "runtime/errors.h"
#include "runtime/text/utf8.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

class TokenizerTest : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    tokenizer_ = small_tokenizer(folder_ / "model");
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizerTest, OneTextByHand) {
  const Encoding e = tokenizer_->encode(" Abc, d\u00e9");
  EXPECT_THAT(e.ids, ElementsAre(kCls, front('a'), inside('b'), inside('c'), kUnk, front('d'), inside('e'), kSep));
  EXPECT_THAT(e.begin, ElementsAre(0, 1, 2, 3, 4, 6, 7, 0));
  EXPECT_THAT(e.end, ElementsAre(0, 2, 3, 4, 5, 7, 8, 0));
  EXPECT_THAT(e.words, ElementsAre(-1, 0, 0, 0, 1, 2, 2, -1));
}

TEST_F(TokenizerTest, WordsKeepTheirNumbersWhenOneHasNoToken) {
  const Encoding e = tokenizer_->encode_words({"ab", "\u200b", "", "c"});
  EXPECT_THAT(e.ids, ElementsAre(kCls, front('a'), inside('b'), front('c'), kSep));
  EXPECT_THAT(e.words, ElementsAre(-1, 0, 0, 3, -1));
  EXPECT_THAT(e.begin, ElementsAre(0, 0, 1, 0, 0));
}

/// Texts of 0 to 60 parts, of which many have a meaning for the tokenizer.
std::string random_parts(std::mt19937& random) {
  static const std::vector<std::string> parts{"a",          "b",
                                              "Z",          " ",
                                              "  ",         "\t",
                                              "\n",         "\r",
                                              ".",          "[",
                                              "[SEP]",      "[MASK]",
                                              "##",         "\u00e9",
                                              "e\u0301",    "\u0301",
                                              "\u0130",     "\u1e9e",
                                              "\u4e2d",     "\uac01",
                                              "\u1100",     "\u200d",
                                              "\ufe0f",     "\U0001f44d",
                                              "\u00a0",     "\u2028",
                                              "\u180e",     "\ufffd",
                                              "\ue000",     "\x7f",
                                              "\u0085",     "\uf900",
                                              "\U0002f800", "\u0f73",
                                              "\U0001d15e", "\u202b",
                                              "\u05d0",     std::string(101, 'x')};
  std::string text;
  for (auto n = random() % 61; n > 0; --n) text += parts[random() % parts.size()];
  return text;
}

TEST_F(TokenizerTest, OffsetsAscendInsideTheTextAndEncodingIsAFunction) {
  std::mt19937 random(1);
  const auto again = load_tokenizer(path("model"));
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random_parts(random);
    const Encoding e = tokenizer_->encode(text);
    const size_t n = e.ids.size();
    ASSERT_TRUE(n >= 2 && e.begin.size() == n && e.end.size() == n && e.words.size() == n);
    ASSERT_TRUE(e.ids[0] == kCls && e.ids[n - 1] == kSep);
    for (size_t t = 1; t + 1 < n; ++t) {
      ASSERT_TRUE(e.ids[t] >= 0 && e.ids[t] < tokenizer_->vocab_size());
      ASSERT_LT(e.begin[t], e.end[t]) << testing::PrintToString(text);
      ASSERT_LE(e.end[t], count_code_points(text));
      if (t == 1) continue;
      ASSERT_TRUE(e.begin[t] >= e.begin[t - 1] && e.end[t] >= e.end[t - 1] && e.words[t] >= e.words[t - 1]);
    }
    ASSERT_TRUE(e == tokenizer_->encode(text) && e == again->encode(text));
    const Encoding single = tokenizer_->encode_words({text});
    ASSERT_TRUE(single.ids == e.ids && single.begin == e.begin && single.end == e.end);
  }
}

std::string times(size_t bytes, const std::string& part) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

TEST_F(TokenizerTest, OneMebibyteTakesAtMostASecond) {
  for (const std::string part :
       {"a", "\u00e9", "\u0301", "e\u0301", "\u4e2d", "\uac01", ".", "[", "[MASK", "[SEP]", " ", "\u200b", "\U0001f44d"}) {
    const std::string text = times(1 << 20, part);
    const auto start = std::chrono::steady_clock::now();
    const Encoding e = tokenizer_->encode(text);
    EXPECT_LE(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 1.0) << part;
    EXPECT_GE(e.ids.size(), 2u);
  }
  EXPECT_THAT(tokenizer_->encode(times(1 << 20, "a")).ids, ElementsAre(kCls, kUnk, kSep));
}

struct BadText {
  std::string text;
  int byte;
};

TEST_F(TokenizerTest, InvalidUtf8NamesTheByte) {
  const std::vector<BadText> cases{{"\xff", 0},
                                   {"ab\xc0\xaf", 2},
                                   {"a\xed\xa0\x80", 1},
                                   {"\xf4\x90\x80\x80", 0},
                                   {"a\xe2\x82", 1},
                                   {"\xe0\x80\x80", 0},
                                   {std::string("abc\0d", 5), 3},
                                   {"12345678\x80", 8},
                                   {"1234567\xc3", 7},
                                   {"\xf5\x80\x80\x80", 0},
                                   {"\u00e9\xc3(", 2},
                                   {"\xf0\x8f\xbf\xbf", 0},
                                   {"\xf0\x9f\x91", 0}};
  for (const auto& bad : cases) {
    const std::string message = "byte " + std::to_string(bad.byte) + ": invalid UTF-8 or NUL";
    try {
      tokenizer_->encode(bad.text);
      ADD_FAILURE() << testing::PrintToString(bad.text);
    } catch (const DataError& error) {
      EXPECT_EQ(error.what(), message);
    }
    EXPECT_THROW(tokenizer_->encode_words({"fine", bad.text}), DataError);
  }
}

}  // namespace
}  // namespace fmtrain

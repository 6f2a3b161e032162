// The fast tokenizer against the plain one, on random texts, vocabularies and flags; and that no word takes more than linear time.
#include <gmock/gmock.h>

#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/temporary_folder.h"
#include "tests/unit/text/plain_tokenizer.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

using Random = std::mt19937;

std::string utf8(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | (c >> 6)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

/// Of every region of Unicode that the tokenizer treats in its own way.
std::string random_character(Random& random) {
  static const std::vector<std::pair<uint32_t, uint32_t>> ranges{
      {1, 0x7F},        {'a', 'z'},       {'A', 'Z'},         {0x80, 0x2FF},      {0x300, 0x36F},     {0x370, 0x5FF},  {0x1100, 0x11FF},
      {0x1E00, 0x1FFF}, {0x2000, 0x206F}, {0x4E00, 0x4E20},   {0xAC00, 0xAC40},   {0xF900, 0xFA6A},   {0xFE00, 0xFFFD}, {0x1D150, 0x1D170},
      {0x1F300, 0x1F650}, {0x2F800, 0x2F820}, {0xE0001, 0xE007F}, {0x10FFFE, 0x10FFFF}};
  const auto [first, last] = ranges[random() % ranges.size()];
  return utf8(first + static_cast<uint32_t>(random() % (last - first + 1)));
}

std::string random_letters(Random& random, size_t length) {
  std::string word;
  while (word.size() < length) word += static_cast<char>((random() % 4 ? 'a' : 'A') + random() % 26);
  return word;
}

/// Mostly ASCII words of every length, among them what interrupts them.
std::string random_text(Random& random) {
  static const std::vector<std::string> parts{" ", " ", " ", "\t", "\n", ".", ",", "'", "\u2019", "-", "[", "]", "[SEP]", "[MASK]", "[MAS", "##", "foo", "f\u00f6\u00f6",
                                              "e\u0301", "\u0130", "\x7f", "\x01", "\u200b", "\u4e2d\u6587", "\U0001f44d\U0001f3fd", "2024", "don't", "x\u0301y"};
  std::string text;
  for (auto n = random() % 40; n > 0; --n) {
    switch (random() % 4) {
      case 0: text += random_letters(random, random() % 20); break;
      case 1: text += random_character(random); break;
      case 2: text += random() % 40 ? " " : random_letters(random, 90 + random() % 30); break;
      default: text += parts[random() % parts.size()];
    }
  }
  return text;
}

class TokenizerEquality : public TemporaryFolder {
 protected:
  /// Both tokenizers of one tokenizer.json on `count` random texts, whole and as words.
  void compare(const std::string& json, int count) {
    const TokenizerSpec spec = parse_tokenizer_json(json);
    std::filesystem::create_directories(folder_ / "model");
    write("model/tokenizer.json", json);
    const auto fast = load_tokenizer(path("model"));
    PlainTokenizer plain(spec);
    Random random(7);
    Encoding reused;
    std::vector<std::string> words;
    for (int i = 0; i < count; ++i) {
      const std::string text = random_text(random);
      fast->encode(text, reused);
      ASSERT_TRUE(reused == plain.encode(text)) << testing::PrintToString(text);
      words.push_back(random_text(random));
      if (words.size() > 4) words.clear();
      ASSERT_TRUE(fast->encode_words(words) == plain.encode_words(words)) << testing::PrintToString(words);
    }
  }

  /// The small vocabulary with words, syllables and accents, and other flags.
  static Json richer() {
    Json json = small_tokenizer_json();
    auto& vocab = json["model"]["vocab"];
    for (const char* token : {".", ",", "'", "foo", "fo", "##oo", "\u00e9", "##\u00e9", "\u4e2d", "\u2019", "##tion", "##ti", "the", "ab", "##abc", "##ab", "\u00f6", "##\u00f6"})
      if (!vocab.contains(token)) vocab[token] = vocab.size();
    return json;
  }
};

TEST_F(TokenizerEquality, EveryCombinationOfFlags) {
  for (int flags = 0; flags < 16; ++flags) {
    Json json = richer();
    json["normalizer"].update(Json{{"clean_text", bool(flags & 1)}, {"handle_chinese_chars", bool(flags & 2)}, {"strip_accents", bool(flags & 4)}, {"lowercase", bool(flags & 8)}});
    compare(json.dump(), 400);
  }
}

TEST_F(TokenizerEquality, SpecialTokensThatAreLettersOrBeginWithOneAnother) {
  Json json = richer();
  auto& vocab = json["model"]["vocab"];
  for (const std::string token : {"foo", "foofoo", "a", "[", "[MASK", ".", "\u4e2d\u6587", " x"}) {
    if (!vocab.contains(token)) vocab[token] = vocab.size();
    json["added_tokens"].push_back({{"id", vocab[token]}, {"content", token}});
  }
  compare(json.dump(), 2000);
}

TEST_F(TokenizerEquality, LongWordsAndAnotherPrefix) {
  for (const std::string prefix : {"##", "", "a"})
    for (const int longest : {1, 7, 1000}) {
      Json json = richer();
      json["model"]["max_input_chars_per_word"] = longest;
      json["model"]["continuing_subword_prefix"] = prefix;
      compare(json.dump(), 400);
    }
}

TEST_F(TokenizerEquality, RealVocabulary) {
  const char *cache = std::getenv("FMTRAIN_HOME"), *home = std::getenv("HOME");
  const std::string file = (cache ? cache : std::string(home ? home : "") + "/.cache/fmtrain") + "/all-MiniLM-L6-v2/tokenizer.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << " (launch/setup.sh fetches it)";
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  compare(text.str(), 20000);
}

TEST_F(TokenizerEquality, TwoTokenizersOfOneThreadDoNotMixTheirWords) {
  Json other = small_tokenizer_json();
  std::swap(other["model"]["vocab"]["a"], other["model"]["vocab"]["b"]);
  std::filesystem::create_directories(folder_ / "other");
  write("other/tokenizer.json", other.dump());
  const auto one = small_tokenizer(folder_ / "one"), two = load_tokenizer(path("other"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(one->encode("a ab").ids, testing::ElementsAre(kCls, front('a'), front('a'), inside('b'), kSep));
    EXPECT_THAT(two->encode("a ab").ids, testing::ElementsAre(kCls, front('b'), front('b'), inside('b'), kSep));
  }
}

TEST_F(TokenizerEquality, ThreadsShareATokenizer) {
  const auto tokenizer = small_tokenizer(folder_ / "model");
  Random random(3);
  std::vector<std::string> texts;
  std::vector<Encoding> expected;
  for (int i = 0; i < 500; ++i) {
    texts.push_back(random_text(random));
    expected.push_back(tokenizer->encode(texts.back()));
  }
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) wrong[t] += !(tokenizer->encode(texts[i]) == expected[i]);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

// ---- pieces alone ---------------------------------------------------------------------------------

std::string random_ab(Random& random, size_t longest) {
  std::string s;
  for (auto n = 1 + random() % longest; n > 0; --n) s += random() % 3 ? 'a' : 'b';
  return s;
}

/// Vocabularies of two letters, in which nearly every token is the beginning, end or middle of others.
TEST(WordPieceEquality, RandomVocabulariesOfTwoLetters) {
  Random random(11);
  std::vector<WordPiece::Piece> pieces;
  for (int vocabulary = 0; vocabulary < 300; ++vocabulary) {
    TokenizerSpec spec;
    std::set<std::string> tokens;
    for (auto n = 1 + random() % 30; n > 0; --n) tokens.insert((random() % 3 ? "##" : "") + random_ab(random, 1 + random() % 12));
    spec.tokens.assign(tokens.begin(), tokens.end());
    spec.tokens.push_back("[UNK]");
    const PlainWordPiece plain(spec);
    const WordPiece fast(spec.tokens, "[UNK]", "##", 100);
    for (int word = 0; word < 100; ++word) {
      const std::string text = random_ab(random, 40);
      const auto expected = plain.cut(text);
      EXPECT_LE(fast.cut(text, pieces), 2 * text.size());
      ASSERT_EQ(pieces.size(), expected.size()) << text;
      for (size_t p = 0; p < pieces.size(); ++p)
        ASSERT_TRUE(pieces[p].id == expected[p].id && pieces[p].begin == expected[p].begin && pieces[p].end == expected[p].end) << text;
    }
  }
}

/// Each a is the beginning of 500 a's and a b, which never comes: trying every length, or reading on to the longest match and
/// starting again behind it, takes 500 steps a letter.
TEST(WordPieceEquality, RepeatedPiecesTakeLinearTime) {
  const std::string a500(500, 'a');
  const WordPiece wordpiece({"[UNK]", "a", "##a", "##" + a500 + "b", a500 + "b"}, "[UNK]", "##", 1000);
  std::vector<WordPiece::Piece> pieces;
  for (const size_t length : {10u, 499u, 1000u}) {
    EXPECT_LE(wordpiece.cut(std::string(length, 'a'), pieces), 2 * length);
    EXPECT_EQ(pieces.size(), length);
    EXPECT_LE(wordpiece.cut(std::string(length - 1, 'a') + "c", pieces), 2 * length);
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].id, 0);
  }
}

}  // namespace
}  // namespace fmtrain

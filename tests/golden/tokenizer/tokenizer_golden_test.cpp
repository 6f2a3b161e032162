// Ids, character offsets and word numbers equal to Hugging Face's tokenizer: make_golden.py says how the golden files came about
// and what the units and hashes of blocks.json are.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/hash.h"
#include "runtime/json.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {
namespace {

using Tokens = std::vector<std::vector<int64_t>>;  // [id, begin, end, word]

std::string content_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

Json golden(const std::string& name) {
  return parse_json(content_of(std::string(FMTRAIN_SOURCE_DIR) + "/tests/golden/tokenizer/" + name), {64u << 20, 16});
}

/// A unit is a text, or a sentence that is split into words.
struct Unit {
  std::string text;
  std::vector<std::string> words;
  bool is_split = false;
  Encoding encode(const Tokenizer& tokenizer) const {
    return is_split ? tokenizer.encode_words(words) : tokenizer.encode(text);
  }
};

Unit unit_of(const Json& row) {
  if (row.contains("words")) return {"", row.at("words").get<std::vector<std::string>>(), true};
  return {row.at("text").get<std::string>(), {}, false};
}

Tokens tokens_of(const Encoding& e) {
  Tokens tokens;
  for (size_t i = 0; i < e.ids.size(); ++i) tokens.push_back({e.ids[i], e.begin[i], e.end[i], e.words[i]});
  return tokens;
}

std::vector<Unit> lines_of(const std::string& content) {
  std::vector<Unit> units;
  for (size_t at = 0; at <= content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    units.push_back({content.substr(at, end - at), {}, false});
    at = end + 1;
  }
  return units;
}

std::vector<Unit> sentences_of(const std::string& content) {
  std::vector<Unit> sentences;
  bool open = false;
  for (const auto& row : lines_of(content)) {
    const bool blank = row.text.find_first_not_of(" \t\r") == std::string::npos;
    if (!blank && !open) sentences.push_back({"", {}, true});
    open = !blank;
    if (open) sentences.back().words.push_back(row.text.substr(0, row.text.find_first_of("\t \r")));
  }
  return sentences;
}

void strings_in(const Json& value, std::vector<Unit>& units) {
  if (value.is_string()) units.push_back({value.get<std::string>(), {}, false});
  if (value.is_structured())
    for (const auto& item : value) strings_in(item, units);
}

std::string utf8(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | (c >> 6)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

std::vector<Unit> code_points() {
  std::vector<Unit> units;
  for (uint32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string s = utf8(c);
    units.push_back({s + " a" + s + "b " + s + s + " e" + s + "\u0301", {}, false});
  }
  return units;
}

std::vector<Unit> units_of(const std::string& content, const std::string& kind) {
  if (kind == "code points") return code_points();
  if (kind == "lines") return lines_of(content);
  if (kind == "strings") {
    std::vector<Unit> units;
    strings_in(Json::parse(content), units);
    return units;
  }
  auto units = sentences_of(content);
  if (kind == "words") return units;
  for (auto& unit : units) {
    for (size_t w = 0; w < unit.words.size(); ++w) unit.text += (w ? " " : "") + unit.words[w];
    unit.is_split = false;
  }
  return units;
}

std::string canonical(const Encoding& e) {
  std::ostringstream line;
  for (size_t i = 0; i < e.ids.size(); ++i)
    line << (i ? " " : "") << e.ids[i] << ':' << e.begin[i] << ':' << e.end[i] << ':' << e.words[i];
  line << '\n';
  return line.str();
}

/// Each block that differs is one failure that says where.
void compare_blocks(const Tokenizer& tokenizer, const Json& file) {
  const auto block = file.at("block").get<size_t>();
  const auto name = file.at("file").get<std::string>(), kind = file.at("units").get<std::string>();
  const auto units = units_of(content_of(std::filesystem::path(FMTRAIN_SOURCE_DIR) / name), kind);
  const auto expected = file.at("sha256").get<std::vector<std::string>>();
  ASSERT_EQ(units.size(), file.at("count").get<size_t>()) << name << " as " << kind;
  ASSERT_EQ(expected.size(), (units.size() + block - 1) / block);
  for (size_t b = 0; b < expected.size(); ++b) {
    std::string text;
    for (size_t u = b * block; u < std::min(units.size(), (b + 1) * block); ++u) text += canonical(units[u].encode(tokenizer));
    EXPECT_EQ(sha256_hex(text.data(), text.size()).substr(0, 16), expected[b])
        << name << " as " << kind << ", units from " << b * block << " on (counted from 0)";
  }
}

class TokenizerGolden : public testing::Test {
 protected:
  void SetUp() override {
    const char *cache = std::getenv("FMTRAIN_HOME"), *home = std::getenv("HOME");
    const std::string folder = (cache ? cache : std::string(home ? home : "") + "/.cache/fmtrain") + "/all-MiniLM-L6-v2";
    if (!std::filesystem::exists(folder + "/tokenizer.json"))
      GTEST_SKIP() << "no tokenizer in " << folder << " (launch/setup.sh fetches it)";
    tokenizer_ = load_tokenizer(folder);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizerGolden, HardTexts) {
  const auto rows = golden("texts.json");
  ASSERT_GT(rows.size(), 100u);
  for (const auto& row : rows) {
    const auto expected = row.at("tokens").get<Tokens>();
    EXPECT_EQ(tokens_of(unit_of(row).encode(*tokenizer_)), expected) << row.dump(-1, ' ', true);
  }
}

/// compare_all.py names other files, and blocks of one unit.
TEST_F(TokenizerGolden, EveryLineOfTheDataSetsAndEveryCodePoint) {
  const char* other = std::getenv("FMTRAIN_TOKENIZER_BLOCKS");
  const auto blocks = other ? Json::parse(content_of(other)) : golden("blocks.json");
  for (const auto& file : blocks) compare_blocks(*tokenizer_, file);
}

TEST(TokenizerVariants, FlagsAndPostProcessors) {
  for (const auto& variant : golden("variants.json")) {
    const auto name = variant.at("name").get<std::string>();
    const auto folder = std::filesystem::path(testing::TempDir()) / ("tokenizer_variant_" + name);
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "tokenizer.json") << variant.at("tokenizer").dump();
    const auto tokenizer = load_tokenizer(folder.string());
    for (const auto& row : variant.at("cases"))
      EXPECT_EQ(tokens_of(unit_of(row).encode(*tokenizer)), row.at("tokens").get<Tokens>())
          << name << ": " << row.dump(-1, ' ', true);
    std::filesystem::remove_all(folder);
  }
}

}  // namespace
}  // namespace fmtrain

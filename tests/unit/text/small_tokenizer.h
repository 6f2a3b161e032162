// A tokenizer whose ids can be told in the head: a word of n letters becomes n tokens, one a letter.
#pragma once
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {

inline bool operator==(const Encoding& a, const Encoding& b) {
  return a.ids == b.ids && a.begin == b.begin && a.end == b.end && a.words == b.words;
}

inline constexpr int32_t kUnk = 1, kCls = 2, kSep = 3;
/// Id of the letter c ('a' to 'z') at the front of a word, and inside of one.
inline constexpr int32_t front(char c) { return 5 + (c - 'a'); }
inline constexpr int32_t inside(char c) { return 31 + (c - 'a'); }

inline std::vector<std::string> small_vocabulary() {
  std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (const std::string prefix : {"", "##"})
    for (char c = 'a'; c <= 'z'; ++c) tokens.push_back(prefix + c);
  return tokens;
}

/// tokenizer.json as a tree, to be bent by tests.
inline Json small_tokenizer_json() {
  Json vocab = Json::object(), added = Json::array();
  const auto tokens = small_vocabulary();
  for (size_t id = 0; id < tokens.size(); ++id) vocab[tokens[id]] = id;
  for (size_t id = 0; id < 5; ++id)
    added.push_back({{"id", id}, {"content", tokens[id]}, {"lstrip", false}, {"normalized", false}});
  const auto special = [](const char* name) { return Json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; };
  const Json single = Json::array({special("[CLS]"), Json{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, special("[SEP]")});
  const Json ends{{"[CLS]", {{"ids", Json::array({kCls})}}}, {"[SEP]", {{"ids", Json::array({kSep})}}}};
  return {{"added_tokens", added},
          {"normalizer", {{"type", "BertNormalizer"}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", ends}}},
          {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocab}}}};
}

inline std::unique_ptr<Tokenizer> small_tokenizer(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << small_tokenizer_json().dump();
  return load_tokenizer(folder.string());
}

}  // namespace fmtrain

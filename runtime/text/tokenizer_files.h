// What tokenizer.json, or vocab.txt with tokenizer_config.json, say: plain data, checked.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/bert_chars.h"

namespace fmtrain {

struct TokenizerSpec {
  std::vector<std::string> tokens;  ///< by id; ids without a token are empty
  std::string unknown = "[UNK]", cls = "[CLS]", sep = "[SEP]", prefix = "##";
  int32_t max_word_chars = 100;
  BertNormalizer normalizer;
  std::vector<std::pair<std::string, int32_t>> special;  ///< matched in the raw text before everything else
};

/// Throws std::runtime_error that names the member (and callers prefix the file).
TokenizerSpec parse_tokenizer_json(const std::string& text);
/// `config` is tokenizer_config.json's text, or empty.
TokenizerSpec parse_vocab_txt(const std::string& text, const std::string& config);

}  // namespace fmtrain

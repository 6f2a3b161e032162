#include "runtime/text/tokenizer_files.h"

#include <stdexcept>

#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxTokens = 4'000'000, kMaxTokenBytes = 1024;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

void place(std::vector<std::string>& tokens, const std::string& token, int64_t id) {
  if (token.empty() || token.size() > kMaxTokenBytes) fail("model.vocab: a token of " + std::to_string(token.size()) + " bytes");
  if (id < 0 || id >= static_cast<int64_t>(kMaxTokens)) fail("model.vocab: id " + std::to_string(id) + " of " + quoted(token) + " is out of range");
  if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(static_cast<size_t>(id) + 1);
  auto& slot = tokens[static_cast<size_t>(id)];
  if (!slot.empty() && slot != token) fail("model.vocab: " + quoted(slot) + " and " + quoted(token) + " share id " + std::to_string(id));
  slot = token;
}

const SortedJson& member(const SortedJson& json, const char* name, const char* where) {
  if (!json.is_object() || !json.contains(name) || json.at(name).is_null()) fail(std::string(where) + name + ": missing");
  return json.at(name);
}

void expect_type(const SortedJson& json, const char* name, const std::vector<std::string>& known) {
  const auto& part = member(json, name, "");
  const auto& type = member(part, "type", (std::string(name) + ".").c_str());
  for (const auto& k : known)
    if (type == k) return;
  fail(std::string(name) + ".type: " + quoted(type.dump()) + " is not supported (BERT tokenizers have " + known[0] + ")");
}

bool flag(const SortedJson& json, const char* name, bool absent) {
  if (!json.contains(name) || json.at(name).is_null()) return absent;
  if (!json.at(name).is_boolean()) fail(std::string(name) + ": must be true or false");
  return json.at(name).get<bool>();
}

BertNormalizer read_normalizer(const SortedJson& n, const char* lowercase, const char* chinese) {
  BertNormalizer result;
  result.clean_text = flag(n, "clean_text", true);
  result.chinese_chars = flag(n, chinese, true);
  result.lowercase = flag(n, lowercase, true);
  result.strip_accents = flag(n, "strip_accents", result.lowercase);
  return result;
}

void read_model(const SortedJson& model, TokenizerSpec& spec) {
  const auto& vocab = member(model, "vocab", "model.");
  if (!vocab.is_object()) fail("model.vocab: must be an object of token: id");
  if (vocab.size() > kMaxTokens) fail("model.vocab: too many tokens");
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer()) fail("model.vocab: the id of " + quoted(token) + " is not an integer");
    place(spec.tokens, token, id.get<int64_t>());
  }
  spec.unknown = model.value("unk_token", spec.unknown);
  spec.prefix = model.value("continuing_subword_prefix", spec.prefix);
  spec.max_word_chars = model.value("max_input_chars_per_word", spec.max_word_chars);
}

void read_added(const SortedJson& json, TokenizerSpec& spec) {
  if (!json.contains("added_tokens")) return;
  for (const auto& token : json.at("added_tokens")) {
    const auto content = member(token, "content", "added_tokens.").get<std::string>();
    for (const char* name : {"single_word", "lstrip", "rstrip", "normalized"})
      if (flag(token, name, false)) fail("added_tokens: " + quoted(content) + " has " + name + ", which is not supported");
    const auto id = member(token, "id", "added_tokens.").get<int64_t>();
    place(spec.tokens, content, id);
    spec.special.emplace_back(content, static_cast<int32_t>(id));
  }
}

/// [CLS] and [SEP] as the post-processor names them.
void read_ends(const SortedJson& json, TokenizerSpec& spec) {
  const auto& post = json.at("post_processor");
  if (post.at("type") == "BertProcessing") {
    spec.cls = post.at("cls").at(0).get<std::string>();
    spec.sep = post.at("sep").at(0).get<std::string>();
    return;
  }
  const auto& single = member(post, "single", "post_processor.");
  const bool bert = single.is_array() && single.size() == 3 && single[0].contains("SpecialToken") && single[1].contains("Sequence") && single[2].contains("SpecialToken");
  if (!bert) fail("post_processor.single: expected one special token, the text, one special token");
  spec.cls = single[0].at("SpecialToken").at("id").get<std::string>();
  spec.sep = single[2].at("SpecialToken").at("id").get<std::string>();
}

}  // namespace

TokenizerSpec parse_tokenizer_json(const std::string& text) {
  const SortedJson json = parse_sorted_json(text, {64u << 20, 16});
  expect_type(json, "normalizer", {"BertNormalizer"});
  expect_type(json, "pre_tokenizer", {"BertPreTokenizer"});
  expect_type(json, "post_processor", {"TemplateProcessing", "BertProcessing"});
  const auto& model = member(json, "model", "");
  if (model.value("type", "WordPiece") != "WordPiece") fail("model.type: " + quoted(model.at("type").dump()) + " is not supported (BERT tokenizers have WordPiece)");
  TokenizerSpec spec;
  spec.normalizer = read_normalizer(json.at("normalizer"), "lowercase", "handle_chinese_chars");
  read_model(model, spec);
  read_added(json, spec);
  read_ends(json, spec);
  return spec;
}

TokenizerSpec parse_vocab_txt(const std::string& text, const std::string& config) {
  TokenizerSpec spec;
  size_t bad = 0;
  if (!valid_utf8(text, &bad)) fail("byte " + std::to_string(bad) + ": invalid UTF-8 or NUL");
  int64_t line = 0;
  for (size_t at = 0; at < text.size(); ++line) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    auto token = text.substr(at, end - at);
    if (!token.empty() && token.back() == '\r') token.pop_back();
    at = end + 1;
    if (token.empty()) fail("line " + std::to_string(line + 1) + ": empty token");
    place(spec.tokens, token, line);
  }
  if (!config.empty()) spec.normalizer = read_normalizer(parse_sorted_json(config, {1u << 20, 16}), "do_lower_case", "tokenize_chinese_chars");
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
      if (spec.tokens[id] == name) spec.special.emplace_back(name, static_cast<int32_t>(id));
  return spec;
}

}  // namespace fmtrain

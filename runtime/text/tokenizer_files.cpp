#include "runtime/text/tokenizer_files.h"

#include <stdexcept>
#include <unordered_map>

#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

// The trie takes up to 70 bytes for each byte of the tokens.
constexpr size_t kMaxTokens = 4'000'000, kMaxTokenBytes = 1024, kMaxVocabularyBytes = 6u << 20;
constexpr int64_t kMaxWordChars = 1000;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

void place(std::vector<std::string>& tokens, const std::string& token, int64_t id) {
  if (token.empty() || token.size() > kMaxTokenBytes) fail("model.vocab: a token of " + std::to_string(token.size()) + " bytes");
  if (id < 0 || id >= static_cast<int64_t>(kMaxTokens)) fail("model.vocab: id " + std::to_string(id) + " of " + quoted(token) + " is out of range");
  if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(static_cast<size_t>(id) + 1);
  auto& slot = tokens[static_cast<size_t>(id)];
  if (!slot.empty() && slot != token) fail("model.vocab: " + quoted(slot) + " and " + quoted(token) + " share id " + std::to_string(id));
  slot = token;
}

/// Every id from 0 on has a token, and every token one id.
void check_vocabulary(const TokenizerSpec& spec) {
  std::unordered_map<std::string_view, size_t> ids;
  size_t bytes = 0;
  for (const auto& token : spec.tokens) bytes += token.size();
  if (bytes > kMaxVocabularyBytes) fail("model.vocab: the tokens have " + std::to_string(bytes) + " bytes, more than " + std::to_string(kMaxVocabularyBytes));
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const auto& token = spec.tokens[id];
    if (token.empty()) fail("model.vocab: id " + std::to_string(id) + " has no token");
    const auto [known, is_new] = ids.emplace(token, id);
    if (!is_new) fail("model.vocab: " + quoted(token) + " has the ids " + std::to_string(known->second) + " and " + std::to_string(id));
  }
}

const SortedJson& member(const SortedJson& json, const std::string& name, const std::string& where) {
  if (!json.is_object() || !json.contains(name) || json.at(name).is_null()) fail(where + name + ": missing");
  return json.at(name);
}

std::string text_of(const SortedJson& value, const std::string& name) {
  if (!value.is_string()) fail(name + ": must be a string");
  return value.get<std::string>();
}

int64_t integer_of(const SortedJson& value, const std::string& name) {
  if (!value.is_number_integer()) fail(name + ": must be an integer");
  return value.get<int64_t>();
}

void expect_type(const SortedJson& json, const char* name, const std::vector<std::string>& known) {
  const auto& part = member(json, name, "");
  const auto& type = member(part, "type", std::string(name) + ".");
  for (const auto& k : known)
    if (type == k) return;
  fail(std::string(name) + ".type: " + type.dump().substr(0, 200) + " is not supported (BERT tokenizers have " + known[0] + ")");
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
  if (model.contains("unk_token")) spec.unknown = text_of(model.at("unk_token"), "model.unk_token");
  if (model.contains("continuing_subword_prefix")) spec.prefix = text_of(model.at("continuing_subword_prefix"), "model.continuing_subword_prefix");
  if (!model.contains("max_input_chars_per_word")) return;
  const int64_t chars = integer_of(model.at("max_input_chars_per_word"), "model.max_input_chars_per_word");
  if (chars < 1 || chars > kMaxWordChars) fail("model.max_input_chars_per_word: must be 1 to " + std::to_string(kMaxWordChars));
  spec.max_word_chars = static_cast<int32_t>(chars);
}

void read_added(const SortedJson& json, TokenizerSpec& spec) {
  if (!json.contains("added_tokens")) return;
  for (const auto& token : json.at("added_tokens")) {
    const auto content = text_of(member(token, "content", "added_tokens."), "added_tokens.content");
    for (const char* name : {"single_word", "lstrip", "rstrip", "normalized"})
      if (flag(token, name, false)) fail("added_tokens: " + quoted(content) + " has " + name + ", which is not supported");
    const auto id = integer_of(member(token, "id", "added_tokens."), "added_tokens.id");
    place(spec.tokens, content, id);
    spec.special.emplace_back(content, static_cast<int32_t>(id));
  }
}

/// The special token of one end, which must have the same id in the post-processor and in the vocabulary.
std::string end_token(const TokenizerSpec& spec, const SortedJson& name, const SortedJson& id) {
  const auto token = text_of(name, "post_processor: a token");
  const int64_t at = integer_of(id, "post_processor: the id of " + quoted(token));
  if (at < 0 || at >= static_cast<int64_t>(spec.tokens.size()) || spec.tokens[static_cast<size_t>(at)] != token)
    fail("post_processor: id " + std::to_string(at) + " is not the id of " + quoted(token) + " in the vocabulary");
  return token;
}

std::string bert_end(const TokenizerSpec& spec, const SortedJson& post, const std::string& name) {
  const auto& pair = member(post, name, "post_processor.");
  if (!pair.is_array() || pair.size() != 2) fail("post_processor." + name + ": expected [token, id]");
  return end_token(spec, pair[0], pair[1]);
}

std::string template_end(const TokenizerSpec& spec, const SortedJson& post, const SortedJson& part) {
  const auto& name = member(part.at("SpecialToken"), "id", "post_processor.single.SpecialToken.");
  const auto token = text_of(name, "post_processor.single.SpecialToken.id");
  const auto& ids = member(member(member(post, "special_tokens", "post_processor."), token, "post_processor.special_tokens."), "ids", "post_processor.special_tokens.");
  if (!ids.is_array() || ids.size() != 1) fail("post_processor: " + quoted(token) + " must have one id");
  return end_token(spec, name, ids[0]);
}

/// [CLS] and [SEP] as the post-processor names them.
void read_ends(const SortedJson& json, TokenizerSpec& spec) {
  const auto& post = json.at("post_processor");
  if (post.at("type") == "BertProcessing") {
    spec.cls = bert_end(spec, post, "cls");
    spec.sep = bert_end(spec, post, "sep");
    return;
  }
  const auto& single = member(post, "single", "post_processor.");
  const bool bert = single.is_array() && single.size() == 3 && single[0].contains("SpecialToken") && single[1].contains("Sequence") && single[2].contains("SpecialToken");
  if (!bert) fail("post_processor.single: expected one special token, the text, one special token");
  spec.cls = template_end(spec, post, single[0]);
  spec.sep = template_end(spec, post, single[2]);
}

}  // namespace

TokenizerSpec parse_tokenizer_json(const std::string& text) {
  const SortedJson json = parse_sorted_json(text, {64u << 20, 16});
  expect_type(json, "normalizer", {"BertNormalizer"});
  expect_type(json, "pre_tokenizer", {"BertPreTokenizer"});
  expect_type(json, "post_processor", {"TemplateProcessing", "BertProcessing"});
  const auto& model = member(json, "model", "");
  if (model.is_object() && model.contains("type")) expect_type(json, "model", {"WordPiece"});  // old files do not name it
  TokenizerSpec spec;
  spec.normalizer = read_normalizer(json.at("normalizer"), "lowercase", "handle_chinese_chars");
  read_model(model, spec);
  read_added(json, spec);
  check_vocabulary(spec);
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
  check_vocabulary(spec);
  if (!config.empty()) spec.normalizer = read_normalizer(parse_sorted_json(config, {1u << 20, 16}), "do_lower_case", "tokenize_chinese_chars");
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
      if (spec.tokens[id] == name) spec.special.emplace_back(name, static_cast<int32_t>(id));
  return spec;
}

}  // namespace fmtrain

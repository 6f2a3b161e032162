#include <algorithm>
#include <filesystem>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"
#include "runtime/text/bert_words.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_files.h"
#include "runtime/text/utf8.h"
#include "runtime/text/wordpiece.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxFile = 64u << 20;

class BertTokenizer final : public Tokenizer {
 public:
  BertTokenizer(TokenizerSpec spec, std::string sha256)
      : special_(std::move(spec.special)), normalizer_(spec.normalizer),
        wordpiece_(std::move(spec.tokens), spec.unknown, spec.prefix, spec.max_word_chars), sha256_(std::move(sha256)) {
    cls_ = required(spec.cls);
    sep_ = required(spec.sep);
    for (const auto& [token, id] : special_) special_starts_[static_cast<unsigned char>(token[0])] = true;
  }

  Encoding encode(std::string_view text) const override {
    check_utf8(text);
    Encoding e;
    add(e, cls_, 0, 0, -1);
    int32_t word = 0;
    append_text(e, text, -1, word);
    add(e, sep_, 0, 0, -1);
    return e;
  }

  Encoding encode_words(const std::vector<std::string>& words) const override {
    Encoding e;
    add(e, cls_, 0, 0, -1);
    for (size_t w = 0; w < words.size(); ++w) {
      check_utf8(words[w]);
      int32_t unused = 0;
      append_text(e, words[w], static_cast<int32_t>(w), unused);
    }
    add(e, sep_, 0, 0, -1);
    return e;
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(wordpiece_.tokens().size()); }
  const std::string& token(int32_t id) const override { return wordpiece_.tokens().at(static_cast<size_t>(id)); }
  int32_t cls_id() const override { return cls_; }
  int32_t sep_id() const override { return sep_; }
  const std::string& sha256() const override { return sha256_; }

 private:
  int32_t required(const std::string& token) const {
    const int32_t id = wordpiece_.id(token);
    if (id < 0) throw std::runtime_error("the token " + quoted(token) + " is not in the vocabulary");
    return id;
  }

  static void check_utf8(std::string_view text) {
    size_t bad = 0;
    if (!valid_utf8(text, &bad)) throw DataError("byte " + std::to_string(bad) + ": invalid UTF-8 or NUL");
  }

  static void add(Encoding& e, int32_t id, int32_t begin, int32_t end, int32_t word) {
    e.ids.push_back(id);
    e.begin.push_back(begin);
    e.end.push_back(end);
    e.words.push_back(word);
  }

  /// The longest special token that starts at the front of `rest`.
  const std::pair<std::string, int32_t>* special_at(std::string_view rest) const {
    const std::pair<std::string, int32_t>* best = nullptr;
    for (const auto& candidate : special_)
      if (rest.substr(0, candidate.first.size()) == candidate.first && (!best || candidate.first.size() > best->first.size())) best = &candidate;
    return best;
  }

  /// Special tokens first, then the stretches between them. `fixed_word` >= 0: all ids belong to that word; else `word` counts.
  void append_text(Encoding& e, std::string_view text, int32_t fixed_word, int32_t& word) const {
    size_t stretch = 0;
    int32_t characters = 0;  // code points before `stretch`
    for (size_t at = 0; at < text.size();) {
      const auto* special = special_starts_[static_cast<unsigned char>(text[at])] ? special_at(text.substr(at)) : nullptr;
      if (!special) {
        ++at;
        continue;
      }
      append_plain(e, text.substr(stretch, at - stretch), characters, fixed_word, word);
      characters += count_code_points(text.substr(stretch, at - stretch));
      const int32_t length = count_code_points(special->first);
      add(e, special->second, characters, characters + length, fixed_word >= 0 ? fixed_word : word++);
      characters += length;
      at += special->first.size();
      stretch = at;
    }
    append_plain(e, text.substr(stretch), characters, fixed_word, word);
  }

  void append_plain(Encoding& e, std::string_view text, int32_t first, int32_t fixed_word, int32_t& word) const {
    std::vector<WordPiece::Piece> pieces;
    for (const auto& w : bert_words(text, normalizer_, first)) {
      wordpiece_.cut(w.text, pieces);
      for (const auto& p : pieces) add(e, p.id, w.begin[p.begin], w.end[p.end - 1], fixed_word >= 0 ? fixed_word : word);
      ++word;
    }
  }

  std::vector<std::pair<std::string, int32_t>> special_;
  bool special_starts_[256] = {};
  BertNormalizer normalizer_;
  WordPiece wordpiece_;
  std::string sha256_;
  int32_t cls_ = 0, sep_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& model_dir) {
  namespace fs = std::filesystem;
  const std::string json = model_dir + "/tokenizer.json", vocab = model_dir + "/vocab.txt", config = model_dir + "/tokenizer_config.json";
  const bool has_json = fs::exists(json);
  if (!has_json && !fs::exists(vocab)) throw ConfigError(model_dir + ": has neither tokenizer.json nor vocab.txt");
  const std::string& file = has_json ? json : vocab;
  try {
    const auto text = read_file(posix_files(), file, kMaxFile);
    auto spec = has_json ? parse_tokenizer_json(text) : parse_vocab_txt(text, fs::exists(config) ? read_file(posix_files(), config, 1u << 20) : "");
    return std::make_unique<BertTokenizer>(std::move(spec), sha256_hex(text.data(), text.size()));
  } catch (const std::exception& error) {
    throw ConfigError(file + ": " + error.what());
  }
}

}  // namespace fmtrain

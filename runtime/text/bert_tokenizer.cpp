#include <filesystem>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"
#include "runtime/text/bert_scanner.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_files.h"
#include "runtime/text/utf8.h"
#include "runtime/text/wordpiece.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxFile = 64u << 20;

TextCache& cache_of_thread() {
  thread_local TextCache cache;
  return cache;
}

class BertTokenizer final : public Tokenizer {
 public:
  BertTokenizer(TokenizerSpec spec, std::string sha256)
      : wordpiece_(std::move(spec.tokens), spec.unknown, spec.prefix, spec.max_word_chars), rules_(spec.normalizer, spec.special, wordpiece_),
        sha256_(std::move(sha256)), cls_(required(spec.cls)), sep_(required(spec.sep)) {}

  void encode(std::string_view text, Encoding& out) const override {
    check_utf8(text);
    TokenSink sink(out);
    begin(sink, text.size());
    BertScanner(rules_, cache_of_thread(), sink).scan(text, -1);
    finish(sink);
  }

  void encode_words(const std::vector<std::string>& words, Encoding& out) const override {
    TokenSink sink(out);
    begin(sink, 8 * words.size());
    BertScanner scanner(rules_, cache_of_thread(), sink);
    for (size_t w = 0; w < words.size(); ++w) {
      check_utf8(words[w]);
      scanner.scan(words[w], static_cast<int32_t>(w));
    }
    finish(sink);
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

  void begin(TokenSink& sink, size_t bytes) const {
    sink.room(bytes / 4 + 8);  // English has four to five bytes a token
    sink.put(cls_, 0, 0, -1);
  }

  void finish(TokenSink& sink) const {
    sink.room(1);
    sink.put(sep_, 0, 0, -1);
    sink.finish();
  }

  WordPiece wordpiece_;
  BertRules rules_;  ///< refers to wordpiece_: a tokenizer stays where it was made
  std::string sha256_;
  int32_t cls_, sep_;
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

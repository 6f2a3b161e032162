// Text to ids with character offsets, exactly as the Hugging Face tokenizer of the same files does it (BERT: normaliser,
// pre-tokeniser, WordPiece, [CLS] ... [SEP]). Immutable after loading; safe to share between threads.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fmtrain {

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> begin, end;  ///< [begin, end) of each id in Unicode code points of the original text; special tokens: 0, 0
  std::vector<int32_t> words;       ///< index of the input word (encode_words) or pre-token (encode) of each id; special tokens: -1
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// One text, with [CLS] and [SEP]. `text` must be valid UTF-8 without NUL, else DataError "byte N: invalid UTF-8 or NUL".
  Encoding encode(std::string_view text) const { return made([&](Encoding& e) { encode(text, e); }); }
  /// A sentence split into words (as is_split_into_words=True); offsets are within each word. A word may yield no id at all.
  Encoding encode_words(const std::vector<std::string>& words) const { return made([&](Encoding& e) { encode_words(words, e); }); }
  /// The same into `out`, whose memory is used again: nothing is allocated once it is large enough. After a throw its content is any.
  virtual void encode(std::string_view text, Encoding& out) const = 0;
  virtual void encode_words(const std::vector<std::string>& words, Encoding& out) const = 0;
  virtual int64_t vocab_size() const = 0;              ///< largest id + 1
  virtual const std::string& token(int32_t id) const = 0;
  virtual int32_t cls_id() const = 0;
  virtual int32_t sep_id() const = 0;
  virtual const std::string& sha256() const = 0;       ///< of the file it was read from

 private:
  template <class Fill>
  static Encoding made(Fill fill) {
    Encoding e;
    fill(e);
    return e;
  }
};

/// From a model directory: tokenizer.json, else vocab.txt (+ do_lower_case of tokenizer_config.json). Throws ConfigError
/// naming file and place: unknown component, duplicate or gapped ids, sizes over the limits.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& model_dir);

}  // namespace fmtrain

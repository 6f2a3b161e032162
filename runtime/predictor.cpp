#include "runtime/predictor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "runtime/errors.h"
#include "runtime/metrics/tag_set.h"
#include "runtime/model_dir.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

/// Part of one text that goes through the model as one sample: tokens [first, last) of its encoding, without the ends.
struct Window {
  size_t text;
  size_t first, last;
};

constexpr size_t kWindowsAtOnce = 64;

/// Bytes at which each code point of a valid UTF-8 text begins, and its end.
std::vector<size_t> code_points(const std::string& text) {
  std::vector<size_t> at;
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) at.push_back(i);
  at.push_back(text.size());
  return at;
}

class ModelPredictor final : public Predictor {
 public:
  ModelPredictor(const std::string& dir, Precision precision)
      : loaded_(load_finetuned(dir, precision)), tokenizer_(load_tokenizer(dir)), max_length_(loaded_.fmtrain.at("max_length").get<int64_t>()) {
    if (tokenizer_->sha256() != loaded_.fmtrain.value("tokenizer_sha256", tokenizer_->sha256()))
      throw ConfigError(dir + ": the tokenizer is not the one the model was trained with (tokenizer_sha256 of fmtrain.json)");
    if (tokenizer_->vocab_size() > loaded_.model->config().vocab_size)
      throw ConfigError(dir + ": the tokenizer has more ids than the model's embedding has rows");
    if (task() == Task::kTokenClassification) read_tags(dir);
  }

  Task task() const override { return loaded_.model->config().task; }

  std::vector<Prediction> predict(std::span<const std::string> texts) override {
    const at::NoGradGuard no_grad;
    std::vector<Encoding> encodings;
    for (size_t i = 0; i < texts.size(); ++i) encodings.push_back(encode(texts[i], i));
    std::vector<Window> windows;
    for (size_t i = 0; i < encodings.size(); ++i) cut(encodings[i], i, windows);
    if (windows.empty()) return {};
    std::vector<at::Tensor> parts;  // a long text alone may have thousands of windows
    for (size_t i = 0; i < windows.size(); i += kWindowsAtOnce) {
      const std::span some(windows.data() + i, std::min(kWindowsAtOnce, windows.size() - i));
      parts.push_back(at::softmax(loaded_.model->logits(pack(encodings, some), Pass{}), 1).cpu());
    }
    const auto probabilities = at::cat(parts).contiguous();
    return task() == Task::kTokenClassification ? tagged(texts, encodings, windows, probabilities) : classified(windows, probabilities);
  }

 private:
  void read_tags(const std::string& dir) {
    try {
      tags_.emplace(loaded_.labels);
    } catch (const DataError& error) {
      throw ConfigError(dir + "/fmtrain.json: labels: " + error.what());
    }
  }

  Encoding encode(const std::string& text, size_t index) const {
    try {
      return tokenizer_->encode(text);
    } catch (const DataError& error) {
      throw DataError("text " + std::to_string(index + 1) + ": " + error.what());
    }
  }

  /// Windows end where a word ends, except inside a word that is longer than a window.
  void cut(const Encoding& e, size_t text, std::vector<Window>& windows) const {
    const auto room = static_cast<size_t>(max_length_) - 2;
    const size_t end = e.ids.size() - 1;
    size_t first = 1;
    do {
      size_t last = std::min(first + room, end);
      if (task() == Task::kSequenceClassification) return windows.push_back({text, first, last});
      size_t whole = last;
      while (whole > first && whole < end && e.words[whole] == e.words[whole - 1]) --whole;
      if (whole > first) last = whole;
      windows.push_back({text, first, last});
      first = last;
    } while (first < end);
  }

  Batch pack(const std::vector<Encoding>& encodings, std::span<const Window> windows) const {
    std::vector<int64_t> tokens, positions, offsets{0};
    for (const auto& w : windows) {
      const auto& ids = encodings[w.text].ids;
      tokens.push_back(tokenizer_->cls_id());
      tokens.insert(tokens.end(), ids.begin() + static_cast<int64_t>(w.first), ids.begin() + static_cast<int64_t>(w.last));
      tokens.push_back(tokenizer_->sep_id());
      for (int64_t p = 0; offsets.back() + p < static_cast<int64_t>(tokens.size()); ++p) positions.push_back(p);
      offsets.push_back(static_cast<int64_t>(tokens.size()));
    }
    Batch batch;
    batch.tokens = at::tensor(tokens, at::kLong);
    batch.types = at::zeros_like(batch.tokens);
    batch.positions = at::tensor(positions, at::kLong);
    batch.offsets = at::tensor(offsets, at::kLong);
    batch.sample_ids = at::zeros({batch.samples()}, at::kLong);
    return batch;
  }

  std::vector<Prediction> classified(const std::vector<Window>& windows, const at::Tensor& probabilities) const {
    std::vector<Prediction> result(windows.size());
    const auto rows = probabilities.accessor<float, 2>();
    for (size_t i = 0; i < windows.size(); ++i) {
      auto& scores = result[i].scores;
      for (size_t l = 0; l < loaded_.labels.size(); ++l) scores.emplace_back(loaded_.labels[l], rows[static_cast<int64_t>(i)][static_cast<int64_t>(l)]);
      std::stable_sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
      result[i].label = scores[0].first;
    }
    return result;
  }

  /// The words of one text with what the model said of them.
  struct Words {
    std::vector<int32_t> labels;
    std::vector<double> scores;
    std::vector<std::pair<int64_t, int64_t>> places;  ///< code points
  };

  std::vector<Prediction> tagged(std::span<const std::string> texts, const std::vector<Encoding>& encodings, const std::vector<Window>& windows,
                                 const at::Tensor& probabilities) const {
    std::vector<Words> words(texts.size());
    const auto rows = probabilities.accessor<float, 2>();
    int64_t row = 0;
    for (const auto& w : windows) {
      ++row;  // [CLS]
      for (size_t t = w.first; t < w.last; ++t, ++row) add_token(words[w.text], encodings[w.text], t, rows[row]);
      ++row;  // [SEP]
    }
    std::vector<Prediction> result(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) result[i].entities = entities(texts[i], words[i]);
    return result;
  }

  void add_token(Words& words, const Encoding& e, size_t token, at::TensorAccessor<float, 1> row) const {
    if (e.words[token] == e.words[token - 1]) {  // [CLS] before the first has word -1
      words.places.back().second = e.end[token];
      return;
    }
    const float* best = std::max_element(row.data(), row.data() + row.size(0));
    words.labels.push_back(static_cast<int32_t>(best - row.data()));
    words.scores.push_back(*best);
    words.places.emplace_back(e.begin[token], e.end[token]);
  }

  std::vector<PredictedEntity> entities(const std::string& text, const Words& words) const {
    std::vector<PredictedEntity> result;
    const auto bytes = code_points(text);
    for (const auto& found : tags_->entities(words.labels, EntityMode::kStrict)) {
      PredictedEntity entity;
      entity.type = tags_->types()[static_cast<size_t>(found.type)];
      entity.start = words.places[static_cast<size_t>(found.begin)].first;
      entity.end = words.places[static_cast<size_t>(found.end - 1)].second;
      const size_t from = bytes[static_cast<size_t>(entity.start)];
      entity.text = text.substr(from, bytes[static_cast<size_t>(entity.end)] - from);
      for (int64_t w = found.begin; w < found.end; ++w) entity.score += words.scores[static_cast<size_t>(w)] / static_cast<double>(found.end - found.begin);
      result.push_back(entity);
    }
    return result;
  }

  FinetunedModel loaded_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<TagSet> tags_;
  int64_t max_length_;
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(const std::string& model_dir, Precision precision) {
  return std::make_unique<ModelPredictor>(model_dir, precision);
}

}  // namespace fmtrain

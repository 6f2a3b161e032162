#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "launch/commands.h"
#include "runtime/data/lines.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "runtime/model_path.h"
#include "runtime/predictor.h"

namespace fmtrain {
namespace {

constexpr const char* kPredictHelp =
    "Predictions of a fine-tuned model, one JSON object a line of text.\n\n"
    "Tagging: {\"text\", \"entities\": [{\"type\", \"start\", \"end\", \"text\", \"score\"}]}; start and end count Unicode code points,\n"
    "score is the mean probability of the entity's words. Classification: {\"text\", \"label\", \"scores\": {label: probability}}.\n"
    "Standard input is answered as it comes, so the command can stand in a pipe.\n"
    "Example: echo 'Heart attack in Berlin' | fmtrain predict runs/ner_wnut17/model";

struct PredictOptions {
  std::string model, input = "-", precision = "fp32";
  size_t batch = 32;
};

Json json_of(const std::string& text, const Prediction& prediction, Task task) {
  Json json{{"text", text}};
  if (task == Task::kTokenClassification) {
    json["entities"] = Json::array();
    for (const auto& e : prediction.entities)
      json["entities"].push_back({{"type", e.type}, {"start", e.start}, {"end", e.end}, {"text", e.text}, {"score", e.score}});
    return json;
  }
  json["label"] = prediction.label;
  for (const auto& [label, score] : prediction.scores) json["scores"][label] = score;
  return json;
}

/// Lines of a file or pipe as they come. (Not std::getline: it cannot say whether a whole line is there already, so a batch would
/// wait for a line that its writer sends only after our answer.)
class LineReader {
 public:
  explicit LineReader(const std::string& input) : name_(input) {
    if (input == "-") return;
    if (const int error = posix_files().open(input, &fd_)) fail("cannot open", error);
  }
  ~LineReader() {
    if (fd_ != STDIN_FILENO) posix_files().close(fd_);
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Whether next() has a line without waiting.
  bool ready() const { return buffer_.find('\n', at_) != std::string::npos; }

  /// The next line without its line end (LF or CRLF); false at the end.
  bool next(std::string& line) {
    size_t end = buffer_.find('\n', at_);
    while (end == std::string::npos && fill()) end = buffer_.find('\n', at_);
    if (end == std::string::npos && at_ == buffer_.size()) return false;
    line = buffer_.substr(at_, end == std::string::npos ? end : end - at_);
    at_ = end == std::string::npos ? buffer_.size() : end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
  }

 private:
  [[noreturn]] void fail(const std::string& what, int error) const { throw DataError(name_ + ": " + what + ": " + std::strerror(error)); }

  bool fill() {
    buffer_.erase(0, at_);
    at_ = 0;
    if (buffer_.size() > kMaxLine) throw DataError(name_ + ": a line has more than 16 MiB");
    char block[65536];
    ssize_t n;
    do n = ::read(fd_, block, sizeof block);
    while (n < 0 && errno == EINTR);
    if (n < 0) fail("cannot read", errno);
    buffer_.append(block, static_cast<size_t>(n));
    return n > 0;
  }

  std::string name_, buffer_;
  int fd_ = STDIN_FILENO;
  size_t at_ = 0;
};

void answer(Predictor& predictor, const std::vector<std::string>& texts) {
  const auto predictions = predictor.predict(texts);
  for (size_t i = 0; i < texts.size(); ++i) std::cout << json_of(texts[i], predictions[i], predictor.task()).dump() << '\n';
  if (!std::cout.flush()) throw StorageError("standard output: cannot write");
}

int predict_texts(const PredictOptions& o) {
  const auto predictor = make_predictor(resolve_model(o.model), o.precision == "bf16" ? Precision::kBf16 : Precision::kFp32);
  LineReader lines(o.input);
  size_t answered = 0;
  std::string line;
  while (lines.next(line)) {
    std::vector<std::string> texts{line};
    while (texts.size() < o.batch && lines.ready() && lines.next(line)) texts.push_back(line);
    try {
      answer(*predictor, texts);
    } catch (const DataError& error) {
      throw DataError(o.input + ": after line " + std::to_string(answered) + ": " + error.what());
    }
    answered += texts.size();
  }
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("predict", kPredictHelp);
  const auto o = std::make_shared<PredictOptions>();
  command->add_option("MODEL", o->model, "the model/ directory of a run")->required();
  command->add_option("INPUT", o->input, "text file, one text a line; - for standard input (the default)");
  command->add_option("--batch", o->batch, "texts a forward pass, at most")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--precision", o->precision, "fp32 or bf16")->check(CLI::IsMember({"fp32", "bf16"}))->capture_default_str();
  command->callback([&action, o] { action = [o] { return predict_texts(*o); }; });
}

}  // namespace fmtrain

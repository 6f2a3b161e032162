#include <fstream>
#include <iostream>

#include "launch/commands.h"
#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/model_path.h"
#include "runtime/predictor.h"

namespace fmtrain {
namespace {

constexpr const char* kHelp =
    "Predictions of a fine-tuned model, one JSON object a line of text.\n\n"
    "Tagging: {\"text\", \"entities\": [{\"type\", \"start\", \"end\", \"text\", \"score\"}]}; start and end count Unicode code points,\n"
    "score is the mean probability of the entity's words. Classification: {\"text\", \"label\", \"scores\": {label: probability}}.\n"
    "Standard input is answered as it comes, so the command can stand in a pipe.\n"
    "Example: echo 'Heart attack in Berlin' | fmtrain predict runs/ner_wnut17/model";

struct Options {
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

void answer(Predictor& predictor, std::vector<std::string>& texts) {
  const auto predictions = predictor.predict(texts);
  for (size_t i = 0; i < texts.size(); ++i) std::cout << json_of(texts[i], predictions[i], predictor.task()).dump() << '\n';
  std::cout.flush();
  texts.clear();
}

int predict(const Options& o) {
  const auto predictor = make_predictor(resolve_model(o.model), o.precision == "bf16" ? Precision::kBf16 : Precision::kFp32);
  std::ifstream file;
  if (o.input != "-") {
    file.open(o.input);
    if (!file) throw DataError(o.input + ": cannot open");
  }
  std::istream& in = o.input == "-" ? std::cin : file;
  std::vector<std::string> texts;
  int64_t answered = 0;
  try {
    for (std::string line; std::getline(in, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      texts.push_back(line);
      if (texts.size() < o.batch && in.rdbuf()->in_avail() > 0) continue;
      const auto count = static_cast<int64_t>(texts.size());
      answer(*predictor, texts);
      answered += count;
    }
    if (!texts.empty()) answer(*predictor, texts);
  } catch (const DataError& error) {
    throw DataError(o.input + ": after line " + std::to_string(answered) + ": " + error.what());
  }
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("predict", kHelp);
  const auto o = std::make_shared<Options>();
  command->add_option("MODEL", o->model, "the model/ directory of a run")->required();
  command->add_option("INPUT", o->input, "text file, one text a line; - for standard input (the default)");
  command->add_option("--batch", o->batch, "texts a forward pass, at most")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--precision", o->precision, "fp32 or bf16")->check(CLI::IsMember({"fp32", "bf16"}))->capture_default_str();
  command->callback([&action, o] { action = [o] { return predict(*o); }; });
}

}  // namespace fmtrain

// Predictions: places in the text, windows, and the command that answers a pipe line by line.
#include "runtime/predictor.h"

#include <ATen/core/grad_mode.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/wait.h>

#include "runtime/errors.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

/// A model that decides by the token alone: 'p' begins a P, 'i' continues one, every other token is O. Its layers add nothing
/// to the embedding: the output projections and their biases are 0.
std::unique_ptr<TaskModel> letter_model() {
  const at::NoGradGuard no_grad;
  auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 3);
  for (auto& p : model->parameters()) {
    if (p.name.find("LayerNorm") != std::string::npos) continue;
    p.value.zero_();
    if (p.name == "bert.embeddings.word_embeddings.weight")
      for (const auto& [id, column] : {std::pair{front('p'), 1}, std::pair{front('i'), 2}}) p.value[id][column] = 1;
    if (p.name == "classifier.weight")
      for (int label : {1, 2}) p.value[label][label] = 9;
    if (p.name == "classifier.bias") p.value[0] = 5;
  }
  model->parameters_changed();
  return model;
}

class PredictorTest : public TinyModelFolder {
 protected:
  void write_tagger() const { write_model(*letter_model(), kTags); }
  void write_classifier() const { write_model(*make_bert(tiny_shape(Task::kSequenceClassification, 3), 3), {"x", "y", "z"}); }
  std::vector<Prediction> predict(const std::vector<std::string>& texts) const {
    return make_predictor(path("model"), Precision::kFp32)->predict(texts);
  }
  std::string places(const std::string& text) const {
    std::string result;
    const auto predictions = predict({text});
    for (const auto& e : predictions[0].entities)
      result += std::to_string(e.start) + "-" + std::to_string(e.end) + " " + e.text + "; ";
    return result;
  }
};

TEST_F(PredictorTest, PlacesCountCodePoints) {
  write_tagger();
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"a", ""},
                                                       {"p", "0-1 p; "},
                                                       {"a p b", "2-3 p; "},
                                                       {"p i", "0-3 p i; "},
                                                       {"p p", "0-1 p; 2-3 p; "},
                                                       {"i p", "2-3 p; "},
                                                       {"\U0001F600 p", "2-3 p; "},
                                                       {"\u00e9\u00e9 p\u0301 i a", "3-7 p\u0301 i; "},
                                                       {"P  I", "0-4 P  I; "},
                                                       {"p \U0001F600 i", "0-1 p; "}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(places(text), expected) << text;
}

TEST_F(PredictorTest, LongTextsAreReadInWindows) {
  write_tagger();  // windows of 6 tokens between their ends
  EXPECT_EQ(places("a a a a p i i p a a a a p"), "8-13 p i i; 14-15 p; 24-25 p; ");
  EXPECT_EQ(places("aaaa p aaaaaaaaaaaa i p"), "5-6 p; 22-23 p; ");
  std::string text, expected;
  for (int i = 0; i < 1000; ++i)
    text += "a p ", expected += std::to_string(4 * i + 2) + "-" + std::to_string(4 * i + 3) + " p; ";
  EXPECT_EQ(places(text), expected);
}

TEST_F(PredictorTest, ScoresAreProbabilities) {
  write_classifier();
  const std::vector<std::string> texts{"", "abc", "a b c d e f g h i j k l m n o p"};
  const auto together = predict(texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    double sum = 0, last = 1;
    for (const auto& [label, score] : together[i].scores) {
      EXPECT_LE(score, last);
      sum += last = score;
    }
    EXPECT_NEAR(sum, 1, 1e-6);
    EXPECT_EQ(together[i].label, together[i].scores[0].first);
    EXPECT_EQ(predict({texts[i]})[0].label, together[i].label);
  }
}

TEST_F(PredictorTest, WrongDirectories) {
  write_tagger();
  const std::string good = content("model/fmtrain.json");
  const std::pair<const char*, Json> cases[] = {{"labels", "O"},
                                                {"labels", Json::array()},
                                                {"labels", {"O", "B-P", "O"}},
                                                {"labels", {"O", "P", "Q"}},
                                                {"labels", {1, 2, 3}},
                                                {"task", "tagging"},
                                                {"task", 3},
                                                {"task", nullptr},
                                                {"pooling", "max"},
                                                {"pooling", 1},
                                                {"max_length", "8"},
                                                {"max_length", 2},
                                                {"max_length", 17},
                                                {"max_length", 8.5},
                                                {"tokenizer_sha256", "00"},
                                                {"tokenizer_sha256", 7}};
  for (const auto& [key, value] : cases) {
    bend("model/fmtrain.json", [&, k = key, v = value](Json& json) { json[k] = v; });
    EXPECT_THROW(make_predictor(path("model"), Precision::kFp32), ConfigError) << key << value;
    write("model/fmtrain.json", good);
  }
  for (const char* text : {"[]", "{", "{\"task\": \"token-classification\"}"}) {
    write("model/fmtrain.json", text);
    EXPECT_THROW(make_predictor(path("model"), Precision::kFp32), ConfigError) << text;
  }
  write("model/fmtrain.json", good);
  bend("model/fmtrain.json", [](Json& json) { json.erase("tokenizer_sha256"); });
  bend("model/tokenizer.json", [](Json& json) {
    for (int id = 57; id < 70; ++id) json["model"]["vocab"]["word" + std::to_string(id)] = id;
  });
  EXPECT_THROW(make_predictor(path("model"), Precision::kFp32), ConfigError);
}

/// The program with pipes at both ends.
class Command : public PredictorTest {
 protected:
  void start() {
    int in[2], out[2];
    ASSERT_EQ(::pipe2(in, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC), 0);
    const std::string model = path("model");
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(in[0], 0), ::dup2(out[1], 1);
      ::execl("/usr/bin/timeout", "timeout", "-k", "5", "30", FMTRAIN_BINARY, "predict", model.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]), ::close(out[1]);
    to_ = in[1], from_ = out[0];
  }
  void send(const std::string& text) const {
    ASSERT_EQ(::write(to_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// The next `lines` lines, or what came within 20 seconds.
  std::vector<Json> receive(size_t lines) const {
    std::string text;
    pollfd ready{from_, POLLIN, 0};
    char c;
    while (lines > 0 && ::poll(&ready, 1, 20'000) > 0 && ::read(from_, &c, 1) == 1) {
      text += c;
      lines -= c == '\n';
    }
    std::vector<Json> result;
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      result.push_back(parse_json(text.substr(at, end - at), {}));
    return result;
  }
  int finish() {
    ::close(to_);
    char c;
    EXPECT_EQ(::read(from_, &c, 1), 0);  // nothing more
    ::close(from_);
    int status = 0;
    ::waitpid(child_, &status, 0);
    return WEXITSTATUS(status);
  }
  pid_t child_ = 0;
  int to_ = -1, from_ = -1;
};

TEST_F(Command, AnswersEveryLineAtOnce) {
  write_tagger();
  start();
  send("a p\n");
  auto lines = receive(1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["entities"][0]["start"], 2);
  send("first\r\n\nha");  // an empty line, and a line that is not whole yet
  lines = receive(2);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["text"], "first");
  EXPECT_EQ(lines[1]["text"], "");
  send("lf");  // no line end before the end
  ::close(to_);
  lines = receive(1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["text"], "half");
  EXPECT_EQ(finish(), 0);
}

TEST_F(Command, InvalidTextEndsWithDataError) {
  write_tagger();
  start();
  send("a\n");
  EXPECT_EQ(receive(1).size(), 1u);
  send("b\xff\n");
  EXPECT_EQ(finish(), 3);
}

}  // namespace
}  // namespace fmtrain

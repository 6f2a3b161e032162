// Preparing by several threads: the same bytes, and the same first error.
#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

class PrepareThreads : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    tokenizer_ = small_tokenizer(folder_ / "model");
  }
  static PrepareOptions tagging() {
    PrepareOptions options;
    options.max_length = 16;
    return options;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(PrepareThreads, AnyNumberOfThreadsWritesTheSameBytes) {
  std::string tagged, labelled = "text,label\n";
  for (int i = 0; i < 3000; ++i) {
    const std::string word(static_cast<size_t>(1 + i % 40), static_cast<char>('a' + i % 26));  // another text each: none may stand in another's place
    tagged += word + "\tB-X\n" + word + "z\tO\n\n";
    labelled += word + " " + word + "z," + (i % 3 ? "yes" : "no") + "\n";
  }
  write("in.conll", tagged);
  write("in.csv", labelled);
  PrepareOptions classes;
  classes.task = Task::kSequenceClassification;
  for (const auto& [file, base] : {std::pair<std::string, PrepareOptions>{"in.conll", tagging()}, {"in.csv", classes}}) {
    std::string first;
    for (const int threads : {1, 2, 5, 40}) {
      auto options = base;
      options.threads = threads;
      prepare_file(path(file), options, *tokenizer_, path("out.h5"));
      if (first.empty()) first = content("out.h5");
      EXPECT_TRUE(first.size() > 10'000 && content("out.h5") == first) << file << ", " << threads << " threads";
    }
  }
}

/// Refuses the word "bad".
class Choosy final : public Tokenizer {
 public:
  explicit Choosy(const Tokenizer& real) : real_(real) {}
  void encode(std::string_view text, Encoding& out) const override { real_.encode(text, out); }
  void encode_words(const std::vector<std::string>& words, Encoding& out) const override {
    if (words[0] == "bad") throw DataError("is bad");
    real_.encode_words(words, out);
  }
  int64_t vocab_size() const override { return real_.vocab_size(); }
  const std::string& token(int32_t id) const override { return real_.token(id); }
  int32_t cls_id() const override { return real_.cls_id(); }
  int32_t sep_id() const override { return real_.sep_id(); }
  const std::string& sha256() const override { return real_.sha256(); }

 private:
  const Tokenizer& real_;
};

TEST_F(PrepareThreads, TheFirstWrongTextIsNamedWhateverThreadMetIt) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += i == 1500 || i == 2900 ? "bad\tO\n\n" : "a\tO\n\n";
  write("in.conll", text);
  auto options = tagging();
  options.threads = 3;
  EXPECT_THAT([&] { prepare_file(path("in.conll"), options, Choosy(*tokenizer_), path("out.h5")); },
              testing::ThrowsMessage<DataError>(path("in.conll") + ":3001: is bad"));
  EXPECT_FALSE(std::filesystem::exists(path("out.h5")));
}

}  // namespace
}  // namespace fmtrain

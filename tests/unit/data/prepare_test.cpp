// From text to the arrays of a prepared file: content, splitting, truncation, labels, determinism, the cache.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <set>
#include <thread>

#include "runtime/data/dataset_file.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/model_path.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

/// Sample `s` of a tagging file, readable: "abc/O def/B-X~ |". A word whose first token is not in the sample ends with "~"; the
/// bar ends the sample. The small tokenizer has one token a letter.
std::string shown(const DatasetFile& data) {
  std::string all;
  for (size_t s = 0; s < data.texts.size(); ++s) {
    all += (s ? " " : "") + std::to_string(data.texts[s]) + "[";
    for (auto t = static_cast<size_t>(data.offsets[s]); t < static_cast<size_t>(data.offsets[s + 1]); ++t) {
      const int32_t id = data.tokens[t];
      all += id == kCls ? "<" : id == kSep ? ">" : std::string(1, static_cast<char>('a' + (id < 31 ? id - 5 : id - 31)));
    }
    for (auto w = static_cast<size_t>(data.word_offsets[s]); w < static_cast<size_t>(data.word_offsets[s + 1]); ++w)
      all += " " + data.info.labels[static_cast<size_t>(data.word_gold[w])] + "@" + std::to_string(data.word_token[w]);
    all += "]";
  }
  return all;
}

class Prepare : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    tokenizer_ = small_tokenizer(folder_ / "model");
    home_ = folder_ / "home";
    set_cache_dir(home_);
  }
  DatasetFile prepare(const std::string& file, const PrepareOptions& options) {
    result_ = prepare_file(file, options, *tokenizer_, path("out.h5"));
    return read_dataset_file(path("out.h5"));
  }
  DatasetFile prepare_text(const std::string& content, const PrepareOptions& options) {
    const std::string name = options.task == Task::kTokenClassification ? "in.conll" : "in.csv";
    write(name, content);
    return prepare(path(name), options);
  }
  static PrepareOptions tagging(int64_t max_length, Overlong overlong = Overlong::kSplit) {
    PrepareOptions options;
    options.max_length = max_length;
    options.overlong = overlong;
    return options;
  }
  static PrepareOptions classification(int64_t max_length = 128) {
    PrepareOptions options = tagging(max_length);
    options.task = Task::kSequenceClassification;
    return options;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  std::filesystem::path home_;
  PrepareResult result_;
};

TEST_F(Prepare, TaggingArraysByHand) {
  const auto data = prepare_text("ab\tB-P\ncd\tI-P\n\u200b\tO\ne\tO\n\nf\tB-L\n", tagging(128));
  EXPECT_THAT(data.tokens,
              ElementsAre(kCls, front('a'), inside('b'), front('c'), inside('d'), front('e'), kSep, kCls, front('f'), kSep));
  EXPECT_THAT(data.offsets, ElementsAre(0, 7, 10));
  EXPECT_THAT(data.texts, ElementsAre(0, 1));
  EXPECT_THAT(data.word_offsets, ElementsAre(0, 4, 5));
  EXPECT_THAT(data.word_gold, ElementsAre(3, 4, 0, 0, 1));
  EXPECT_THAT(data.word_token, ElementsAre(1, 3, -1, 5, 1));
  EXPECT_THAT(data.labels, ElementsAre());
  EXPECT_THAT(data.info.labels, ElementsAre("O", "B-L", "I-L", "B-P", "I-P"));
  EXPECT_EQ(data.info.tokenizer_sha256, tokenizer_->sha256());
  EXPECT_EQ(data.info.texts, 2);
  EXPECT_EQ(data.info.max_length, 128);
  EXPECT_EQ(data.info.tokens, 10);
  EXPECT_EQ(data.info.truncated_texts + data.info.lost_words, 0);
  EXPECT_EQ(result_.scheme, "IOB2");
}

TEST_F(Prepare, ClassificationArraysByHand) {
  const auto data = prepare_text("text,label\nba b,z\n,a\nc,z\n", classification());
  EXPECT_THAT(data.tokens, ElementsAre(kCls, front('b'), inside('a'), front('b'), kSep, kCls, kSep, kCls, front('c'), kSep));
  EXPECT_THAT(data.offsets, ElementsAre(0, 5, 7, 10));
  EXPECT_THAT(data.texts, ElementsAre(0, 1, 2));
  EXPECT_THAT(data.labels, ElementsAre(1, 0, 1));
  EXPECT_THAT(data.info.labels, ElementsAre("a", "z"));
  EXPECT_THAT(data.word_gold, ElementsAre());
}

struct LongText {
  const char *content, *shown;
  int64_t truncated, lost;
};

TEST_F(Prepare, SplitCutsBetweenSpans) {
  const std::vector<LongText> cases{
      {"aaa\tO\nb\tO\n", "0[<aaab> O@1 O@4]", 0, 0},
      {"aaa\tO\nbb\tO\n", "0[<aaa> O@1] 0[<bb> O@1]", 0, 0},
      {"aaa\tO\nbb\tB-X\ncc\tI-X\nd\tO\n", "0[<aaa> O@1] 0[<bbcc> B-X@1 I-X@3] 0[<d> O@1]", 0, 0},
      {"a\tO\nbb\tB-X\ncc\tI-X\n", "0[<a> O@1] 0[<bbcc> B-X@1 I-X@3]", 0, 0},        // bb would fit, but not its span
      {"aa\tB-X\nbb\tB-X\ncc\tB-Y\n", "0[<aabb> B-X@1 B-X@3] 0[<cc> B-Y@1]", 0, 0},  // spans side by side
      {"aa\tB-X\nbb\tI-X\ncc\tI-X\nd\tO\n", "0[<aabb> B-X@1 I-X@3] 0[<ccd> I-X@1 O@3]", 0, 0},  // a span longer than a sample
      {"abcdef\tB-X\ng\tI-X\n", "0[<abcd> B-X@1] 0[<g> I-X@1]", 0, 0},                          // a word longer than a sample
      {"a\tO\nabcdef\tO\n", "0[<a> O@1] 0[<abcd> O@1]", 0, 0},
      {"aaaa\tO\n\u200b\tO\nb\tO\n", "0[<aaaa> O@1 O@-1] 0[<b> O@1]", 0, 0},  // a word without tokens
      {"aaa\tO\nbb\tO\n\nc\tO\n", "0[<aaa> O@1] 0[<bb> O@1] 1[<c> O@1]", 0, 0}};
  for (const auto& c : cases) {
    const auto data = prepare_text(c.content, tagging(6));
    EXPECT_EQ(shown(data), c.shown) << testing::PrintToString(c.content);
    EXPECT_EQ(data.info.truncated_texts, c.truncated);
    EXPECT_EQ(data.info.lost_words, c.lost);
  }
  EXPECT_EQ(result_.split_texts, 1);
}

TEST_F(Prepare, TruncateKeepsTheGoldOfLostWords) {
  const std::vector<LongText> cases{
      {"aaa\tO\nb\tO\n", "0[<aaab> O@1 O@4]", 0, 0},
      {"aaa\tO\nbb\tB-X\ncc\tI-X\n", "0[<aaab> O@1 B-X@4 I-X@-1]", 1, 1},
      {"aaaa\tO\n\u200b\tO\nbb\tB-X\ncc\tI-X\n\nd\tO\n", "0[<aaaa> O@1 O@-1 B-X@-1 I-X@-1] 1[<d> O@1]", 1, 2},
      {"abcdef\tB-X\n", "0[<abcd> B-X@1]", 1, 0}};
  for (const auto& c : cases) {
    const auto data = prepare_text(c.content, tagging(6, Overlong::kTruncate));
    EXPECT_EQ(shown(data), c.shown) << testing::PrintToString(c.content);
    EXPECT_EQ(data.info.truncated_texts, c.truncated);
    EXPECT_EQ(data.info.lost_words, c.lost);
  }
}

TEST_F(Prepare, OneLabelTextIsTruncatedNeverSplit) {
  for (const auto overlong : {Overlong::kSplit, Overlong::kTruncate}) {
    auto options = classification(4);
    options.overlong = overlong;
    const auto data = prepare_text("text,label\nab,x\nabc,x\n", options);
    EXPECT_THAT(data.tokens, ElementsAre(kCls, front('a'), inside('b'), kSep, kCls, front('a'), inside('b'), kSep));
    EXPECT_EQ(data.info.truncated_texts, 1);
  }
}

TEST_F(Prepare, ErrorLeavesNothing) {
  write("in.conll", "a\tO\n\nabc\tO\nde\tO\n");
  EXPECT_THROW(
      try { prepare(path("in.conll"), tagging(6, Overlong::kError)); } catch (const DataError& error) {
        EXPECT_EQ(error.what(), path("in.conll") + ":3: the text has 7 tokens, more than data.max_length 6");
        throw;
      },
      DataError);
  EXPECT_FALSE(std::filesystem::exists(path("out.h5")));
  EXPECT_EQ(prepare(path("in.conll"), tagging(7, Overlong::kError)).samples(), 2);
}

/// Gold entities (B- labels of whole texts), words with tokens, and how many of them are in a sample.
struct Counts {
  int64_t entities = 0, inside_first = 0, visible = 0;
};

Counts count(const DatasetFile& data) {
  Counts counts;
  const auto tag = [&](size_t w) { return data.info.labels[static_cast<size_t>(data.word_gold[w])][0]; };
  for (size_t w = 0; w < data.word_gold.size(); ++w) {
    counts.entities += tag(w) == 'B';
    counts.visible += data.word_token[w] >= 0;
  }
  for (size_t s = 0; s < data.texts.size(); ++s) {
    const auto first = static_cast<size_t>(data.word_offsets[s]);
    counts.inside_first += data.word_offsets[s] < data.word_offsets[s + 1] && tag(first) == 'I';
  }
  return counts;
}

struct Corpus {
  const char* file;
  int64_t entities;
};

TEST_F(Prepare, GoldEntitiesAreTheSameForEveryMaximumLength) {
  for (const auto& corpus : std::vector<Corpus>{{"wnut17/train.conll", 1975},
                                                {"wnut17/dev.conll", 836},
                                                {"wnut17/test.conll", 1079},
                                                {"ncbi-disease/train.tsv", 5134},
                                                {"ncbi-disease/devel.tsv", 787},
                                                {"ncbi-disease/test.tsv", 960}}) {
    const std::string file = std::string(FMTRAIN_SOURCE_DIR) + "/data/" + corpus.file;
    const Counts whole = count(prepare(file, tagging(100000)));
    EXPECT_EQ(whole.entities, corpus.entities) << corpus.file;
    EXPECT_EQ(whole.inside_first, 0);
    for (const int64_t length : {32, 128, 512}) {
      const auto split = prepare(file, tagging(length));
      EXPECT_EQ(count(split).entities, corpus.entities) << corpus.file << " " << length;
      EXPECT_EQ(count(split).visible, whole.visible) << corpus.file << " " << length;
      EXPECT_EQ(split.info.lost_words + split.info.truncated_texts, 0);
      if (length >= 128) {
        EXPECT_EQ(count(split).inside_first, 0) << "an entity was cut";
      }
      const auto cut = prepare(file, tagging(length, Overlong::kTruncate));
      EXPECT_EQ(count(cut).entities, corpus.entities) << corpus.file << " " << length;
      EXPECT_EQ(count(cut).visible + cut.info.lost_words, whole.visible) << corpus.file << " " << length;
      EXPECT_EQ(cut.samples(), cut.info.texts);
      EXPECT_EQ(cut.info.truncated_texts > 0, split.samples() > split.info.texts);
    }
  }
}

TEST_F(Prepare, LabelsOfTheTrainingSetNumberTheOthers) {
  auto options = tagging(128);
  write("train.conll", "a\tB-X\nb\tB-A\n");
  options.labels = labels_of(path("train.conll"), options);
  EXPECT_THAT(options.labels, ElementsAre("O", "B-A", "I-A", "B-X", "I-X"));
  EXPECT_THAT(prepare_text("a\tB-X\nb\tI-X\n", options).word_gold, ElementsAre(3, 4));
  EXPECT_THROW(prepare_text("a\tB-Y\n", options), DataError);
}

TEST_F(Prepare, SameInputGivesTheSameBytes) {
  write("in.conll", "ab\tB-X\nc\tO\n");
  prepare(path("in.conll"), tagging(128));
  const std::string first = content("out.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a time stamp in seconds would differ
  prepare(path("in.conll"), tagging(128));
  EXPECT_EQ(content("out.h5"), first);
  std::filesystem::copy_file(path("in.conll"), path("other.conll"));
  prepare(path("other.conll"), tagging(128));
  EXPECT_EQ(content("out.h5"), first);
  prepare(path("in.conll"), tagging(127));
  EXPECT_NE(content("out.h5"), first);
}

TEST_F(Prepare, FileIsPrivateAndReplacesALinkItself) {
  write("in.conll", "a\tO\n");
  write("target", "precious");
  std::filesystem::create_symlink("target", path("out.h5"));
  prepare(path("in.conll"), tagging(128));
  EXPECT_EQ(content("target"), "precious");
  EXPECT_FALSE(std::filesystem::is_symlink(path("out.h5")));
  EXPECT_EQ(std::filesystem::status(path("out.h5")).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Prepare, NoPlaceToWrite) {
  write("in.conll", "a\tO\n");
  EXPECT_THROW(prepare_file(path("in.conll"), tagging(128), *tokenizer_, path("nowhere/out.h5")), StorageError);
  std::filesystem::create_directories(path("out.h5/occupied"));
  EXPECT_THROW(prepare_file(path("in.conll"), tagging(128), *tokenizer_, path("out.h5")), StorageError);
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos);
}

/// Run `work` in a process of its own; its return value.
template <class Work>
int in_child(Work work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

TEST_F(Prepare, FullDiskLeavesNothing) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "ab\tO\n";
  write("in.conll", text);
  for (const rlim_t bytes : {0, 100, 5000, 100000}) {
    const int code = in_child([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{bytes, bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
      try {
        prepare_file(path("in.conll"), tagging(1 << 20), *tokenizer_, path("out.h5"));
        return 0;
      } catch (const StorageError&) {
        return 5;
      }
    });
    EXPECT_EQ(code, 5) << bytes;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      EXPECT_THAT(entry.path().filename().string(), testing::AnyOf("in.conll", "model"));
  }
}

TEST_F(Prepare, CacheKeyHoldsAllThatGoesIn) {
  write("in.conll", "a\tB-X\nb\tO\n");
  write("same.conll", "a\tB-X\nb\tO\n");
  write("longer.conll", "a\tB-X\nb\tO\nc\tO\n");
  const auto base = tagging(128);
  const std::string first = prepared_in_cache(path("in.conll"), base, *tokenizer_);
  EXPECT_EQ(first.substr(0, home_.string().size() + 6), home_.string() + "/data/");
  EXPECT_EQ(prepared_in_cache(path("in.conll"), base, *tokenizer_), first);
  EXPECT_EQ(prepared_in_cache(path("same.conll"), base, *tokenizer_), first);

  std::set<std::string> files{first};
  const auto expect_new = [&](const std::string& file) { EXPECT_TRUE(files.insert(file).second) << files.size(); };
  expect_new(prepared_in_cache(path("longer.conll"), base, *tokenizer_));
  const std::vector<std::function<void(PrepareOptions&)>> changes{[](PrepareOptions& o) { o.max_length = 127; },
                                                                  [](PrepareOptions& o) { o.overlong = Overlong::kTruncate; },
                                                                  [](PrepareOptions& o) { o.overlong = Overlong::kError; },
                                                                  [](PrepareOptions& o) { o.columns.word = -2; },
                                                                  [](PrepareOptions& o) {
                                                                    o.labels = {"O", "B-X", "I-X"};
                                                                  },
                                                                  [](PrepareOptions& o) {
                                                                    o.labels = {"O", "B-A", "I-A", "B-X", "I-X"};
                                                                  },
                                                                  [](PrepareOptions& o) { o.format = Format::kConll; }};
  for (const auto& change : changes) {
    auto options = base;
    change(options);
    expect_new(prepared_in_cache(path("in.conll"), options, *tokenizer_));
  }
  Json other = small_tokenizer_json();
  other["normalizer"]["lowercase"] = false;
  std::filesystem::create_directories(folder_ / "cased");
  write("cased/tokenizer.json", other.dump());
  expect_new(prepared_in_cache(path("in.conll"), base, *load_tokenizer(path("cased"))));
  for (const auto& file : files) EXPECT_EQ(read_dataset_file(file).info.task, Task::kTokenClassification);
  EXPECT_EQ(prepared_in_cache("any.h5", base, *tokenizer_), "any.h5");
}

/// Its hash is asked for after the input was hashed, and before that is read.
class ThenTheInputChanges final : public Tokenizer {
 public:
  ThenTheInputChanges(const Tokenizer& real, std::function<void()> change) : real_(real), change_(std::move(change)) {}
  void encode(std::string_view text, Encoding& out) const override { real_.encode(text, out); }
  void encode_words(const std::vector<std::string>& words, Encoding& out) const override { real_.encode_words(words, out); }
  int64_t vocab_size() const override { return real_.vocab_size(); }
  const std::string& token(int32_t id) const override { return real_.token(id); }
  int32_t cls_id() const override { return real_.cls_id(); }
  int32_t sep_id() const override { return real_.sep_id(); }
  const std::string& sha256() const override { return change_(), real_.sha256(); }

 private:
  const Tokenizer& real_;
  std::function<void()> change_;
};

TEST_F(Prepare, AnInputThatChangesMeanwhileIsNotKept) {
  write("in.conll", "a\tB-X\nb\tO\n");
  const ThenTheInputChanges tokenizer(*tokenizer_, [this] { write("in.conll", "a\tB-X\nb\tB-X\n"); });
  EXPECT_THAT([&] { prepared_in_cache(path("in.conll"), tagging(128), tokenizer); },
              testing::ThrowsMessage<DataError>(path("in.conll") + ": changed while it was being read; start again when it is complete"));
  EXPECT_TRUE(std::filesystem::is_empty(home_ / "data"));
}

TEST_F(Prepare, SeveralProcessesMayFillTheCacheAtOnce) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "word\tB-X\nother\tO\n\n";
  write("in.conll", text);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(fork());
    if (children.back() == 0)
      _exit(read_dataset_file(prepared_in_cache(path("in.conll"), tagging(128), *tokenizer_)).samples() == 30000 ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(home_ / "data")) {
    EXPECT_EQ(read_dataset_file(entry.path().string()).samples(), 30000);
    ++files;
  }
  EXPECT_EQ(files, 1u);
}

}  // namespace
}  // namespace fmtrain

// The data of a cycle: a function of the store, and no text of a test ever trained on.
#include "runtime/continual/cycle_data.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "runtime/continual/text_index.h"
#include "runtime/draws.h"
#include "runtime/errors.h"
#include "tests/support/fail_files.h"
#include "tests/unit/continual/store_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

using Lines = std::vector<std::pair<std::string, std::string>>;  ///< text, label

class CycleDataTest : public StoreFolder {
 protected:
  static std::string jsonl(const Lines& lines) {
    std::string text;
    for (const auto& [words, label] : lines) text += Json{{"text", words}, {"label", label}}.dump() + "\n";
    return text;
  }
  void base(TextRole role, const Lines& lines) const {
    write("base.jsonl", jsonl(lines));
    labels().add(role, path("base.jsonl"), Format::kAuto, {}, "", 500);
  }
  /// A new incoming batch; its number.
  int64_t come(const Lines& lines, int64_t now = 1000) const {
    const auto number = std::ssize(labels().batches()) + 1;
    incoming(std::to_string(number) + ".jsonl", jsonl(lines));
    take(labels(), now);
    return number;
  }
  CycleData freeze(int64_t first, int64_t last, int64_t cycle, const CycleDataOptions& options,
                   FileOps& files = posix_files()) const {
    return freeze_cycle_data(labels(files), first, last, cycle, options, files, path("cycle"));
  }
  /// Texts of a file of the cycle with their labels, in its order.
  Lines texts(const std::string& name) const {
    Lines found;
    for (const auto& raw :
         parse_raw(name, content("cycle/" + name + ".jsonl"), Task::kSequenceClassification, Format::kJsonl, {}, "", nullptr))
      found.emplace_back(raw.text, raw.label);
    return found;
  }
  Hashes hashes(const std::string& name) const {
    Hashes found;
    for (const auto& [text, label] : texts(name)) found.insert(content_hash(text));
    return found;
  }
  static Lines numbered(const std::string& word, int count, const std::string& label) {
    Lines lines;
    for (int i = 0; i < count; ++i) lines.emplace_back(word + " " + std::to_string(i), label);
    return lines;
  }
  static CycleDataOptions options(double test_share, double replay_share = 0) {
    CycleDataOptions o;
    o.test_share = test_share, o.replay_share = replay_share;
    return o;
  }
};

TEST_F(CycleDataTest, FreshTextsAreThoseOfTheBatches) {
  base(TextRole::kTrain, {{"old", "x"}});
  base(TextRole::kCore, {{"core", "x"}, {" core ", "y"}});
  const auto first = come({{"a", "x"}, {"b", "y"}}), second = come({{"c", "x"}, {"d", "y"}}), third = come({{"e", "x"}});
  const auto data = freeze(first, second, 1, options(0));
  EXPECT_THAT(texts("train"), UnorderedElementsAre(std::pair("c", "x"), std::pair("d", "y")));
  EXPECT_THAT(texts("core"), ElementsAre(std::pair("core", "x")));
  EXPECT_EQ(content("cycle/rolling.jsonl"), "");
  EXPECT_EQ(data.fresh, 2);
  EXPECT_EQ(data.core, 1);
  EXPECT_EQ(data.replayed + data.rolling + data.excluded + data.unknown, 0);
  EXPECT_EQ(data.dataset_sha256, sha256_file(path("cycle/data.manifest")));
  EXPECT_EQ(data.replay_sha256, "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "cycle/replay.manifest"));
  EXPECT_EQ(new_labelled(labels(), first, third, options(0)), 3);
  EXPECT_EQ(new_labelled(labels(), third, third, options(0)), 0);
}

TEST_F(CycleDataTest, NothingToTrainOnIsSaid) {
  base(TextRole::kTrain, {{"old", "x"}});
  const auto last = come({{"a", "x"}});
  EXPECT_THAT([&] { freeze(last, last, 1, options(0)); },
              testing::ThrowsMessage<DataError>(HasSubstr("no labelled text is left")));
  EXPECT_THROW(freeze(0, last, 1, options(1)), DataError);
}

TEST_F(CycleDataTest, TestsWin) {
  base(TextRole::kTrain, {{"in core", "x"}, {"in validation", "x"}, {"base", "x"}, {"comes again", "x"}});
  base(TextRole::kValidation, {{"in  validation", "y"}});
  base(TextRole::kCore, {{"in core", "y"}});
  const auto last = come({{"comes  again", "x"}, {"in core ", "x"}, {"new", "x"}});
  auto data = freeze(0, last, 1, options(0, 0.9));
  EXPECT_EQ(data.excluded, 2);
  EXPECT_THAT(texts("train"),
              UnorderedElementsAre(std::pair("base", "x"), std::pair("comes  again", "x"), std::pair("new", "x")));
  EXPECT_EQ(data.fresh, 2);
  // All incoming texts would be tests, but what the base training set has was trained on.
  data = freeze(0, last, 1, options(1));
  EXPECT_THAT(texts("rolling"), ElementsAre(std::pair("new", "x")));
  EXPECT_THAT(texts("train"), ElementsAre(std::pair("comes  again", "x")));
}

TEST_F(CycleDataTest, TheNewestLabelCounts) {
  const auto first = come({{"a", "wrong"}, {"b", "x"}}), last = come({{" a", "right"}});
  freeze(0, last, 1, options(0));
  EXPECT_THAT(texts("train"), UnorderedElementsAre(std::pair(" a", "right"), std::pair("b", "x")));
  freeze(first, last, 2, options(0, 0.5));
  EXPECT_THAT(texts("train"), UnorderedElementsAre(std::pair(" a", "right"), std::pair("b", "x")));
  freeze(0, first, 1, options(0));
  EXPECT_THAT(texts("train"), UnorderedElementsAre(std::pair("a", "wrong"), std::pair("b", "x")));
}

TEST_F(CycleDataTest, ReplayHasItsShareOfAllClasses) {
  auto old = numbered("common", 500, "common");
  const auto rare = numbered("rare", 20, "rare");
  old.insert(old.end(), rare.begin(), rare.end());
  base(TextRole::kTrain, old);
  const auto last = come(numbered("new", 300, "common"));
  const auto data = freeze(0, last, 1, options(0, 0.25));
  EXPECT_EQ(data.fresh, 300);
  EXPECT_EQ(data.replayed, 100);  // a quarter of 400
  const auto train = texts("train");
  EXPECT_EQ(train.size(), 400u);
  EXPECT_EQ(std::count_if(train.begin(), train.end(), [](const auto& t) { return t.second == "rare"; }), 20);
  EXPECT_EQ(parse_manifest(content("cycle/data.manifest")).size(), 400u);
  EXPECT_EQ(parse_manifest(content("cycle/replay.manifest")).size(), 100u);
  EXPECT_EQ(data.replay_sha256, sha256_file(path("cycle/replay.manifest")));
  auto few = options(0, 0.25);
  few.replay_capacity = 30;
  EXPECT_EQ(freeze(0, last, 1, few).replayed, 30);
}

/// Also where there are more classes than texts to draw.
TEST_F(CycleDataTest, ReplayIsDrawnAnewInEveryCycle) {
  Lines old;
  for (int i = 0; i < 200; ++i) old.emplace_back("old " + std::to_string(i), "class " + std::to_string(i % 70));
  base(TextRole::kTrain, old);
  const auto last = come(numbered("new", 100, "class 1"));
  EXPECT_EQ(freeze(0, last, 1, options(0, 0.5)).replayed, 100);
  const auto first = content("cycle/replay.manifest"), order = content("cycle/train.jsonl");
  freeze(0, last, 2, options(0, 0.5));
  EXPECT_NE(content("cycle/replay.manifest"), first);
  auto seeded = options(0, 0.5);
  seeded.seed = 2;
  freeze(0, last, 1, seeded);
  EXPECT_NE(content("cycle/replay.manifest"), first);
  freeze(0, last, 1, options(0, 0.5));
  EXPECT_EQ(content("cycle/replay.manifest"), first);
  EXPECT_EQ(content("cycle/train.jsonl"), order);
}

TEST_F(CycleDataTest, AllTakesEverythingThatIsTrainedOn) {
  base(TextRole::kTrain, numbered("old", 50, "x"));
  const auto first = come(numbered("middle", 100, "x")), last = come(numbered("new", 100, "x"));
  auto all = options(0.3);
  all.all = true;
  const auto data = freeze(first, last, 3, all);
  EXPECT_EQ(data.fresh, new_labelled(labels(), first, last, all));
  EXPECT_EQ(data.replayed, 50 + new_labelled(labels(), 0, first, all));
  EXPECT_EQ(hashes("train").size(), static_cast<size_t>(data.fresh + data.replayed));
  EXPECT_EQ(data.fresh + data.rolling, 100);
  EXPECT_EQ(freeze(0, 0, 3, all).replayed, 50);  // the base training set, before anything came
}

TEST_F(CycleDataTest, TheRollingTestIsTheNewest) {
  const auto last = come(numbered("new", 400, "x"));
  auto all = options(0.3), newest = options(0.3);
  newest.window = 20;
  EXPECT_NEAR(static_cast<double>(freeze(0, last, 1, all).rolling), 120, 3 * 9.2);  // binomial: 3 standard deviations
  const auto long_one = texts("rolling"), train = texts("train");
  EXPECT_EQ(freeze(0, last, 1, newest).rolling, 20);
  EXPECT_EQ(texts("rolling"), Lines(long_one.end() - 20, long_one.end()));
  EXPECT_EQ(texts("train"), train);
}

/// A data set cannot hold labels that the model has not: such tests wait until one trains on them.
TEST_F(CycleDataTest, TestsWithLabelsThatNobodyKnowsAreLeftOut) {
  base(TextRole::kTrain, {{"old", "x"}});
  auto lines = numbered("new", 100, "x");
  const auto other = numbered("other", 100, "z");
  lines.insert(lines.end(), other.begin(), other.end());
  const auto number = come(lines);
  Lines second;
  for (const auto& line : numbered("later", 100, "y"))  // y: tests alone
    if (in_test_share(content_hash(line.first), 0.3)) second.push_back(line);
  ASSERT_GT(second.size(), 10u);
  second.emplace_back("to train on", "x");
  const auto last = come(second);
  auto data = freeze(number, last, 1, options(0.3));
  EXPECT_EQ(data.unknown, std::ssize(second) - 1);
  EXPECT_EQ(data.rolling, 0);
  auto known = options(0.3);
  known.known_labels = {"y"};
  data = freeze(number, last, 1, known);
  EXPECT_EQ(data.unknown, 0);
  EXPECT_EQ(data.rolling, std::ssize(second) - 1);
  EXPECT_EQ(reference_texts(labels(), number, last, known).size(), static_cast<size_t>(data.rolling));  // no z
  EXPECT_GT(reference_texts(labels(), number, last, options(0.3)).size(), static_cast<size_t>(data.rolling) + 20);
}

TEST_F(CycleDataTest, NearDuplicatesAreNumbered) {
  base(TextRole::kCore, {{"no like", "x"}, {"one two three four five six seven eight nine ten eleven twelve", "x"}});
  const auto last = come({{"One two three four five six seven eight nine ten eleven twelve", "x"}});
  EXPECT_THAT(freeze(0, last, 1, options(0)).near_duplicates, ElementsAre("core text 2 and train text 1: similarity 1.00"));
}

TEST_F(CycleDataTest, LaterBatchesChangeNothing) {
  base(TextRole::kTrain, numbered("old", 50, "x"));
  base(TextRole::kCore, numbered("core", 10, "x"));
  const auto first = come(numbered("a", 40, "x")), last = come(numbered("b", 40, "y"));
  const auto record = cycle_data_json(freeze(first, last, 2, options(0.3, 0.25)));
  const auto files = all_files("cycle");
  come(numbered("c", 40, "z"));
  base(TextRole::kCore, numbered("a", 20, "x"));
  remove_tree(posix_files(), path("cycle"));
  EXPECT_EQ(cycle_data_json(freeze(first, last, 2, options(0.3, 0.25))), record);
  EXPECT_EQ(all_files("cycle"), files);
}

TEST_F(CycleDataTest, AKillAtAnyCallRepeatsToTheSameFiles) {
  base(TextRole::kTrain, numbered("old", 20, "x"));
  base(TextRole::kCore, numbered("core", 5, "x"));
  const auto last = come(numbered("a", 40, "y"));
  FailFiles files;
  const auto record = cycle_data_json(freeze(0, last, 1, options(0.3, 0.25), files));
  const auto calls = files.calls();
  const auto expected = all_files("cycle");
  EXPECT_EQ(expected.size(), 5u);
  for (const bool from_then_on : {true, false})
    for (int64_t at = 1; at <= calls; ++at) {
      remove_tree(posix_files(), path("cycle"));
      files.fail_at(at, EIO, from_then_on);
      try {
        freeze(0, last, 1, options(0.3, 0.25), files);
      } catch (const StorageError&) {
      }
      EXPECT_EQ(files.open_files(), 0) << at;
      files.fail_at(0, 0);
      EXPECT_EQ(cycle_data_json(freeze(0, last, 1, options(0.3, 0.25), files)), record) << at;
      EXPECT_EQ(all_files("cycle"), expected) << at;
    }
}

TEST_F(CycleDataTest, TaggedTextsAreOfTheClassOfTheirTypes) {
  write("in.conll", "Rome\tB-P\nand\tO\nAnn\tB-Q\n\nAnn\tB-Q\nRome\tB-P\n\nno\tO\n");
  tags().add(TextRole::kTrain, path("in.conll"), Format::kAuto, {}, "", 5);
  const auto index = index_texts(tags(), 0, 0.3);
  EXPECT_EQ(index.base_labels, (std::set<std::string>{"P", "Q"}));
  const auto klass = [&](const char* text) { return index.texts.at(content_hash(text)).example.klass; };
  EXPECT_EQ(klass("Rome and Ann"), klass("Ann Rome"));
  EXPECT_NE(klass("no"), klass("Ann Rome"));
}

/// Ten cycles of texts that come again and again, with other labels and other blanks, under all roles: what is in a test of any
/// cycle is in no training set of any cycle, with any replay.
TEST_F(CycleDataTest, NoTestIsEverTrainedOn) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    clear_registry();
    remove_tree(posix_files(), path("incoming"));
    Draws draws(seed, 3, 0);
    uint64_t at = 0;
    const auto some = [&](uint64_t count) {
      const std::string blanks[] = {" ", "  ", "\t", " \n "};
      Lines lines;
      while (count-- > 0) {
        const auto number = std::to_string(draws.below(at++, 400)), label = "l" + std::to_string(draws.below(at++, 3));
        const auto before = blanks[draws.below(at++, 4)], between = blanks[draws.below(at++, 4)];
        lines.emplace_back(before + "text" + between + number, label);
      }
      return lines;
    };
    base(TextRole::kTrain, some(80));
    base(TextRole::kValidation, some(30));
    base(TextRole::kCore, some(30));
    auto o = options(0.3, 0.4);
    o.window = 25, o.seed = seed;
    Hashes tested, trained;
    for (int64_t cycle = 1, first = 0; cycle <= 10; ++cycle) {
      come(some(1 + draws.below(at++, 30)));
      const auto last = come(some(1 + draws.below(at++, 30)));
      o.all = cycle % 4 == 0;
      try {
        const auto data = freeze(first, last, cycle, o);
        EXPECT_EQ(data.unknown, 0);
      } catch (const DataError&) {
        continue;  // all of few texts were tests
      }
      for (const char* test : {"rolling", "core"}) tested.merge(hashes(test));
      trained.merge(hashes("train"));
      std::vector<Example> examples;
      for (const auto& hash : trained) examples.push_back({hash, 0, 0});
      EXPECT_EQ(leaked(examples, tested), 0) << seed << ", cycle " << cycle;
      EXPECT_EQ(std::ssize(texts("train")), std::ssize(hashes("train")));
      first = last;
    }
    EXPECT_GT(tested.size(), 50u);
    EXPECT_GT(trained.size(), 100u);
  }
}

TEST_F(CycleDataTest, ReferencesOfTheFirstVersionAreHeldOut) {
  base(TextRole::kTrain, {{"a", "x"}, {"b", "x"}});
  base(TextRole::kValidation, {{"b", "x"}, {"c", "x"}, {"d", "x"}});
  base(TextRole::kCore, {{"d", "x"}, {"e", "x"}, {"f", "x"}});
  come(numbered("new", 10, "x"));
  const auto found = [&](int64_t most) {
    std::vector<std::string> texts;
    for (const auto& raw : reference_texts(labels(), 0, 0, options(0.3), most)) texts.push_back(raw.text);
    return texts;
  };
  const auto all = found(5000);
  EXPECT_THAT(all, UnorderedElementsAre("c", "d", "e", "f"));
  EXPECT_THAT(found(2), ElementsAre(all[0], all[1]));
}

TEST_F(CycleDataTest, ReferencesOfACycleAreItsTestsAndFewEarlierOnes) {
  const auto first = come(numbered("a", 4000, "x")), last = come(numbered("b", 3000, "x")), few = come(numbered("c", 500, "x"));
  const auto of = [&](int64_t after, int64_t until, int64_t most = 5000) {
    return reference_texts(labels(), after, until, options(0.3), most);
  };
  const auto starts = [](const std::vector<RawText>& texts, const char* word) {
    return std::count_if(texts.begin(), texts.end(), [&](const auto& t) { return t.text.starts_with(word); });
  };
  const auto enough = of(0, first);
  EXPECT_GT(enough.size(), 1000u);
  EXPECT_EQ(starts(enough, "a"), std::ssize(enough));
  EXPECT_EQ(of(0, first, 700).size(), 700u);
  EXPECT_EQ(of(0, first, 700).back().text, enough.back().text);
  const auto filled = of(last, few);
  EXPECT_EQ(filled.size(), 1000u);
  EXPECT_EQ(std::ssize(filled), starts(filled, "b") + starts(filled, "c"));
  EXPECT_EQ(starts(filled, "c") + new_labelled(labels(), last, few, options(0.3)), 500);
}

TEST_F(CycleDataTest, TheWindowIsTheNewestLabelledOrNot) {
  base(TextRole::kTrain, {{"old", "x"}});
  const auto first = come({{"a", "x"}, {"b", "x"}});
  come({{"c", "x"}, {"a ", "y"}});
  incoming("unlabelled/u.txt", "d\ne\nd\n");
  take(labels());
  std::vector<std::string> hashes;
  const auto window = [&](int64_t after, int64_t size) {
    std::string found;
    for (const auto& raw : window_texts(labels(), after, size, &hashes)) found += raw.text + "|" + raw.label + ",";
    return found;
  };
  EXPECT_EQ(window(0, 100), "b|x,c|x,a |y,e|,d|,");
  EXPECT_EQ(hashes[2], content_hash("a"));
  EXPECT_EQ(hashes.size(), 5u);
  EXPECT_EQ(window(0, 3), "a |y,e|,d|,");
  EXPECT_EQ(window(first, 100), "c|x,a |y,e|,d|,");
  EXPECT_EQ(window(100, 100), "");
}

}  // namespace
}  // namespace fmtrain

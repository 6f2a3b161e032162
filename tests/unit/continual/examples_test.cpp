// Examples: hashes, manifests, the reservoir, leaks and near duplicates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "runtime/continual/examples.h"
#include "runtime/continual/near_duplicates.h"
#include "runtime/continual/reservoir.h"
#include "runtime/draws.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

/// n examples over `months` months; class 0 has nine of ten.
std::vector<Example> stream(int n, int months, int first = 0) {
  std::vector<Example> examples;
  for (int i = first; i < first + n; ++i)
    examples.push_back({content_hash("text " + std::to_string(i)), i % 10 == 0, (i % months) * 30LL * 24 * 3600});
  return examples;
}

std::map<std::pair<int32_t, int64_t>, int64_t> strata(const std::vector<Example>& examples) {
  std::map<std::pair<int32_t, int64_t>, int64_t> counts;
  for (const auto& e : examples) ++counts[{e.klass, e.time}];
  return counts;
}

TEST(ContentHash, SeesWordsNotBlanks) {
  EXPECT_EQ(content_hash("a b"), content_hash(" a \t b\r\n"));
  EXPECT_NE(content_hash("a b"), content_hash("ab"));
  EXPECT_NE(content_hash("a b"), content_hash("A b"));
  EXPECT_EQ(content_hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");  // SHA-256 of nothing
}

TEST(Manifest, IsOneTextForOneSet) {
  auto examples = stream(50, 3);
  const std::string text = print_manifest(examples);
  EXPECT_EQ(parse_manifest(text), unique_examples(examples));
  std::reverse(examples.begin(), examples.end());
  examples.push_back(examples[7]);
  EXPECT_EQ(print_manifest(examples), text);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_THROW(parse_manifest(changed), std::runtime_error) << i;
  }
}

TEST(Manifest, WhatCouldNotBeReadAgainIsNotPrinted) {
  EXPECT_THROW(print_manifest({{"no hash", 0, 0}}), ConfigError);
  EXPECT_THROW(print_manifest({{content_hash("a"), 0, -1}}), ConfigError);
  EXPECT_NO_THROW(print_manifest({{content_hash("a"), -1, 0}}));
}

constexpr int64_t kMonth = 30LL * 24 * 3600;

std::vector<Example> kept_of(const std::vector<Example>& examples, const ReservoirOptions& options) {
  return add_to_reservoir({}, examples, options).examples;
}

TEST(Reservoir, SmallStrataKeepAllAndLargeOnesShare) {
  // 100 of class 1, all in even months (i % 10 == 0); class 0: 400 in month 0, 500 in month 1.
  EXPECT_THAT(strata(kept_of(stream(1000, 2), {220, kMonth, 1})),
              ElementsAre(testing::Pair(testing::Pair(0, 0), 73), testing::Pair(testing::Pair(0, kMonth), 73),
                          testing::Pair(testing::Pair(1, 0), 73)));
  EXPECT_THAT(strata(kept_of(stream(1000, 2), {400, kMonth, 1})),
              ElementsAre(testing::Pair(testing::Pair(0, 0), 150), testing::Pair(testing::Pair(0, kMonth), 150),
                          testing::Pair(testing::Pair(1, 0), 100)));
  EXPECT_EQ(kept_of(stream(100, 2), {100, kMonth, 1}).size(), 100u);
  EXPECT_TRUE(kept_of({}, {}).empty());
}

TEST(Reservoir, IsAFunctionOfTheSetAndTheSeed) {
  auto examples = stream(500, 4);
  const auto kept = print_manifest(kept_of(examples, {100, kMonth, 1}));
  std::reverse(examples.begin(), examples.end());
  EXPECT_TRUE(print_manifest(kept_of(examples, {100, kMonth, 1})) == kept);
  EXPECT_FALSE(print_manifest(kept_of(examples, {100, kMonth, 2})) == kept);
}

/// Cycle after cycle, with what was kept and what is new: the same as choosing from all at the end.
TEST(Reservoir, GrowsAsIfAllHadBeenKept) {
  const ReservoirOptions options{97, kMonth, 5};
  Reservoir kept;
  std::vector<Example> all;
  for (int part = 0; part < 30; ++part) {
    const auto fresh = stream(10 + 7 * part, part % 4 + 1, 10000 * part);
    all.insert(all.end(), fresh.begin(), fresh.end());
    kept = add_to_reservoir(kept, fresh, options);
    EXPECT_TRUE(kept.examples == kept_of(all, options)) << part;
    EXPECT_LE(kept.examples.size(), 97u);
    EXPECT_GT(kept.examples.size(), part < 4 ? 0u : 97u - 8u);  // 8 strata; the first 4 parts fit
  }
}

/// One of each of as many strata as fit, and it stays a function of all that ever came.
TEST(Reservoir, MoreStrataThanCapacity) {
  const ReservoirOptions options{12, kMonth, 5};
  Reservoir kept;
  std::vector<Example> all;
  for (int part = 0; part < 20; ++part) {
    const auto fresh = stream(50, 2 * part + 1, 1000 * part);
    all.insert(all.end(), fresh.begin(), fresh.end());
    kept = add_to_reservoir(kept, fresh, options);
    EXPECT_TRUE(kept.examples == kept_of(all, options)) << part;
    EXPECT_LE(kept.examples.size(), 12u);
  }
  EXPECT_EQ(kept.quota, 0);
  EXPECT_EQ(kept.examples.size(), 12u);
  EXPECT_EQ(strata(kept.examples).size(), 12u);
  EXPECT_TRUE(kept_of(all, {0, kMonth, 5}).empty());
}

TEST(Exclusion, LeavesNoTestExample) {
  auto train = stream(200, 2);
  const auto test = stream(50, 2, 180);
  Hashes tests;
  for (const auto& e : test) tests.insert(e.hash);
  EXPECT_EQ(leaked(train, tests), 20);
  EXPECT_EQ(exclude(train, tests), 20);
  EXPECT_EQ(leaked(train, tests), 0);
  EXPECT_EQ(leaked(kept_of(train, {100, 1000, 1}), tests), 0);
  EXPECT_EQ(train.size(), 180u);
}

std::string sentence(uint64_t seed, uint64_t words) {
  Draws draws(seed, 1, 0);
  std::string text;
  for (uint64_t w = 0; w < words; ++w) text += "w" + std::to_string(draws.below(w, 5000)) + " ";
  return text;
}

TEST(NearDuplicates, FindsATextWithAWordChanged) {
  std::vector<std::string> train, tests;
  for (uint64_t i = 0; i < 500; ++i) train.push_back(sentence(i, 60));
  for (uint64_t i = 0; i < 20; ++i) tests.push_back(sentence(1000 + i, 60));
  tests[3] = train[77];
  tests[8] = train[123] + "another";  // 58 of 59 triples
  tests[11] = "One " + train[200];
  tests[15] = sentence(300, 30) + sentence(999, 30);  // half of training text 300: about 28 of 88 triples
  const auto found = near_duplicates(tests, train);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].test, 3);
  EXPECT_EQ(found[0].train, 77);
  EXPECT_EQ(found[0].similarity, 1);
  EXPECT_EQ(found[1].test, 8);
  EXPECT_EQ(found[1].train, 123);
  EXPECT_GT(found[1].similarity, 0.9);
  EXPECT_EQ(found[2].test, 11);
}

TEST(NearDuplicates, ShortTextsAndCase) {
  const auto found = near_duplicates({"Yes", "no", "", "thank you"}, {"yes", "THANK  you", "nothing like it"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].train, 0);
  EXPECT_EQ(found[1].test, 3);
}

/// Many equal training texts cost no more than different ones.
TEST(NearDuplicates, EqualTextsInOneBucket) {
  const std::vector<std::string> train(5000, "the same words again and again"), tests(2000, "the same words again and again");
  EXPECT_EQ(near_duplicates(tests, train).size(), 2000u);
}

}  // namespace
}  // namespace fmtrain

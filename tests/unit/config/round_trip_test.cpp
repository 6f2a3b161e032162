// What the program writes down as its config is the config it used.
#include <gmock/gmock.h>

#include "runtime/config/keys.h"
#include "runtime/config/scalars.h"
#include "tests/unit/config/config_folder.h"
#include "tests/unit/config/random_config.h"

namespace fmtrain {
namespace {

std::string all_values(const Config& config) {
  std::string all;
  for (const auto& key : config_keys()) all += key.path + "=" + key.get(config) + "\n";
  return all;
}

using ConfigRoundTrip = ConfigFolder;

TEST_F(ConfigRoundTrip, TheResolvedConfigLoadsToTheSameConfig) {
  const std::vector<std::string> files{"t.conll", "v.conll", "a b.conll", "#1.conll", "ü\"\\'.conll", "null", "1.5", "- x: y"};
  for (const auto& file : files) write(file, "a O\n");
  std::mt19937_64 random(20240611);
  std::set<std::string> seen;
  for (int i = 0; i < 500; ++i) {
    const auto overrides = random_overrides(random, files);
    SCOPED_TRACE(testing::PrintToString(overrides));
    const Config config = load(kLeastConfig, overrides);
    const auto resolved = resolved_yaml(config);
    write("resolved.yaml", resolved);
    const Config again = load_config(path("resolved.yaml"), {});
    ASSERT_EQ(all_values(again), all_values(config)) << resolved;
    EXPECT_EQ(computation_hash(again), computation_hash(config));
    seen.insert(computation_hash(config));
  }
  EXPECT_EQ(seen.size(), 500u);  // the generator does vary
}

TEST_F(ConfigRoundTrip, EachValueHasItsOrigin) {
  const auto config = load(kLeastConfig + "optimizer:\n  lr: 0.5\n", {"run.seed=2"});
  const auto resolved = without_folder(resolved_yaml(config));
  EXPECT_THAT(resolved, testing::StartsWith("# The resolved config; after each value, where it comes from.\n\nrun:\n"));
  for (const char* line :
       {"\n  seed: 2                             # --set\n", "\n  lr: 0.5                             # c.yaml:4\n",
        "\n  name: adamw                         # default\n", "\n  train: t.conll"})
    EXPECT_THAT(resolved, testing::HasSubstr(line));
}

TEST(Scalars, NumbersReadBackWithTheSameBits) {
  const double cases[] = {0,   0.1,     1,    -1,      2e-4,    1e-8, 5e-324, 1.7976931348623157e308,
                          1e7, 9999999, 1e-3, 0.00099, 1.0 / 3, 1e22};
  for (const double x : cases) {
    double back = -7;
    EXPECT_EQ(parse_double(yaml_number(x), &back), NumberFault::kNone) << yaml_number(x);
    EXPECT_EQ(back, x);
  }
  EXPECT_EQ(yaml_number(2e-4), "2.0e-4");
  EXPECT_EQ(yaml_number(1e-8), "1.0e-8");
  EXPECT_EQ(yaml_number(1.5e20), "1.5e+20");
  EXPECT_EQ(yaml_number(3), "3");
}

TEST(Scalars, TextThatSomeReaderTakesForSomethingElseIsQuoted) {
  for (const char* word : {"yes", "No",   "ON",  "off", "y",  "N",     "null",       "~",     "true", "1",     "-1",
                           "+1",  "0x1F", "0o7", "1e3", ".5", "12:30", "2024-01-01", "1_000", ".inf", "-.INF", ".nan"}) {
    EXPECT_TRUE(looks_typed(word)) << word;
    EXPECT_EQ(yaml_text(word), "\"" + std::string(word) + "\"");
  }
  for (const char* word : {"word", "runs/a", "a.b", "e3", "x1", "fp32", "yess", "v1.2-a"}) {
    EXPECT_FALSE(looks_typed(word)) << word;
    EXPECT_EQ(yaml_text(word), word);
  }
}

}  // namespace
}  // namespace fmtrain

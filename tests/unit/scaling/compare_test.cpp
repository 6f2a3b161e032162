// Two scaling.json beside each other, and files that are none.
#include "runtime/scaling/compare.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

Json interval(double least, double median, double most) { return {{"median", median}, {"min", least}, {"max", most}}; }

Json row(const char* mode, int ranks, double rate) {
  Json one{{"mode", mode}, {"ranks", ranks}, {"oversubscribed", ranks > 2}};
  for (const char* name : {"samples_per_s", "tokens_per_s", "step_s", "product_share", "slowest"})
    one[name] = interval(rate - 1, rate, rate + 1);
  one["efficiency"] = ranks > 2 ? Json() : interval(0.5, 0.5, 0.5);
  for (const char* part : {"compute", "communication", "data", "optimizer", "other", "waiting"})
    one["seconds"][part] = interval(1, 2, 3);
  return one;
}

Json scaling(std::vector<Json> rows) {
  return {{"version", 1},
          {"kind", "fmtrain scaling"},
          {"plan",
           {{"config", "a.yaml"},
            {"computation", "hash"},
            {"global", 16},
            {"micro", 2},
            {"steps", 9},
            {"warmup", 3},
            {"repetitions", 3}}},
          {"machine", {{"cores", 2}}},
          {"rows", rows}};
}

TEST(Compare, ChangedIsBeyondBothSpreads) {
  auto faster = scaling({row("strong", 1, 100), row("strong", 2, 103), row("strong", 4, 102)});
  faster["machine"]["cores"] = 4;
  const Json found =
      compare_scaling(scaling({row("strong", 1, 100), row("strong", 2, 100), row("weak", 2, 5)}), faster, "a", "b");
  ASSERT_EQ(found.at("rows").size(), 4u);
  EXPECT_EQ(found.at("rows")[0].at("figures").at("tokens_per_s").at("changed"), false);
  EXPECT_EQ(found.at("rows")[1].at("figures").at("tokens_per_s").at("changed"), true);
  EXPECT_EQ(found.at("rows")[1].at("figures").at("tokens_per_s").at("ratio"), 1.03);
  EXPECT_EQ(found.at("rows")[1].at("figures").at("seconds.waiting").at("changed"), false);
  EXPECT_EQ(found.at("rows")[2].at("in"), "a");
  EXPECT_EQ(found.at("rows")[3].at("in"), "b");
  EXPECT_EQ(found.at("rows")[3].at("oversubscribed"), true);
  EXPECT_EQ(found.at("comparable"), true);
  EXPECT_EQ(found.at("chance"), 0.1);
  EXPECT_EQ(found.at("setups"), Json::parse(R"([{"what": "machine.cores", "a": "2", "b": "4"}])"));
  EXPECT_THAT(comparison_text(found), HasSubstr("strong scaling, 4 ranks (oversubscribed: no scaling): only in b"));
}

TEST(Compare, OtherWorkIsSaid) {
  auto other = scaling({row("strong", 1, 100)});
  other["plan"]["steps"] = 99;
  const Json found = compare_scaling(scaling({row("strong", 1, 100)}), other, "a", "b");
  EXPECT_EQ(found.at("comparable"), false);
  EXPECT_THAT(comparison_text(found), HasSubstr("did not train the same"));
}

class ScalingFile : public TemporaryFolder {
 protected:
  /// One line that names the file and `what`.
  void expect_refused(const std::string& text, const std::string& what) const {
    write("x.json", text);
    try {
      read_scaling(path("x.json"));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("x.json"));
      EXPECT_THAT(error.what(), HasSubstr(what));
      EXPECT_THAT(error.what(), testing::Not(HasSubstr("\n")));
    }
  }
  void expect_refused(const Json& json, const std::string& what) const { expect_refused(json.dump(), what); }
};

TEST_F(ScalingFile, AGoodOneIsRead) {
  write("x.json", scaling({row("strong", 1, 100), row("weak", 4, 7)}).dump());
  EXPECT_EQ(read_scaling(path("x.json")).at("rows").size(), 2u);
}

TEST_F(ScalingFile, WhatIsNoneIsRefused) {
  expect_refused(std::string(""), "byte");
  expect_refused(std::string("[]"), "no result of");
  expect_refused(std::string("{\"kind\": \"fmtrain scaling\", \"kind\": 1}"), "duplicate key");
  expect_refused(std::string(100'000, '['), "nested deeper");
  expect_refused(std::string("\xff\xfe{}"), "byte");
  auto version = scaling({});
  version["version"] = 2;
  expect_refused(version, "version");
  auto repetitions = scaling({});
  repetitions["plan"]["repetitions"] = 1'000'000'000;
  expect_refused(repetitions, "repetitions");
  auto rows = scaling({});
  rows["rows"] = Json::object();
  expect_refused(rows, "rows");
  expect_refused(scaling(std::vector<Json>(10'001, Json::object())), "rows");
}

TEST_F(ScalingFile, WrongMembersAreNamed) {
  const auto with = [](const std::function<void(Json&)>& change) {
    Json one = row("strong", 1, 100);
    change(one);
    return scaling({row("strong", 1, 100), one});
  };
  expect_refused(with([](Json& r) { r["mode"] = "fast"; }), "rows[1]: mode");
  expect_refused(with([](Json& r) { r["ranks"] = 0; }), "rows[1]: ranks");
  expect_refused(with([](Json& r) { r["ranks"] = 1.5; }), "rows[1]: ranks");
  expect_refused(with([](Json& r) { r["ranks"] = 18446744073709551615u; }), "rows[1]: ranks");
  expect_refused(with([](Json& r) { r.erase("oversubscribed"); }), "oversubscribed is missing");
  expect_refused(with([](Json& r) { r["tokens_per_s"] = 7; }), "rows[1].tokens_per_s");
  expect_refused(with([](Json& r) { r["tokens_per_s"]["min"] = -1; }), "rows[1].tokens_per_s");
  expect_refused(with([](Json& r) { r["step_s"]["max"] = 1e300; }), "rows[1].step_s");
  expect_refused(with([](Json& r) { r["step_s"]["min"] = 1e6; }), "not in order");
  expect_refused(with([](Json& r) { r["seconds"].erase("data"); }), "data is missing");
  expect_refused(with([](Json& r) { r["product_share"] = nullptr; }), "rows[1].product_share");
}

TEST_F(ScalingFile, NoLinkIsFollowed) {
  write("y.json", scaling({}).dump());
  std::filesystem::create_symlink(path("y.json"), path("x.json"));
  EXPECT_THROW(read_scaling(path("x.json")), Error);
}

}  // namespace
}  // namespace fmtrain

// continual.html: what it shows, whatever is missing, hostile or much.
#include "runtime/continual/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "runtime/continual/measures.h"
#include "runtime/continual/page_plots.h"
#include "tests/support/sound_page.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kDay = 86400, kStart = 1767225600;  // 2026-01-01 00:00 UTC

Json set(double champion, double challenger, double low, double high, int texts) {
  return {{"champion", champion}, {"challenger", challenger}, {"lcb95", low}, {"ucb95", high}, {"texts", texts}};
}

Json check(int64_t time, double p, double severity, const char* verdict) {
  return {{"time", time}, {"p", p}, {"alpha", 0.01}, {"severity", severity}, {"verdict", verdict}, {"champion", "000001"}};
}

Json cycle(int64_t number, int64_t started, const char* verdict, Json reasons) {
  return {{"number", number},
          {"started", started},
          {"trigger", "new data"},
          {"stage", "decided"},
          {"verdict", verdict},
          {"reasons", reasons},
          {"version", "000002"},
          {"fresh", 1234},
          {"replayed", 411},
          {"rolling", set(0.81, 0.8325, 0.0101, 0.035, 1000)},
          {"core", set(0.9, 0.8975, -0.0075, 0.0025, 2000)}};
}

Json facts() {
  return {{"version", 1},
          {"registry", "intents"},
          {"now", kStart + 30 * kDay},
          {"champion", "000001"},
          {"serving",
           {{{"version", "000001"}, {"from", kStart}, {"action", "promote"}},
            {{"version", "000002"}, {"from", kStart + 15 * kDay}, {"action", "promote"}},
            {{"version", "000001"}, {"from", kStart + 18 * kDay}, {"action", "rollback"}}}},
          {"drift",
           {check(kStart + 7 * kDay, 0.5, 0.3, "none"), check(kStart + 14 * kDay, 0.004, 1.2, "suspected"),
            check(kStart + 21 * kDay, 0.002, 2.5, "drift")}},
          {"cycles",
           {cycle(1, kStart + 14 * kDay, "promote", Json::array()),
            cycle(2, kStart + 22 * kDay, "reject", {"worse on slice label=refund: -5.00 points", "worse on the core set"})}},
          {"tests", {"cycle 1", "cycle 2"}},
          {"matrix", {{0.875, nullptr}, {0.75, 0.9}}},
          {"measures", measures_json(continual_measures({{{0.875, std::nullopt}, {0.75, 0.9}}, {}}))},
          {"next_due", kStart + 35 * kDay},
          {"braked", "a challenger was rejected in the cycle of 8.0 h ago; the next one waits 48.0 h"}};
}

TEST(ContinualPage, ShowsTheFacts) {
  const std::string page = continual_page(facts());
  expect_sound(page);
  for (const char* text :
       {"<title>intents · continual fine-tuning</title>", "<p class=\"sub\">intents · 2026-01-31 00:00 UTC</p>",
        "<dt>Champion</dt><dd>000001</dd>", "<dt>Serves since</dt><dd>2026-01-19 00:00</dd>",
        "<dt>Last drift check</dt><dd>drift</dd>", "<dt>Cycle 2</dt><dd>reject</dd>",
        "No cycle may start now: a challenger was rejected in the cycle of 8.0 h ago", "Due on schedule: 2026-02-05 00:00 UTC.",
        // Of 30 days 15, then 3, then 12.
        "<rect class=\"even\" x=\"0.00%\" width=\"50.00%\" height=\"28\"><title>000001: 2026-01-01 00:00 – 2026-01-16 "
        "00:00</title>",
        "<rect class=\"odd\" x=\"50.00%\" width=\"10.00%\"",
        "<rect class=\"rolled current\" x=\"60.00%\" width=\"40.00%\" height=\"28\"><title>000001: 2026-01-19 00:00 – "
        "now</title>",
        "<tr class=\"main\"><th scope=\"row\">000001</th><td>2026-01-19 00:00</td><td>now</td><td>12.0 "
        "days</td><td>rollback</td>",
        // p from 1 to 0.001 is three decades of 200 pixels: 0.01 lies at two thirds, 0.5 at a tenth.
        "<polyline class=\"limit\" points=\"0.0,133.3 500.0,133.3 1000.0,133.3 \"/>",
        "<circle class=\"mean\" cx=\"0.00%\" cy=\"20.1\" r=\"3.5\"><title>2026-01-08 00:00 UTC: p 0.5, severity 0.30, none, "
        "against "
        "000001</title>",
        "<circle class=\"alarm\" cx=\"100.00%\" cy=\"179.9\" r=\"3.5\"><title>2026-01-22 00:00 UTC: p 0.002, severity 2.50, "
        "drift",
        // Bounds 82.01 and 84.5 on an axis from 81 to 85.
        "<line class=\"upright mean\" x1=\"0.00%\" x2=\"0.00%\" y1=\"149.5\" y2=\"25.0\"/>",
        "<title>cycle 1: champion 81.00 %</title>", "<title>cycle 2: challenger 83.25 %, 82.01 to 84.50, 1,000 texts</title>",
        "<tr class=\" promote\"><th scope=\"row\">1</th><td>2026-01-15 00:00</td><td>new data</td><td>1,234</td><td>411</td>"
        "<td>+2.25 (+1.01 to +3.50)</td><td>−0.25 (−0.75 to +0.25)</td><td class=\"verdict\">promote</td><td>000002</td>",
        "<td>000002</td></tr>\n<tr class=\"why\"><td></td><td colspan=\"8\">worse on slice label=refund: -5.00 points; worse "
        "on the core set</td>",
        "<dt>Backward transfer</dt><dd>−12.50 points</dd>", "<dt>Largest forgetting</dt><dd>+12.50 points</dd>",
        "<tr><th scope=\"row\">1</th><td class=\"hit\" style=\"--a:0.49\"><strong>87.50</strong></td><td></td></tr>",
        "<tr><th scope=\"row\">2</th><td class=\"hit\" style=\"--a:0.42\">75.00</td>",
        "<tr><th scope=\"row\">forgotten</th><td>+12.50</td><td></td></tr>"})
    EXPECT_THAT(page, HasSubstr(text));
  EXPECT_LT(page.find("<th scope=\"row\">2</th><td>2026-01-23"), page.find("<th scope=\"row\">1</th><td>2026-01-15"))
      << "newest first";
  EXPECT_THAT(page, Not(HasSubstr("Forward transfer"))) << "nothing is known of it";
  EXPECT_THAT(page, Not(HasSubstr("are shown")));
}

TEST(ContinualPage, EmptyFactsAreAnEmptyPage) {
  for (const Json& nothing : {Json(), Json::object(), Json::array(), Json("text"), Json(3)}) {
    const std::string page = continual_page(nothing);
    expect_sound(page);
    EXPECT_THAT(page, HasSubstr("<h1>Continual fine-tuning</h1>"));
    for (const char* part : {"<h2>", "<svg", "<table"}) EXPECT_THAT(page, Not(HasSubstr(part)));
  }
  EXPECT_THAT(continual_page({{"braked", nullptr}, {"next_due", nullptr}}), HasSubstr("the next trigger starts a cycle"));
}

/// Every value of `json` replaced by each of `replacements`, one at a time.
void bend(const Json& whole, Json& at, const std::vector<Json>& replacements, const std::function<void()>& look) {
  const Json before = at;
  for (const Json& replacement : replacements) {
    at = replacement;
    look();
  }
  at = before;
  if (at.is_structured())
    for (auto& part : at) bend(whole, part, replacements, look);
}

TEST(ContinualPage, AnyPartMayBeMissingOrOfAnotherKind) {
  Json whole = facts();
  const std::vector<Json> replacements{Json(),   Json::object(), Json::array(), Json("text"),
                                       Json(-1), Json(1e300),    Json(true),    Json(std::numeric_limits<double>::quiet_NaN()),
                                       Json(0)};
  int pages = 0;
  bend(whole, whole, replacements, [&] {
    SCOPED_TRACE(whole.dump().substr(0, 2000));
    expect_sound(continual_page(whole));
    ++pages;
  });
  EXPECT_GT(pages, 900);
}

TEST(ContinualPage, TextFromFactsIsOnlyText) {
  const std::string hostile = "</title><script>alert('x')</script>&\"\x01\xff<b onload=\"1\">" + std::string(5000, 'y');
  Json whole = facts();
  int pages = 0;
  bend(whole, whole, {Json(hostile), Json::array({hostile, hostile}), {{hostile, hostile}}}, [&] {
    const std::string page = continual_page(whole);
    ASSERT_EQ(XmlCheck(page).error(), "");
    ASSERT_THAT(page, Not(HasSubstr("<script")));
    ASSERT_THAT(page, Not(HasSubstr("<b ")));
    ASSERT_LT(page.size(), 40000u);
    ++pages;
  });
  EXPECT_GT(pages, 300);
  whole["cycles"][0]["reasons"] = Json::array({hostile, hostile, hostile, hostile, hostile, hostile, hostile});
  EXPECT_THAT(continual_page(whole), HasSubstr("&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(continual_page(whole), HasSubstr("; and 2 more</td>"));
}

TEST(ContinualPage, OfALongHistoryTheNewest) {
  Json whole = facts();
  whole["serving"] = whole["drift"] = whole["cycles"] = whole["matrix"] = whole["tests"] = Json::array();
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t time = kStart + 7 * i * kDay;
    whole["drift"].push_back(check(time, i % 10 == 9 ? 0.002 : 0.3, i % 10 == 9 ? 2.0 : 0.5, i % 10 == 9 ? "drift" : "none"));
    whole["serving"].push_back({{"version", i + 1}, {"from", time}, {"action", i % 7 ? "promote" : "rollback"}});
    whole["cycles"].push_back(cycle(i + 1, time, i % 2 ? "promote" : "reject", {std::string(500, 'r'), std::string(500, 's')}));
    whole["tests"].push_back("cycle " + std::to_string(i + 1));
    Json row = Json::array();
    for (int64_t j = 0; j <= i; ++j) row.push_back(0.5 + 0.4 * std::cos(static_cast<double>(i - j)));
    whole["matrix"].push_back(row);
  }
  whole["now"] = kStart + 7000 * kDay;
  const std::string page = continual_page(whole);
  expect_sound(page, 500000);
  for (const char* text :
       {"Of 1,000 checks the newest 400 are shown.", "Of 1,000 changes of the champion the newest 200 are shown.",
        "Of 1,000 cycles the newest 200 are shown.", "The newest 24 rows and columns are shown.", "<span>cycle 1000</span>",
        "<th scope=\"row\">1000</th>"})
    EXPECT_THAT(page, HasSubstr(text));
  EXPECT_THAT(page, Not(HasSubstr("<span>cycle 976</span>")));
}

std::string texts(const Axis& axis) {
  std::string out;
  for (const Tick& tick : axis.ticks) out += (out.empty() ? "" : " | ") + tick.text;
  return out;
}

TEST(ContinualAxes, OfTimeAndOfP) {
  EXPECT_EQ(texts(time_axis(kStart, kStart + 3 * 3600, 7)), "01, 00:00 | 01, 01:00 | 01, 02:00 | 01, 03:00");
  EXPECT_EQ(texts(time_axis(kStart + 1, kStart + 4 * kDay, 5)), "2026-01-02 | 2026-01-03 | 2026-01-04 | 2026-01-05");
  EXPECT_EQ(texts(time_axis(kStart, kStart, 7)), "31, 12:00 | 31, 18:00 | 01, 00:00 | 01, 06:00 | 01, 12:00");
  EXPECT_EQ(texts(time_axis(0, 0, 3)), "01, 00:00 | 01, 06:00 | 01, 12:00");  // not before 1970
  const Axis ages = time_axis(0, 253402300799, 7);
  EXPECT_LE(ages.ticks.size(), 7u);
  EXPECT_GE(ages.ticks.size(), 3u);
  EXPECT_EQ(texts(p_axis(0.002)), "0.001 | 0.01 | 0.1 | 1");
  EXPECT_EQ(texts(p_axis(0.01)), "0.01 | 0.1 | 1");  // a power of ten is not one more decade
  EXPECT_EQ(texts(p_axis(1)), "0.1 | 1");
  EXPECT_EQ(texts(p_axis(3e-6)), "1e-6 | 1e-5 | 0.0001 | 0.001 | 0.01 | 0.1 | 1");
}

}  // namespace
}  // namespace fmtrain

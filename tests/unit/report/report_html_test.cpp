#include "runtime/report/report_html.h"

#include <gmock/gmock.h>

#include "runtime/metrics/classification.h"
#include "runtime/metrics/tagging.h"
#include "runtime/report/report.h"
#include "tests/support/sound_page.h"

using namespace fmtrain;
using testing::HasSubstr;
using testing::Not;

namespace {

Json tagging_evaluation(bool trained, double loss) {
  TaggingCounts counts({"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}, 2);
  const std::vector<int32_t> gold = {1, 2, 0, 3, 0}, wrong = {0, 0, 0, 3, 0};
  counts.add_text(0, gold, trained ? gold : wrong);
  counts.add_text(1, gold, wrong);
  Json evaluation = metrics_of(counts, 50, 1);
  evaluation.update({{"loss", loss}, {"samples_per_s", 1234.5}});
  return evaluation;
}

Json tagging_report() {
  const Json data = {{"samples", 3394}, {"texts", 3390},        {"tokens", 100389},
                     {"labels", 5},     {"truncated_texts", 2}, {"lost_words", 7}};
  const Json hash = std::string(64, 'a');
  return {
      {"version", 1},
      {"run",
       {{"name", "people"}, {"ranks", 2}, {"hosts", 1}, {"threads", 1}, {"device", "cpu"}, {"precision", "bf16"}, {"seed", 7}}},
      {"data", {{"train", data}, {"validation", data}, {"test", nullptr}}},
      {"before", {{"validation", tagging_evaluation(false, 1.5)}, {"test", tagging_evaluation(false, 1.625)}}},
      {"after", {{"validation", tagging_evaluation(true, 0.25)}, {"test", tagging_evaluation(true, 0.28125)}}},
      {"training",
       {{"steps", 321},
        {"best_step", 214},
        {"seconds", 125.0},
        {"samples_per_s", 93.58},
        {"tokens_per_s", 2768.2},
        {"first_step_s", 9.7},
        {"gflop_per_s", 179.1},
        {"product_gflop_per_s", 250.5},
        {"mfu", nullptr},
        {"gemm_share", 0.715},
        {"data_wait_share", 0.001},
        {"seconds_by_phase",
         {{"compute", 75.0}, {"communication", 15.0}, {"data", 0.0}, {"optimizer", 10.0}, {"other", 0.0}}}}},
      {"memory",
       {{{"rank", 0}, {"host", "n1"}, {"rss", 734003200}, {"pss", 524288000}, {"peak_rss", 1610612736}},
        {{"rank", 1}, {"host", "n1"}, {"rss", -1}, {"pss", 524288000}, {"peak_rss", -1}}}},
      {"lineage", {{"base", "MiniLM"}, {"train_sha256", hash}}},
      {"weights_sha256", std::string(64, 'b')},
      {"versions", {{"fmtrain", "0.1.0"}}}};
}

std::vector<Json> step_lines(int count) {
  std::vector<Json> lines;
  for (int i = 1; i <= count; ++i)
    lines.push_back({{"step", i}, {"loss", 2.0 / i}, {"lr", 1e-4 * i / count}, {"grad_norm", 1 + i % 3}});
  return lines;
}

std::vector<Json> evaluation_lines() {
  std::vector<Json> lines;
  for (int step : {107, 214, 321})
    lines.push_back(
        {{"step", step}, {"split", "validation"}, {"loss", 30.0 / step}, {"metrics", {{"f1", step == 214 ? 0.6667 : 0.5}}}});
  lines.push_back({{"step", 321}, {"split", "test"}, {"loss", 9.0}, {"metrics", {{"f1", 0.0123}}}});
  return lines;
}

TEST(ReportHtml, ShowsTheNumbersOfTheReport) {
  const std::string page = report_html(tagging_report(), step_lines(321), evaluation_lines());
  expect_sound(page);
  for (const char* text :
       {"<h1>people</h1>",
        "2 ranks · 1 thread each · cpu · bf16 · seed 7",
        "Entity F1 on test",
        "<span class=\"from\">66.67</span> <span class=\"arrow\">→</span> <strong>85.71</strong>",
        "+19.05 points",
        "<th scope=\"row\">Entity F1</th><td>66.67</td><td>85.71</td><td>+19.05</td>",
        "<th scope=\"row\">Loss</th><td>1.6250</td><td>0.2812</td><td>−1.3438</td>",
        "<th scope=\"row\">Entity recall</th><td>50.00</td><td>75.00</td><td>+25.00</td>",
        "best: step 214, 66.67 %",
        "<th scope=\"row\">PER</th><td>100.00</td><td>50.00</td>",
        "<td>0.00</td><td>2</td></tr>",
        "<th scope=\"row\">O</th>",
        "<th scope=\"row\">weighted avg</th>",
        "<th scope=\"row\">micro avg</th>",
        "<th scope=\"row\">B-PER → O</th><td>1</td><td>50.00</td>",
        "Compute</span></th><td>1 min 15 s</td><td>75.00</td>",
        "<th scope=\"row\">0</th><td>n1</td><td>700 MiB</td><td>500 MiB</td><td>1.50 GiB</td>",
        "<th scope=\"row\">1</th><td>n1</td><td>–</td><td>500 MiB</td><td>–</td>",
        "<th scope=\"row\">train</th><td>3,394</td><td>3,390</td><td>100,389</td><td>5</td><td>2</td><td>7</td>",
        "<dt>weights sha256</dt><dd>bbbbbbbb",
        "<dt>fmtrain</dt><dd>0.1.0</dd>",
        "71.50 %",
        "2,768"})
    EXPECT_THAT(page, HasSubstr(text));
  EXPECT_THAT(page, Not(HasSubstr("MFU")));
  EXPECT_THAT(page, Not(HasSubstr("1.23 %"))) << "the test set is no validation curve";
}

TEST(ReportHtml, IntervalsAreThoseOfTheReport) {
  Json report = tagging_report();
  report["after"]["test"]["intervals"]["f1"] = {0.5, 0.9375};
  const std::string page = report_html(report, {}, {});
  EXPECT_THAT(page, HasSubstr("95 % interval 50.00–93.75"));
  EXPECT_THAT(page, HasSubstr("<rect class=\"interval\" x=\"50.00%\" width=\"43.75%\""));
}

TEST(ReportHtml, IsReadableWithoutColourOrWidth) {
  const std::string page = report_html(tagging_report(), step_lines(90), evaluation_lines());
  for (const char* text : {"<html lang=\"en\">", "name=\"viewport\" content=\"width=device-width, initial-scale=1\"",
                           "prefers-color-scheme: dark", "@media print", "overflow-x: auto", "tabular-nums",
                           "role=\"img\" aria-label=\"Loss by step, training and validation\""})
    EXPECT_THAT(page, HasSubstr(text));
}

TEST(ReportHtml, TextFromDataIsOnlyText) {
  const std::string hostile = "</title><script>alert('x')</script>&\"\x01\xff<b onload=\"1\">" + std::string(5000, 'y');
  const std::string named = "B-" + hostile;
  TaggingCounts counts({"O", named}, 1);
  counts.add_text(0, std::vector<int32_t>{1, 0}, std::vector<int32_t>{0, 1});
  Json evaluation = metrics_of(counts, 0, 1);
  Json report = {{"run", {{"name", hostile}, {"device", hostile}, {hostile, hostile}}},
                 {"after", {{"test", evaluation}}},
                 {"memory", {{{"rank", hostile}, {"host", hostile}}}},
                 {"versions", {{hostile, hostile}}},
                 {"lineage", {{"base", hostile}}},
                 {"weights_sha256", hostile}};
  const std::string page = report_html(report, {}, {});
  EXPECT_EQ(XmlCheck(page).error(), "");
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<b ")));
  EXPECT_THAT(page, HasSubstr("&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_LT(page.size(), 40000u);
  report["after"]["test"]["headline"] = hostile;
  report["after"]["test"]["metrics"][hostile] = 0.5;
  EXPECT_EQ(XmlCheck(report_html(report, {}, {})).error(), "");
}

TEST(ReportHtml, AnyPartMayBeMissing) {
  const Json whole = tagging_report();
  std::vector<Json> reports = {Json(), Json::object(), Json::array(), Json("text"), Json(3)};
  for (const auto& [name, value] : whole.items())
    for (const Json& replacement : {Json(), Json::object(), Json::array(), Json("text"), Json(-1)}) {
      reports.push_back(whole);
      reports.back()[name] = replacement;
      if (value.is_object())
        for (const auto& [inner, unused] : value.items()) {
          reports.push_back(whole);
          reports.back()[name][inner] = replacement;
        }
    }
  for (const Json& report : reports) {
    SCOPED_TRACE(report.dump().substr(0, 300));
    expect_sound(report_html(report, step_lines(5), evaluation_lines()));
    EXPECT_NO_THROW(report_text(report));
  }
}

TEST(ReportHtml, OddLinesOfTheLogsAreLeftOut) {
  const std::vector<Json> odd = {
      Json(), Json("x"), {{"step", "x"}}, {{"step", -1}, {"loss", 1}}, {{"step", 1}}, {{"step", 2}, {"loss", nullptr}}};
  expect_sound(report_html(tagging_report(), odd, odd));
}

TEST(ReportHtml, LossesThatAreNotFiniteAreCounted) {
  std::vector<Json> steps = step_lines(100);
  steps[10]["loss"] = steps[20]["loss"] = nullptr;
  const std::string page = report_html(tagging_report(), steps, {});
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("2 of 100 steps had a loss that is not finite."));
}

TEST(ReportHtml, WithoutEvaluationTheLossIsTheHeadline) {
  Json report = tagging_report();
  report["before"] = report["after"] = Json::object();
  const std::string page = report_html(report, step_lines(4), {});
  EXPECT_THAT(page, HasSubstr("<span class=\"from\">2.0000</span> <span class=\"arrow\">→</span> <strong>0.5000</strong>"));
  for (const char* heading : {"Before and after", "Confusion", "Entity types", "<h2>Words"})
    EXPECT_THAT(page, Not(HasSubstr(heading)));
  EXPECT_THAT(page, HasSubstr("<h2>Training</h2>"));
}

/// `labels` classes; of class i, i texts are taken for class i + 1.
Json many_classes(int labels) {
  std::vector<std::string> names;
  for (int i = 0; i < labels; ++i) names.push_back("class " + std::to_string(i));
  ClassCounts counts(names, labels * (labels + 1) / 2);
  int64_t text = 0;
  for (int i = 0; i < labels; ++i)
    for (int n = 0; n <= i; ++n) counts.add_text(text++, i, n < i ? (i + 1) % labels : i);
  Json evaluation = metrics_of(counts, 0, 1);
  evaluation["loss"] = 0.5;
  return evaluation;
}

TEST(ReportHtml, ManyClassesAreBoundedAndTheRestIsNamed) {
  const Json after = {{"test", many_classes(250)}};
  const std::string page = report_html({{"after", after}}, {}, {});
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("<h2>Classes</h2>"));
  EXPECT_THAT(page, HasSubstr("The 200 labels with most support, of 250."));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">class 249 → class 0</th><td>249</td><td>99.60</td>"));
  // errors of i: i texts lost, i - 1 texts gained; most: 221 ... 249 and 220; left out: 1 + ... + 219
  EXPECT_THAT(page, HasSubstr("The 30 labels with most errors, of 250; 24,339 of 31,125 errors involve another label."));
  EXPECT_THAT(page, HasSubstr("<th scope=\"col\"><span>class 220</span></th>"));
  EXPECT_THAT(page, Not(HasSubstr("<th scope=\"col\"><span>class 219</span></th>")));
}

TEST(ReportHtml, LongRunsAreBounded) {
  std::vector<Json> steps = step_lines(50000), evaluations;
  for (int i = 1; i <= 5000; ++i)
    evaluations.push_back({{"step", 10 * i},
                           {"split", "validation"},
                           {"loss", 1.0 / i},
                           {"metrics", {{"f1", i == 2500 ? 0.9 : 0.5 + i % 10 / 100.0}}}});
  Json report = tagging_report();
  report["training"]["best_step"] = 25000;
  report["memory"] = Json::array();
  for (int rank = 0; rank < 3000; ++rank) report["memory"].push_back({{"rank", rank}, {"host", "node"}, {"rss", 1 << 30}});
  const std::string page = report_html(report, steps, evaluations);
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("best: step 25,000, 90.00 %"));
  EXPECT_THAT(page, HasSubstr("64 of 3000 ranks."));
  EXPECT_THAT(page, HasSubstr("Of 50,000 steps each curve shows 400 points"));
}

TEST(ReportText, TablesPerLabelAndMemory) {
  const std::string text = report_text(tagging_report());
  for (const char* part :
       {"people: 2 ranks x 1 threads on cpu, bf16, seed 7\n", "            f1              66.67 (", "85.71 (", "+19.05\n",
        "loss           1.6250                   0.2812                    -1.3438\n", "entities, strict IOB2, test\n",
        "         PER       1.00      0.50      0.67         2\n", "words, O included (micro avg: without O), test\n",
        "           O       0.67      1.00      0.80         4\n",
        "memory      all ranks 1000 MiB (pss), largest rank 1.50 GiB at its peak (rss)\n", "gemm_share 71.5 %"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_TRUE(text.ends_with("weights     sha256 " + std::string(64, 'b') + "\n"));
  EXPECT_THAT(text, Not(HasSubstr("mfu")));
}

TEST(ReportText, LinesAreAtMost100Columns) {
  Json report = tagging_report();
  report["run"]["name"] = std::string(300, 'n');
  for (Json& row : report["after"]["test"]["per_label"]) row["label"] = std::string(300, 'x');
  for (auto& [name, value] : report["training"].items())
    if (value.is_number_float()) value = 123456.7;
  std::istringstream lines(report_text(report));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 102u) << line;  // "…" has three bytes
}

}  // namespace

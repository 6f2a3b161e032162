#include <algorithm>

#include "runtime/metrics/bootstrap.h"
#include "runtime/metrics/tagging.h"

namespace fmtrain {
namespace {

Json average_rows(const Averages& all) {
  return {average_row("micro avg", all.micro, all.truth), average_row("macro avg", all.macro, all.truth),
          average_row("weighted avg", all.weighted, all.truth)};
}

/// scikit-learn's rows over every label, then the micro average without O: with O it would be the accuracy again.
Json token_rows(const std::vector<std::string>& labels, const std::vector<Tally>& words, const Averages& all,
                const Averages& without_o) {
  Json rows = label_rows(labels, words);
  rows.push_back(accuracy_row(all.micro.f1, all.truth));
  rows.push_back(average_row("macro avg", all.macro, all.truth));
  rows.push_back(average_row("weighted avg", all.weighted, all.truth));
  rows.push_back(average_row("micro avg", without_o.micro, without_o.truth));
  return rows;
}

Json tag_confusion_json(const TaggingCounts& counts) {
  const auto& labels = counts.tags().labels();
  Json cells = Json::array();
  for (size_t gold = 0; gold < labels.size(); ++gold)
    for (size_t predicted = 0; predicted < labels.size(); ++predicted)
      if (const int64_t n = counts.confusion(static_cast<int64_t>(gold), static_cast<int64_t>(predicted)))
        cells.push_back({gold, predicted, n});
  return {{"labels", labels}, {"cells", std::move(cells)}};
}

Json tagging_intervals(const TaggingCounts& counts, int64_t resamples, uint64_t seed) {
  const auto groups = static_cast<size_t>(counts.groups());
  std::vector<const char*> names{"f1", "accuracy"};
  if (groups == counts.tags().types().size()) names.push_back("macro_f1");
  std::vector<int64_t> sums(3 * groups + 2);
  std::vector<Tally> tallies(groups);
  return intervals_json(counts.texts(), resamples, seed, names, [&](std::span<const int64_t> drawn, std::span<double> values) {
    std::fill(sums.begin(), sums.end(), 0);
    for (const int64_t text : drawn)
      std::transform(sums.begin(), sums.end(), counts.row(text).begin(), sums.begin(), std::plus<>());
    for (size_t g = 0; g < groups; ++g) tallies[g] = {sums[3 * g], sums[3 * g + 1], sums[3 * g + 2]};
    const Averages all = averages(tallies);
    values[0] = all.micro.f1;
    values[1] = ratio(sums[3 * groups], sums[3 * groups + 1]);
    if (values.size() > 2) values[2] = all.macro.f1;
  });
}

}  // namespace

Json metrics_of(const TaggingCounts& counts, int64_t bootstrap, uint64_t seed) {
  const auto& tags = counts.tags();
  const auto strict_types = counts.entities(EntityMode::kStrict), lenient_types = counts.entities(EntityMode::kLenient);
  const auto words = counts.words();
  auto words_without_o = words;
  if (tags.outside() >= 0) words_without_o[static_cast<size_t>(tags.outside())] = {};
  const Averages strict = averages(strict_types), lenient = averages(lenient_types), all = averages(words),
                 inside = averages(words_without_o);
  return {{"headline", "f1"},
          {"metrics",
           {{"f1", strict.micro.f1},
            {"precision", strict.micro.precision},
            {"recall", strict.micro.recall},
            {"accuracy", all.micro.f1},
            {"macro_f1", strict.macro.f1},
            {"weighted_f1", strict.weighted.f1},
            {"lenient_f1", lenient.micro.f1},
            {"lenient_precision", lenient.micro.precision},
            {"lenient_recall", lenient.micro.recall},
            {"token_f1", inside.micro.f1},
            {"token_precision", inside.micro.precision},
            {"token_recall", inside.micro.recall},
            {"token_macro_f1", all.macro.f1},
            {"token_weighted_f1", all.weighted.f1},
            {"undefined", strict.undefined + all.undefined},
            {"entities", strict.truth},
            {"words", all.truth},
            {"texts", counts.texts()}}},
          {"intervals", tagging_intervals(counts, bootstrap, seed)},
          {"per_label", label_rows(tags.types(), strict_types)},
          {"averages", average_rows(strict)},
          {"lenient", {{"per_label", label_rows(tags.types(), lenient_types)}, {"averages", average_rows(lenient)}}},
          {"token_report", token_rows(tags.labels(), words, all, inside)},
          {"confusion", tag_confusion_json(counts)}};
}

}  // namespace fmtrain

#include "runtime/continual/measures.h"

#include <algorithm>
#include <numeric>

namespace fmtrain {
namespace {

using Score = std::optional<double>;

Score at(const std::vector<Score>& row, size_t test) { return test < row.size() ? row[test] : Score(); }

Score difference(const Score& a, const Score& b) { return a && b ? Score(*a - *b) : Score(); }

std::vector<double> known_scores(const std::vector<Score>& scores) {
  std::vector<double> values;
  for (const auto& score : scores)
    if (score) values.push_back(*score);
  return values;
}

Score mean(const std::vector<Score>& scores) {
  const auto values = known_scores(scores);
  if (values.empty()) return {};
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Score largest(const std::vector<Score>& scores) {
  const auto values = known_scores(scores);
  return values.empty() ? Score() : Score(*std::max_element(values.begin(), values.end()));
}

Json score_json(const std::vector<Score>& scores) {
  Json list = Json::array();
  for (const auto& score : scores) list.push_back(score ? Json(*score) : Json());
  return list;
}

Json score_json(const Score& score) { return score ? Json(*score) : Json(); }

}  // namespace

ContinualMeasures continual_measures(const ScoreMatrix& scores) {
  const auto& r = scores.after;
  ContinualMeasures measures;
  std::vector<Score> backward, forward;
  for (size_t j = 0; j + 1 < r.size(); ++j) {
    backward.push_back(difference(at(r.back(), j), at(r[j], j)));
    forward.push_back(difference(at(r[j], j + 1), at(scores.before, j + 1)));
    std::vector<Score> earlier;
    for (size_t i = 0; i + 1 < r.size(); ++i) earlier.push_back(at(r[i], j));
    measures.forgetting.push_back(difference(largest(earlier), at(r.back(), j)));
  }
  measures.backward_transfer = mean(backward);
  measures.forward_transfer = mean(forward);
  measures.mean_forgetting = mean(measures.forgetting);
  measures.largest_forgetting = largest(measures.forgetting);
  return measures;
}

Json measures_json(const ContinualMeasures& m) {
  return {{"backward_transfer", score_json(m.backward_transfer)},
          {"forward_transfer", score_json(m.forward_transfer)},
          {"mean_forgetting", score_json(m.mean_forgetting)},
          {"largest_forgetting", score_json(m.largest_forgetting)},
          {"forgetting", score_json(m.forgetting)}};
}

Json matrix_json(const ScoreMatrix& scores) {
  Json rows = Json::array();
  for (const auto& row : scores.after) rows.push_back(score_json(row));
  return rows;
}

}  // namespace fmtrain

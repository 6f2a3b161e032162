#include "runtime/metrics/scores.h"

namespace fmtrain {

double ratio(int64_t a, int64_t b) { return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b); }

double Tally::precision() const { return ratio(correct, predicted); }
double Tally::recall() const { return ratio(correct, truth); }
double Tally::f1() const { return ratio(2 * correct, predicted + truth); }
int Tally::undefined() const { return (predicted == 0) + (truth == 0); }

Tally& Tally::operator+=(const Tally& other) {
  correct += other.correct;
  predicted += other.predicted;
  truth += other.truth;
  return *this;
}

namespace {

void add(Scores& sum, const Tally& tally, double weight) {
  sum.precision += weight * tally.precision();
  sum.recall += weight * tally.recall();
  sum.f1 += weight * tally.f1();
}

Scores divided(const Scores& sum, double by) {
  return by == 0 ? Scores{} : Scores{sum.precision / by, sum.recall / by, sum.f1 / by};
}

Json row(const char* key, const std::string& name, Json precision, Json recall, double f1, int64_t support) {
  return {{key, name}, {"precision", std::move(precision)}, {"recall", std::move(recall)}, {"f1", f1}, {"support", support}};
}

}  // namespace

Averages averages(const std::vector<Tally>& classes) {
  Averages result;
  Tally all;
  double present = 0;
  for (const Tally& tally : classes) {
    if (tally.absent()) continue;
    ++present;
    all += tally;
    result.undefined += tally.undefined();
    add(result.macro, tally, 1);
    add(result.weighted, tally, static_cast<double>(tally.truth));
  }
  result.micro = {all.precision(), all.recall(), all.f1()};
  result.macro = divided(result.macro, present);
  result.weighted = divided(result.weighted, static_cast<double>(all.truth));
  result.truth = all.truth;
  return result;
}

Json label_rows(const std::vector<std::string>& names, const std::vector<Tally>& classes) {
  Json rows = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    const Tally& tally = classes[i];
    if (tally.absent()) continue;
    Json entry = row("label", names[i], tally.precision(), tally.recall(), tally.f1(), tally.truth);
    entry["predicted"] = tally.predicted;
    entry["correct"] = tally.correct;
    rows.push_back(std::move(entry));
  }
  return rows;
}

Json average_row(const char* name, const Scores& scores, int64_t support) {
  return row("average", name, scores.precision, scores.recall, scores.f1, support);
}

Json accuracy_row(double accuracy, int64_t support) { return row("average", "accuracy", nullptr, nullptr, accuracy, support); }

}  // namespace fmtrain

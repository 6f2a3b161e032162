#include "runtime/continual/paired_bootstrap.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>

#include "runtime/continual/binomial.h"
#include "runtime/draws.h"
#include "runtime/percentile.h"

namespace fmtrain {
namespace {

constexpr uint32_t kBootstrapPurpose = 0x70616972;  // "pair"
constexpr int64_t kLeastStratum = 20;      ///< examples: resampling n within themselves loses 1 / n of their variance
constexpr int64_t kPooled = INT64_MIN;

using Row = std::vector<int64_t>;  ///< counts of the champion, then of the challenger

/// Examples of a stratum that count the same.
struct Kind {
  Row row;
  int64_t examples = 0;
};
using Stratum = std::vector<Kind>;

/// Before anything is indexed: both models counted the same examples.
void require_paired(const PairedCounts& counts) {
  const auto whole = static_cast<size_t>(counts.examples() * counts.width);
  if (counts.champion.size() != whole || counts.challenger.size() != whole)
    throw std::invalid_argument("champion and challenger have counts of different length");
  if (!counts.strata.empty() && counts.strata.size() != static_cast<size_t>(counts.examples()))
    throw std::invalid_argument("strata and counts have different length");
}

/// Of every example: its label, or kPooled for a label that too few have.
std::vector<int64_t> strata_of(const PairedCounts& counts) {
  std::vector<int64_t> strata(static_cast<size_t>(counts.examples()), kPooled);
  std::map<int32_t, int64_t> sizes;
  for (const int32_t label : counts.strata) ++sizes[label];
  for (size_t i = 0; i < counts.strata.size(); ++i)
    if (sizes[counts.strata[i]] >= kLeastStratum) strata[i] = counts.strata[i];
  return strata;
}

std::vector<Stratum> kinds(const PairedCounts& counts) {
  const auto stratum_of = strata_of(counts);
  std::map<int64_t, std::map<Row, int64_t>> found;
  for (int64_t i = 0; i < counts.examples(); ++i) {
    const auto begin = i * counts.width, end = begin + counts.width;
    Row row(counts.champion.begin() + begin, counts.champion.begin() + end);
    row.insert(row.end(), counts.challenger.begin() + begin, counts.challenger.begin() + end);
    ++found[stratum_of[static_cast<size_t>(i)]][row];
  }
  std::vector<Stratum> strata;
  for (const auto& [label, rows] : found) {
    auto& stratum = strata.emplace_back();
    for (const auto& [row, examples] : rows) stratum.push_back({row, examples});
    // The most frequent kind first leaves little for the others, and their draws take few steps.
    std::stable_sort(stratum.begin(), stratum.end(), [](const Kind& a, const Kind& b) { return a.examples > b.examples; });
  }
  return strata;
}

/// Sums of one resample after the other.
class Resampler {
 public:
  explicit Resampler(const PairedCounts& counts) : strata_(kinds(counts)), factorials_(log_factorials(counts.examples())) {
    for (const auto& stratum : strata_) {
      int64_t left = size(stratum);
      auto& draws = draws_.emplace_back();
      for (const auto& kind : stratum) {
        draws.emplace_back(static_cast<double>(kind.examples) / static_cast<double>(left), factorials_);
        left -= kind.examples;
      }
    }
  }
  void draw(uint64_t seed, uint64_t resample, Row& sums) const {
    std::fill(sums.begin(), sums.end(), 0);
    Draws random(seed, kBootstrapPurpose, resample);
    uint64_t position = 0;
    for (size_t s = 0; s < strata_.size(); ++s) {
      int64_t left = size(strata_[s]);
      for (size_t k = 0; k < strata_[s].size(); ++k) {
        const int64_t drawn = draws_[s][k].draw(random.unit(position++), left);
        left -= drawn;
        add(strata_[s][k].row, drawn, sums);
      }
    }
  }
  void whole(Row& sums) const {
    for (const auto& stratum : strata_)
      for (const auto& kind : stratum) add(kind.row, kind.examples, sums);
  }

 private:
  static int64_t size(const Stratum& stratum) {
    return std::accumulate(stratum.begin(), stratum.end(), int64_t{0}, [](int64_t n, const Kind& k) { return n + k.examples; });
  }
  static void add(const Row& row, int64_t times, Row& sums) {
    for (size_t i = 0; i < row.size(); ++i) sums[i] += times * row[i];
  }
  std::vector<Stratum> strata_;
  std::vector<double> factorials_;
  std::vector<std::vector<BinomialDraws>> draws_;  ///< a kind's share of the kinds from it on
};

}  // namespace

PairedCounts PairedCounts::of(std::span<const int64_t> ids) const {
  require_paired(*this);
  PairedCounts chosen{width, {}, {}, {}};
  for (const int64_t id : ids) {
    if (id < 0 || id >= examples()) throw std::invalid_argument("an id is not of these examples");
    chosen.champion.insert(chosen.champion.end(), champion.begin() + id * width, champion.begin() + (id + 1) * width);
    chosen.challenger.insert(chosen.challenger.end(), challenger.begin() + id * width, challenger.begin() + (id + 1) * width);
    if (!strata.empty()) chosen.strata.push_back(strata.at(static_cast<size_t>(id)));
  }
  return chosen;
}

double accuracy_of_sums(std::span<const int64_t> sums) {
  return sums[1] ? static_cast<double>(sums[0]) / static_cast<double>(sums[1]) : 0;
}

double f1_of_sums(std::span<const int64_t> sums) {
  return sums[1] + sums[2] ? 2 * static_cast<double>(sums[0]) / static_cast<double>(sums[1] + sums[2]) : 0;
}

double PairedDifference::lcb95() const { return resampled.empty() ? 0 : percentile(resampled, 0.05); }
double PairedDifference::ucb95() const { return resampled.empty() ? 0 : percentile(resampled, 0.95); }

double PairedDifference::deviation() const {
  if (resampled.size() < 2) return 0;
  const double mean = std::accumulate(resampled.begin(), resampled.end(), 0.0) / static_cast<double>(resampled.size());
  double squares = 0;
  for (const double value : resampled) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(resampled.size() - 1));
}

double PairedDifference::p_at_least(double x) const {
  const auto as_large = resampled.end() - std::lower_bound(resampled.begin(), resampled.end(), x);
  return static_cast<double>(1 + as_large) / static_cast<double>(resampled.size() + 1);
}

PairedDifference paired_bootstrap(const PairedCounts& counts, const Metric& metric, int64_t resamples, uint64_t seed) {
  require_paired(counts);
  PairedDifference result;
  result.examples = counts.examples();
  if (result.examples == 0) return result;
  const Resampler resampler(counts);
  Row sums(static_cast<size_t>(2 * counts.width), 0);
  const std::span<const int64_t> champion(sums.data(), sums.size() / 2),
      challenger(sums.data() + sums.size() / 2, sums.size() / 2);
  resampler.whole(sums);
  result.champion = metric(champion);
  result.challenger = metric(challenger);
  result.difference = result.challenger - result.champion;
  for (int64_t b = 0; b < resamples; ++b) {
    resampler.draw(seed, static_cast<uint64_t>(b), sums);
    result.resampled.push_back(metric(challenger) - metric(champion));
  }
  std::sort(result.resampled.begin(), result.resampled.end());
  return result;
}

}  // namespace fmtrain

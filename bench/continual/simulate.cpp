// How often drift checks and the gate are wrong, by simulation (design: continual, sections 1.3 and 3).
//   continual_simulate drift FIRST LAST D N    false alarms and power of the decision: pairs FIRST..LAST-1, D features, N examples
//   continual_simulate gate SIMULATIONS        promotions of null, worse, better and slice-breaking challengers
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "runtime/continual/gate.h"
#include "runtime/continual/mmd.h"
#include "bench/continual/challengers.h"
#include "bench/continual/samples.h"

namespace fmtrain {
namespace {

/// A line of a table; s.e.: of the share, from the binomial distribution.
void row(const char* what, int64_t hits, int64_t trials, const char* goal) {
  const double share = static_cast<double>(hits) / static_cast<double>(trials);
  std::printf("| %s | %lld of %lld | %.2f %% (s.e. %.2f) | %s |\n", what, static_cast<long long>(hits), static_cast<long long>(trials),
              100 * share, 100 * std::sqrt(share * (1 - share) / static_cast<double>(trials)), goal);
}

/// A pair: one reference, and windows that are tested against it. Two windows share the reference, as they do in use.
void drift(int64_t first_pair, int64_t last_pair, int64_t dims, int64_t n) {
  constexpr double kAlpha = 0.01, kShift = 0.3;
  const int64_t pairs = last_pair - first_pair;
  int64_t alarms = 0, twice = 0, found = 0;
  for (int64_t i = first_pair; i < last_pair; ++i) {
    const auto seed = static_cast<uint64_t>(4 * i);
    const auto reference = latent_rows(n, dims, 0, seed);
    const auto rejects = [&](double shift, uint64_t other) {
      return mmd_test(reference, latent_rows(n, dims, shift, seed + other), dims, 500, seed + other).p <= kAlpha;
    };
    const bool first = rejects(0, 1);
    alarms += first;
    twice += first && rejects(0, 2);
    found += rejects(kShift, 3);
  }
  row("no drift, alarm in a window", alarms, pairs, "<= 2 %");
  row("no drift, alarm in two windows", twice, pairs, "<= 0.5 %");
  row("shift of 0.3 sd, found in a window", found, pairs, ">= 90 %");
}

GateVerdict verdict(double gain, double slice_gain, uint64_t seed) {
  GateInputs in;
  in.rolling = simulated_pair(2000, 0.06, gain, 8 * seed);
  in.core = simulated_pair(2000, 0.06, gain, 8 * seed + 1);
  if (slice_gain != 0)
    for (uint64_t s = 0; s < 5; ++s)
      in.slices.emplace_back(std::to_string(s), simulated_pair(1000, s ? 0.06 : 0.08, s ? gain : slice_gain, 8 * seed + 2 + s));
  GateOptions options;
  options.seed = seed;
  return judge(in, options).verdict;
}

void gate(int64_t simulations) {
  int64_t null = 0, worse = 0, better = 0, blocked = 0, rejected = 0;
  for (int64_t i = 0; i < simulations; ++i) {
    const auto seed = static_cast<uint64_t>(i);
    null += verdict(0, 0, seed) == GateVerdict::kPromote;
    worse += verdict(-0.02, 0, seed) == GateVerdict::kPromote;
    better += verdict(0.02, 0, seed) == GateVerdict::kPromote;
    const auto of_slices = verdict(0.02, -0.05, seed);
    blocked += of_slices != GateVerdict::kPromote;
    rejected += of_slices == GateVerdict::kReject;
  }
  row("null challenger promoted", null, simulations, "<= 5 % (+-1.5)");
  row("-2 points, promoted", worse, simulations, "<= 0.1 %");
  row("+2 points, promoted", better, simulations, ">= 95 %");
  row("+2 points, but -5 on one of 5 slices of 1,000: not promoted", blocked, simulations, ">= 90 %");
  row("the same: rejected", rejected, simulations, "");
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  std::printf("| | | share | goal |\n|---|---|---|---|\n");
  if (argc == 6 && !std::strcmp(argv[1], "drift")) fmtrain::drift(std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]));
  else if (argc == 3 && !std::strcmp(argv[1], "gate")) fmtrain::gate(std::atoll(argv[2]));
  else return 2;
}

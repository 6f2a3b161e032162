// How often drift checks and the gate are wrong, by simulation (design: continual, sections 1.3 and 3).
//   continual_simulate drift FIRST LAST D N    false alarms and power of the decision: pairs FIRST..LAST-1, D features,
//                                              N examples
//   continual_simulate gate SIMULATIONS        promotions of null, worse, better and slice-breaking challengers
//   continual_simulate power SIMULATIONS       LCB95 > 0 by test-set size and true gain
//   continual_simulate check D                 time of a report of default size, D features
//   continual_simulate rollback FOLDER MIB     time of rollbacks between versions of MIB MiB in an empty folder
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/continual/challengers.h"
#include "bench/continual/samples.h"
#include "runtime/continual/drift_report.h"
#include "runtime/continual/gate.h"
#include "runtime/continual/registry.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

/// A line of a table; s.e.: of the share, from the binomial distribution.
void row(const char* what, int64_t hits, int64_t trials, const char* goal) {
  const double share = static_cast<double>(hits) / static_cast<double>(trials);
  std::printf("| %s | %lld of %lld | %.2f %% (s.e. %.2f) | %s |\n", what, static_cast<long long>(hits),
              static_cast<long long>(trials), 100 * share, 100 * std::sqrt(share * (1 - share) / static_cast<double>(trials)),
              goal);
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

GateResult judged(double gain, double slice_gain, uint64_t seed) {
  GateInputs in;
  in.rolling = simulated_pair(2000, 0.06, gain, 8 * seed);
  in.core = simulated_pair(2000, 0.06, gain, 8 * seed + 1);
  if (slice_gain != 0)
    for (uint64_t s = 0; s < 5; ++s)
      in.slices.emplace_back(std::to_string(s), simulated_pair(1000, s ? 0.06 : 0.08, s ? gain : slice_gain, 8 * seed + 2 + s));
  GateOptions options;
  options.seed = seed;
  return judge(in, options);
}

void gate(int64_t simulations) {
  int64_t null = 0, rolling = 0, worse = 0, better = 0, blocked = 0, rejected = 0;
  for (int64_t i = 0; i < simulations; ++i) {
    const auto seed = static_cast<uint64_t>(i);
    const GateResult equal = judged(0, 0, seed), of_slices = judged(0.02, -0.05, seed);
    null += equal.verdict == GateVerdict::kPromote;
    rolling += equal.rolling.difference.lcb95() > 0;
    worse += judged(-0.02, 0, seed).verdict == GateVerdict::kPromote;
    better += judged(0.02, 0, seed).verdict == GateVerdict::kPromote;
    blocked += of_slices.verdict != GateVerdict::kPromote;
    rejected += of_slices.verdict == GateVerdict::kReject;
  }
  row("null challenger promoted", null, simulations, "<= 5 % (+-1.5)");
  row("null challenger, rolling set alone: LCB95 > 0", rolling, simulations, "5 % by its name");
  row("-2 points, promoted", worse, simulations, "<= 0.1 %");
  row("+2 points, promoted", better, simulations, ">= 95 %");
  row("+2 points, but -5 on one of 5 slices of 1,000: not promoted", blocked, simulations, ">= 90 %");
  row("the same: rejected", rejected, simulations, "");
}

/// LCB95 > 0 on a test set of n examples, at 6 % discordance.
void power(int64_t simulations) {
  for (const int64_t n : {500, 1000, 2000, 5000})
    for (const double gain : {0.0, 0.01, 0.02}) {
      int64_t hits = 0;
      for (int64_t i = 0; i < simulations; ++i) {
        const auto seed = static_cast<uint64_t>(i);
        hits += paired_bootstrap(simulated_pair(n, 0.06, gain, seed), accuracy_of_sums, 10000, seed).lcb95() > 0;
      }
      char what[80];
      std::snprintf(what, sizeof what, "n = %lld, true gain %+.0f points", static_cast<long long>(n), 100 * gain);
      row(what, hits, simulations, "");
    }
}

/// Wall time of a whole report: 5,000 reference examples, a window of 1,000, 20 classes.
void check(int64_t dims) {
  const auto reference = latent_rows(5000, dims, 0, 1), window = latent_rows(1000, dims, 0.3, 2);
  Draws draws(1, 1, 1);
  std::vector<float> probabilities;
  std::vector<int32_t> labels;
  for (uint64_t i = 0; i < 6000; ++i) {
    const uint64_t top = draws.below(2 * i, 20);
    for (uint64_t c = 0; c < 20; ++c) probabilities.push_back(c == top ? 0.81f : 0.01f);
    labels.push_back(static_cast<int32_t>(draws.unit(2 * i + 1) < 0.81 ? top : (top + 1) % 20));
  }
  const std::span<const float> p(probabilities);
  const DriftSample before{reference, dims, {p.first(100000), 20}, std::span<const int32_t>(labels).first(5000), {}};
  const DriftSample now{window, dims, {p.subspan(100000), 20}, {}, {}};
  const auto began = std::chrono::steady_clock::now();
  const DriftReport report = check_drift(before, now, {});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%s%.2f s\n", drift_text(report, drift_verdict(report, true)).c_str(), took.count());
}

/// Wall time of rollbacks between two versions of `mib` MiB in `folder`, with the verification of the one gone back to.
void rollback(const std::string& folder, int64_t mib) {
  Registry registry(posix_files(), folder + "/registry");
  RegistryWriter writer(registry, {1, {}});
  const std::string from = folder + "/model", file = from + "/model.safetensors";
  for (int64_t version = 1; version <= 2; ++version) {
    remove_tree(posix_files(), from);
    posix_files().make_dir(from);
    write_file_atomic(posix_files(), file, std::string(static_cast<size_t>(mib) << 20, static_cast<char>('a' + version)));
    Lineage lineage;
    lineage.version = version;
    lineage.dataset_sha256 = lineage.config_sha256 = std::string(64, '0');
    writer.add(from, lineage);
    writer.promote(version, "", version);
  }
  for (int64_t i = 0; i < 10; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const int64_t champion = writer.rollback(2 - i % 2, "", i);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    const auto known = registry.lineage(champion).files.at(0);
    const bool same = sha256_file(registry.version_directory(champion) + "/" + known.name) == known.sha256;
    std::printf("to version %lld: %.3f s, hash %s\n", static_cast<long long>(champion), took.count(),
                same ? "restored" : "WRONG");
  }
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  const std::vector<std::string> given(argv + 1, argv + argc);
  const std::string what = given.empty() ? "" : given[0];
  const auto number = [&](size_t i) { return std::stoll(given.at(i)); };
  const bool table = what == "drift" || what == "gate" || what == "power";
  if (table) std::printf("| | | share | goal |\n|---|---|---|---|\n");
  if (what == "drift") fmtrain::drift(number(1), number(2), number(3), number(4));
  else if (what == "gate") fmtrain::gate(number(1));
  else if (what == "power") fmtrain::power(number(1));
  else if (what == "check") fmtrain::check(number(1));
  else if (what == "rollback") fmtrain::rollback(given.at(1), number(2));
  else return 2;
}

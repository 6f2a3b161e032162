// What is said of a drift report: verdict, JSON, text.
#include <cstdio>

#include "runtime/continual/drift_report.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

const char* name(DriftVerdict verdict) {
  switch (verdict) {
    case DriftVerdict::kNone:
      return "none";
    case DriftVerdict::kSuspected:
      return "suspected";
    case DriftVerdict::kDrift:
      return "drift";
    case DriftVerdict::kInsufficientData:
      return "insufficient data";
  }
  return "";
}

Json json_of(const DriftReport::Classes& classes) {
  return {{"chi_square", classes.chi_square.statistic},
          {"p", classes.chi_square.p},
          {"cells", classes.chi_square.cells},
          {"js_divergence", classes.js}};
}

Json json_of(const Estimate& estimate) { return {{"value", estimate.value}, {"standard_error", estimate.standard_error}}; }

template <class... Values>
std::string formatted(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string classes_text(const char* what, const DriftReport::Classes& classes) {
  return formatted("%-20s chi-square %.1f over %lld cells, p %.4f; JS divergence %.4f\n", what, classes.chi_square.statistic,
                   static_cast<long long>(classes.chi_square.cells), classes.chi_square.p, classes.js);
}

}  // namespace

// Too few examples do not forget an alarm of the window before: the caller keeps that one until a window is judged.
DriftVerdict drift_verdict(const DriftReport& now, bool previous_drifted) {
  if (!now.enough) return DriftVerdict::kInsufficientData;
  if (!now.drifted()) return DriftVerdict::kNone;
  return previous_drifted ? DriftVerdict::kDrift : DriftVerdict::kSuspected;
}

int exit_code(DriftVerdict verdict) {
  if (verdict == DriftVerdict::kInsufficientData) return static_cast<int>(ExitCode::kInsufficientData);
  return static_cast<int>(verdict == DriftVerdict::kDrift ? ExitCode::kDrift : ExitCode::kOk);
}

Json drift_json(const DriftReport& r, DriftVerdict verdict) {
  Json json{{"version", 1}, {"verdict", name(verdict)}, {"reference", r.reference}, {"window", r.window}, {"alpha", r.alpha}};
  if (!r.enough) return json;
  json["drifted"] = r.drifted();
  json["mmd"] = {{"mmd2", r.mmd.mmd2}, {"p", r.mmd.p}, {"sigma", r.mmd.sigma}};
  json["severity"] = r.severity;
  json["ks"] = {{"adjusted_p", r.ks_p}};
  if (r.predicted) json["predicted"] = json_of(*r.predicted);
  if (r.labelled) json["labels"] = json_of(*r.labelled);
  for (const auto& [quantity, psi] : r.psi) json["psi"][quantity] = {{"value", psi.value}, {"expected", psi.expected}};
  if (r.performance)
    json["performance"] = {{"measured", json_of(r.performance->measured)},
                           {"cbpe", json_of(r.performance->cbpe)},
                           {"atc", json_of(r.performance->atc)},
                           {"temperature", r.performance->temperature},
                           {"cbpe_macro_f1", r.performance->cbpe_macro_f1},
                           {"dropped", r.dropped()}};
  return json;
}

std::string drift_text(const DriftReport& r, DriftVerdict verdict) {
  std::string text = formatted("%-20s %s (%lld new examples beside %lld)\n", "drift", name(verdict),
                               static_cast<long long>(r.window), static_cast<long long>(r.reference));
  if (!r.enough) return text;
  text += formatted("%-20s MMD^2 %.5f, p %.4f (alpha %.3f), %.1f times the usual\n", "features", r.mmd.mmd2, r.mmd.p, r.alpha,
                    r.severity);
  int moved = 0;
  for (const double p : r.ks_p) moved += p <= r.alpha;
  text += formatted("%-20s %d of %d moved (KS, Holm)\n", "components", moved, static_cast<int>(r.ks_p.size()));
  if (r.predicted) text += classes_text("predicted classes", *r.predicted);
  if (r.labelled) text += classes_text("labels", *r.labelled);
  for (const auto& [quantity, psi] : r.psi)
    text += formatted("%-20s PSI %.3f (%.3f without drift)\n", quantity.c_str(), psi.value, psi.expected);
  if (r.performance)
    text += formatted("%-20s measured %.1f %%, estimated %.1f %% (CBPE), %.1f %% (ATC)%s\n", "accuracy",
                      100 * r.performance->measured.value, 100 * r.performance->cbpe.value, 100 * r.performance->atc.value,
                      r.dropped() ? ": dropped" : "");
  return text;
}

}  // namespace fmtrain

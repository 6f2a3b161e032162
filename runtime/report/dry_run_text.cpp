#include <fmt/format.h>

#include <vector>

#include "runtime/dry_run.h"

namespace fmtrain {
namespace {

std::string size_text(double bytes) {
  return bytes >= 1e9 ? fmt::format("{:.2f} GB", bytes / 1e9) : fmt::format("{:.1f} MB", bytes / 1e6);
}

/// Lines about facts.fit.
std::vector<std::string> fit_lines(const Json& fit, double total) {
  const auto amount = [](const Json& n) { return size_text(n.get<double>()); };
  const std::string memory = amount(fit["memory"]) + " a rank (" + fit["source"].get<std::string>() + ")";
  const auto largest = fit["largest_micro"].get<int64_t>();
  const std::string as_it_is = largest == 0 ? "" : fmt::format("; the largest batch.micro that fits without another change is {}", largest);
  if (fit["fits"].get<bool>()) return {"fits into " + memory + as_it_is};
  std::vector<std::string> lines{fmt::format("does not fit into {}: needs {}{}", memory, size_text(total), as_it_is)};
  for (const auto& change : fit["changes"]) lines.push_back(fmt::format("fits with {}: {}", change["text"].get<std::string>(), amount(change["total"])));
  if (fit["changes"].empty()) lines.push_back("does not fit at any setting: the least needs " + amount(fit["least"]));
  return lines;
}

}  // namespace

std::string dry_run_text(const Json& f) {
  std::string out = f.at("config").get<std::string>() + "\n";
  const auto line = [&](const std::string& name, const std::string& text) { out += fmt::format("{:<12}{}\n", name, text); };
  line("model", fmt::format("{}, {} parameters, {} labels", f["model"]["path"].get<std::string>(), f["model"]["parameters"].get<int64_t>(), f["model"]["labels"].size()));
  for (const auto& note : f["model"]["notes"]) line("", note.get<std::string>());
  for (const auto& [name, d] : f["data"].items())
    line(name, fmt::format("{} samples, {} tokens, longest {}, {} texts truncated", d["samples"].get<int64_t>(), d["tokens"].get<int64_t>(),
                           d["longest"].get<int64_t>(), d["truncated_texts"].get<int64_t>()));
  for (const auto& g : f["groups"]) line(g["name"].get<std::string>(), fmt::format("{} tensors, {} elements", g["tensors"].get<int64_t>(), g["elements"].get<int64_t>()));
  line("steps", fmt::format("{} ({} an epoch), {} leaves a step on {} ranks", f["steps"]["total"].get<int64_t>(), f["steps"]["per_epoch"].get<int64_t>(),
                            f["steps"]["leaves"].get<int64_t>(), f["steps"]["ranks"].get<int64_t>()));
  if (f.contains("unfreezing")) line("trained", f["unfreezing"]["text"].get<std::string>());
  std::string curve;
  for (const auto& point : f["learning_rate"]) curve += fmt::format("{}{}: {:.3g}", curve.empty() ? "" : ", ", point[0].get<int64_t>(), point[1].get<double>());
  line("rate", curve);
  for (const auto& [name, bytes] : f["memory"].items())
    line(name == "parameters" ? "memory" : "", fmt::format("{:<12}{:>10} a rank", name, size_text(bytes.get<double>())));
  std::string stages;
  for (size_t z = 0; z < f["memory_by_zero"].size(); ++z)
    stages += fmt::format("{}{}: {}", z == 0 ? "" : ", ", z, size_text(f["memory_by_zero"][z].get<double>()));
  line("", "with engine.zero " + stages);
  if (!f["fit"].is_null())
    for (const auto& text : fit_lines(f["fit"], f["memory"]["total"].get<double>())) line(text.starts_with("fits with") ? "" : "fit", text);
  line("checkpoint", fmt::format("{}, {} a rank", size_text(f["checkpoint"]["bytes"].get<double>()),
                                 size_text(f["checkpoint"]["bytes_per_rank"].get<double>())));
  const auto& step = f["resume"]["step"];
  line("resume", step.is_null() ? "nothing to resume in " + f["resume"]["dir"].get<std::string>() : "from step " + std::to_string(step.get<int64_t>()) + " in " + f["resume"]["dir"].get<std::string>());
  return out;
}

}  // namespace fmtrain

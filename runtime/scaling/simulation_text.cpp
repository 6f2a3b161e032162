#include <fmt/format.h>

#include "runtime/report/html.h"
#include "runtime/scaling/plain.h"
#include "runtime/scaling/simulation.h"

namespace fmtrain {
namespace {

std::string fixed(const Json& json, double factor, int digits) {
  const auto value = number(json);
  return value ? fmt::format("{:.{}f}", factor * *value, digits) : "-";
}

std::string link_text(const Json& link) {
  return fmt::format("{} us + bytes / ({} GB/s)", fixed(field(link, {"latency_s"}), 1e6, 1),
                     fixed(field(link, {"bytes_per_s"}), 1e-9, 2));
}

std::string simulation_head(const Json& all) {
  const Json &t = field(all, {"timeline"}), &network = field(all, {"network"});
  std::string text = fmt::format(
      "# Simulated scaling of {}\n\nNothing here was measured on so many ranks: it is arithmetic on these inputs.\n\n",
      plain(field(t, {"name"})));
  text += fmt::format("- timeline: {}\n", plain(field(t, {"source"}), 600));
  text += fmt::format(
      "- a leaf: forward {} ms, backward {} ms; optimizer {} ms, other {} ms, jitter {} ms; {} leaves in the global batch; "
      "gradient {} MB in {} buckets, {} MB after backward\n",
      fixed(field(t, {"forward_s"}), 1e3, 2), fixed(field(t, {"backward_s"}), 1e3, 2), fixed(field(t, {"optimizer_s"}), 1e3, 2),
      fixed(field(t, {"other_s"}), 1e3, 2), fixed(field(t, {"jitter_s"}), 1e3, 2), fixed(field(t, {"leaves"}), 1, 0),
      fixed(field(t, {"parameters"}), 4e-6, 1), field(t, {"buckets"}).size(), fixed(field(t, {"rest_bytes"}), 1e-6, 1));
  text += fmt::format("- collectives{}: {}; {} ranks a node; inside {}; between nodes, a rank: {}\n",
                      field(t, {"device"}) == "cpu" ? " (CPUs: after backward)" : "", plain(field(all, {"algorithm"})),
                      fixed(field(network, {"per_node"}), 1, 0), link_text(field(network, {"inside"})),
                      link_text(field(network, {"between"})));
  if (field(all, {"shard_group"}) == "node") text += "- from stage 1 on every node has a copy of its own (engine.shard_group: node)\n";
  const Json& failures = field(all, {"failures"});
  if (number(field(failures, {"rank_mean_time_s"})).value_or(0) > 0)
    text += fmt::format("- a rank fails once in {} hours; a checkpoint takes {} s, a restart {} s; interval by Daly 2006\n",
                        fixed(field(failures, {"rank_mean_time_s"}), 1 / 3600.0, 0),
                        fixed(field(failures, {"checkpoint_s"}), 1, 1), fixed(field(failures, {"restart_s"}), 1, 1));
  return text + "\n";
}

std::string row_text(const Json& row) {
  const auto of = [&](const char* mode, const char* name, double factor, int digits) {
    return fixed(field(row, {mode, name}), factor, digits);
  };
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}{} | {} |\n", fixed(field(row, {"ranks"}), 1, 0),
                     fixed(field(row, {"stage"}), 1, 0), of("strong", "step_s", 1e3, 2), of("strong", "exposed_s", 1e3, 2),
                     of("strong", "efficiency", 100, 1), of("weak", "step_s", 1e3, 2), of("weak", "exposed_s", 1e3, 2),
                     of("weak", "efficiency", 100, 1), fixed(field(row, {"between_bytes"}), 1e-6, 1), fixed(field(row, {"state_bytes"}), 1e-6, 0),
                     field(row, {"fits"}) == true ? "" : " (too much)", fixed(field(row, {"goodput"}), 100, 1));
}

std::string useful_text(const Json& advice, const char* mode) {
  const Json& found = field(advice, {"largest_useful", mode});
  if (!found.is_object()) return fmt::format("- {} scaling: no number of ranks in the table keeps that\n", mode);
  return fmt::format("- {} scaling: {} ranks, at stage {}\n", mode, fixed(field(found, {"ranks"}), 1, 0),
                     fixed(field(found, {"stage"}), 1, 0));
}

std::string advice_text(const Json& advice) {
  std::string text = fmt::format("\nLargest number of ranks with an efficiency of {} % or more:\n\n",
                                 fixed(field(advice, {"useful"}), 100, 0));
  text += useful_text(advice, "strong") + useful_text(advice, "weak");
  text +=
      "\n| ranks | fastest stage that fits | bucket, MiB | fewest leaves a rank and update with that efficiency "
      "|\n|---|---|---|---|\n";
  for (const Json& row : field(advice, {"buckets"}))
    text += fmt::format("| {} | {} | {} | {} |\n", fixed(field(row, {"ranks"}), 1, 0), fixed(field(row, {"stage"}), 1, 0),
                        fixed(field(row, {"bytes"}), 1.0 / (1 << 20), 0), fixed(field(row, {"leaves"}), 1, 0));
  return text;
}

}  // namespace

std::string simulation_text(const Json& simulated) {
  std::string text = simulation_head(simulated) +
                     "| ranks | ZeRO stage | strong: update, ms | exposed, ms | efficiency, % | weak: update, ms | exposed, ms "
                     "| efficiency, % | to other nodes from a rank, MB | "
                     "state of a rank, MB | goodput, % |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Json& row : field(simulated, {"rows"})) text += row_text(row);
  return text + advice_text(field(simulated, {"advice"}));
}

std::string validation_text(const Json& rows) {
  std::string text = "| mode | ranks | measured, ms | predicted, ms | error, % |\n|---|---|---|---|---|\n";
  for (const Json& row : rows)
    text += fmt::format("| {} | {}{} | {} | {} | {} |\n", plain(field(row, {"mode"})), fixed(field(row, {"ranks"}), 1, 0),
                        field(row, {"oversubscribed"}) == true ? " (oversubscribed)" : "",
                        fixed(field(row, {"measured_s"}), 1e3, 2), fixed(field(row, {"predicted_s"}), 1e3, 2),
                        fixed(field(row, {"error"}), 100, 1));
  return text;
}

}  // namespace fmtrain

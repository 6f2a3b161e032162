// `fmtrain bench simulate`: one rank's update, recorded or read, replayed for any number of ranks, ZeRO stage, network and
// failure rate.
#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "comm/mpi_communicator.h"
#include "launch/bench.h"
#include "launch/child_run.h"
#include "launch/environment.h"
#include "launch/timeline_recorder.h"
#include "launch/versions.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/report/html.h"
#include "runtime/report/run_log.h"
#include "runtime/scaling/compare.h"
#include "runtime/scaling/published.h"
#include "runtime/scaling/simulation.h"
#include "runtime/trainer.h"
#include "runtime/watch/signals.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

struct SimulateOptions {
  std::string timeline, record, launcher = "mpirun -np {ranks}", out = "simulation", child, measured,
                                algorithm = "hierarchical", shard_group = "world";
  std::vector<std::string> overrides, comm;
  std::vector<int> ranks{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}, stages{0, 1, 2, 3};
  int recorded_ranks = 1, measured_stage = 1;
  int64_t steps = 30, warmup = 10;
  double limit = 3600;
  Network network{{2e-6, 100e9}, {5e-6, 25e9}, 8, 40};
  double useful = 0.7, memory = 0, rank_hours = 0, checkpoint = 1, restart = 300, jitter = -1;
  bool published = false, json = false;
};

/// A rank that is recorded: it trains as `fmtrain CONFIG` does, but on the CPU, with one thread unless engine.threads says more, and
/// at stage 0, where every bucket is sent by itself.
int recorded_rank(const SimulateOptions& o) {
  std::optional<MpiSession> session;
  die_with_parent();
  skip_networks_on_one_host();
  if (launched_by_mpi()) session.emplace(launched_processes());
  const auto inner = session ? make_mpi_communicator(*session) : make_single_communicator();
  auto settings = o.overrides;
  for (auto& setting : update_settings(o.steps)) settings.push_back(setting);
  settings.insert(settings.end(), {"run.dir=" + o.child + "/run", "engine.zero=0"});
  const Config config = load_config(o.record, settings);
  const int threads = config.engine.threads ? static_cast<int>(*config.engine.threads) : 1;
  at::set_num_threads(threads);
  RunStatus status;
  const int64_t leaves = config.batch.global / config.batch.micro, size = inner->size();
  Recording recording{o.record, inner->size(), threads, usable_cores(), leaves, (leaves + size - 1) / size, 0, {}};
  const auto comm = make_timeline_recorder(*inner, status, recording);
  RunOptions run;
  run.resume = false;
  run.status = &status;
  run.threads = threads;
  run.versions = program_versions();
  run.started = bench_clock();
  train(config, *comm, run);
  if (comm->rank() == 0)
    write_file_atomic(posix_files(), o.child + "/timeline.json",
                      to_json(timeline_of(recording, read_jsonl(o.child + "/run/log.jsonl"), o.warmup)).dump(1) + "\n");
  comm->barrier();
  return 0;
}

/// Starts the ranks that are recorded; timeline.json lies in the output folder then.
Timeline record(const SimulateOptions& o) {
  must_start_itself("bench simulate --record");
  check_warmup(o.steps, o.warmup);
  if (load_config(o.record, o.overrides).engine.device == Device::kCuda)
    throw ConfigError(o.record + ": engine.device is cuda, but a recording is made on the CPU; add --set engine.device=cpu");
  take_stop_signals();
  const BenchPlace place(o.out);
  auto words = launcher_words(o.launcher, o.recorded_ranks);
  if (o.recorded_ranks == 1) words.clear();
  words.insert(words.end(), {own_program(), "bench", "simulate", "--record", o.record, "--child", place.path, "--steps",
                             std::to_string(o.steps), "--warmup", std::to_string(o.warmup)});
  for (const auto& setting : o.overrides) words.insert(words.end(), {"--set", setting});
  const std::string output = place.path + "/output.txt";
  if (const int code = run_child(words, output, o.limit); code != 0) child_failed(o.recorded_ranks, code, output);
  const Timeline timeline = read_timeline(place.path + "/timeline.json");
  write_file_atomic(posix_files(), o.out + "/timeline.json", to_json(timeline).dump(1) + "\n");
  return timeline;
}

/// All-reduces of a result of `fmtrain bench comm --json`.
struct Collectives {
  int ranks = 0, nodes = 1;
  std::vector<std::pair<double, double>> measured;  ///< {bytes, seconds}
};

Collectives read_collectives(const std::string& path) {
  constexpr size_t kLargest = 1u << 20;
  const std::string text = read_file(posix_files(), path, kLargest, Links::kRefuse);
  Collectives found;
  std::optional<double> ranks, nodes;
  try {
    const Json all = parse_json(text, {kLargest, 16});
    ranks = number(field(all, {"result", "ranks"}));
    nodes = number(field(all, {"result", "nodes"})).value_or(1);
    for (const Json& row : field(all, {"result", "rows"})) {
      const auto bytes = number(field(row, {"bytes"})), seconds = number(field(row, {"seconds", "median"}));
      if (field(row, {"arm"}) == "all_reduce" && bytes && seconds && *bytes > 0 && *seconds > 0)
        found.measured.emplace_back(*bytes, *seconds);
    }
  } catch (const std::runtime_error& error) {
    throw DataError(path + ": " + error.what());
  }
  if (!ranks || *ranks < 2 || *ranks > 1 << 20 || found.measured.size() < 2)
    throw DataError(
        path +
        ": holds no all-reduces of two sizes on two ranks or more; `mpirun -np 2 fmtrain bench comm --json` writes them");
  if (!nodes || *nodes < 1 || *nodes > *ranks) throw DataError(path + ": nodes is no number from 1 to that of ranks");
  found.ranks = static_cast<int>(*ranks);
  found.nodes = static_cast<int>(*nodes);
  return found;
}

/// The links that fit them: inside a node, and between nodes, with one rank on each, where the ranks of a node share it, or with
/// --per-node.
void add_measured_links(Network& network, const std::vector<std::string>& paths) {
  std::vector<std::pair<std::string, Collectives>> between;
  for (const auto& path : paths)
    if (const auto c = read_collectives(path); c.nodes == 1) network.inside = fit_ring(c.ranks, c.measured);
    else between.emplace_back(path, c);
  for (const auto& [path, c] : between) {
    if (c.ranks == c.nodes) {
      const Link link = fit_ring(c.ranks, c.measured);
      network.between = {link.alpha, link.rate / network.per_node};
    } else if (c.ranks == c.nodes * network.per_node) {
      network.between = fit_between(c.nodes, c.measured, network);
    } else {
      throw DataError(path + ": " + std::to_string(c.ranks) + " ranks on " + std::to_string(c.nodes) +
                      " nodes; measure between nodes with one rank on each, or with as many as --per-node says");
    }
  }
}

/// Ascending: curves follow the order of rows.
std::vector<int> each_once(std::vector<int> numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

Simulation simulation_of(const SimulateOptions& o) {
  Simulation s;
  s.ranks = each_once(o.ranks);
  s.stages = each_once(o.stages);
  s.algorithm = algorithm_of(o.algorithm);
  s.network = o.network;
  s.by_node = o.shard_group == "node";
  add_measured_links(s.network, o.comm);
  s.useful = o.useful;
  s.memory = o.memory;
  s.part_mean_time = 3600 * o.rank_hours;
  s.checkpoint = o.checkpoint;
  s.restart = o.restart;
  return s;
}

Timeline timeline_for(const SimulateOptions& o) {
  if (o.record.empty() == o.timeline.empty())
    throw ConfigError("bench simulate: name a timeline, or a config to record one with --record");
  Timeline timeline = o.record.empty() ? read_timeline(o.timeline) : record(o);
  if (o.jitter >= 0) timeline.jitter = o.jitter;
  return timeline;
}

int bench_simulate(const SimulateOptions& o) {
  if (!o.child.empty()) return recorded_rank(o);
  if (o.published) {
    const Json rows = published_json();
    std::printf("%s\n", o.json ? rows.dump(1).c_str() : published_text(rows).c_str());
    return 0;
  }
  const Simulation s = simulation_of(o);
  const Timeline timeline = timeline_for(o);
  Json all = simulate(timeline, s);
  std::string text = simulation_text(all);
  if (!o.measured.empty()) {
    all["validation"] = validate(timeline, s, o.measured_stage, read_scaling(o.measured));
    text += "\nPredicted beside measured (" + o.measured + "):\n\n" + validation_text(all["validation"]);
  }
  std::error_code error;
  fs::create_directories(o.out, error);
  write_file_atomic(posix_files(), o.out + "/simulation.json", all.dump(1) + "\n");
  write_file_atomic(posix_files(), o.out + "/simulation.md", text);
  if (const auto picture = simulation_picture(all); !picture.empty())
    write_file_atomic(posix_files(), o.out + "/simulation.svg", picture);
  std::printf("%s\n", o.json ? all.dump(1).c_str() : text.c_str());
  return 0;
}

void add_network(CLI::App& command, SimulateOptions& o) {
  command.add_option("--algorithm", o.algorithm, "of all-reduces: ring, tree, hierarchical, in-network")->capture_default_str();
  command.add_option("--per-node", o.network.per_node, "ranks of a node")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command.add_option("--latency", o.network.between.alpha, "between nodes, seconds")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--bandwidth", o.network.between.rate, "between nodes, bytes a second of one rank when all of its node send")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--inside-latency", o.network.inside.alpha, "inside a node, seconds")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--inside-bandwidth", o.network.inside.rate, "inside a node, bytes a second of one rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--radix", o.network.radix, "ports of a switch, for in-network")
      ->check(CLI::Range(2, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--comm", o.comm,
                  "JSON of `fmtrain bench comm`; may be repeated: latency and bandwidth inside a node, or between several nodes with "
                  "one rank or\n--per-node ranks on each, are fitted to its all-reduces")
      ->allow_extra_args(false);
  command.add_option("--jitter", o.jitter, "standard deviation of a rank's compute seconds, in place of the recorded one")
      ->check(CLI::NonNegativeNumber);
}

void add_failures(CLI::App& command, SimulateOptions& o) {
  command.add_option("--rank-hours", o.rank_hours, "mean hours between failures of one rank; 0: none fails")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--checkpoint", o.checkpoint, "seconds that training stands still for a checkpoint")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--restart", o.restart, "seconds from a failure to the next update")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_recording(CLI::App& command, SimulateOptions& o) {
  command.add_option("--record", o.record, "config file: records a timeline of it first, on the CPU");
  command.add_option("--record-ranks", o.recorded_ranks, "ranks of the recorded run")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--launcher", o.launcher, "command in front of the program for more than one")->capture_default_str();
  command.add_option("--steps", o.steps, "updates of the recorded run")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  command.add_option("--warmup", o.warmup, "of them left out")->check(CLI::Range(0, 1'000'000))->capture_default_str();
  command.add_option("--set", o.overrides, "KEY=VALUE, overrides a key of the config; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--limit", o.limit, "seconds that the recorded run may take")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--child", o.child)->group("");
}

}  // namespace

void add_bench_simulate(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand(
      "simulate",
      "Replays one rank's recorded update for other numbers of ranks, ZeRO stages, networks and failure rates. All that it "
      "says\n"
      "is arithmetic; nothing is measured on so many ranks.\n"
      "Example: fmtrain bench simulate --record configs/tiny_cpu.yaml --ranks 1,8,64,512 --bandwidth 25e9");
  const auto o = std::make_shared<SimulateOptions>();
  command->add_option("TIMELINE", o->timeline, "timeline.json of an earlier --record");
  add_recording(*command, *o);
  command->add_option("--ranks", o->ranks, "numbers of ranks")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--zero", o->stages, "ZeRO stages")->delimiter(',')->check(CLI::Range(0, 3))->capture_default_str();
  command->add_option("--shard-group", o->shard_group, "that shares out what a stage does: world, or node: every node has a copy")
      ->check(CLI::IsMember({"world", "node"}))
      ->capture_default_str();
  add_network(*command, *o);
  add_failures(*command, *o);
  command->add_option("--useful", o->useful, "efficiency from which a number of ranks is called useful")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  command->add_option("--memory", o->memory, "of a rank for parameters, gradients and optimizer state, bytes; 0: enough")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--measured", o->measured,
                      "scaling.json of `fmtrain bench scaling`: its rows beside what is predicted for them");
  command->add_option("--measured-zero", o->measured_stage, "stage of that")->check(CLI::Range(0, 3))->capture_default_str();
  command->add_flag("--published", o->published,
                    "published results beside what the model says from their published parameters; nothing else");
  command->add_option("-o,--out", o->out, "folder for timeline.json, simulation.json, simulation.md and simulation.svg")
      ->capture_default_str();
  command->add_flag("--json", o->json, "print all facts as JSON in place of the text");
  command->callback([&action, o] { action = [o] { return bench_simulate(*o); }; });
}

}  // namespace fmtrain

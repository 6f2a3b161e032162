#include <ATen/Parallel.h>

#include <cstdio>

#include "comm/gpu.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/preflight.h"
#include "launch/trial_read.h"
#include "runtime/dry_run.h"
#include "runtime/errors.h"
#include "runtime/invariance.h"

namespace fmtrain {
namespace {

struct CheckOptions {
  std::string config;
  std::vector<std::string> overrides;
  DryRunOptions run;
  int most_ranks = 8;
  int64_t steps = 5;
  double expected = 0;
  bool json = false;
};

int check_config(const CheckOptions& o) {
  if (o.config.empty()) throw ConfigError("check: name a config file (see fmtrain check --help)");
  if (launched_by_mpi()) return check_launched({o.config, o.overrides, o.run.memory, o.expected, o.json});
  const Config config = load_config(o.config, o.overrides);
  trial_read(config);
  DryRunOptions run = o.run;
  run.gpu = config.engine.device == Device::kCuda || (config.engine.device == Device::kAuto && !visible_gpus().empty());
  const Json facts = dry_run(config, run);
  std::printf("%s\n", o.json ? facts.dump(1).c_str() : dry_run_text(facts).c_str());
  return 0;
}

int invariance(const CheckOptions& o) {
  const Config config = load_config(o.config, o.overrides);
  trial_read(config);
  at::set_num_threads(static_cast<int>(config.engine.threads.value_or(1)));
  const Json facts = check_invariance(config, o.steps, o.most_ranks);
  std::printf("%s\n", o.json ? facts.dump(1).c_str() : invariance_text(facts).c_str());
  return facts.at("equal").get<bool>() ? 0 : static_cast<int>(ExitCode::kNumeric);
}

void add_common(CLI::App& command, CheckOptions& o, const char* json) {
  command.add_option("--set", o.overrides, "KEY=VALUE, overrides a key of the config; may be repeated")->allow_extra_args(false);
  command.add_flag("--json", o.json, json);
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("check", "What a run would do, without a step, a GPU or MPI: the resolved config, parameter groups, steps, learning rates,\n"
                                              "memory and checkpoint bytes of a rank (estimates), whether that fits and what would, and what would be resumed.\n"
                                              "Raw data is prepared into the cache, as the run would do it.\n"
                                              "Under mpirun or srun also the hosts: placement, network, clocks, storage, and that all ranks have the same; one table, one exit code.\n"
                                              "Example: fmtrain check configs/ner_wnut17.yaml --ranks 2 --memory 2GiB");
  const auto o = std::make_shared<CheckOptions>();
  command->add_option("CONFIG", o->config, "config file");
  command->add_option("--ranks", o->run.ranks, "ranks the run would have; under a launcher those that there are")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command->add_option("--ranks-per-node", o->run.ranks_per_node, "of them on one machine, where they share memory; all unless given")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--memory", o->run.memory, "that a rank may take, as 16GiB: says what would fit; this machine's, shared by its ranks, unless given")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))->check(CLI::PositiveNumber);
  command->add_option("--expect-gbs", o->expected, "under a launcher: GB/s that any two hosts must reach, else they are named")->check(CLI::NonNegativeNumber);
  add_common(*command, *o, "print all facts as JSON, with every parameter");
  command->callback([&action, o] {
    if (!action) action = [o] { return check_config(*o); };
  });

  auto* sub = command->add_subcommand("invariance", "Trains a few updates on 1, 2, 4, ... ranks (threads of this process, one thread each unless engine.threads says more)\n"
                                                    "and compares every bit of losses and weights. Exit code 0: all equal.\n"
                                                    "Example: fmtrain check invariance configs/tiny_cpu.yaml");
  sub->add_option("CONFIG", o->config, "config file")->required();
  sub->add_option("--steps", o->steps, "updates")->check(CLI::Range(1, 100000))->capture_default_str();
  sub->add_option("--most-ranks", o->most_ranks, "largest number of ranks")->check(CLI::Range(1, 64))->capture_default_str();
  add_common(*sub, *o, "print losses and hashes as JSON");
  sub->callback([&action, o] { action = [o] { return invariance(*o); }; });
}

}  // namespace fmtrain

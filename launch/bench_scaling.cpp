// `fmtrain bench scaling` and `fmtrain bench compare`: strong and weak scaling of a config on this machine or allocation, by
// runs of this program at several numbers of ranks, and two such results beside each other.
#include <algorithm>
#include <cstdio>

#include "launch/bench.h"
#include "launch/child_run.h"
#include "launch/environment.h"
#include "launch/versions.h"
#include "runtime/config/config.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/scaling/compare.h"
#include "runtime/scaling/scaling.h"
#include "runtime/watch/signals.h"

namespace fmtrain {
namespace {

struct ScalingOptions {
  std::string config, launcher = "mpirun -np {ranks}", out = "scaling";
  std::vector<int> ranks{1, 2};
  std::vector<std::string> overrides;
  int repetitions = 3;
  int64_t steps = 30, warmup = 10;
  double limit = 3600;
  bool strong = false, weak = false, json = false;
};

ScalingPlan plan_of(const ScalingOptions& o, const Config& config) {
  ScalingPlan plan;
  plan.config = o.config;
  plan.computation = computation_hash(config);
  plan.ranks = o.ranks;
  std::sort(plan.ranks.begin(), plan.ranks.end());
  plan.ranks.erase(std::unique(plan.ranks.begin(), plan.ranks.end()), plan.ranks.end());
  plan.strong = o.strong || !o.weak;
  plan.weak = o.weak || !o.strong;
  plan.global = config.batch.global;
  plan.micro = config.batch.micro;
  plan.steps = o.steps;
  plan.warmup = o.warmup;
  plan.repetitions = o.repetitions;
  plan.launcher = o.launcher;
  plan.cores = usable_cores();
  plan.overrides = o.overrides;
  return plan;
}

MeasuredRun measure_run(const ScalingOptions& o, const ScalingArm& arm, int repetition, const std::string& place) {
  const std::string dir = place + "/run", output = place + "/output.txt";
  auto words = launcher_words(o.launcher, arm.ranks);
  for (const std::string& word : {own_program(), std::string("train"), o.config, std::string("--resume"), std::string("never")})
    words.push_back(word);
  auto settings = o.overrides;
  for (auto& setting : update_settings(o.steps)) settings.push_back(setting);
  settings.push_back("batch.global=" + std::to_string(arm.global));
  settings.push_back("run.dir=" + dir);
  for (auto& setting : settings) words.insert(words.end(), {"--set", setting});
  if (const int code = run_child(words, output, o.limit); code != 0) child_failed(arm.ranks, code, output);
  MeasuredRun run = read_run(dir, o.warmup);
  if (run.ranks != arm.ranks)
    throw ConfigError("the launcher started " + std::to_string(run.ranks) + " ranks in place of " + std::to_string(arm.ranks) +
                      "; see --launcher");
  run.global = arm.global;
  run.repetition = repetition;
  remove_tree(posix_files(), dir);
  return run;
}

void write_results(const ScalingOptions& o, const Json& scaling) {
  write_file_atomic(posix_files(), o.out + "/scaling.json", scaling.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  write_file_atomic(posix_files(), o.out + "/scaling.md", scaling_text(scaling));
  write_file_atomic(posix_files(), o.out + "/scaling.html", scaling_page(scaling));
  if (const auto picture = scaling_picture(scaling); !picture.empty())
    write_file_atomic(posix_files(), o.out + "/scaling.svg", picture);
}

void check_options(const ScalingOptions& o) {
  must_start_itself("bench scaling");
  check_warmup(o.steps, o.warmup);
  for (const int ranks : o.ranks) launcher_words(o.launcher, ranks);
}

Json result_of(ScalingPlan plan, const std::vector<MeasuredRun>& runs, int repetitions) {
  plan.repetitions = repetitions;
  return scaling_json(plan, runs,
                      {{"versions", program_versions()}, {"device", runs.front().device}, {"hosts", runs.back().hosts}});
}

/// The files are written after every repetition: whoever ends it early keeps what was measured.
Json measure_all(const ScalingOptions& o, const ScalingPlan& plan) {
  const auto arms = arms_of(plan);
  const BenchPlace place(o.out);
  std::vector<MeasuredRun> runs;
  Json scaling;
  for (int repetition = 1; repetition <= o.repetitions; ++repetition) {
    for (const auto& arm : arms) {
      runs.push_back(measure_run(o, arm, repetition, place.path));
      std::fprintf(stderr, "repetition %d of %d, %d ranks, global batch %lld: %.0f real tokens/s, update %.1f ms\n", repetition,
                   o.repetitions, arm.ranks, static_cast<long long>(arm.global), runs.back().tokens_per_second(),
                   1e3 * runs.back().step_seconds());
    }
    scaling = result_of(plan, runs, repetition);
    write_results(o, scaling);
  }
  return scaling;
}

int bench_scaling(const ScalingOptions& o) {
  take_stop_signals();  // or its runs would go on without it
  check_options(o);
  const Json scaling = measure_all(o, plan_of(o, load_config(o.config, o.overrides)));
  std::printf("%s\n", o.json ? scaling.dump(1, ' ', false, Json::error_handler_t::replace).c_str() : scaling_text(scaling).c_str());
  return scaling.at("equal") == true ? 0 : static_cast<int>(ExitCode::kNumeric);
}

int bench_compare(const std::vector<std::string>& files, bool json) {
  const Json found = compare_scaling(read_scaling(files[0]), read_scaling(files[1]), files[0], files[1]);
  std::printf("%s\n", json ? found.dump(1, ' ', false, Json::error_handler_t::replace).c_str() : comparison_text(found).c_str());
  return 0;
}

}  // namespace

void add_bench_scaling(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand(
      "scaling",
      "Strong and weak scaling of a config: runs this program at several numbers of ranks, interleaved, and writes the\n"
      "table, its definitions and curves. Ends with 6 when runs of the same computation differ in a bit.\n"
      "Example: fmtrain bench scaling configs/tiny_cpu.yaml --ranks 1,2 --steps 20 -o scaling");
  const auto o = std::make_shared<ScalingOptions>();
  command->add_option("CONFIG", o->config, "config file; it is trained for --steps updates, without evaluation")->required();
  command->add_option("--ranks", o->ranks, "numbers of ranks, as 1,2,4")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--repetitions", o->repetitions, "runs of every arm")->check(CLI::Range(1, 100))->capture_default_str();
  command->add_option("--steps", o->steps, "updates of a run")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  command->add_option("--warmup", o->warmup, "updates at the begin that are left out")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--launcher", o->launcher,
                   "command in front of the program; {ranks} is their number, as in \"srun --mpi=pmix -n {ranks}\"")
      ->capture_default_str();
  command->add_flag("--strong", o->strong, "strong scaling alone: the same global batch");
  command->add_flag("--weak", o->weak, "weak scaling alone: the global batch grows with the ranks");
  command->add_option("--set", o->overrides, "KEY=VALUE, overrides a key of the config; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--limit", o->limit, "seconds that one run may take")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("-o,--out", o->out, "folder for scaling.json, scaling.md, scaling.html and scaling.svg")
      ->capture_default_str();
  command->add_flag("--json", o->json, "print scaling.json in place of the table");
  command->callback([&action, o] { action = [o] { return bench_scaling(*o); }; });
}

void add_bench_compare(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("compare",
                                       "Two results of bench scaling beside each other, and what changed beyond the noise.\n"
                                       "Example: fmtrain bench compare before/scaling.json after/scaling.json");
  const auto files = std::make_shared<std::vector<std::string>>();
  const auto json = std::make_shared<bool>(false);
  command->add_option("FILES", *files, "two files scaling.json")->required()->expected(2);
  command->add_flag("--json", *json, "print all facts as JSON");
  command->callback([&action, files, json] { action = [files, json] { return bench_compare(*files, *json); }; });
}

}  // namespace fmtrain

#include <sched.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>

#include "launch/bench.h"
#include "launch/versions.h"
#include "runtime/file_ops.h"

namespace fmtrain {
int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

void add_bench(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("bench", "Measure parts of this program on this machine.\nExample: fmtrain bench step --json step.json");
  command->require_subcommand(1);
  for (auto* add : {add_bench_step, add_bench_scaling, add_bench_compare, add_bench_simulate, add_bench_checkpoint, add_bench_comm, add_bench_startup,
                    add_bench_tokenizer, add_bench_io})
    add(*command, action);
}

void add_bench_options(CLI::App& command, BenchOptions& options) {
  command.add_option("--json", options.json, "write the figures to this file as well");
  command.add_option("--rounds", options.rounds, "rounds, in each of which every arm runs once; one more is warm-up")->check(CLI::Range(1, 1000))->capture_default_str();
}

double bench_clock() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void write_bench(const BenchOptions& options, const std::string& name, const Json& result) {
  if (options.json.empty()) return;
  const Json all{{"schema", "fmtrain.bench/1"},
                 {"bench", name},
                 {"machine", {{"versions", program_versions()}, {"cores", usable_cores()}, {"threads", at::get_num_threads()}}},
                 {"result", result}};
  write_file_atomic(posix_files(), options.json, all.dump(1) + "\n");
}

}  // namespace fmtrain

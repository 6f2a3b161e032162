// `fmtrain bench NAME`: what parts of this program can do on this machine, each beside the ceiling of the same minute. One file a
// subcommand; a table on standard output, and the same figures as JSON for other programs.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "launch/commands.h"
#include "runtime/json.h"
#include "runtime/scaling/spread.h"

namespace fmtrain {

void add_bench_io(CLI::App& bench, Action& action);
void add_bench_step(CLI::App& bench, Action& action);
void add_bench_comm(CLI::App& bench, Action& action);
void add_bench_startup(CLI::App& bench, Action& action);
void add_bench_tokenizer(CLI::App& bench, Action& action);
void add_bench_checkpoint(CLI::App& bench, Action& action);
void add_bench_scaling(CLI::App& bench, Action& action);
void add_bench_compare(CLI::App& bench, Action& action);
void add_bench_simulate(CLI::App& bench, Action& action);

/// Cores that this process may use; 0 where the system does not say.
int usable_cores();

/// Options that all of them have.
struct BenchOptions {
  std::string json;  ///< file that receives the result, "" for none
  int rounds = 5;    ///< every arm runs once a round, so that all see the same minutes of a shared machine
};
void add_bench_options(CLI::App& command, BenchOptions& options);


/// Seconds of a clock that never goes back.
double bench_clock();

/// Writes {schema, bench: name, machine: {versions, cores this process may use, threads}, result} to options.json, where wanted. Throws
/// StorageError.
void write_bench(const BenchOptions& options, const std::string& name, const Json& result);

}  // namespace fmtrain

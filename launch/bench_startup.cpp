// `fmtrain bench startup`: from the launch to the end of the first update, by phases. The program is started anew in every round, as
// its user starts it; the started ranks note the time at each phase (they share the machine's monotonic clock with the parent).
#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>

#include "comm/mpi_communicator.h"
#include "launch/bench.h"
#include "launch/child_run.h"
#include "launch/environment.h"
#include "launch/trial_read.h"
#include "launch/versions.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/model_dir.h"
#include "runtime/model_path.h"
#include "runtime/run_inputs.h"
#include "runtime/trainer.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

/// What a rank waits for, in order; each figure is the time since the one before it.
const std::vector<const char*> kPhases{"launcher", "libraries", "mpi", "config and trial read", "data, weights, engine", "evaluation before", "first update"};

struct StartupOptions : BenchOptions {
  std::string config, mpirun = "mpirun", child;  ///< child: run directory of a rank that was started by this bench
  int ranks = 2;
  double launched = 0;  ///< bench_clock() of the parent at the launch
};

/// bench_clock() when the kernel made this process; the kernel's unit is a clock tick, 10 ms.
double process_start() {
  std::FILE* file = std::fopen("/proc/self/stat", "r");
  char text[1024] = {};
  const size_t read = file ? std::fread(text, 1, sizeof text - 1, file) : 0;
  if (file) std::fclose(file);
  const char* rest = read > 0 ? std::strrchr(text, ')') : nullptr;
  for (int field = 2; rest && field < 22; ++field) rest = std::strchr(rest + 1, ' ');  // 22: start time
  timespec boot{}, now{};
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const double asleep = static_cast<double>(boot.tv_sec - now.tv_sec) + 1e-9 * static_cast<double>(boot.tv_nsec - now.tv_nsec);
  return rest ? std::atof(rest + 1) / static_cast<double>(::sysconf(_SC_CLK_TCK)) - asleep : 0;
}

/// Notes when the trainer enters its phases. Looking every half millisecond costs nothing that could be measured here.
class PhaseClock {
 public:
  explicit PhaseClock(const RunStatus& status) : watcher_([this, &status] { watch(status); }) {}
  ~PhaseClock() {
    ended_ = true;
    watcher_.join();
  }
  double loaded = 0, train = 0, first_update = 0;

 private:
  void watch(const RunStatus& status) {
    while (!ended_) {
      const std::string_view phase = status.phase();
      if (loaded == 0 && (phase == "evaluate" || phase == "train")) loaded = bench_clock();
      if (train == 0 && phase == "train") train = bench_clock();
      if (first_update == 0 && status.step() > 0) first_update = bench_clock();
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
  std::atomic<bool> ended_{false};
  std::thread watcher_;
};

/// Seconds of parts of the inputs, once more, now that all files are in memory: {tokenizer, data}.
std::pair<double, double> input_parts(const Config& config) {
  const double start = bench_clock();
  const auto tokenizer = load_tokenizer(resolve_model(config.model.path));
  const double loaded = bench_clock();
  for (const auto& [name, file] : prepare_inputs(config)) open_dataset(file, tokenizer->vocab_size());
  return {loaded - start, bench_clock() - loaded};
}

/// A rank: trains two updates as `fmtrain CONFIG` does, less its watchdog. The slowest rank's marks go to a file.
int timed_rank(const StartupOptions& o) {
  std::vector<double> marks{o.launched, process_start(), bench_clock()};
  std::optional<MpiSession> session;
  skip_networks_on_one_host();
  if (launched_by_mpi()) session.emplace(launched_processes());
  {
    const auto comm = session ? make_mpi_communicator(*session) : make_single_communicator();
    marks.push_back(bench_clock());
    const Config config = load_config(o.config, {"run.dir=" + o.child + "/run", "report.progress=off", "schedule.steps=2", "checkpoint.every=1000000"});
    if (comm->rank() == 0) trial_read(config);
    at::set_num_threads(config.engine.threads ? static_cast<int>(*config.engine.threads) : 1);
    marks.push_back(bench_clock());
    RunStatus status;
    RunOptions run;
    run.resume = false;
    run.status = &status;
    run.versions = program_versions();
    run.started = marks[2];
    {
      PhaseClock clock(status);
      train(config, *comm, run);
      for (const double mark : {clock.loaded, clock.train, clock.first_update}) marks.push_back(mark);
    }
    auto slowest = at::tensor(marks, at::kDouble);
    comm->all_reduce(slowest, ReduceOp::kMax).wait();
    if (comm->rank() == 0) {
      const auto [tokenizer, data] = input_parts(config);
      const std::vector<double> found(slowest.data_ptr<double>(), slowest.data_ptr<double>() + slowest.numel());
      write_file_atomic(posix_files(), o.child + "/marks.json", Json{{"marks", found}, {"tokenizer", tokenizer}, {"data", data}}.dump());
    }
  }
  return 0;
}

/// Starts the ranks and waits for them; what they print is thrown away.
void start_ranks(const StartupOptions& o, const std::string& place) {
  std::vector<std::string> words;
  if (o.ranks > 1) words = {o.mpirun, "-np", std::to_string(o.ranks)};
  words.insert(words.end(), {own_program(), "bench", "startup", o.config, "--child", place, "--launched", std::to_string(bench_clock())});
  int status = 0;
  ::waitpid(start_child(words, {"/dev/null", ""}), &status, 0);
  if (status != 0)
    throw ConfigError(o.config + ": the run that was started ended with status " + std::to_string(exit_code_of(status)) +
                      "; its message is above");
}

struct Found {
  std::vector<std::vector<double>> phases{kPhases.size()};
  std::vector<double> whole, tokenizer, data;
};

void add_round(Found& found, const Json& seen) {
  const auto marks = seen.at("marks").get<std::vector<double>>();
  for (size_t i = 0; i < kPhases.size(); ++i) found.phases[i].push_back(marks[i + 1] - marks[i]);
  found.whole.push_back(marks.back() - marks.front());
  found.tokenizer.push_back(seen.at("tokenizer"));
  found.data.push_back(seen.at("data"));
}

Json print_phase(const char* name, const std::vector<double>& seconds) {
  const Spread s = spread_of(seconds);
  std::printf("%-44s %8.1f ms (%.1f-%.1f)\n", name, 1e3 * s.median, 1e3 * s.least, 1e3 * s.most);
  return to_json(s);
}

/// A folder for the runs, gone at the end.
struct Place {
  Place() : path((fs::temp_directory_path() / "fmtrain-startup-XXXXXX").string()) {
    if (!::mkdtemp(path.data())) throw StorageError(path + ": cannot make a folder; set TMPDIR to one that can be written");
  }
  ~Place() { remove_tree(posix_files(), path); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  std::string path;
};

int bench_startup(const StartupOptions& o) {
  if (!o.child.empty()) return timed_rank(o);
  load_config(o.config, {});  // its faults are told here, not by every rank
  const Place place;
  Found found;
  for (int round = 0; round <= o.rounds; ++round) {
    start_ranks(o, place.path);
    if (round > 0) add_round(found, Json::parse(read_file(posix_files(), place.path + "/marks.json", 1 << 20)));  // the first one fills caches
    remove_tree(posix_files(), place.path + "/run");
  }
  std::printf("%s, %d ranks, median of %d starts (least-most)\n", o.config.c_str(), o.ranks, o.rounds);
  Json phases = Json::object();
  for (size_t i = 0; i < kPhases.size(); ++i) phases[kPhases[i]] = print_phase(kPhases[i], found.phases[i]);
  Json result{{"ranks", o.ranks},
              {"phases", phases},
              {"whole", print_phase("launch to the end of the first update", found.whole)}};
  result["tokenizer_again"] = print_phase("of that: tokenizer, loaded once more", found.tokenizer);
  result["data_again"] = print_phase("of that: data sets, opened once more", found.data);
  write_bench(o, "startup", result);
  return 0;
}

}  // namespace

void add_bench_startup(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("startup", "Launch to the end of the first update of a config, by phases; the program is started anew each round.\n"
                                                  "Example: fmtrain bench startup configs/tiny_cpu.yaml --ranks 2");
  const auto o = std::make_shared<StartupOptions>();
  add_bench_options(*command, *o);
  command->add_option("CONFIG", o->config, "config file; its data should be small, for evaluations before the first update count")->required();
  command->add_option("--ranks", o->ranks, "1: without a launcher")->check(CLI::Range(1, 64))->capture_default_str();
  command->add_option("--mpirun", o->mpirun, "the launcher")->capture_default_str();
  command->add_option("--child", o->child)->group("");
  command->add_option("--launched", o->launched)->group("");
  command->callback([&action, o] { action = [o] { return bench_startup(*o); }; });
}

}  // namespace fmtrain

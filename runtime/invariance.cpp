#include "runtime/invariance.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "comm/thread_communicator.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/model_path.h"
#include "runtime/report/run_log.h"
#include "runtime/trainer.h"

namespace fmtrain {
namespace {

/// What is left of a run when it shall only show its bits.
Config bare(Config config, int64_t steps) {
  config.data.validation.clear();
  config.data.test.clear();
  config.evaluate.patience.reset();
  config.schedule.steps = steps;
  config.checkpoint.every.steps = steps + 1;
  config.report.progress = Progress::kOff;
  config.report.tensorboard = false;
  return config;
}

Json run_on(Config config, int ranks) {
  config.run.dir += "/ranks-" + std::to_string(ranks);
  const auto start = std::chrono::steady_clock::now();
  run_ranks(ranks, [&](Communicator& comm) {
    RunOptions options;
    options.resume = false;
    train(config, comm, options);
  });
  Json losses = Json::array();
  for (const auto& line : read_jsonl(config.run.dir + "/log.jsonl")) losses.push_back(line.at("loss_hex"));
  const Json report = parse_json(read_file(posix_files(), config.run.dir + "/report.json", 64u << 20), {64u << 20, 16});
  return {{"ranks", ranks}, {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()},
          {"losses", losses}, {"weights_sha256", report.at("weights_sha256")}};
}

/// A folder of this process in the cache, gone afterwards.
class Workplace {
 public:
  Workplace() : path_(cache_dir() + "/invariance-" + std::to_string(::getpid())) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error) throw StorageError(path_ + ": cannot create: " + error.message());
  }
  ~Workplace() { remove_tree(posix_files(), path_); }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Json check_invariance(const Config& config, int64_t steps, int most_ranks) {
  const Workplace work;
  const int64_t leaves = config.batch.global / config.batch.micro;
  Config runnable = bare(config, steps);
  runnable.run.dir = work.path();
  Json facts{{"steps", steps}, {"leaves", leaves}, {"equal", true}, {"runs", Json::array()}};
  for (int ranks = 1; ranks <= most_ranks && leaves % ranks == 0; ranks *= 2) {
    Json run = run_on(runnable, ranks);
    const Json first = facts["runs"].empty() ? run : facts["runs"][0];
    run["equal"] = run["losses"] == first["losses"] && run["weights_sha256"] == first["weights_sha256"];
    facts["equal"] = facts["equal"].get<bool>() && run["equal"].get<bool>();
    facts["runs"].push_back(std::move(run));
  }
  return facts;
}

std::string invariance_text(const Json& facts) {
  std::string text = "ranks  seconds  last loss              weights (SHA-256)  bits\n";
  for (const auto& run : facts.at("runs")) {
    char line[200];
    std::snprintf(line, sizeof line, "%5d  %7.1f  %-21s  %.16s   %s\n", run.at("ranks").get<int>(), run.at("seconds").get<double>(),
                  run.at("losses").back().get<std::string>().c_str(), run.at("weights_sha256").get<std::string>().c_str(),
                  run.at("equal").get<bool>() ? "equal" : "DIFFERENT");
    text += line;
  }
  return text + std::to_string(facts.at("steps").get<int64_t>()) + " updates of " + std::to_string(facts.at("leaves").get<int64_t>()) + " leaves: " +
         (facts.at("equal").get<bool>() ? "the same bits on every number of ranks" : "the bits depend on the number of ranks (numerics.exact must be true, engine.threads 1)");
}

}  // namespace fmtrain

// `fmtrain bench step`: forward and backward of one leaf, in fp32 and bf16, beside the matrix product's rate of the same round.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdio>

#include "launch/bench.h"
#include "launch/operation_times.h"
#include "models/product_rate.h"
#include "models/task_model.h"

namespace fmtrain {
namespace {

/// Token counts of 32 samples, spread as WNUT-17's training set is (mean 31).
const std::vector<int64_t> kLengths{8,  10, 12, 14, 16, 18, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30,
                                    31, 32, 33, 34, 35, 37, 38, 39, 40, 41, 43, 45, 48, 51, 55, 60};

struct StepOptions : BenchOptions {
  int threads = 1;
  int64_t length = 0;  ///< of every sample; 0: kLengths
  int64_t samples = 32;
  std::string size = "minilm";
  bool profile = false;
};

ModelConfig shape(const std::string& size, Precision precision) {
  ModelConfig c;
  const bool base = size == "base";
  c.vocab_size = 30522;
  c.hidden_size = base ? 768 : 384;
  c.layers = base ? 12 : 6;
  c.heads = 12;
  c.intermediate_size = 4 * c.hidden_size;
  c.max_positions = 512;
  c.labels = 13;
  c.precision = precision;
  return c;
}

Batch batch_of(const std::vector<int64_t>& lengths) {
  Batch b;
  std::vector<int64_t> offsets{0}, positions;
  for (const int64_t n : lengths) {
    offsets.push_back(offsets.back() + n);
    for (int64_t i = 0; i < n; ++i) positions.push_back(i);
  }
  const int64_t rows = offsets.back();
  b.positions = at::tensor(positions);
  b.offsets = at::tensor(offsets);
  b.types = at::zeros_like(b.positions);
  b.sample_ids = at::arange(static_cast<int64_t>(lengths.size())) * 101;
  b.tokens = (at::pow(at::rand({rows}), 3) * 30000).to(at::kLong);  // a few frequent words and a long tail
  b.targets = at::arange(rows) % 13;
  b.valid_targets = rows;
  return b;
}

double step_seconds(TaskModel& model, const Batch& batch, int64_t step) {
  const double start = bench_clock();
  model.loss(batch, {true, 17, step}).sum.backward();
  const double seconds = bench_clock() - start;
  for (auto& p : model.parameters()) p.value.mutable_grad().reset();
  return seconds;
}

struct StepArm {
  const char* name;
  Precision precision;
  std::unique_ptr<TaskModel> model;
  std::vector<double> seconds, share;  ///< of each round: of one step, and of the matrix product's rate
};

double flop_of(const ModelConfig& config, const std::vector<int64_t>& lengths) {
  double flop = 0;
  for (const int64_t n : lengths) flop += train_flop_per_token(config, static_cast<double>(n)) * static_cast<double>(n);
  return flop;
}

/// The fastest of three steps, and the product's rate right after it.
void measure_step(StepArm& arm, const Batch& batch, double flop, int round) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) best = std::min(best, step_seconds(*arm.model, batch, round * 3 + i));
  if (round == 0) return;
  arm.seconds.push_back(best);
  arm.share.push_back(1e-9 * flop / best / product_rate(arm.model->config(), batch.length(), at::kCPU, 0.1));
}

Json report_step(const StepArm& arm, const Batch& batch, double flop) {
  const Spread seconds = spread_of(arm.seconds), share = spread_of(arm.share);
  const auto samples = static_cast<double>(batch.samples());
  std::printf("%-6s %8.1f ms a step (%.1f-%.1f) %8.1f samples/s %6.0f GFLOP/s %5.1f %% of the product's rate (%.1f-%.1f)\n", arm.name, 1e3 * seconds.median,
              1e3 * seconds.least, 1e3 * seconds.most, samples / seconds.median, 1e-9 * flop / seconds.median, 100 * share.median,
              100 * share.least, 100 * share.most);
  return {{"precision", arm.name}, {"seconds", to_json(seconds)}, {"samples_per_second", samples / seconds.median},
          {"gflops", 1e-9 * flop / seconds.median}, {"share_of_product", to_json(share)}};
}

Json profile(StepArm& arm, const Batch& batch) {
  const OperationTimes times;
  for (int i = 0; i < 5; ++i) step_seconds(*arm.model, batch, i);
  Json result = Json::object();
  for (const auto& [name, share] : times.shares()) {
    if (share < 0.002) break;
    std::printf("  %5.1f %%  %s\n", 100 * share, name.c_str());
    result[name] = share;
  }
  return result;
}

int bench_step(const StepOptions& options) {
  at::set_num_threads(options.threads);
  const auto lengths = options.length > 0 ? std::vector<int64_t>(static_cast<size_t>(options.samples), options.length) : kLengths;
  const Batch batch = batch_of(lengths);
  std::vector<StepArm> arms;
  for (const auto& [name, precision] : {std::pair{"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}})
    arms.push_back({name, precision, make_bert(shape(options.size, precision), 1), {}, {}});
  const double flop = flop_of(arms[0].model->config(), lengths);
  for (int round = 0; round <= options.rounds; ++round)
    for (auto& arm : arms) measure_step(arm, batch, flop, round);
  std::printf("%s, %lld samples, %lld tokens, %d threads\n", options.size.c_str(), static_cast<long long>(batch.samples()),
              static_cast<long long>(batch.length()), options.threads);
  Json result{{"model", options.size}, {"samples", batch.samples()}, {"tokens", batch.length()}, {"arms", Json::array()}};
  for (auto& arm : arms) {
    result["arms"].push_back(report_step(arm, batch, flop));
    if (options.profile) result["arms"].back()["operations"] = profile(arm, batch);
  }
  write_bench(options, "step", result);
  return 0;
}

}  // namespace

void add_bench_step(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("step", "Forward and backward of one leaf of 32 samples with the lengths of WNUT-17, fp32 and bf16, beside\n"
                                               "the rate of the model's matrix product alone.\nExample: fmtrain bench step --profile");
  const auto options = std::make_shared<StepOptions>();
  add_bench_options(*command, *options);
  command->add_option("--threads", options->threads, "threads")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--size", options->size, "minilm (L6-H384) or base (L12-H768)")->check(CLI::IsMember({"minilm", "base"}))->capture_default_str();
  auto* length = command->add_option("--length", options->length, "tokens of every sample, instead of WNUT-17's lengths")->check(CLI::Range(1, 512));
  command->add_option("--samples", options->samples, "samples of that length")->check(CLI::Range(1, 1024))->needs(length)->capture_default_str();
  command->add_flag("--profile", options->profile, "share of each operation");
  command->callback([&action, options] { action = [options] { return bench_step(*options); }; });
}

}  // namespace fmtrain

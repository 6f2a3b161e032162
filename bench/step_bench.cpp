// Forward and backward of one leaf on this machine: samples/s in fp32 and bf16, interleaved, beside the matrix-product rate of
// the same minute, and where the time goes.
//   step_bench [--threads 1] [--rounds 5] [--size minilm|base] [--profile]
#include <ATen/record_function.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>

#include "models/task_model.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Token counts of 32 samples, spread as WNUT-17's training set is (mean 31).
const std::vector<int64_t> kLengths{8,  10, 12, 14, 16, 18, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30,
                                    31, 32, 33, 34, 35, 37, 38, 39, 40, 41, 43, 45, 48, 51, 55, 60};

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

/// Seconds of operations of one name, without the operations they call; single thread of execution.
class Profile {
 public:
  Profile() {
    active() = this;
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback(&Profile::begin, &Profile::end).needsIds(false));
  }
  ~Profile() {
    at::removeCallback(handle_);
    std::vector<std::pair<double, std::string>> rows;
    for (const auto& [name, seconds] : self_) rows.emplace_back(seconds, name);
    std::sort(rows.rbegin(), rows.rend());
    const double total = std::accumulate(rows.begin(), rows.end(), 0.0, [](double sum, const auto& r) { return sum + r.first; });
    for (size_t i = 0; i < std::min<size_t>(rows.size(), 22); ++i)
      std::printf("  %5.1f %%  %s\n", 100 * rows[i].first / total, rows[i].second.c_str());
  }

 private:
  static Profile*& active() {
    static Profile* profile = nullptr;
    return profile;
  }
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& f) {
    active()->stack_.push_back({f.name(), now(), 0});
    return nullptr;
  }
  static void end(const at::RecordFunction&, at::ObserverContext*) {
    auto& stack = active()->stack_;
    const Entry e = stack.back();
    stack.pop_back();
    const double spent = now() - e.start;
    active()->self_[e.name] += spent - e.children;
    if (!stack.empty()) stack.back().children += spent;
  }
  struct Entry {
    std::string name;
    double start, children;
  };
  std::vector<Entry> stack_;
  std::map<std::string, double> self_;
  at::CallbackHandle handle_;
};

double step_seconds(TaskModel& model, const Batch& batch, int64_t step) {
  const double start = now();
  const Loss loss = model.loss(batch, {true, 17, step});
  loss.sum.backward();
  const double seconds = now() - start;
  for (auto& p : model.parameters()) p.value.mutable_grad().reset();
  return seconds;
}

/// GFLOP/s of [rows, in] x [in, out] in one precision, the best of a few.
double product_rate(at::ScalarType type, int64_t rows, int64_t in, int64_t out) {
  const at::NoGradGuard no_grad;
  const auto x = at::randn({rows, in}).to(type), w = at::randn({out, in}).to(type);
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const double start = now();
    at::linear(x, w);
    best = std::min(best, now() - start);
  }
  return 2e-9 * static_cast<double>(rows * in * out) / best;
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

struct Arm {
  const char* name;
  Precision precision;
  std::unique_ptr<TaskModel> model;
  std::vector<double> seconds;
};

void run(int threads, int rounds, const std::string& size, bool profile) {
  at::set_num_threads(threads);
  const Batch batch = batch_of(kLengths);
  std::vector<Arm> arms;
  arms.push_back({"fp32", Precision::kFp32, make_bert(shape(size, Precision::kFp32), 1), {}});
  arms.push_back({"bf16", Precision::kBf16, make_bert(shape(size, Precision::kBf16), 1), {}});
  for (int round = 0; round < rounds + 1; ++round)
    for (auto& arm : arms)
      for (int i = 0; i < 3; ++i) {
        const double seconds = step_seconds(*arm.model, batch, round * 3 + i);
        if (round > 0) arm.seconds.push_back(seconds);
      }
  double flop = 0;
  for (const int64_t n : kLengths) flop += train_flop_per_token(arms[0].model->config(), static_cast<double>(n)) * static_cast<double>(n);
  for (auto& arm : arms) {
    const double s = median(arm.seconds);
    const int64_t d = arm.model->config().hidden_size;
    std::printf("%s %s: %.1f ms a step, %.1f samples/s, %.0f tokens/s, %.0f GFLOP/s (at::linear alone %.0f), %d threads\n", size.c_str(), arm.name,
                1e3 * s, static_cast<double>(kLengths.size()) / s, static_cast<double>(batch.length()) / s, flop / s * 1e-9,
                product_rate(arm.precision == Precision::kBf16 ? at::kBFloat16 : at::kFloat, batch.length(), d, 4 * d), threads);
    if (!profile) continue;
    const Profile table;
    for (int i = 0; i < 5; ++i) step_seconds(*arm.model, batch, i);
  }
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  CLI::App app{"Forward and backward of one leaf: 32 samples with the lengths of WNUT-17."};
  int threads = 1, rounds = 5;
  std::string size = "minilm";
  bool profile = false;
  app.add_option("--threads", threads, "threads of one OpenMP pool");
  app.add_option("--rounds", rounds, "interleaved rounds of three steps; the first, extra one is warm-up");
  app.add_option("--size", size, "minilm or base");
  app.add_flag("--profile", profile, "share of each operation");
  CLI11_PARSE(app, argc, argv);
  fmtrain::run(threads, rounds, size, profile);
}

#include "runtime/run_outputs.h"

#include <torch/version.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/model_dir.h"
#include "runtime/report/report.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string text_of(const char* format, auto... values) {
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

void append_line(const std::string& path, const Json& line) {
  std::ofstream file(path, std::ios::app);
  file << line.dump() << '\n';
  if (!file.flush()) throw StorageError(path + ": cannot write");
}

/// Keeps the lines whose step is at most `step`.
void cut_after(const std::string& path, int64_t step) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_discarded() && json.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  if (fs::exists(path)) write_file_atomic(posix_files(), path, kept);
}

std::string task_text(Task task) { return task == Task::kTokenClassification ? "token-classification" : "sequence-classification"; }
std::string pooling_text(Pooling p) { return p == Pooling::kPooler ? "pooler" : p == Pooling::kCls ? "cls" : "mean"; }

}  // namespace

RunOutputs::RunOutputs(const Config& config, Communicator& comm, const RunOptions& options)
    : config_(config), comm_(comm), options_(options), dir_(config.run.dir), on_terminal_(::isatty(2) == 1) {
  if (main()) {
    std::error_code error;
    fs::create_directories(dir_, error);
    if (error) throw StorageError(dir_ + ": cannot create: " + error.message());
    write_file_atomic(posix_files(), dir_ + "/config.yaml", resolved_yaml(config));
    if (!options.resume) {
      for (const char* name : {"log.jsonl", "eval.jsonl", "before.json"}) fs::remove(dir_ + "/" + name, error);
      remove_tree(posix_files(), model_dir());
      remove_tree(posix_files(), checkpoint_dir());
    }
  }
  comm.barrier();
  if (fs::exists(dir_ + "/before.json")) before_ = parse_json(read_file(posix_files(), dir_ + "/before.json", 64u << 20), {64u << 20, 16});
}

bool RunOutputs::has_model() const { return fs::exists(model_dir() + "/fmtrain.json"); }

void RunOutputs::say(const std::string& text) {
  if (main() && config_.report.progress != Progress::kOff) std::fprintf(stderr, "%s\n", text.c_str());
}

void RunOutputs::warn(const std::string& text) {
  if (main()) std::fprintf(stderr, "fmtrain: warning: %s\n", text.c_str());
}

void RunOutputs::describe(const RunInputs& inputs, const std::vector<ParameterGroup>& groups, const StepPlan& plan, int64_t steps) {
  say(text_of("run        %s: %d ranks x %d threads, %s, seed %llu", config_.name.c_str(), comm_.size(), options_.threads, options_.device.c_str(),
              static_cast<unsigned long long>(config_.run.seed)));
  say(text_of("data       %lld samples, %lld tokens, %zu labels", static_cast<long long>(inputs.train->size()), static_cast<long long>(inputs.train->info().tokens), inputs.labels.size()));
  for (const auto& note : inputs.notes) say("weights    " + note);
  for (const auto& g : groups)
    if (g.tensors > 0) say(text_of("parameters %-8s %4lld tensors, %lld elements", g.name.c_str(), static_cast<long long>(g.tensors), static_cast<long long>(g.elements)));
  say(text_of("plan       %lld steps, %lld an epoch, %lld leaves of %lld samples", static_cast<long long>(steps), static_cast<long long>(plan.steps_per_epoch()),
              static_cast<long long>(plan.leaves()), static_cast<long long>(config_.batch.micro)));
}

void RunOutputs::resumed(const TrainState& state) {
  if (main()) {
    cut_after(dir_ + "/log.jsonl", state.step);
    cut_after(dir_ + "/eval.jsonl", state.step);
  }
  say("resume     from step " + std::to_string(state.step));
}

void RunOutputs::step(const TrainState& state, const Step& step, const StepResult& result, double lr, const StepTimes& times, int64_t total_steps) {
  if (first_step_ == 0) first_step_ = now() - options_.started;
  communication_ += result.communication;
  optimizer_ += result.optimizer;
  data_ += times.data;
  compute_ += times.compute;
  if (!main()) return;
  append_line(dir_ + "/log.jsonl", Json{{"step", state.step}, {"epoch", step.epoch}, {"loss", result.loss}, {"loss_hex", text_of("%a", result.loss)}, {"lr", lr},
      {"grad_norm", result.grad_norm}, {"samples", step.samples}, {"tokens", step.tokens},
      {"seconds", {{"total", times.total}, {"compute", times.compute}, {"communication", result.communication}, {"data", times.data}, {"optimizer", result.optimizer},
                   {"other", times.total - times.compute - result.communication - times.data - result.optimizer}}}});
  const bool last = state.step == total_steps;
  const bool bar = config_.report.progress == Progress::kBar || (config_.report.progress == Progress::kAuto && on_terminal_);
  if (config_.report.progress == Progress::kOff || (now() - last_line_ < (bar ? 0.2 : 10.0) && !last)) return;
  last_line_ = now();
  const double rate = static_cast<double>(state.samples) / state.seconds, left = state.seconds / static_cast<double>(state.step) * static_cast<double>(total_steps - state.step);
  std::fprintf(stderr, "%sstep %lld/%lld  loss %.4f  lr %.2e  %.1f samples/s  %d:%02d left%s", bar ? "\r" : "", static_cast<long long>(state.step), static_cast<long long>(total_steps),
               result.loss, lr, rate, static_cast<int>(left) / 60, static_cast<int>(left) % 60, bar && !last ? "  " : "\n");
}

void RunOutputs::evaluation(const TrainState& state, const std::string& split, const Json& result, bool best) {
  if (!main()) return;
  append_line(dir_ + "/eval.jsonl", Json{{"step", state.step}, {"split", split}, {"loss", result.at("loss")}, {"metrics", result.at("metrics")}});
  const std::string name = result.at("headline");
  say(text_of("%s  step %lld  %s %.2f  loss %.4f%s", split.c_str(), static_cast<long long>(state.step), name.c_str(), 100 * result.at("metrics").at(name).get<double>(),
              result.at("loss").get<double>(), best ? "  (best)" : ""));
}

void RunOutputs::before(Json result) {
  before_ = std::move(result);
  if (main()) write_file_atomic(posix_files(), dir_ + "/before.json", before_.dump());
}

void RunOutputs::write_model(RunInputs& inputs, const TrainState& state) {
  write_model_dir(model_dir(), *inputs.model, inputs.labels, inputs.model_dir,
                  Json{{"version", 1}, {"task", task_text(config_.model.task)}, {"pooling", pooling_text(config_.model.pooling)}, {"labels", inputs.labels},
                       {"max_length", config_.data.max_length}, {"tokenizer_sha256", inputs.tokenizer->sha256()},
                       {"lineage", {{"base", config_.model.path}, {"base_sha256", inputs.base_sha256}, {"config", computation_hash(config_)},
                                    {"train_sha256", inputs.train->info().source_sha256}, {"step", state.step}}}});
}

Json RunOutputs::report_json(RunInputs& inputs, const TrainState& state, const Json& after) const {
  const auto data = [](const std::unique_ptr<Dataset>& d) {
    return d ? Json{{"samples", d->size()}, {"texts", d->info().texts}, {"tokens", d->info().tokens}, {"labels", d->info().labels.size()}, {"truncated_texts", d->info().truncated_texts}} : Json();
  };
  const double seconds = state.seconds;
  const double flop = train_flop_per_token(inputs.model->config(), static_cast<double>(state.tokens) / std::max<double>(1, static_cast<double>(state.samples)));
  return Json{{"version", 1},
      {"run", {{"name", config_.name}, {"ranks", comm_.size()}, {"hosts", options_.hosts}, {"threads", options_.threads}, {"device", options_.device},
               {"precision", config_.engine.precision == Precision::kBf16 ? "bf16" : "fp32"}, {"zero", 0}, {"seed", config_.run.seed}, {"micro_batches", config_.batch.global / config_.batch.micro}}},
      {"data", {{"train", data(inputs.train)}, {"validation", data(inputs.validation)}, {"test", data(inputs.test)}}},
      {"before", before_}, {"after", after},
      {"training", {{"steps", state.step}, {"best_step", state.best_step}, {"samples", state.samples}, {"tokens", state.tokens}, {"seconds", seconds},
                    {"samples_per_s", static_cast<double>(state.samples) / std::max(seconds, 1e-9)}, {"tokens_per_s", static_cast<double>(state.tokens) / std::max(seconds, 1e-9)},
                    {"first_step_s", first_step_}, {"gflop_per_s", static_cast<double>(state.tokens) * flop / std::max(seconds, 1e-9) / 1e9},
                    {"seconds_by_phase", {{"compute", compute_}, {"communication", communication_}, {"data", data_}, {"optimizer", optimizer_}}}}},
      {"weights_sha256", weights_sha256(*inputs.model)}, {"versions", {{"fmtrain", "0.1.0"}, {"torch", TORCH_VERSION}}}};
}

void RunOutputs::report(RunInputs& inputs, const TrainState& state, const Json& after) {
  if (!main()) return;
  const Json report = report_json(inputs, state, after);
  write_file_atomic(posix_files(), dir_ + "/report.json", report.dump(1) + "\n");
  const std::string text = report_text(report);
  write_file_atomic(posix_files(), dir_ + "/report.txt", text);
  say("\n" + text + "\nreport     " + dir_ + "/report.txt\nmodel      " + model_dir());
}

}  // namespace fmtrain

#include "runtime/run_outputs.h"

#include <ATen/ops/item.h>
#include <ATen/ops/tensor.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "comm/journal.h"
#include "runtime/checkpoint/save.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/memory_fit.h"
#include "runtime/model_dir.h"
#include "runtime/report/report.h"
#include "runtime/report/report_html.h"
#include "runtime/run_report.h"
#include "runtime/watch/failure.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

/// Rows of the product that a training rate is put beside: those of a usual leaf.
constexpr int64_t kProductRows = 512;

std::string text_of(const char* format, auto... values) {
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

long long number(int64_t value) { return value; }

/// `terminal`: its kind.
ProgressOptions progress_options(const Config& config, const std::string& terminal) {
  ProgressOptions options;
  options.style = progress_style(config.report.progress, ::isatty(2) == 1, terminal);
  winsize size{};
  if (::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) options.columns = size.ws_col;
  return options;
}

const char* task_text(Task task) { return task == Task::kTokenClassification ? "token-classification" : "sequence-classification"; }
const char* pooling_text(Pooling p) { return p == Pooling::kPooler ? "pooler" : p == Pooling::kCls ? "cls" : "mean"; }

/// What a warning says of a step: {step, epoch, kind (spike or not_finite), loss, loss_hex, grad_norm, samples, texts}.
Json warning_json(int64_t number, const Step& step, const StepResult& result, std::span<const int32_t> texts) {
  constexpr size_t kListed = 10'000;  // a line stays below 1 MiB
  const auto finite = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  Json samples = Json::array(), of_texts = Json::array();
  for (const auto& leaf : step.leaves)
    for (const auto id : leaf) {
      if (samples.size() == kListed) break;
      samples.push_back(id);
      of_texts.push_back(texts[static_cast<size_t>(id)]);
    }
  return {{"step", number}, {"epoch", step.epoch}, {"kind", result.applied ? "spike" : "not_finite"}, {"loss", finite(result.loss)},
          {"loss_hex", hex_float(result.loss)}, {"grad_norm", finite(result.grad_norm)}, {"samples", samples}, {"texts", of_texts}};
}

std::string first_of(const Json& ids) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < ids.size() && i < kShown; ++i) text += (i ? ", " : "") + ids[i].dump();
  return text + (ids.size() > kShown ? ", ... (" + std::to_string(ids.size()) + ")" : "");
}

/// Where anyone may write, anyone may put a checkpoint or a link in the way of what is written.
void must_be_private(const std::string& dir) {
  struct stat info {};
  if (::stat(dir.c_str(), &info) == 0 && (info.st_mode & S_IWOTH) != 0)
    throw ConfigError(dir + ": every user of this machine may write there; choose another run.dir, or chmod o-w it if you trust what it holds");
}

/// What an earlier run left in its directory, except for its config.
void remove_old_run(const std::string& dir) {
  std::vector<std::string> names;
  posix_files().list(dir, &names);
  for (const auto& name : names)
    if (name == "log.jsonl" || name == "eval.jsonl" || name == "warnings.jsonl" || name == "before.json" || name == "model" || name == "checkpoints" ||
        name.starts_with("report.") || name.starts_with("events.out.tfevents."))
      remove_tree(posix_files(), dir + "/" + name);
}

}  // namespace

RunOutputs::RunOutputs(const Config& config, Communicator& comm, const RunOptions& options)
    : config_(config), comm_(comm), options_(options), dir_(config.run.dir),
      console_(make_console(comm.rank(), options.host, progress_options(config, options.terminal).style == Progress::kBar, std::cerr)) {
  take_directory();
  if (options.status) *options.status = {"load", 0};
  if (main()) {
    if (!options.resume) remove_old_run(dir_);
    write_file_atomic(posix_files(), dir_ + "/config.yaml", resolved_yaml(config));
  }
  comm.barrier();
  const std::string file = dir_ + "/before.json";
  if (!fs::exists(file)) return;
  try {
    before_ = parse_json(read_file(posix_files(), file, 64u << 20), {64u << 20, 16});
  } catch (const std::runtime_error& error) {
    throw StorageError(file + ": " + error.what() + "; remove it to evaluate again");
  }
}

/// The outcome is agreed before any rank leaves: to those that wait, a rank that has gone is a fault, and they would record it in
/// the directory, which is then another run's.
void RunOutputs::take_directory() {
  std::string refused;
  if (main()) try {
    make_directory();
  } catch (const Error& error) {
    if (error.code() != ExitCode::kLocked) throw;
    refused = error.what();
  }
  auto any = at::tensor({refused.empty() ? int64_t{0} : int64_t{1}});
  comm_.all_reduce(any, ReduceOp::kMax).wait();
  if (any.item<int64_t>() == 0) return;
  throw Error(ExitCode::kLocked, main() ? refused : dir_ + ": in use by another run, which rank 0 names");
}

/// On rank 0: makes and locks it, and removes the records of an earlier start and what it left half written. No more: ranks that wait
/// meanwhile record no fault.
void RunOutputs::make_directory() {
  std::error_code error;
  fs::create_directories(dir_, error);
  if (error) throw StorageError(dir_ + ": cannot create: " + error.message());
  for (const auto& dir : {dir_, checkpoint_dir(), model_dir()}) must_be_private(dir);
  posix_files().sync_dir(fs::absolute(dir_).parent_path().string());  // its name lasts as what is in it does; no rule where that fails
  lock_ = std::make_unique<RunLock>(posix_files(), dir_, this_process(options_.host, options_.job, options_.restart));
  clear_exit(dir_);
  clear_failure(dir_);
  remove_temporaries(posix_files(), dir_, [](const std::string& name) {
    return name == "config.yaml" || name == "before.json" || name == "restarts.json" || name.starts_with("report.");
  });
}

RunOutputs::~RunOutputs() {
  if (progress_) progress_->finish();
}

/// Collective, before anything is published. As in take_directory(), no rank is left behind.
void RunOutputs::must_own() const {
  std::string why;
  const bool lost = lock_ && !lock_->still_mine(&why);
  if (largest(comm_, lost ? 1 : 0) == 1) throw Error(ExitCode::kLocked, main() ? why : dir_ + ": taken over by another run, which rank 0 names");
}

bool RunOutputs::has_model() const { return fs::exists(model_dir() + "/fmtrain.json"); }

void RunOutputs::say(const std::string& text) {
  if (!main() || config_.report.progress == Progress::kOff) return;
  if (progress_) progress_->say(text);
  else say_info(*console_, text);
}

void RunOutputs::warn(const std::string& text) {
  if (main()) say_warning(*console_, text);
}

void RunOutputs::save_ended(bool saved, double seconds) {
  ++(saved ? saves_.saved : saves_.failed);
  saves_.write_seconds += seconds;
}

std::string precision_warning(Precision precision, const std::string& processor) {
  const bool bf16 = processor.find(" avx512_bf16") != std::string::npos;
  if (precision == Precision::kFp16)
    return std::string("engine.precision: fp16 is for GPUs; ") + (bf16 ? "here bf16 is faster and needs no loss scale" : "fp32 is faster here");
  if (precision == Precision::kBf16 && processor.starts_with("x86-64") && !bf16)
    return "engine.precision: bf16 gains nothing on this processor, which has no instructions for it (avx512_bf16); fp32 is faster";
  return "";
}

void RunOutputs::describe(const RunInputs& inputs, const std::vector<ParameterGroup>& groups, const StepPlan& plan, int64_t steps,
                          const std::string& unfreezing) {
  say(text_of("run        %s: %d ranks x %d threads, %s, seed %llu", config_.name.c_str(), comm_.size(), options_.threads,
              options_.device.c_str(), static_cast<unsigned long long>(config_.run.seed)));
  for (const auto& line : options_.placement) say("placement  " + line);
  say(text_of("data       %lld samples, %lld tokens, %zu labels", number(inputs.train->size()), number(inputs.train->info().tokens), inputs.labels.size()));
  if (options_.device == "cpu")
    if (const auto slow = precision_warning(config_.engine.precision, options_.versions.value("processor", "")); !slow.empty()) warn(slow);
  for (const auto& note : inputs.notes) say("weights    " + note);
  for (const auto& g : groups)
    if (g.tensors > 0) say(text_of("parameters %-8s %4lld tensors, %lld elements", g.name.c_str(), number(g.tensors), number(g.elements)));
  say(text_of("plan       %lld steps, %lld an epoch, %lld leaves of %lld samples", number(steps), number(plan.steps_per_epoch()),
              number(plan.leaves()), number(config_.batch.micro)));
  if (!unfreezing.empty()) say("trained    " + unfreezing);
  if (!main()) return;  // of other hosts it is rank 0's guess that they are alike
  const int ranks_per_node = std::max(1, comm_.size() / options_.hosts);
  const bool gpu = options_.device != "cpu";
  const auto warning = memory_warning(memory_needs(config_, inputs, comm_.size(), ranks_per_node, gpu), setting_of(config_),
                                      memory_of_rank(gpu, ranks_per_node).bytes);
  if (!warning.empty()) warn(warning);
}

void RunOutputs::begin(const TrainState& state, int64_t total_steps) {
  if (state.step > 0) say("resume     from step " + std::to_string(state.step));
  if (!main()) return;
  log_ = std::make_unique<RunLog>(dir_, state.step, config_.report.tensorboard);
  if (state.step > 0)
    for (const auto& line : read_jsonl(dir_ + "/log.jsonl"))
      if (line["loss"].is_number() && line["grad_norm"].is_number()) spikes_.step(line["loss"], line["grad_norm"]);
  progress_ = std::make_unique<ProgressLine>(progress_options(config_, options_.terminal), total_steps, state.step,
                                             steady_seconds, std::cerr);
}

void RunOutputs::stopped(const TrainState& state) {
  if (progress_) progress_->finish();
  say("stopped    at step " + std::to_string(state.step) + ", which is saved; the same command goes on from there");
}

/// Overflows are how the loss scale finds its value: no cause for a warning.
void RunOutputs::say_scale(const TrainState& state, const StepResult& result) {
  if (result.loss_scale == result.next_loss_scale) return;
  say(text_of("loss scale %.0f -> %.0f: %s", result.loss_scale, result.next_loss_scale,
              result.applied ? "no overflow for a long time" : "the gradient overflowed") + " (step " + std::to_string(state.step) +
      (result.applied ? ")" : ", skipped)"));
}

void RunOutputs::step(const TrainState& state, const Step& step, const StepResult& result, double lr, const StepTimes& times) {
  if (first_step_ == 0) first_step_ = steady_seconds() - options_.started - before_seconds_;
  sums_.total += times.total;
  sums_.compute += times.compute;
  sums_.data += times.data;
  sums_.communication += result.communication;
  sums_.optimizer += result.optimizer;
  sums_.waiting += result.waiting;
  if (!main()) return;
  std::optional<double> loss_scale;
  if (config_.engine.precision == Precision::kFp16) loss_scale = result.loss_scale;
  log_->step({state.step, step.epoch, result.loss, lr, result.grad_norm, step.samples, step.tokens, times.total, times.compute,
              result.communication, times.data, result.optimizer, result.waiting, loss_scale});
  say_scale(state, result);
  progress_->step(state.step, step.epoch, result.loss, lr, step.samples);
}

void RunOutputs::judge(int64_t number, const Step& step, const StepResult& result, std::span<const int32_t> texts) {
  if (!main() || result.overflow) return;  // an overflow is how the loss scale of fp16 is found
  const std::string spike = result.applied ? spikes_.step(result.loss, result.grad_norm) : "";
  if (result.applied && spike.empty()) return;
  const Json line = warning_json(number, step, result, texts);
  log_->warning(line);
  if (result.applied)
    warn("step " + std::to_string(number) + " of epoch " + std::to_string(step.epoch) + ": " + spike + "; samples " + first_of(line.at("samples")) +
         " (all in warnings.jsonl)");
}

void RunOutputs::evaluation(int64_t step, const std::string& split, const Json& result, const char* note) {
  if (!main()) return;
  log_->evaluation({{"step", step}, {"split", split}, {"loss", result.at("loss")}, {"metrics", result.at("metrics")}});
  const auto name = result.at("headline").get<std::string>();
  say(text_of("%-10s step %lld  %s %.2f  loss %.4f%s", split.c_str(), number(step), name.c_str(),
              100 * result.at("metrics").at(name).get<double>(), result.at("loss").get<double>(), note));
}

void RunOutputs::before(Json result, double seconds) {
  before_ = std::move(result);
  before_seconds_ = seconds;
  if (main()) write_file_atomic(posix_files(), dir_ + "/before.json", before_.dump());
}

void RunOutputs::sync() {
  if (log_) log_->sync();
}

void RunOutputs::write_model(RunInputs& inputs, const TrainState& state) {
  must_own();
  if (!main()) return;
  Json lineage = lineage_json(config_, inputs);
  lineage["step"] = state.step;
  write_model_dir(model_dir(), *inputs.model, inputs.labels, inputs.model_dir,
                  Json{{"version", 1}, {"task", task_text(config_.model.task)}, {"pooling", pooling_text(config_.model.pooling)},
                       {"labels", inputs.labels}, {"max_length", config_.data.max_length},
                       {"tokenizer_sha256", inputs.tokenizer->sha256()}, {"lineage", lineage}});
}

void RunOutputs::report(RunInputs& inputs, const TrainState& state, const Json& after) {
  const Json ranks = gather_ranks(comm_, options_.host, sums_);
  const double products = gather_product_rate(comm_, *inputs.model, kProductRows, options_.device);
  must_own();
  if (!main()) return;
  const Json report = run_report({config_, options_, inputs, state, before_, after, ranks, first_step_, products, saves_});
  const std::string text = report_text(report);
  write_file_atomic(posix_files(), dir_ + "/report.json", report.dump(1) + "\n");
  write_file_atomic(posix_files(), dir_ + "/report.txt", text);
  write_file_atomic(posix_files(), dir_ + "/report.html", report_html(report, read_jsonl(dir_ + "/log.jsonl"), read_jsonl(dir_ + "/eval.jsonl")));
  progress_->finish();
  say("\n" + text + "\nreport     " + dir_ + "/report.html (also .txt, .json)\nmodel      " + model_dir());
}

}  // namespace fmtrain

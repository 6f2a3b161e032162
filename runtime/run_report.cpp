#include "runtime/run_report.h"

#include <ATen/ATen.h>

#include <cstring>

#include "models/product_rate.h"
#include "runtime/config/keys.h"
#include "runtime/ledger.h"
#include "runtime/model_dir.h"
#include "runtime/report/memory.h"

namespace fmtrain {
namespace {

constexpr int64_t kHostNameBytes = 64;
constexpr const char* kPhases[] = {"compute", "communication", "data", "optimizer", "other"};

/// Every rank's copy of `mine`, [ranks, mine.numel()].
at::Tensor gathered(Communicator& comm, const at::Tensor& mine) {
  const auto all = at::zeros({comm.size() * mine.numel()}, mine.options());
  comm.all_gather(all, mine).wait();
  return all.view({comm.size(), mine.numel()});
}

std::vector<double> phases(const StepRecord& s) {
  return {s.compute, s.communication, s.data, s.optimizer, s.total - s.compute - s.communication - s.data - s.optimizer};
}

Json data_json(const std::unique_ptr<Dataset>& data) {
  if (!data) return {};
  const auto& info = data->info();
  return {{"samples", data->size()}, {"texts", info.texts}, {"tokens", info.tokens}, {"labels", info.labels.size()},
          {"truncated_texts", info.truncated_texts}, {"lost_words", info.lost_words}};
}

/// Sum over ranks of each phase, divided by their number: the seconds a rank spent.
Json mean_phases(const Json& ranks) {
  Json mean = Json::object();
  for (const char* name : kPhases) {
    double sum = 0;
    for (const auto& rank : ranks) sum += rank.at("seconds").at(name).get<double>();
    mean[name] = sum / static_cast<double>(ranks.size());
  }
  return mean;
}

double mean_of(const Json& ranks, const char* field) {
  double sum = 0;
  for (const auto& rank : ranks) sum += rank.at(field).get<double>();
  return sum / static_cast<double>(ranks.size());
}

double operations(const RunInputs& inputs, const TrainState& state) {
  const auto tokens = static_cast<double>(state.tokens), samples = std::max(1.0, static_cast<double>(state.samples));
  return tokens * train_flop_per_token(inputs.model->config(), tokens / samples);
}

Json training_json(const ReportFacts& f) {
  const double seconds = std::max(f.state.seconds, 1e-9), rate = operations(f.inputs, f.state) / seconds / 1e9;
  const Json spent = mean_phases(f.ranks);
  double total = 0;
  for (const auto& [name, s] : spent.items()) total += s.get<double>();
  return {{"steps", f.state.step}, {"best_step", f.state.best_step}, {"samples", f.state.samples}, {"tokens", f.state.tokens},
          {"seconds", f.state.seconds}, {"samples_per_s", static_cast<double>(f.state.samples) / seconds},
          {"tokens_per_s", static_cast<double>(f.state.tokens) / seconds}, {"first_step_s", f.first_step_s}, {"gflop_per_s", rate},
          {"mfu", nullptr}, {"product_gflop_per_s", f.product_rate},
          {"gemm_share", f.product_rate > 0 ? Json(rate / f.product_rate) : Json()}, {"seconds_by_phase", spent},
          {"waiting_s", mean_of(f.ranks, "waiting_s")},
          {"checkpoints", {{"saved", f.saves.saved}, {"failed", f.saves.failed}, {"stall_seconds", f.saves.stall_seconds},
                           {"write_seconds", f.saves.write_seconds}}},
          {"data_wait_share", total > 0 ? spent.at("data").get<double>() / total : 0.0}};
}

}  // namespace

Json gather_ranks(Communicator& comm, const std::string& host, const StepRecord& sums) {
  const MemoryUse use = memory_use();
  std::vector<double> mine = phases(sums);
  mine.push_back(sums.waiting);
  for (const int64_t bytes : {use.rss, use.pss, use.peak_rss}) mine.push_back(static_cast<double>(bytes));
  for (const auto& balance : ledger()) mine.insert(mine.end(), {static_cast<double>(balance.now), static_cast<double>(balance.peak)});
  const auto numbers = gathered(comm, at::tensor(mine, at::kDouble));
  auto name = at::zeros({kHostNameBytes}, at::kByte);
  std::memcpy(name.data_ptr(), host.data(), std::min<size_t>(host.size(), kHostNameBytes - 1));
  const auto names = gathered(comm, name);
  Json ranks = Json::array();
  for (int r = 0; r < comm.size(); ++r) {
    const double* n = numbers[r].data_ptr<double>();
    Json rank{{"rank", r}, {"host", reinterpret_cast<const char*>(names[r].data_ptr())}, {"seconds", Json::object()}};
    for (const char* phase : kPhases) rank["seconds"][phase] = *n++;
    rank["waiting_s"] = *n++;
    for (const char* kind : {"rss", "pss", "peak_rss"}) rank[kind] = static_cast<int64_t>(*n++);
    for (const char* purpose : kPurposeNames) {
      rank["ledger"][purpose] = {{"now", static_cast<int64_t>(n[0])}, {"peak", static_cast<int64_t>(n[1])}};
      n += 2;
    }
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

double gather_product_rate(Communicator& comm, const TaskModel& model, int64_t rows, const std::string& device) {
  comm.barrier();
  auto rate = at::full({1}, product_rate(model.config(), std::max<int64_t>(rows, 1), at::Device(device)), at::kDouble);
  comm.all_reduce(rate, ReduceOp::kSum).wait();
  return rate.item<double>();
}

Json lineage_json(const Config& config, const RunInputs& inputs) {
  return {{"base", config.model.path}, {"base_sha256", inputs.base_sha256}, {"config", computation_hash(config)},
          {"train_sha256", inputs.train->info().source_sha256}, {"tokenizer_sha256", inputs.tokenizer->sha256()}};
}

Json run_report(const ReportFacts& f) {
  const auto& c = f.config;
  return {{"version", 1},
          {"run", {{"name", c.name}, {"ranks", f.ranks.size()}, {"hosts", f.options.hosts}, {"threads", f.options.threads},
                   {"device", f.options.device}, {"precision", find_key("engine.precision")->get(c)},
                   {"zero", c.engine.zero}, {"seed", c.run.seed}, {"micro_batches", c.batch.global / c.batch.micro}}},
          {"data", {{"train", data_json(f.inputs.train)}, {"validation", data_json(f.inputs.validation)}, {"test", data_json(f.inputs.test)}}},
          {"before", f.before},
          {"after", f.after},
          {"training", training_json(f)},
          {"memory", f.ranks},
          {"lineage", lineage_json(c, f.inputs)},
          {"weights_sha256", weights_sha256(*f.inputs.model)},
          {"versions", f.options.versions}};
}

}  // namespace fmtrain

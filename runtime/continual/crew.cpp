#include "runtime/continual/crew.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "runtime/continual/observe.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/model_dir.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {
namespace {

constexpr size_t kLongestOrder = 1 << 20;

Json order_json(const TrainingOrder& order) {
  Json json{{"order", "train"}, {"directory", order.directory}, {"model", order.model}, {"train", order.train}};
  if (order.lr) json["lr"] = *order.lr;
  if (order.warmup) json["warmup"] = *order.warmup;
  if (order.l2_start) json["l2_start"] = *order.l2_start;
  return json;
}

Json order_json(const ObservationOrder& order) { return {{"order", "observe"}, {"model", order.model}, {"data", order.data}}; }

Json order_json(const DriftOrder& order) {
  return {{"order", "check"}, {"model", order.model}, {"reference", order.reference}, {"window", order.window},
          {"window_labelled", order.window_labelled}};
}

std::optional<double> optional_number(const Json& json, const char* name) {
  if (!json.contains(name)) return std::nullopt;
  return json.at(name).get<double>();
}

TrainingOrder training_of(const Json& json) {
  return {json.at("directory"), json.at("model"), json.at("train"),
          optional_number(json, "lr"), optional_number(json, "warmup"), optional_number(json, "l2_start")};
}

Config changed(const Config& config, const TrainingOrder& order) {
  Config c = config;
  c.run.dir = order.directory;
  if (!order.model.empty()) {
    c.model.path = order.model;
    c.model.init = Init::kPretrained;
  }
  if (!order.train.empty()) {
    c.data.train = order.train;
    c.data.validation.clear();
    c.data.test.clear();
    c.data.format = Format::kAuto;
    c.data.columns = {};
    c.data.limit.reset();
    c.evaluate.patience.reset();
  }
  c.optimizer.lr = order.lr.value_or(c.optimizer.lr);
  c.schedule.warmup = order.warmup.value_or(c.schedule.warmup);
  c.finetune.l2_start = order.l2_start.value_or(c.finetune.l2_start);
  return c;
}

std::vector<bool> hits_of(const Observation& seen) {
  std::vector<bool> hits;
  const auto tops = predictions(seen.rows());
  for (size_t i = 0; i < tops.size(); ++i) hits.push_back(tops[i] == seen.labels[i]);
  return hits;
}

bool knows_all_labels(const Observation& seen) {
  return std::all_of(seen.labels.begin(), seen.labels.end(), [&](int32_t label) { return label < seen.classes; });
}

int32_t unknown_of(const Tokenizer& tokenizer) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.token(id) == "[UNK]") return id;
  return -1;
}

/// The sums that the statistics need, over the ranks of `comm`.
Ranks ranks_of(Communicator& comm) {
  Ranks ranks{comm.rank(), comm.size()};
  ranks.add = [&comm](std::span<int64_t> values) {
    comm.all_reduce(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong), ReduceOp::kSum).wait();
  };
  ranks.collect = [&comm](std::span<double> values) {
    comm.all_reduce(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble), ReduceOp::kSum).wait();
  };
  return ranks;
}

}  // namespace

void Crew::enter(const char* phase) const {
  if (options_.status) *options_.status = {phase, 0};
}

void Crew::send(const Json& order) {
  if (comm_.size() == 1) return;
  const std::string text = order.dump(-1, ' ', false, Json::error_handler_t::replace);
  auto size = at::tensor({static_cast<int64_t>(text.size())});
  comm_.broadcast(size, 0).wait();
  auto bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<uint8_t>());
  comm_.broadcast(bytes, 0).wait();
}

Json Crew::receive() {
  auto size = at::zeros({1}, at::kLong);
  comm_.broadcast(size, 0).wait();
  TORCH_CHECK(size.item<int64_t>() > 0 && size.item<int64_t>() <= static_cast<int64_t>(kLongestOrder), "no order");
  auto bytes = at::empty({size.item<int64_t>()}, at::kByte);
  comm_.broadcast(bytes, 0).wait();
  const auto* first = bytes.data_ptr<uint8_t>();
  return Json::parse(first, first + bytes.numel());
}

ExitCode Crew::serve() {
  for (;;) {
    enter("continual");
    const Json order = receive();
    const auto kind = order.at("order").get<std::string>();
    if (kind == "dismiss") return static_cast<ExitCode>(order.at("code").get<int>());
    if (kind == "fail") throw Error(static_cast<ExitCode>(order.at("code").get<int>()), order.at("message"));
    if (kind == "train") carry_out(training_of(order));
    else if (kind == "observe") carry_out(ObservationOrder{order.at("model"), order.at("data")});
    else carry_out(DriftOrder{order.at("model"), order.at("reference"), order.at("window"), order.at("window_labelled")});
  }
}

void Crew::dismiss(ExitCode code) { send({{"order", "dismiss"}, {"code", static_cast<int>(code)}}); }

void Crew::fail(ExitCode code, const std::string& message) {
  if (!carrying_out_) send({{"order", "fail"}, {"code", static_cast<int>(code)}, {"message", message}});
}

template <class Order>
auto Crew::together(const Order& order) {
  send(order_json(order));
  carrying_out_ = true;
  auto result = carry_out(order);
  carrying_out_ = false;  // not after an exception: then the others are somewhere in the order
  return result;
}

bool Crew::train(const TrainingOrder& order) { return together(order); }

std::vector<NamedObservation> Crew::observe(const ObservationOrder& order) { return together(order); }

DriftFacts Crew::check(const DriftOrder& order) { return together(order); }

bool Crew::carry_out(const TrainingOrder& order) {
  const Config config = changed(config_, order);
  const bool complete = fmtrain::train(config, comm_, options_) == ExitCode::kOk;
  enter("continual");
  return complete;
}

std::vector<NamedObservation> Crew::carry_out(const ObservationOrder& order) {
  enter("load");
  auto loaded = load_finetuned(order.model, config_.engine.precision);
  const auto tokenizer = load_tokenizer(order.model);
  for (auto& p : loaded.model->parameters()) p.value.set_data(p.value.detach().to(at::Device(options_.device)));
  loaded.model->parameters_changed();
  PrepareOptions prepare;
  prepare.task = config_.model.task;
  prepare.max_length = loaded.fmtrain.value("max_length", config_.data.max_length);
  prepare.overlong = config_.data.overlong;
  std::vector<NamedObservation> observed;
  for (const auto& file : order.data) {
    enter("evaluate");
    prepare.labels.clear();
    prepare.labels = grown_labels(loaded.labels, labels_of(file, prepare));
    if (comm_.rank() == 0) prepared_in_cache(file, prepare, *tokenizer);
    comm_.barrier();
    const auto data = open_dataset(prepared_in_cache(file, prepare, *tokenizer), tokenizer->vocab_size());
    observed.push_back({fmtrain::observe(*loaded.model, *data, comm_, unknown_of(*tokenizer)), prepare.labels});
  }
  return observed;
}

DriftFacts Crew::carry_out(const DriftOrder& order) {
  const auto both = carry_out(ObservationOrder{order.model, {order.reference, order.window}});
  const Observation &reference = both[0].seen, &window = both[1].seen;
  enter("metrics");
  DriftOptions options;
  options.alpha = config_.continual.drift.alpha;
  options.permutations = config_.continual.drift.permutations;
  options.seed = config_.run.seed;
  const bool labelled = order.window_labelled && knows_all_labels(window);
  DriftFacts facts;
  facts.report = check_drift(reference.sample(knows_all_labels(reference)), window.sample(labelled), options, ranks_of(comm_));
  if (labelled) {
    const auto hits = hits_of(window);
    const auto right = static_cast<double>(std::count(hits.begin(), hits.end(), true));
    facts.accuracy = share_of(right / static_cast<double>(hits.size()), window.texts());
  }
  return facts;
}

}  // namespace fmtrain

#include "runtime/run_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/ledger.h"
#include "runtime/model_dir.h"

namespace fmtrain {
namespace {

using ModelLabels = std::optional<std::vector<std::string>>;

PrepareOptions options_of(const Config& config, const char* split, const std::vector<std::string>& labels) {
  return {config.model.task, config.data.format, split, config.data.columns, config.data.max_length, config.data.overlong, labels};
}

/// Collective. All ranks read the same file, or none goes on: it may be replaced between two ranks' reading it.
template <class Fault>
void must_agree(Communicator& comm, const std::string& file, const std::string& sha256) {
  auto digits = at::empty({64}, at::kLong);
  std::copy_n(sha256.begin(), 64, digits.data_ptr<int64_t>());
  const auto mine = digits.clone();
  comm.broadcast(digits, 0).wait();
  auto differs = at::full({1}, at::equal(digits, mine) ? 0 : 1, at::kLong);
  comm.all_reduce(differs, ReduceOp::kMax).wait();
  if (differs.item<int64_t>() > 0) throw Fault(file + ": ranks read other data than rank 0; the file was changed while the run started; start again when it is complete");
}

/// The file `input` as a data set; raw text is prepared once, by rank 0.
std::unique_ptr<Dataset> open_split(const Config& config, Communicator& comm, const Tokenizer& tokenizer, const std::string& input,
                                    const char* split, const std::vector<std::string>& labels, int64_t limit) {
  if (input.empty()) return nullptr;
  const auto options = options_of(config, split, labels);
  if (comm.rank() == 0) prepared_in_cache(input, options, tokenizer);
  comm.barrier();
  auto data = open_dataset(prepared_in_cache(input, options, tokenizer), tokenizer.vocab_size(), limit);
  if (data->info().task != config.model.task) throw DataError(input + ": was prepared for another task than model.task");
  if (data->info().tokenizer_sha256 != tokenizer.sha256()) throw DataError(input + ": was prepared with another tokenizer than the model's; prepare it again");
  if (data->info().labels != labels)
    throw DataError(input + ": its labels differ from those of data.train; name the raw file instead, or prepare it with --labels-of");
  if (data->size() == 0) throw DataError(input + ": holds no sample");
  must_agree<DataError>(comm, input, data->info().content_sha256);
  return data;
}

ModelLabels labels_of_model(const Config& config, const std::string& dir) {
  if (config.model.init == Init::kRandom) return {};
  return stored_labels(dir, config.model.task);
}

/// Those of the model, where it has a head of this task, then those of data.train that are new.
std::vector<std::string> training_labels(const Config& config, const Tokenizer& tokenizer, const ModelLabels& of_model) {
  const auto& train = config.data.train;
  const auto before = of_model.value_or(std::vector<std::string>{});
  if (!is_prepared(train, config.data.format)) return grown_labels(before, labels_of(train, options_of(config, "train", {})));
  const auto found = open_dataset(train, tokenizer.vocab_size())->info().labels;
  auto labels = grown_labels(before, found);
  if (labels != found)
    throw DataError(train + ": was prepared with other labels than the " + std::to_string(before.size()) +
                    " of the model, which come first; name the raw file in data.train, and the run prepares it for them");
  return labels;
}

/// The encoder has no values yet, if it is to be pretrained.
std::unique_ptr<TaskModel> make_model(const Config& config, const RunInputs& inputs) {
  ModelConfig shape = read_model_config(inputs.model_dir);
  shape.task = config.model.task;
  shape.pooling = config.model.pooling;
  shape.labels = static_cast<int64_t>(inputs.labels.size());
  shape.dropout = config.model.dropout;
  shape.precision = config.engine.precision;
  shape.recompute = config.engine.recompute.layers;
  if (config.data.max_length > shape.max_positions)
    throw ConfigError("data.max_length: " + std::to_string(config.data.max_length) + " is more than the model's " + std::to_string(shape.max_positions) + " positions");
  if (inputs.tokenizer->vocab_size() > shape.vocab_size) throw ConfigError(inputs.model_dir + ": the tokenizer has more ids than the model's embedding has rows");
  for (const auto* data : {inputs.train.get(), inputs.validation.get(), inputs.test.get()})
    if (data && data->info().max_length > shape.max_positions)
      throw ConfigError("a prepared file was made for max_length " + std::to_string(data->info().max_length) + ", but the model has only " +
                        std::to_string(shape.max_positions) + " positions; prepare it again");
  const Booking booking(Purpose::kParameters);
  return make_bert(shape, config.run.seed, config.model.init == Init::kPretrained ? Initial::kHead : Initial::kAll);
}

}  // namespace

Base base_of(const Config& config, bool gpu) { return !gpu && config.model.init == Init::kPretrained ? Base::kLater : Base::kNow; }

RunInputs load_inputs(const Config& config, Communicator& comm, at::Device device, Base base) {
  RunInputs inputs;
  inputs.model_dir = resolve_model(config.model.path);
  inputs.tokenizer = load_tokenizer(inputs.model_dir);
  const auto of_model = labels_of_model(config, inputs.model_dir);
  inputs.labels = training_labels(config, *inputs.tokenizer, of_model);
  const auto open = [&](const std::string& file, const char* split, int64_t limit) {
    return open_split(config, comm, *inputs.tokenizer, file, split, inputs.labels, limit);
  };
  inputs.train = open(config.data.train, "train", config.data.limit.value_or(-1));
  inputs.validation = open(config.data.validation, "val", -1);
  inputs.test = open(config.data.test, "test", -1);
  inputs.model = make_model(config, inputs);
  if (base == Base::kLater) return inputs;
  if (config.model.init == Init::kPretrained) load_base(inputs, config, comm, {});
  for (auto& p : inputs.model->parameters()) p.value.set_data(p.value.detach().to(device));
  inputs.model->parameters_changed();
  return inputs;
}

void load_base(RunInputs& inputs, const Config& config, Communicator& comm, WritingShare share) {
  const auto of_model = labels_of_model(config, inputs.model_dir);
  const auto head = of_model ? std::optional(HeadLabels{*of_model, inputs.labels}) : std::nullopt;
  const auto loaded = load_share(*inputs.model, inputs.model_dir, head, share);
  std::string read = loaded.sha256;
  if (head)
    for (const auto& label : head->stored) read += '\n' + label;
  must_agree<ConfigError>(comm, inputs.model_dir + "/model.safetensors, or fmtrain.json beside it", sha256_hex(read.data(), read.size()));
  inputs.base_sha256 = loaded.sha256;
  inputs.notes.insert(inputs.notes.end(), loaded.notes.begin(), loaded.notes.end());
}

Json fingerprint(const Config& config, const RunInputs& inputs, const std::string& device) {
  return {{"config", computation_hash(config)}, {"config_lines", computation_lines(config)}, {"data", inputs.train->info().content_sha256},
          {"tokenizer", inputs.tokenizer->sha256()}, {"weights", inputs.base_sha256}, {"device", device.substr(0, device.find(':'))}};
}

std::vector<std::pair<std::string, std::string>> prepare_inputs(const Config& config) {
  const auto dir = resolve_model(config.model.path);
  const auto tokenizer = load_tokenizer(dir);
  const auto labels = training_labels(config, *tokenizer, labels_of_model(config, dir));
  const auto& d = config.data;
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& [name, split, input] : {std::tuple{"train", "train", d.train}, {"validation", "val", d.validation}, {"test", "test", d.test}})
    if (!input.empty()) files.emplace_back(name, prepared_in_cache(input, options_of(config, split, labels), *tokenizer));
  return files;
}

}  // namespace fmtrain

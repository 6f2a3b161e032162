#include "runtime/model_dir.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <unordered_map>

#include "runtime/checkpoint/safetensors.h"
#include "runtime/data/dataset_info.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/ledger.h"
#include "runtime/parameter_place.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

Json read_json(const std::string& file) {
  try {
    return parse_json(read_file(posix_files(), file, 16u << 20), {16u << 20, 16});
  } catch (const std::exception& error) {
    throw ConfigError(file + ": " + error.what());
  }
}

constexpr int64_t kMaxDimension = 1 << 24, kMaxElements = int64_t{1} << 36;

void require_text(const std::string& file, const Json& json, const char* name, const char* by_default, const std::string& only) {
  const Json value = json.value(name, Json(by_default));
  if (value != only)
    throw ConfigError(file + ": " + name + " " + quoted(value.is_string() ? value.get<std::string>() : value.dump()) + " is not supported (" + only + " is)");
}

double positive_fraction(const std::string& file, const Json& json, const char* name, double by_default) {
  const Json value = json.value(name, Json(by_default));
  if (!value.is_number() || !(value.get<double>() > 0 && value.get<double>() < 1)) throw ConfigError(file + ": " + name + ": is not a number in (0, 1)");
  return value.get<double>();
}

int64_t dimension(const std::string& file, const Json& json, const char* name, int64_t largest) {
  if (!json.contains(name) || !json.at(name).is_number_integer()) throw ConfigError(file + ": " + name + ": missing or not a whole number");
  const auto value = json.at(name).get<int64_t>();
  if (value < 1 || value > largest) throw ConfigError(file + ": " + name + ": " + std::to_string(value) + " is out of range");
  return value;
}

/// The name a tensor has in our model.
std::string renamed(std::string name) {
  const auto replace_end = [&](const std::string& from, const std::string& to) {
    if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
  };
  replace_end("LayerNorm.gamma", "LayerNorm.weight");
  replace_end("LayerNorm.beta", "LayerNorm.bias");
  for (const char* part : {"embeddings.", "encoder.", "pooler."})
    if (name.compare(0, std::string(part).size(), part) == 0) return "bert." + name;
  return name;
}

/// Tensors of other heads and buffers that a model directory may hold and this task does not need.
bool ignorable(const std::string& name) {
  return name == "bert.embeddings.position_ids" || name.compare(0, 4, "cls.") == 0 || name.compare(0, 11, "bert.pooler") == 0;
}

bool is_classifier(const std::string& name) { return name.starts_with("classifier."); }

bool is_head(const std::string& name) { return is_classifier(name) || name.compare(0, 11, "bert.pooler") == 0; }

at::ScalarType scalar_type(const std::string& dtype) { return dtype == "F32" ? at::kFloat : dtype == "F16" ? at::kHalf : dtype == "BF16" ? at::kBFloat16 : at::kByte; }

/// An infinity or a NaN has all bits of the exponent: one more there carries into the sign's place.
bool finite(const at::Tensor& values) {
  if (values.scalar_type() != at::kFloat) return at::isfinite(values).all().item<bool>();
  constexpr uint32_t kExponent = 0x7f800000, kOne = 0x00800000;
  const auto* bits = static_cast<const uint32_t*>(values.const_data_ptr());
  uint32_t carries = 0;
  for (int64_t i = 0; i < values.numel(); ++i) carries |= (bits[i] & kExponent) + kOne;
  return carries >> 31 == 0;
}

/// One file's tensors, read in their order: each piece is hashed, looked at and copied while it is in cache.
class WeightsReader {
 public:
  WeightsReader(const std::string& path, WritingShare share) : path_(path), file_(path), share_(share) {
    hash_.update(file_.start().data(), file_.start().size());
  }
  const SafetensorsHeader& header() const { return file_.header(); }

  void read_over(size_t index) {
    file_.read(index, [&](std::string_view piece) { hash_.update(piece.data(), piece.size()); });
  }

  /// This rank's share of it, where others write the rest. Not of a head, whose first values a slow rank may still be moving there.
  void read(size_t index, NamedParameter& p) {
    read_pieces(index, p, p.value.requires_grad() && place_of(p.name).encoder() ? share_ : WritingShare{});
  }

  /// The rows of those labels that the stored head has.
  void read_rows(size_t index, NamedParameter& p, const HeadLabels& head) {
    auto shape = p.value.sizes().vec();
    shape[0] = std::ssize(head.stored);
    const auto& t = header().tensors[index];
    if (t.shape != shape)
      throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": has not one row for each of the " + std::to_string(head.stored.size()) +
                        " labels in fmtrain.json; the two files are not of one model: copy the directory again");
    NamedParameter stored{p.name, at::empty(shape, at::kFloat)};
    read_pieces(index, stored, {});
    const at::NoGradGuard no_grad;
    std::unordered_map<std::string_view, int64_t> row_of;
    for (const auto& label : head.stored) row_of.emplace(label, std::ssize(row_of));
    for (size_t row = 0; row < head.wanted.size(); ++row)
      if (const auto found = row_of.find(head.wanted[row]); found != row_of.end())
        p.value.data()[static_cast<int64_t>(row)].copy_(stored.value[found->second]);
  }

  std::string sha256() { return hash_.hex(); }

 private:
  void read_pieces(size_t index, NamedParameter& p, WritingShare share) {
    const auto& t = header().tensors[index];
    if (scalar_type(t.dtype) == at::kByte) throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": dtype " + t.dtype + " is not F32, F16 or BF16");
    if (t.shape != p.value.sizes().vec())
      throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": its shape is not the one config.json gives for " + p.name);
    const at::NoGradGuard no_grad;
    const Booking booking(Purpose::kParameters);
    if (!p.value.is_contiguous()) p.value.set_data(at::empty(t.shape, at::kFloat));
    const auto target = p.value.data().view(-1);
    const auto type = scalar_type(t.dtype);
    int64_t at = 0;
    file_.read(index, [&](std::string_view piece) {
      hash_.update(piece.data(), piece.size());
      const auto source = at::from_blob(const_cast<char*>(piece.data()), {std::ssize(piece) / static_cast<int64_t>(c10::elementSize(type))}, type);
      if (!finite(source)) throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": holds a NaN or an infinity");
      if (pieces_++ % share.of == share.index) target.narrow(0, at, source.numel()).copy_(source);
      at += source.numel();
    });
  }

  std::string path_;
  SafetensorsFile file_;
  WritingShare share_;
  Sha256 hash_;         ///< of the file, for its tensors come in the file's order
  int64_t pieces_ = 0;  ///< so far
};

/// How many rows of the head came from the file, for the log.
std::string head_note(const HeadLabels& head) {
  const std::set<std::string_view> stored(head.stored.begin(), head.stored.end());
  const auto kept = std::count_if(head.wanted.begin(), head.wanted.end(), [&](const auto& label) { return stored.contains(label); });
  const auto added = std::ssize(head.wanted) - kept;
  return "head: " + std::to_string(kept) + " labels as in the model, " + std::to_string(added) + " new";
}

void erase_code(Json& json) {
  for (const char* key : {"auto_map", "custom_pipelines"}) json.erase(key);
}

std::string config_json(TaskModel& model, const std::vector<std::string>& labels, const std::string& base_dir) {
  Json json = read_json(base_dir + "/config.json");
  const bool tagging = model.config().task == Task::kTokenClassification;
  json["architectures"] = {tagging ? "BertForTokenClassification" : "BertForSequenceClassification"};
  json["id2label"] = Json::object();
  json["label2id"] = Json::object();
  for (size_t i = 0; i < labels.size(); ++i) {
    json["id2label"][std::to_string(i)] = labels[i];
    json["label2id"][labels[i]] = i;
  }
  if (!tagging) json["problem_type"] = "single_label_classification";
  json["torch_dtype"] = "float32";
  json.erase("_name_or_path");
  erase_code(json);
  return json.dump(2) + "\n";
}

/// A new file, tensor by tensor: a model in memory is not held twice.
void write_weights(FileOps& files, const std::string& path, TaskModel& model) {
  SafetensorsHeader header;
  header.metadata["format"] = "pt";
  for (const auto& p : model.parameters()) header.tensors.push_back({p.name, "F32", p.value.sizes().vec(), 0, 0});
  const std::string first = make_safetensors_header(header);
  int fd = -1;
  require_success(files.create_exclusive(path, &fd), path, "create");
  int error = files.write(fd, first.data(), first.size());
  for (const auto& p : model.parameters()) {
    if (error) break;
    const auto value = p.value.detach().cpu().contiguous();
    error = files.write(fd, value.data_ptr(), value.nbytes());
  }
  if (!error) error = files.fsync(fd);
  const int closed = files.close(fd);
  require_success(error ? error : closed, path, "write");
}

std::string parent_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// The tokenizer's files byte for byte, since its hash is that of a file; only tokenizer_config.json may name code.
void copy_tokenizer(FileOps& files, const std::string& from, const std::string& to) {
  for (const std::string name : {"tokenizer.json", "vocab.txt", "special_tokens_map.json"})
    if (fs::exists(from + "/" + name)) write_file_atomic(files, to + "/" + name, read_file(files, from + "/" + name, 64u << 20));
  const std::string options = "/tokenizer_config.json";
  if (!fs::exists(from + options)) return;
  Json json = read_json(from + options);
  if (json.is_object()) erase_code(json);
  write_file_atomic(files, to + options, json.dump(2) + "\n");
}

void put_in_place(FileOps& files, const std::string& temporary, const std::string& dir) {
  const std::string old = dir + ".old";
  const bool exchanged = files.exchange(temporary, dir) == 0;
  if (!exchanged) {
    const bool replaces = fs::exists(dir);  // else an old one may be all that a kill left
    if (replaces) {
      remove_tree(files, old);
      require_success(files.rename(dir, old), dir, "rename");
    }
    const int error = files.rename(temporary, dir);
    if (error && replaces) require_success(files.rename(old, dir), old, "rename back");
    require_success(error, temporary, "rename");
  }
  require_success(files.sync_dir(parent_of(dir)), dir, "sync its folder");
  remove_tree(files, exchanged ? temporary : old);
}

/// One of two or three words.
template <class T>
T choice(const Json& json, const char* name, const std::vector<std::pair<std::string, T>>& choices, const char* by_default) {
  const auto word = json.value(name, std::string(by_default));
  for (const auto& [text, value] : choices)
    if (word == text) return value;
  throw std::runtime_error(std::string(name) + ": " + quoted(word) + " is not known");
}

void read_finetuned(FinetunedModel& result, ModelConfig& shape) {
  const Json& json = result.fmtrain;
  if (!json.is_object()) throw std::runtime_error("is not a JSON object");
  json.at("labels").get_to(result.labels);
  if (result.labels.empty()) throw std::runtime_error("labels: is empty");
  if (std::set(result.labels.begin(), result.labels.end()).size() != result.labels.size()) throw std::runtime_error("labels: one is there twice");
  json.at("task");  // has no default
  shape.task = choice<Task>(json, "task", {{"token-classification", Task::kTokenClassification}, {"sequence-classification", Task::kSequenceClassification}}, "");
  shape.pooling = choice<Pooling>(json, "pooling", {{"pooler", Pooling::kPooler}, {"cls", Pooling::kCls}, {"mean", Pooling::kMean}}, "pooler");
  const Json length = json.value("max_length", Json(std::min<int64_t>(128, shape.max_positions)));
  if (!length.is_number_integer() || length.get<int64_t>() < 3 || length.get<int64_t>() > shape.max_positions)
    throw std::runtime_error("max_length: is not a whole number from 3 to the model's " + std::to_string(shape.max_positions) + " positions");
  result.fmtrain["max_length"] = length;
  for (const char* hash : {"tokenizer_sha256", "weights_sha256"})
    if (json.contains(hash) && !json.at(hash).is_string()) throw std::runtime_error(std::string(hash) + ": is not a text");
}

}  // namespace

ModelConfig read_model_config(const std::string& dir) {
  const std::string file = dir + "/config.json";
  const Json json = read_json(file);
  if (!json.is_object()) throw ConfigError(file + ": is not a JSON object");
  require_text(file, json, "model_type", "", "bert");
  require_text(file, json, "hidden_act", "gelu", "gelu");
  require_text(file, json, "position_embedding_type", "absolute", "absolute");
  ModelConfig c;
  c.vocab_size = dimension(file, json, "vocab_size", kMaxDimension);
  c.hidden_size = dimension(file, json, "hidden_size", kMaxDimension);
  c.layers = dimension(file, json, "num_hidden_layers", 255);  // layers, heads and positions: what the dropout counter holds
  c.heads = dimension(file, json, "num_attention_heads", 255);
  c.intermediate_size = dimension(file, json, "intermediate_size", kMaxDimension);
  c.max_positions = dimension(file, json, "max_position_embeddings", 32767);
  c.type_vocab_size = dimension(file, json, "type_vocab_size", kMaxDimension);
  c.layer_norm_eps = positive_fraction(file, json, "layer_norm_eps", 1e-12);
  c.initializer_range = positive_fraction(file, json, "initializer_range", 0.02);
  if (c.hidden_size % c.heads != 0) throw ConfigError(file + ": hidden_size is not a multiple of num_attention_heads");
  // Every factor is below 2^25, so the sum stays below 2^63.
  const int64_t rows = c.vocab_size + c.max_positions + c.type_vocab_size + c.layers * (4 * c.hidden_size + 2 * c.intermediate_size);
  if (rows > kMaxElements / c.hidden_size) throw ConfigError(file + ": describes a model of more than 2^36 parameters");
  return c;
}

std::optional<std::vector<std::string>> stored_labels(const std::string& dir, Task task) {
  const std::string file = dir + "/fmtrain.json";
  if (!fs::exists(file)) return {};
  const Json json = read_json(file);
  try {
    if (!json.is_object()) throw std::runtime_error("is not a JSON object");
    if (json.at("task") != (task == Task::kTokenClassification ? "token-classification" : "sequence-classification"))
      return std::vector<std::string>{};
    auto labels = json.at("labels").get<std::vector<std::string>>();
    check_labels(labels, task);
    return labels;
  } catch (const std::exception& error) {
    throw ConfigError(file + ": " + error.what() + "; copy the model directory again");
  }
}

std::vector<std::string> grown_labels(std::vector<std::string> before, const std::vector<std::string>& found) {
  const std::set<std::string> known(before.begin(), before.end());
  for (const auto& label : found)
    if (!known.contains(label)) before.push_back(label);
  return before;
}

LoadedWeights load_weights(TaskModel& model, const std::string& dir, const std::optional<HeadLabels>& head) {
  LoadedWeights result = load_share(model, dir, head, {});
  model.parameters_changed();
  return result;
}

LoadedWeights load_share(TaskModel& model, const std::string& dir, const std::optional<HeadLabels>& head, WritingShare share) {
  const std::string path = dir + "/model.safetensors";
  WeightsReader reader(path, share);
  LoadedWeights result;
  std::set<std::string> loaded;
  for (size_t i = 0; i < reader.header().tensors.size(); ++i) {
    const auto& original = reader.header().tensors[i].name;
    const auto name = renamed(original);
    auto& parameters = model.parameters();
    const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == name; });
    const bool classifier = found != parameters.end() && is_classifier(name);
    const bool other_head =
        classifier && (head ? head->stored.empty() : reader.header().tensors[i].shape != found->value.sizes().vec());
    if (found != parameters.end() && !other_head) {
      if (!loaded.insert(name).second) throw ConfigError(path + ": two tensors are named " + quoted(name));
      classifier && head ? reader.read_rows(i, *found, *head) : reader.read(i, *found);
    } else if (ignorable(name) || other_head) {
      result.notes.push_back("not used: " + original);
      reader.read_over(i);
    } else {
      throw ConfigError(path + ": tensor " + quoted(original) + " has no place in the model");
    }
  }
  for (const auto& p : model.parameters()) {
    if (loaded.count(p.name)) continue;
    if (!is_head(p.name)) throw ConfigError(path + ": no tensor for " + p.name);
    result.notes.push_back("new: " + p.name);
  }
  if (head && !head->stored.empty()) result.notes.push_back(head_note(*head));
  result.sha256 = reader.sha256();
  return result;
}

std::string weights_sha256(TaskModel& model) {
  std::vector<const NamedParameter*> sorted;
  for (const auto& p : model.parameters()) sorted.push_back(&p);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  Sha256 hash;
  for (const auto* p : sorted) {
    const auto value = p->value.detach().cpu().contiguous();
    hash.update(p->name.data(), p->name.size());
    hash.update(value.sizes().data(), value.sizes().size() * sizeof(int64_t));
    hash.update(value.data_ptr(), value.nbytes());
  }
  return hash.hex();
}

void write_model_dir(const std::string& dir, TaskModel& model, const std::vector<std::string>& labels, const std::string& base_dir, Json fmtrain,
                     FileOps& files) {
  const std::string temporary = dir + ".tmp";
  std::error_code error;
  fs::create_directories(fs::path(parent_of(dir)), error);
  if (error) throw StorageError(dir + ": cannot create its folder: " + error.message());
  remove_tree(files, temporary);
  require_success(files.make_dir(temporary), temporary, "create");
  write_file_atomic(files, temporary + "/config.json", config_json(model, labels, base_dir));
  write_weights(files, temporary + "/model.safetensors", model);
  fmtrain["weights_sha256"] = weights_sha256(model);
  write_file_atomic(files, temporary + "/fmtrain.json", fmtrain.dump(2) + "\n");
  copy_tokenizer(files, base_dir, temporary);
  put_in_place(files, temporary, dir);
}

FinetunedModel load_finetuned(const std::string& dir, Precision precision) {
  FinetunedModel result;
  const std::string file = dir + "/fmtrain.json";
  if (!fs::exists(file)) throw ConfigError(dir + ": has no fmtrain.json (is it the model/ directory of a run?)");
  result.fmtrain = read_json(file);
  ModelConfig shape = read_model_config(dir);
  try {
    read_finetuned(result, shape);
  } catch (const std::exception& error) {
    throw ConfigError(file + ": " + error.what());
  }
  shape.labels = static_cast<int64_t>(result.labels.size());
  shape.precision = precision;
  result.model = make_bert(shape, 0, Initial::kHead);
  for (const auto& note : load_weights(*result.model, dir).notes)  // a head with initial values is not fine-tuned
    if (note.starts_with("new: ")) throw ConfigError(dir + "/model.safetensors: no fitting tensor for " + note.substr(5));
  return result;
}

}  // namespace fmtrain

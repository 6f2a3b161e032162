#include "runtime/checkpoint/tools.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/reader.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr int64_t kChunk = 1 << 20;  ///< elements compared or copied at a time: 4 MiB

std::string path_of(const std::string& dir, int64_t step) { return dir + "/step-" + std::to_string(step); }

bool exists(FileOps& files, const std::string& path) {
  std::vector<std::string> names;
  const int error = files.list(path, &names);
  return error != ENOENT && error != ENOTDIR;
}

void require_directory(FileOps& files, const std::string& path) {
  if (!exists(files, path)) throw ConfigError(path + ": there is no such directory");
}

/// Steps of a run, none when it has no folder of checkpoints yet.
std::vector<int64_t> steps_of(FileOps& files, const std::string& run) {
  require_directory(files, run);
  return exists(files, run + "/checkpoints") ? checkpoint_steps(files, run + "/checkpoints") : std::vector<int64_t>{};
}

int64_t total_bytes(const Json& manifest) {
  int64_t sum = 0;
  for (const auto& file : manifest.at("files")) sum += file.at("bytes").get<int64_t>();
  return sum;
}

/// A member of the trainer's state, null when there is none: the manifest's own checks end at `state`.
Json trainer_value(const Json& manifest, const char* name) {
  const Json trainer = manifest.at("state").value("trainer", Json());
  return trainer.is_object() ? trainer.value(name, Json()) : Json();
}

int64_t best_step(const Json& manifest) {
  const Json step = trainer_value(manifest, "best_step");
  return step.is_number_integer() ? step.get<int64_t>() : -1;
}

/// The problem of a checkpoint, empty: none. `bytes` as its manifest says.
std::string problem_of(FileOps& files, const std::string& checkpoint, int64_t* bytes = nullptr, Json* manifest = nullptr) {
  try {
    const Json read = read_manifest(files, checkpoint);
    if (bytes) *bytes = total_bytes(read);
    if (manifest) *manifest = read;
    const auto name = checkpoint.substr(checkpoint.find_last_of('/') + 1);
    if (is_step_name(name) && read.at("step").dump() != name.substr(5))
      return checkpoint + ": is the checkpoint of step " + read.at("step").dump();
    for (const auto& entry : read.at("files"))
      read_shard(files, checkpoint, entry, From::kCache, [](const StoredPiece&, int64_t, const float*, int64_t) {});
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Json verify_one(FileOps& files, const std::string& checkpoint, const Json& step) {
  int64_t bytes = 0;
  const auto problem = problem_of(files, checkpoint, &bytes);
  Json facts{{"step", step}, {"path", checkpoint}, {"bytes", bytes}, {"valid", problem.empty()}};
  if (!problem.empty()) facts["problem"] = problem;
  return facts;
}

CheckpointReader open_checkpoint(FileOps& files, const std::string& path, CheckpointReader::Check check) {
  require_directory(files, path);
  return {files, without_slash(path), check};
}

/// Lines of `list` that `other` does not have; another value as it is.
Json only_in(const Json& list, const Json& other) {
  if (!list.is_array() || !other.is_array()) return list;
  Json lines = Json::array();
  for (const auto& line : list)
    if (std::find(other.begin(), other.end(), line) == other.end()) lines.push_back(line);
  return lines;
}

Json fixed_differences(const Json& a, const Json& b) {
  Json all = a, list = Json::array();
  all.update(b);
  for (const auto& [key, unused] : all.items()) {
    const Json x = a.value(key, Json()), y = b.value(key, Json());
    if (x != y) list.push_back({{"key", key}, {"a", only_in(x, y)}, {"b", only_in(y, x)}});
  }
  return list;
}

Json compare_tensor(const std::string& name, const CheckpointReader& a, const CheckpointReader& b) {
  const auto &in_a = a.tensors().at(name), &in_b = b.tensors().at(name);
  std::vector<float> x(static_cast<size_t>(std::min(kChunk, in_a.numel))), y(x.size());
  int64_t differ = 0;
  double largest = 0;
  for (int64_t at = 0; at < in_a.numel; at += kChunk) {
    const int64_t n = std::min(kChunk, in_a.numel - at);
    a.read(in_a, at, n, x.data());
    b.read(in_b, at, n, y.data());
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      if (std::memcmp(&x[i], &y[i], sizeof(float)) == 0) continue;
      ++differ;
      const double difference = std::fabs(double{x[i]} - double{y[i]});
      largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
    }
  }
  return {{"name", name},
          {"elements", in_a.numel},
          {"differ", differ},
          {"largest", std::isfinite(largest) ? Json(largest) : Json()}};
}

Json side(const CheckpointReader& reader) {
  return {{"path", reader.dir()}, {"step", reader.manifest().at("step")}, {"ranks", reader.manifest().at("ranks")}};
}

/// The value of a key in the config that fixed the computation; "": it is not there.
std::string config_value(const Json& fixed, const std::string& key) {
  for (const auto& line : fixed.value("config_lines", Json()))
    if (line.is_string() && line.get<std::string>().starts_with(key + "=")) return line.get<std::string>().substr(key.size() + 1);
  return "";
}

bool freezes(const Json& fixed) {
  const auto freeze = config_value(fixed, "finetune.freeze");
  return !freeze.empty() && freeze != "none";
}

/// Writes all, or leaves nothing: under another name first. 0 or an errno value.
int write_export(FileOps& files, const CheckpointReader& reader, const std::string& start,
                 const std::vector<const StoredTensor*>& tensors, int fd) {
  if (const int error = files.write(fd, start.data(), start.size())) return error;
  std::vector<float> values(kChunk);
  for (const auto* tensor : tensors)
    for (int64_t at = 0; at < tensor->numel; at += kChunk) {
      const int64_t n = std::min(kChunk, tensor->numel - at);
      reader.read(*tensor, at, n, values.data());
      if (const int error = files.write(fd, values.data(), static_cast<size_t>(n) * sizeof(float))) return error;
    }
  return files.fsync(fd);
}

void write_new_file(FileOps& files, const std::string& path, const std::function<int(int)>& content) {
  const std::string temporary = path + ".tmp";
  int fd = -1;
  int error = files.create_exclusive(temporary, &fd);
  if (error) throw StorageError(temporary + ": cannot be created: " + std::strerror(error));
  try {
    error = content(fd);
  } catch (...) {
    files.close(fd);
    files.unlink(temporary);
    throw;
  }
  const int closed = files.close(fd);
  if (!error) error = closed;
  if (!error) error = files.rename(temporary, path);
  if (error) {
    files.unlink(temporary);
    throw StorageError(path + ": cannot be written: " + std::strerror(error));
  }
  const auto slash = path.find_last_of('/');
  files.sync_dir(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

bool is_file(FileOps& files, const std::string& path) {
  int fd = -1;
  const int error = files.open(path, &fd);
  if (!error) files.close(fd);
  return error != ENOENT;
}

}  // namespace

Json list_checkpoints(FileOps& files, const std::string& run) {
  const std::string dir = without_slash(run) + "/checkpoints";
  Json list = Json::array();
  std::optional<int64_t> best;
  for (const auto step : steps_of(files, run)) {
    try {
      const Json manifest = read_manifest(files, path_of(dir, step));
      if (!best) best = best_step(manifest);
      list.push_back(
          {{"step", step}, {"ranks", manifest.at("ranks")}, {"bytes", total_bytes(manifest)}, {"best", step == *best}});
    } catch (const CheckpointError& error) {
      if (exists(files, path_of(dir, step))) list.push_back({{"step", step}, {"problem", error.what()}});
    }
  }
  return {{"run", run}, {"checkpoints", list}};
}

Json verify_checkpoints(FileOps& files, const std::string& run_or_checkpoint) {
  const auto path = without_slash(run_or_checkpoint);
  const auto name = path.substr(path.find_last_of('/') + 1);
  Json list = Json::array();
  if (is_step_name(name)) {
    require_directory(files, path);
    list.push_back(verify_one(files, path, std::stoll(name.substr(5))));
  } else {
    for (const auto step : steps_of(files, path)) list.push_back(verify_one(files, path_of(path + "/checkpoints", step), step));
  }
  return {{"checkpoints", list}};
}

Json inspect_checkpoint(FileOps& files, const std::string& checkpoint) {
  const auto reader = open_checkpoint(files, checkpoint, CheckpointReader::Check::kHeaders);
  const Json& manifest = reader.manifest();
  Json shards = Json::array(), tensors = Json::array();
  for (const auto& file : manifest.at("files")) shards.push_back({{"name", file.at("name")}, {"bytes", file.at("bytes")}});
  for (const auto& [name, tensor] : reader.tensors())
    tensors.push_back({{"name", name}, {"shape", tensor.shape}, {"pieces", tensor.parts.size()}});
  return {
      {"path", reader.dir()}, {"step", manifest.at("step")}, {"ranks", manifest.at("ranks")}, {"bytes", total_bytes(manifest)},
      {"files", shards},      {"tensors", tensors},          {"fixed", manifest.at("fixed")}, {"state", manifest.at("state")}};
}

Json diff_checkpoints(FileOps& files, const std::string& path_a, const std::string& path_b) {
  const auto a = open_checkpoint(files, path_a, CheckpointReader::Check::kAll);
  const auto b = open_checkpoint(files, path_b, CheckpointReader::Check::kAll);
  Json facts{{"a", side(a)},
             {"b", side(b)},
             {"fixed", fixed_differences(a.manifest().at("fixed"), b.manifest().at("fixed"))},
             {"only_a", Json::array()},
             {"only_b", Json::array()},
             {"other_shape", Json::array()},
             {"tensors", Json::array()}};
  bool equal = facts["fixed"].empty();
  for (const auto& [name, tensor] : a.tensors()) {
    const auto other = b.tensors().find(name);
    const char* kind = other == b.tensors().end() ? "only_a" : other->second.shape != tensor.shape ? "other_shape" : nullptr;
    facts[kind ? kind : "tensors"].push_back(kind ? Json(name) : compare_tensor(name, a, b));
    equal = equal && !kind && facts["tensors"].back().at("differ") == 0;
  }
  for (const auto& [name, unused] : b.tensors())
    if (!a.tensors().count(name)) facts["only_b"].push_back(name);
  facts["equal"] = equal && facts["only_b"].empty();
  return facts;
}

Json export_checkpoint(FileOps& files, const std::string& checkpoint, const std::string& output, std::string weights) {
  if (is_file(files, output)) throw ConfigError(output + ": exists already; choose another name");
  const auto reader = open_checkpoint(files, checkpoint, CheckpointReader::Check::kAll);
  if (weights.empty()) weights = config_value(reader.manifest().at("fixed"), "evaluate.weights") == "ema" ? "ema" : "trained";
  const std::string prefix = weights == "ema" ? "ema/" : "param/";
  SafetensorsHeader header;
  header.metadata["format"] = "pt";
  std::vector<const StoredTensor*> tensors;
  for (const auto& [name, tensor] : reader.tensors()) {
    if (!name.starts_with(prefix)) continue;
    header.tensors.push_back({name.substr(prefix.size()), "F32", tensor.shape, 0, 0});
    tensors.push_back(&tensor);
  }
  if (tensors.empty() && weights == "ema") throw ConfigError(reader.dir() + ": holds no average of the weights (the run had optimizer.ema: 0); use --weights trained");
  if (tensors.empty()) throw CheckpointError(reader.dir() + ": holds no parameters");
  const auto start = make_safetensors_header(header);
  write_new_file(files, output, [&](int fd) { return write_export(files, reader, start, tensors, fd); });
  return {{"path", reader.dir()},
          {"step", reader.manifest().at("step")},
          {"weights", weights},
          {"output", output},
          {"tensors", tensors.size()},
          {"bytes", header.data_start + header.tensors.back().end},
          {"frozen", freezes(reader.manifest().at("fixed"))}};
}

Json prune_checkpoints(FileOps& files, const std::string& run, int64_t keep, bool dry_run) {
  const std::string dir = without_slash(run) + "/checkpoints";
  Json kept = Json::array(), damaged = Json::array(), deleted = Json::array();
  std::vector<int64_t> rest;
  int64_t best = -1;
  for (const auto step : steps_of(files, run)) {
    if (static_cast<int64_t>(kept.size()) == keep) {
      rest.push_back(step);
      continue;
    }
    Json manifest;
    const auto problem = problem_of(files, path_of(dir, step), nullptr, &manifest);
    if (problem.empty() && kept.empty()) best = best_step(manifest);
    if (problem.empty()) kept.push_back(step);
    else damaged.push_back({{"step", step}, {"problem", problem}});
  }
  for (const auto step : rest) {
    if (step == best) {
      kept.push_back(step);
      continue;
    }
    const int error = dry_run ? 0 : delete_checkpoint(files, dir, step);
    if (error) throw StorageError(path_of(dir, step) + ": cannot be deleted: " + std::strerror(error));
    deleted.push_back(step);
  }
  return {{"run", run}, {"kept", kept}, {"damaged", damaged}, {"deleted", deleted}};
}

}  // namespace fmtrain

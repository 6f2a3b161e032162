#include "runtime/checkpoint/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>

#include "runtime/checkpoint/reader.h"
#include "runtime/checkpoint/shard.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

std::string hash_text(int64_t high, int64_t low) {
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

constexpr double kSpaceFactor = 1.1;  ///< of the bytes of a checkpoint, which must be free

using Elements = std::pair<int64_t, int64_t>;

/// Copies what a target needs of stored elements and notes it in `filled`.
void copy_overlap(const TensorPiece& target, int64_t offset, const float* values, int64_t count,
                  std::vector<Elements>& filled) {
  const int64_t first = std::max(offset, target.offset), last = std::min(offset + count, target.offset + target.data.numel());
  if (first >= last) return;
  const auto source = at::from_blob(const_cast<float*>(values + (first - offset)), {last - first}, at::kFloat);
  target.data.narrow(0, first - target.offset, last - first).copy_(source);
  filled.emplace_back(first, last);
}

bool tiles(std::vector<Elements>& ranges, int64_t first, int64_t last) {
  std::sort(ranges.begin(), ranges.end());
  for (const auto& range : ranges) {
    if (range.first != first) return false;
    first = range.second;
  }
  return first == last;
}

/// Puts elements of a stored piece into every target they belong to.
void fill(const StateDict& targets, const StoredPiece& piece, int64_t first, const float* values, int64_t count,
          std::vector<std::vector<Elements>>& filled) {
  for (size_t i = 0; i < targets.pieces.size(); ++i) {
    const auto& target = targets.pieces[i];
    if (target.name != piece.name) continue;
    if (target.shape != piece.shape) throw CheckpointError(target.name + ": has another shape than in the model");
    copy_overlap(target, piece.offset + first, values, count, filled[i]);
  }
}

/// What a call on this rank's files came to, as errno: an exception here must not keep this rank from the next exchange.
int guarded(const std::function<int()>& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  } catch (const std::exception&) {
    return EIO;
  }
}

int64_t largest(Communicator& comm, int64_t value) {
  auto shared = at::full({1}, value, at::kLong);
  comm.all_reduce(shared, ReduceOp::kMax).wait();
  return shared.item<int64_t>();
}

std::string random_digits() {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", std::random_device{}());
  return text;
}

}  // namespace

CheckpointStore::CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep)
    : dir_(std::move(dir)), files_(files), comm_(comm), keep_(keep) {
  int error = 0;
  if (comm.rank() == 0) {
    std::vector<std::string> names;
    error = files.make_dir(dir_);
    if (error == EEXIST) error = 0;
    if (!error) error = files.list(dir_, &names);
    for (const auto& name : names)
      if (name.starts_with(".tmp-") || name.starts_with(".del-") || name.starts_with("latest.tmp-"))
        remove_tree(files, dir_ + "/" + name);
  }
  if (const auto worst = largest(comm, error))
    throw StorageError(dir_ + ": cannot be used for checkpoints: " + std::strerror(static_cast<int>(worst)));
}

bool CheckpointStore::save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step,
                           std::string* why) {
  const auto agree = [&](int error, const char* action) {
    const auto worst = static_cast<int>(largest(comm_, error));
    if (worst == 0) return true;
    if (comm_.rank() == 0) remove_tree(files_, temporary(step));
    if (why)
      *why = dir_ + ": cannot " + action + " the checkpoint of step " + std::to_string(step) + ": " + std::strerror(worst);
    return false;
  };
  const bool main = comm_.rank() == 0;
  if (largest(comm_, main && keeps_valid(step, fixed) ? 1 : 0) == 1) return true;
  if (!has_space(step, shard_bytes(state), why)) return false;
  if (!agree(main ? guarded([&] { return make_temporary(step); }) : 0, "write")) return false;
  std::vector<int64_t> facts;
  const std::string shard = temporary(step) + "/" + shard_name(comm_.rank(), comm_.size());
  if (!agree(guarded([&] { return write_shard(files_, shard, state, facts); }), "write")) return false;
  const Json manifest{
      {"format", kCheckpointFormat}, {"step", step}, {"ranks", comm_.size()}, {"fixed", fixed}, {"state", small},
      {"files", gather_files(facts)}};
  if (!agree(main ? guarded([&] { return commit(step, manifest); }) : 0, "write")) return false;
  if (!agree(read_back(step, manifest), "read back")) return false;
  if (main) after_commit(step, best_step);
  return true;
}

/// Collective. Room for the shards of all ranks and a tenth more, asked before anything is touched.
bool CheckpointStore::has_space(int64_t step, int64_t bytes, std::string* why) {
  auto sum = at::full({1}, bytes, at::kLong);
  comm_.all_reduce(sum, ReduceOp::kSum).wait();
  const auto needed = static_cast<int64_t>(std::ceil(static_cast<double>(sum.item<int64_t>()) * kSpaceFactor));
  int64_t free = 0;
  const int error = comm_.rank() == 0 ? guarded([&] { return files_.space(dir_, &free); }) : 0;
  auto known = at::tensor({int64_t{error}, error ? 0 : free});
  comm_.all_reduce(known, ReduceOp::kMax).wait();
  const auto worst = static_cast<int>(known[0].item<int64_t>());
  free = known[1].item<int64_t>();
  if (worst == 0 && free >= needed) return true;
  const std::string what = dir_ + ": no checkpoint of step " + std::to_string(step) + ": ";
  if (why && worst) *why = what + "cannot tell how much space is free: " + std::strerror(worst);
  if (why && !worst) *why = what + "it needs " + std::to_string(needed) + " bytes, " + std::to_string(free) + " are free";
  return false;
}

/// Reads what was written, each rank another rank's file: of a machine other than its own where the ranks of a machine follow
/// each other, so that the answer does not come from the memory of the machine that wrote. An errno value.
int CheckpointStore::read_back(int64_t step, const Json& manifest) {
  const int other = (comm_.rank() + comm_.size() / 2) % comm_.size();
  try {
    if (comm_.rank() == 0) read_manifest(files_, path(step));
    verify_file(files_, path(step), manifest.at("files").at(static_cast<size_t>(other)));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fmtrain: warning: %s\n", error.what());
    return EIO;
  }
}

/// True when step-N is there already and this run could continue from it. Never removed then: between a removal and the rename
/// of its successor there would be none.
bool CheckpointStore::keeps_valid(int64_t step, const Json& fixed) {
  try {
    const Json manifest = read_manifest(files_, path(step));
    if (manifest.at("step") != step || manifest.at("fixed") != fixed) return false;
    verify_checkpoint(files_, path(step));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

int CheckpointStore::make_temporary(int64_t step) {
  remove_tree(files_, temporary(step));
  return files_.make_dir(temporary(step));
}

/// Collective. The manifest's list of files from every rank's facts.
Json CheckpointStore::gather_files(const std::vector<int64_t>& facts) {
  const int64_t longest = largest(comm_, static_cast<int64_t>(facts.size()));
  auto table = at::zeros({comm_.size(), longest}, at::kLong);
  std::copy(facts.begin(), facts.end(), table[comm_.rank()].data_ptr<int64_t>());
  comm_.all_reduce(table.view({-1}), ReduceOp::kSum).wait();
  Json files = Json::array();
  for (int r = 0; r < comm_.size(); ++r) {
    const auto* row = table[r].data_ptr<int64_t>();
    Json file{{"name", shard_name(r, comm_.size())}, {"bytes", row[0]}, {"blocks", Json::array()}};
    for (int64_t b = 0; b * kCheckpointBlock < row[0]; ++b) file["blocks"].push_back(hash_text(row[1 + 2 * b], row[2 + 2 * b]));
    files.push_back(file);
  }
  return files;
}

/// The temporary directory becomes step-N. A step-N that could not be kept is set aside only now, and put back on failure.
int CheckpointStore::commit(int64_t step, const Json& manifest) {
  const std::string aside = dir_ + "/.bad-step-" + std::to_string(step) + "-" + random_digits();
  if (const int error = replace_file(files_, temporary(step) + "/manifest.json", manifest_text(manifest))) return error;
  const int moved = files_.rename(path(step), aside);
  if (moved != 0 && moved != ENOENT) return moved;
  if (const int error = files_.rename(temporary(step), path(step))) {
    if (moved == 0) files_.rename(aside, path(step));
    return error;
  }
  return files_.sync_dir(dir_);
}

/// The checkpoint is there, and was read back, whatever happens here: `latest` is a hint for people, and what is not pruned
/// now is pruned later.
void CheckpointStore::after_commit(int64_t step, int64_t best_step) {
  const std::string hint = dir_ + "/latest";
  if (const int error = guarded([&] { return replace_file(files_, hint, "step-" + std::to_string(step) + "\n"); }))
    std::fprintf(stderr, "fmtrain: warning: %s: cannot write: %s\n", hint.c_str(), std::strerror(error));
  guarded([&] {
    const auto all = steps();
    for (size_t i = static_cast<size_t>(keep_); i < all.size(); ++i)
      if (all[i] != best_step && all[i] != step) delete_checkpoint(files_, dir_, all[i]);
    return 0;
  });
}

/// Collective. Rank 0's steps: on shared storage listings may differ between nodes for a minute.
std::vector<int64_t> CheckpointStore::agreed_steps() {
  std::vector<int64_t> all;
  std::string why;
  if (comm_.rank() == 0) {
    try {
      all = steps();
    } catch (const std::exception& error) {
      why = error.what();
    }
  }
  auto count = at::full({1}, why.empty() ? static_cast<int64_t>(all.size()) : -1, at::kLong);
  comm_.broadcast(count, 0).wait();
  if (count.item<int64_t>() < 0) throw StorageError(why.empty() ? dir_ + ": rank 0 cannot read it" : why);
  all.resize(static_cast<size_t>(count.item<int64_t>()));
  if (!all.empty()) comm_.broadcast(at::from_blob(all.data(), {static_cast<int64_t>(all.size())}, at::kLong), 0).wait();
  return all;
}

Json CheckpointStore::load(int64_t step, const StateDict& targets, const Json& fixed) {
  const Json manifest = read_manifest(files_, path(step));
  if (manifest.at("step") != step)
    throw CheckpointError(path(step) + ": is the checkpoint of step " + manifest.at("step").dump());
  if (manifest.at("fixed") != fixed)
    throw ConfigError(path(step) + ": was written by another run: " + differences(manifest.at("fixed"), fixed) +
                      "; use another run.dir or --resume never");
  std::vector<std::vector<Elements>> filled(targets.pieces.size());
  for (const auto& entry : manifest.at("files")) {
    read_shard(files_, path(step), entry, [&](const StoredPiece& piece, int64_t first, const float* values, int64_t count) {
      fill(targets, piece, first, values, count, filled);
    });
  }
  for (size_t i = 0; i < filled.size(); ++i) {
    const auto& target = targets.pieces[i];
    if (!tiles(filled[i], target.offset, target.offset + target.data.numel()))
      throw CheckpointError(path(step) + ": does not hold every element of " + target.name + " once");
  }
  return manifest.at("state");
}

std::optional<Json> CheckpointStore::load_newest(const StateDict& targets, const Json& fixed) {
  const auto all = agreed_steps();
  std::vector<int64_t> damaged;
  for (const auto step : all) {
    std::string problem;
    bool other_run = false;
    Json small;
    try {
      small = load(step, targets, fixed);
    } catch (const std::exception& error) {
      problem = error.what();
      other_run = dynamic_cast<const ConfigError*>(&error) != nullptr;
    }
    // Outcome, and which rank is the first with a problem, in one exchange.
    auto worst = at::tensor({int64_t{problem.empty() ? 0
                                     : other_run     ? 2
                                                     : 1},
                             int64_t{problem.empty() ? 0 : comm_.size() - comm_.rank()}});
    comm_.all_reduce(worst, ReduceOp::kMax).wait();
    const auto outcome = worst[0].item<int64_t>();
    if (outcome == 2) throw ConfigError(other_run ? problem : path(step) + ": was written by another run");
    if (outcome == 0) {
      set_aside(damaged);
      return small;
    }
    if (worst[1].item<int64_t>() == comm_.size() - comm_.rank())
      std::fprintf(stderr, "fmtrain: warning: %s; trying an older checkpoint\n", problem.c_str());
    damaged.push_back(step);
  }
  if (!all.empty()) throw CheckpointError(dir_ + ": none of " + std::to_string(all.size()) + " checkpoints is valid");
  return std::nullopt;
}

void CheckpointStore::set_aside(const std::vector<int64_t>& damaged) {
  comm_.barrier();  // nobody reads them any more
  if (comm_.rank() != 0) return;
  for (const auto step : damaged)
    files_.rename(path(step), dir_ + "/.bad-step-" + std::to_string(step) + "-" + random_digits());
}

}  // namespace fmtrain

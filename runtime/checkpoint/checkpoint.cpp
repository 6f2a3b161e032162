#include "runtime/checkpoint/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "runtime/checkpoint/reader.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

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

bool overlaps(const TensorPiece& target, const StoredPiece& piece) {
  return target.offset < piece.offset + piece.count && piece.offset < target.offset + target.data.numel();
}

bool tiles(std::vector<Elements>& ranges, int64_t first, int64_t last) {
  std::sort(ranges.begin(), ranges.end());
  for (const auto& range : ranges) {
    if (range.first != first) return false;
    first = range.second;
  }
  return first == last;
}

constexpr int64_t kDamaged = 1;  ///< beside 0 and the exit codes of OtherRun, which are larger

/// Whole, but not this run's.
struct OtherRun : Error {
  using Error::Error;
};

OtherRun of_another_run(const std::string& checkpoint, const Json& saved, const Json& now) {
  const auto code = difference_code(saved, now);
  const bool only_data = code == ExitCode::kData;
  return {code, checkpoint + ": was written by another run: " + differences(saved, now) +
          (only_data ? "; put the training file back as it was, or use another run.dir or --resume never" : "; use another run.dir or --resume never")};
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

}  // namespace

CheckpointStore::CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep, RunLock* lock)
    : place_{std::move(dir), files, comm, keep, lock, lock ? lock->generation() : 0} {
  int error = 0;
  if (comm.rank() == 0) {
    std::vector<std::string> names;
    error = files.make_dir(place_.dir);
    if (!error) error = files.sync_dir(std::filesystem::path(place_.dir).parent_path().string());  // its name too must last
    if (error == EEXIST) error = 0;
    if (!error) error = files.list(place_.dir, &names);
    for (const auto& name : names)
      if (name.starts_with(".tmp-") || name.starts_with(".del-") || name.starts_with("latest.tmp-"))
        remove_tree(files, place_.dir + "/" + name);
  }
  if (const auto worst = largest(comm, error))
    throw StorageError(place_.dir + ": cannot be used for checkpoints: " + std::strerror(static_cast<int>(worst)));
}

bool CheckpointStore::save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step, std::string* why) {
  begin({step, state, small, fixed, best_step}, false);
  settle();
  return *advance_save(true, why);
}

void CheckpointStore::begin_save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step) {
  begin({step, state, small, fixed, best_step}, true);
  if (std::any_of(state.pieces.begin(), state.pieces.end(), [](const auto& piece) { return piece.data.is_cuda(); })) save_->settle();
}

void CheckpointStore::begin(SaveRequest request, bool whole) {
  TORCH_CHECK(!saving(), "a save of step ", request.step, " while another one is in flight");
  save_ = std::make_unique<CheckpointSave>(place_, std::move(request), whole, memory_);
}

double CheckpointStore::settle() {
  if (!save_) return 0;
  const auto start = std::chrono::steady_clock::now();
  save_->settle();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::optional<bool> CheckpointStore::advance_save(bool wait, std::string* why) {
  if (!save_) return std::nullopt;
  const auto outcome = save_->advance(wait);
  if (outcome == CheckpointSave::Outcome::kInFlight) return std::nullopt;
  if (why) *why = save_->why();
  save_seconds_ = save_->seconds();
  save_.reset();
  return outcome == CheckpointSave::Outcome::kSaved;
}

/// Rank 0.
std::vector<int64_t> CheckpointStore::steps_of_owners() {
  auto all = steps();
  int64_t highest = 0;
  for (size_t i = all.size(); i-- > 0;) {  // the oldest first
    int64_t generation = highest;
    try {
      generation = generation_of(read_manifest(place_.files, path(all[i])));
    } catch (const std::exception&) {
      continue;  // it will be found damaged, and said so
    }
    if (generation >= highest) {
      highest = generation;
      continue;
    }
    std::fprintf(stderr, "fmtrain: warning: %s: ignored: a run wrote it after another one had taken over\n", path(all[i]).c_str());
    fenced_.push_back(all[i]);
    all.erase(all.begin() + static_cast<int64_t>(i));
  }
  return all;
}

/// Collective. Rank 0's steps: on shared storage listings may differ between nodes for a minute.
std::vector<int64_t> CheckpointStore::agreed_steps() {
  std::vector<int64_t> all;
  std::string why;
  if (place_.comm.rank() == 0) {
    try {
      all = steps_of_owners();
    } catch (const std::exception& error) {
      why = error.what();
    }
  }
  auto count = at::full({1}, why.empty() ? static_cast<int64_t>(all.size()) : -1, at::kLong);
  place_.comm.broadcast(count, 0).wait();
  if (count.item<int64_t>() < 0) throw StorageError(why.empty() ? place_.dir + ": rank 0 cannot read it" : why);
  all.resize(static_cast<size_t>(count.item<int64_t>()));
  if (!all.empty()) place_.comm.broadcast(at::from_blob(all.data(), {static_cast<int64_t>(all.size())}, at::kLong), 0).wait();
  return all;
}

Json CheckpointStore::load(int64_t step, const StateDict& targets, const Json& fixed) {
  const Json manifest = read_manifest(place_.files, path(step));
  if (manifest.at("step") != step)
    throw CheckpointError(path(step) + ": is the checkpoint of step " + manifest.at("step").dump());
  if (manifest.at("fixed") != fixed) throw of_another_run(path(step), manifest.at("fixed"), fixed);
  const auto wants = [&](const StoredPiece& piece) {
    return std::any_of(targets.pieces.begin(), targets.pieces.end(), [&](const auto& t) { return t.name == piece.name && overlaps(t, piece); });
  };
  std::vector<Json> wanted;
  for (const auto& entry : manifest.at("files"))
    if (may_hold(place_.files, path(step), entry, wants)) wanted.push_back(entry);
  // One or two ranks read a file if all want as many as this one: then the disk is faster without the page cache between.
  const bool few = wanted.size() * static_cast<size_t>(place_.comm.size()) <= 2 * manifest.at("files").size();
  std::vector<std::vector<Elements>> filled(targets.pieces.size());
  for (const auto& entry : wanted) {
    read_shard(place_.files, path(step), entry, few ? From::kDisk : From::kCache,
               [&](const StoredPiece& piece, int64_t first, const float* values, int64_t count) { fill(targets, piece, first, values, count, filled); });
  }
  for (size_t i = 0; i < filled.size(); ++i) {
    const auto& target = targets.pieces[i];
    if (!tiles(filled[i], target.offset, target.offset + target.data.numel()))
      throw CheckpointError(path(step) + ": does not hold every element of " + target.name + " once");
  }
  place_.generation = std::max(place_.generation, generation_of(manifest));
  return manifest.at("state");
}

std::optional<Json> CheckpointStore::load_newest(const StateDict& targets, const Json& fixed) {
  const auto all = agreed_steps();
  std::vector<int64_t> damaged;
  for (const auto step : all) {
    std::string problem;
    int64_t outcome = 0;
    Json small;
    try {
      small = load(step, targets, fixed);
    } catch (const std::exception& error) {
      problem = error.what();
      const auto* other_run = dynamic_cast<const OtherRun*>(&error);
      outcome = other_run ? static_cast<int64_t>(other_run->code()) : kDamaged;
    }
    // Outcome, and which rank is the first with a problem, in one exchange.
    auto worst = at::tensor({outcome, int64_t{problem.empty() ? 0 : place_.comm.size() - place_.comm.rank()}});
    place_.comm.all_reduce(worst, ReduceOp::kMax).wait();
    const auto agreed = worst[0].item<int64_t>();
    if (agreed > kDamaged)
      throw Error(static_cast<ExitCode>(agreed), outcome == agreed ? problem : path(step) + ": was written by another run");
    if (agreed == 0) {
      set_aside(damaged);
      return small;
    }
    if (worst[1].item<int64_t>() == place_.comm.size() - place_.comm.rank())
      std::fprintf(stderr, "fmtrain: warning: %s; trying an older checkpoint\n", problem.c_str());
    damaged.push_back(step);
  }
  if (!all.empty()) throw CheckpointError(place_.dir + ": none of " + std::to_string(all.size()) + " checkpoints is valid");
  return std::nullopt;
}

void CheckpointStore::must_fit(const StateDict& state) const {
  if (const auto problem = try_room(place_, state); !problem.empty()) throw StorageError(problem + "; make room or choose another run.dir");
}

void CheckpointStore::prune(int64_t best_step) {
  if (place_.comm.rank() == 0) delete_surplus(place_, {best_step});
}

void CheckpointStore::set_aside(const std::vector<int64_t>& damaged) {
  place_.comm.barrier();  // nobody reads them any more
  if (place_.comm.rank() != 0) return;
  fenced_.insert(fenced_.end(), damaged.begin(), damaged.end());
  for (const auto step : std::exchange(fenced_, {})) place_.files.rename(path(step), bad_name(place_.dir, step));
}

}  // namespace fmtrain

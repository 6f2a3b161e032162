#include "runtime/checkpoint/save.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/shard.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr int kNotOurs = 1 << 16;      ///< beside errno values: the run directory is another run's now
constexpr double kSpaceFactor = 1.1;  ///< of the bytes of a checkpoint, which must be free

std::string hash_text(int64_t high, int64_t low) {
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high), static_cast<unsigned long long>(low));
  return text;
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

}  // namespace

int64_t largest(Communicator& comm, int64_t value) {
  auto shared = at::full({1}, value, at::kLong);
  comm.all_reduce(shared, ReduceOp::kMax).wait();
  return shared.item<int64_t>();
}

namespace {

/// Collective. Room for the shards of all ranks, of `bytes` here, and a tenth more: "", or what is missing.
std::string missing_space(const SavePlace& place, int64_t bytes) {
  auto sum = at::full({1}, bytes, at::kLong);
  place.comm.all_reduce(sum, ReduceOp::kSum).wait();
  const auto needed = static_cast<int64_t>(std::ceil(static_cast<double>(sum.item<int64_t>()) * kSpaceFactor));
  int64_t free = 0;
  const int error = place.comm.rank() == 0 ? guarded([&] { return place.files.space(place.dir, &free); }) : 0;
  auto known = at::tensor({int64_t{error}, error ? 0 : free});
  place.comm.all_reduce(known, ReduceOp::kMax).wait();
  const auto worst = static_cast<int>(known[0].item<int64_t>());
  free = known[1].item<int64_t>();
  if (worst) return std::string("cannot tell how much space is free: ") + std::strerror(worst);
  return free >= needed ? "" : "it needs " + std::to_string(needed) + " bytes, " + std::to_string(free) + " are free";
}

}  // namespace

void delete_surplus(const SavePlace& place, const std::vector<int64_t>& spared) {
  if (place.lock && !place.lock->still_mine()) return;
  guarded([&] {
    const auto all = checkpoint_steps(place.files, place.dir);
    for (size_t i = static_cast<size_t>(place.keep); i < all.size(); ++i)
      if (std::find(spared.begin(), spared.end(), all[i]) == spared.end()) delete_checkpoint(place.files, place.dir, all[i]);
    return 0;
  });
}

std::string try_room(const SavePlace& place, const StateDict& state) {
  const int64_t bytes = shard_bytes(state);
  if (const auto problem = missing_space(place, bytes); !problem.empty()) return place.dir + ": no room for checkpoints: " + problem;
  const std::string file = place.dir + "/.tmp-room-" + std::to_string(place.comm.rank());
  const int error = guarded([&] {
    int fd = -1;
    if (const int failed = place.files.create_exclusive(file, &fd)) return failed;
    const int reserved = place.files.reserve(fd, bytes), closed = place.files.close(fd);
    place.files.unlink(file);
    return reserved == ENOSYS || reserved == EOPNOTSUPP || reserved == EINVAL ? closed : reserved;  // not every file system can
  });
  const auto worst = static_cast<int>(largest(place.comm, error));
  if (worst == 0) return "";
  return place.dir + ": no room for checkpoints of " + std::to_string(bytes) + " bytes a rank: " + std::strerror(worst);
}

CheckpointSave::CheckpointSave(const SavePlace& place, SaveRequest request, bool whole, at::Tensor& memory)
    : place_(place), request_(std::move(request)), nonce_(largest(place.comm, main() ? int64_t{std::random_device{}()} : 0)) {
  if (largest(place.comm, main() && keeps_valid() ? 1 : 0) == 1) outcome_ = Outcome::kSaved;
  else if (const auto problem = missing_space(place, shard_bytes(request_.state)); !problem.empty()) {
    outcome_ = Outcome::kFailed;
    why_ = place.dir + ": no checkpoint of step " + std::to_string(request_.step) + ": " + problem;
  } else if (agreed(guarded([&] { return prepare(whole, memory); }), "write")) start(&CheckpointSave::write);
}

/// The parts in their order, and what each is called when it fails.
CheckpointSave::Outcome CheckpointSave::advance(bool wait) {
  while (outcome_ == Outcome::kInFlight) {
    const bool ended = running_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    if (!wait && largest(place_.comm, ended ? 0 : 1) == 1) break;
    part_ended(running_.get());
  }
  return outcome_;
}

void CheckpointSave::start(Part part) {
  running_ = std::async(std::launch::async, [this, part] {
    const auto start = std::chrono::steady_clock::now();
    const int error = guarded([&] { return (this->*part)(); });
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return error;
  });
}

void CheckpointSave::part_ended(int error) {
  switch (part_++) {
    case 0:
      if (!agreed(error, "write")) return;
      gather_manifest();
      return start(&CheckpointSave::commit);
    case 1:
      if (agreed(error, "write")) start(&CheckpointSave::read_back);
      return;
    case 2:
      if (agreed(error, "read back")) start(&CheckpointSave::tidy);
      return;
    default: outcome_ = Outcome::kSaved;
  }
}

/// Collective. False, with why() and nothing left in the way, when it failed on some rank.
bool CheckpointSave::agreed(int error, const char* action) {
  const auto worst = static_cast<int>(largest(place_.comm, error));
  if (worst == 0) return true;
  if (worst == kNotOurs) throw Error(ExitCode::kLocked, place_.dir + ": another run has taken this directory over; this one ends without a checkpoint of step " +
                                                           std::to_string(request_.step) + "; leave the directory to that run, or start with another run.dir");
  if (main()) remove_tree(place_.files, temporary());
  why_ = place_.dir + ": cannot " + action + " the checkpoint of step " + std::to_string(request_.step) + ": " + std::strerror(worst);
  outcome_ = Outcome::kFailed;
  return false;
}

/// True when step-N is there already and this run could continue from it. Never removed then: between a removal and the rename
/// of its successor there would be none.
bool CheckpointSave::keeps_valid() {
  try {
    const Json manifest = read_manifest(place_.files, path());
    if (manifest.at("step") != request_.step || manifest.at("fixed") != request_.fixed || generation_of(manifest) < place_.generation) return false;
    verify_checkpoint(place_.files, path());
    return place_.files.sync_dir(place_.dir) == 0;  // the save that made it may have ended before this
  } catch (const std::exception&) {
    return false;
  }
}

std::string CheckpointSave::temporary() const {
  char nonce[16];
  std::snprintf(nonce, sizeof nonce, "%08llx", static_cast<unsigned long long>(nonce_));
  return place_.dir + "/.tmp-" + std::to_string(request_.step) + "-" + nonce;
}

int CheckpointSave::prepare(bool whole, at::Tensor& memory) {
  image_ = std::make_unique<ShardImage>(std::exchange(request_.state, {}), whole, memory);
  return main() ? make_temporary() : 0;
}

int CheckpointSave::make_temporary() {
  if (place_.lock && !place_.lock->still_mine()) return kNotOurs;
  return place_.files.make_dir(temporary());
}

int CheckpointSave::write() {
  return write_shard(place_.files, temporary() + "/" + shard_name(place_.comm.rank(), place_.comm.size()), *image_, facts_);
}

/// Collective. With the list of files from every rank's facts.
void CheckpointSave::gather_manifest() {
  const int ranks = place_.comm.size();
  const int64_t longest = largest(place_.comm, static_cast<int64_t>(facts_.size()));
  auto table = at::zeros({ranks, longest}, at::kLong);
  std::copy(facts_.begin(), facts_.end(), table[place_.comm.rank()].data_ptr<int64_t>());
  place_.comm.all_reduce(table.view({-1}), ReduceOp::kSum).wait();
  Json list = Json::array();
  for (int r = 0; r < ranks; ++r) {
    const auto* row = table[r].data_ptr<int64_t>();
    Json file{{"name", shard_name(r, ranks)}, {"bytes", row[0]}, {"blocks", Json::array()}};
    for (int64_t b = 0; b * kCheckpointBlock < row[0]; ++b) file["blocks"].push_back(hash_text(row[1 + 2 * b], row[2 + 2 * b]));
    list.push_back(file);
  }
  manifest_ = {{"format", kCheckpointFormat}, {"step", request_.step}, {"ranks", ranks}, {"fixed", request_.fixed}, {"state", request_.small},
               {"files", list}};
  if (place_.generation > 0) manifest_["generation"] = place_.generation;
}

/// The temporary directory becomes step-N. A step-N that could not be kept is set aside only now, and put back on failure.
int CheckpointSave::commit() {
  if (!main()) return 0;
  FileOps& files = place_.files;
  const std::string aside = bad_name(place_.dir, request_.step);
  if (const int error = replace_file(files, temporary() + "/manifest.json", manifest_text(manifest_))) return error;
  if (place_.lock && !place_.lock->still_mine()) return kNotOurs;
  const int moved = files.rename(path(), aside);
  if (moved != 0 && moved != ENOENT) return moved;
  if (const int error = files.rename(temporary(), path())) {
    if (moved == 0) files.rename(aside, path());
    return error;
  }
  return files.sync_dir(place_.dir);
}

/// Reads what was written, each rank another rank's file: of a machine other than its own where the ranks of a machine follow
/// each other, so that the answer does not come from the memory of the machine that wrote.
int CheckpointSave::read_back() {
  const int ranks = place_.comm.size(), other = (place_.comm.rank() + ranks / 2) % ranks;
  try {
    if (main()) read_manifest(place_.files, path());
    verify_file(place_.files, path(), manifest_.at("files").at(static_cast<size_t>(other)));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fmtrain: warning: %s\n", error.what());
    return EIO;
  }
}

/// The checkpoint is there, and was read back, whatever happens here: `latest` is a hint for people, and what is not deleted now
/// is deleted later.
int CheckpointSave::tidy() {
  if (!main()) return 0;
  const std::string hint = place_.dir + "/latest";
  if (const int error = guarded([&] { return replace_file(place_.files, hint, "step-" + std::to_string(request_.step) + "\n"); }))
    std::fprintf(stderr, "fmtrain: warning: %s: cannot write: %s\n", hint.c_str(), std::strerror(error));
  delete_surplus(place_, {request_.best_step, request_.step});
  return 0;
}

}  // namespace fmtrain

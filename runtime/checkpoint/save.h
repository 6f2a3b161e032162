// One save of a checkpoint, by the protocol of docs/checkpoint-format.md. What waits for storage runs in a thread that makes no
// call to a communicator; what the ranks have to agree on happens in advance(), between two steps of training.
#pragma once
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/checkpoint/shard_image.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/file_ops.h"
#include "runtime/run_lock.h"

namespace fmtrain {

/// Where a save goes, and what stays there.
struct SavePlace {
  std::string dir;  ///< RUN/checkpoints
  FileOps& files;
  Communicator& comm;
  int64_t keep = 3;           ///< newest checkpoints that are kept
  RunLock* lock = nullptr;    ///< rank 0: nothing is published or deleted once it is another's; none: not guarded
  int64_t generation = 0;     ///< of the owner, for the manifest
};

struct SaveRequest {
  int64_t step = 0;
  StateDict state;         ///< of this rank; its memory must not change until settle() has returned
  Json small, fixed;       ///< rank 0's count
  int64_t best_step = -1;  ///< kept too
};

/// Collective. The largest of the ranks' values.
int64_t largest(Communicator& comm, int64_t value);

/// Deletes checkpoints that are neither among the newest `keep` nor of the steps `spared`; what cannot be deleted stays until next
/// time.
void delete_surplus(const SavePlace& place, const std::vector<int64_t>& spared);

/// Collective, before the first update: takes the bytes of a checkpoint of `state` from the disk on every rank and gives them back,
/// for a quota shows only when it is used. "" on all ranks, or what is wrong.
std::string try_room(const SavePlace& place, const StateDict& state);

class CheckpointSave {
 public:
  enum class Outcome { kInFlight, kSaved, kFailed };

  /// Collective. Nothing is touched unless 1.1 times the bytes are free; an intact step-N of the same run ends the save at once.
  /// `whole`, `memory`: of ShardImage.
  CheckpointSave(const SavePlace& place, SaveRequest request, bool whole, at::Tensor& memory);
  /// Waits for this rank's thread.
  ~CheckpointSave() { if (image_) image_->give_up(); }
  /// Copies of the state what the thread has not, of a GPU all of it; at once where there is memory for two blocks only.
  void settle() { if (image_ && outcome_ == Outcome::kInFlight) image_->settle(); }
  /// Collective. Parts follow each other once all ranks have ended the last one: write the shard, write the manifest and rename,
  /// read back, delete what is not kept. `wait`: until the save is over. Storage errors never throw: one rank's is every rank's. Throws Error with kLocked, on all
  /// ranks, when the lock is another run's.
  Outcome advance(bool wait);
  /// After kFailed: what, where, and why.
  const std::string& why() const { return why_; }
  /// That this rank worked on it, in the thread.
  double seconds() const { return seconds_; }

 private:
  using Part = int (CheckpointSave::*)();

  bool main() const { return place_.comm.rank() == 0; }
  std::string path() const { return place_.dir + "/step-" + std::to_string(request_.step); }
  std::string temporary() const;
  bool keeps_valid();
  bool agreed(int error, const char* action);
  void start(Part part);
  void part_ended(int error);
  void gather_manifest();
  int prepare(bool whole, at::Tensor& memory);
  int make_temporary();
  int write();
  int commit();
  int read_back();
  int tidy();

  const SavePlace& place_;
  SaveRequest request_;
  int64_t nonce_;  ///< rank 0's, in the name of the temporary directory: no two saves ever share one
  std::unique_ptr<ShardImage> image_;  ///< none if nothing is to be written
  Outcome outcome_ = Outcome::kInFlight;
  std::string why_;
  std::vector<int64_t> facts_;  ///< of this rank's file (shard.h)
  Json manifest_;
  size_t part_ = 0;
  double seconds_ = 0;        ///< written by the thread, read after it
  std::future<int> running_;  ///< last: its end is waited for before anything above goes
};

}  // namespace fmtrain

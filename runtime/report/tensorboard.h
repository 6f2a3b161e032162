// TensorBoard event files, scalars only: TFRecord framing around hand-coded Event messages (tensorflow/core/util/event.proto
// and tensorflow/core/framework/summary.proto define the field numbers).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

using Scalars = std::vector<std::pair<std::string, double>>;  ///< tag, value

/// What a line of log.jsonl shows: train/loss, train/lr, train/grad_norm, train/samples_per_s. Values that are null are left out.
Scalars step_scalars(const Json& line);
/// What a line of eval.jsonl shows: eval/SPLIT/loss and each number in metrics as eval/SPLIT/NAME.
Scalars evaluation_scalars(const Json& line);

/// length (u64), masked CRC-32C of it, data, masked CRC-32C of the data; little-endian.
std::string tf_record(std::string_view data);
/// One serialised Event. `wall_time` in seconds since 1970.
std::string scalar_event(double wall_time, int64_t step, const Scalars& scalars);

/// dir/events.out.tfevents.SECONDS.HOST.PID.fmtrain, made by the constructor. Each event is one write call, so a killed run
/// loses nothing. Throws StorageError.
class EventFile {
 public:
  /// `first_step` is the first step this file will hold: TensorBoard drops what earlier files say about it and later steps.
  EventFile(const std::string& dir, double wall_time, int64_t first_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  void add(double wall_time, int64_t step, const Scalars& scalars);
  const std::string& path() const { return path_; }

 private:
  void append(const std::string& event);
  std::string path_;
  int fd_ = -1;
};

}  // namespace fmtrain

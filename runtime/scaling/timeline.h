// One rank's update as it was recorded: the work of a leaf, and when which part of the gradient was ready to be sent.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

struct Bucket {
  double bytes = 0;
  double ready = 1;  ///< share of backward that had passed
};

struct Timeline {
  std::string name;                  ///< of what was recorded
  std::string source;                ///< how: which figures are time stamps, which are assumed
  int ranks = 1;                     ///< that took part; 0: made from published figures
  int threads = 1, cores = 0;        ///< a rank's, and the machine's
  int64_t leaves = 1;                ///< of the global batch
  double forward = 0, backward = 0;  ///< seconds of one leaf
  double optimizer = 0;              ///< seconds of one rank's update of all parameters
  double other = 0;                  ///< seconds of an update that no rank shares: data, logs
  double jitter = 0;                 ///< standard deviation of a rank's compute seconds an update, outliers aside
  double parameters = 0;             ///< trained ones
  double parameter_bytes = 4;        ///< of one that is handed out after an update
  double samples = 0, tokens = 0;    ///< of the global batch, on average
  std::vector<Bucket> buckets;       ///< in the order of sending
  double rest = 0;  ///< bytes reduced after backward, as the rows of the word table that the global batch touches
  /// Of ranks on CPUs, which move data only while they wait for it: all reductions follow backward. From stage 1 on parameters
  /// lie once on a node, so stage 3 hands them out after the update, as stages 1 and 2 do.
  bool on_cpu = false;

  double gradient_bytes() const;
};

/// Version 1: {"version": 1, "kind": "fmtrain timeline", "device": "cpu" or "gpu", other members as above}.
Json to_json(const Timeline& timeline);
/// From outside. Throws DataError with the file and the member: 4,096 buckets, 2^20 leaves times buckets, 1e15 of any number and
/// 1 MiB at most; no link is followed. Without a device: a GPU's.
Timeline read_timeline(const std::string& path);

/// The same gradient in buckets of about `bytes`, each ready when its last part is.
Timeline with_buckets(const Timeline& timeline, double bytes);

}  // namespace fmtrain

// Reads the batches of a fixed sequence ahead of their use, on one thread.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/data/dataset.h"

namespace fmtrain {

class Loader {
 public:
  /// `next_ids` yields the ids of the next batch, or nothing at the end; it is called from one thread only. depth 0: no thread,
  /// batches are read when asked for.
  Loader(const Dataset& dataset, std::function<std::optional<std::vector<int64_t>>()> next_ids, int depth = 2);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  /// The next batch, or nothing at the end. Rethrows what the reading thread threw.
  std::optional<Batch> next();
  /// Seconds the callers of next() have waited so far.
  double waited() const { return waited_; }

 private:
  void run();
  std::optional<Batch> read_one();
  const Dataset& dataset_;
  std::function<std::optional<std::vector<int64_t>>()> next_ids_;
  size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::optional<Batch>> ready_;
  std::exception_ptr error_;
  bool stop_ = false;
  double waited_ = 0;
  std::thread thread_;
};

}  // namespace fmtrain

#include "runtime/data/loader.h"

#include <chrono>

namespace fmtrain {

Loader::Loader(const Dataset& dataset, std::function<std::optional<std::vector<int64_t>>()> next_ids, int depth)
    : dataset_(dataset), next_ids_(std::move(next_ids)), depth_(static_cast<size_t>(depth)) {
  if (depth > 0) thread_ = std::thread([this] { run(); });
}

Loader::~Loader() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<Batch> Loader::read_one() {
  const auto ids = next_ids_();
  if (!ids) return std::nullopt;
  return dataset_.get(*ids);
}

void Loader::run() {
  bool more = true;
  while (more) {
    std::optional<Batch> batch;
    std::exception_ptr error;
    try {
      batch = read_one();
    } catch (...) {
      error = std::current_exception();
    }
    more = batch.has_value();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return stop_ || ready_.size() < depth_; });
    if (stop_) return;
    error_ = error;
    ready_.push_back(std::move(batch));
    changed_.notify_all();
  }
}

std::optional<Batch> Loader::next() {
  const auto start = std::chrono::steady_clock::now();
  const auto count_wait = [&] { waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  if (depth_ == 0) {
    auto batch = read_one();
    count_wait();
    return batch;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty(); });
  auto batch = std::move(ready_.front());
  if (batch) ready_.pop_front();  // the end stays, so that later calls return it again
  else if (error_) std::rethrow_exception(error_);
  changed_.notify_all();
  count_wait();
  return batch;
}

}  // namespace fmtrain

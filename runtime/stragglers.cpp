#include "runtime/stragglers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace fmtrain {
namespace {

constexpr int64_t kNameBytes = 64;

std::vector<std::string> all_hosts(Communicator& comm, const std::string& host) {
  auto mine = at::zeros({kNameBytes}, at::kByte), all = at::zeros({comm.size() * kNameBytes}, at::kByte);
  std::memcpy(mine.data_ptr(), host.data(), std::min<size_t>(host.size(), kNameBytes - 1));
  comm.all_gather(all, mine).wait();
  std::vector<std::string> names;
  for (int r = 0; r < comm.size(); ++r) names.emplace_back(reinterpret_cast<const char*>(all.data_ptr<uint8_t>()) + r * kNameBytes);
  return names;
}

}  // namespace

Stragglers::Stragglers(Communicator& comm, const std::string& host)
    : comm_(comm), hosts_(all_hosts(comm, host)), slow_(static_cast<size_t>(comm.size()), 0) {}

std::string Stragglers::step(int64_t tokens, double seconds) {
  if (comm_.size() == 1) return "";
  tokens_ += tokens;
  seconds_ += seconds;
  if (++steps_ % kSteps != 0) return "";
  auto mine = at::full({1}, seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0.0, at::kDouble);  // 0: had nothing to do
  auto all = at::zeros({comm_.size()}, at::kDouble);
  comm_.all_gather(all, mine).wait();
  tokens_ = 0;
  seconds_ = 0;
  const double* speeds = all.data_ptr<double>();
  const double best = *std::max_element(speeds, speeds + comm_.size());
  std::string text;
  for (int r = 0; r < comm_.size(); ++r) {
    auto& slow = slow_[static_cast<size_t>(r)];
    slow = speeds[r] > 0 && speeds[r] < kSlow * best ? slow + 1 : 0;
    if (slow != kReports) continue;
    char line[160];
    std::snprintf(line, sizeof line, "rank %d on %s is slow: %.0f tokens/s against %.0f of the fastest rank, over %lld steps", r,
                  hosts_[static_cast<size_t>(r)].c_str(), speeds[r], best, static_cast<long long>(kReports * kSteps));
    text += (text.empty() ? "" : "; ") + std::string(line);
  }
  return text;
}

}  // namespace fmtrain

#include "launch/operation_times.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "launch/bench.h"

namespace fmtrain {
namespace {

struct Entry {
  std::string name;
  double start, children;
};

thread_local std::vector<Entry> stack;
thread_local std::map<std::string, double> own_seconds;

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& f) {
  stack.push_back({f.name(), bench_clock(), 0});
  return nullptr;
}

void end(const at::RecordFunction&, at::ObserverContext*) {
  const Entry e = stack.back();
  stack.pop_back();
  const double spent = bench_clock() - e.start;
  own_seconds[e.name] += spent - e.children;
  if (!stack.empty()) stack.back().children += spent;
}

}  // namespace

OperationTimes::OperationTimes() {
  own_seconds.clear();
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&begin, &end).needsIds(false));
}

OperationTimes::~OperationTimes() { at::removeCallback(handle_); }

std::vector<std::pair<std::string, double>> OperationTimes::shares() const {
  std::vector<std::pair<std::string, double>> rows(own_seconds.begin(), own_seconds.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  const double total = std::accumulate(rows.begin(), rows.end(), 0.0, [](double sum, const auto& r) { return sum + r.second; });
  for (auto& row : rows) row.second /= total;
  return rows;
}

}  // namespace fmtrain

#include "runtime/config/faults.h"

#include <algorithm>
#include <tuple>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxLines = 50;

}  // namespace

std::string Place::row() const { return line == 0 ? source : source + ":" + std::to_string(line); }

std::string Place::text() const { return line == 0 ? source : row() + ":" + std::to_string(column); }

void Faults::add(const Place& place, const std::string& path, const std::string& what) {
  list_.push_back({place, place.text() + ": " + (path.empty() ? "" : path + ": ") + what});
}

void Faults::raise() const {
  auto sorted = list_;
  const auto order = [](const Fault& f) { return std::make_tuple(f.place.line == 0, f.place.line, f.place.column); };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) { return order(a) < order(b); });
  std::string all;
  const size_t shown = sorted.size() > kMaxLines ? kMaxLines - 1 : sorted.size();
  for (size_t i = 0; i < shown; ++i) all += (i == 0 ? "" : "\n") + sorted[i].line;
  if (sorted.size() > shown) all += "\n... and " + std::to_string(sorted.size() - shown) + " more";
  throw ConfigError(all);
}

}  // namespace fmtrain

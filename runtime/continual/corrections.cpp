#include "runtime/continual/corrections.h"

#include <algorithm>
#include <numeric>

namespace fmtrain {

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> ascending(p.size());
  std::iota(ascending.begin(), ascending.end(), size_t{0});
  std::stable_sort(ascending.begin(), ascending.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;  // adjusted values keep the order of p
  for (size_t i = 0; i < ascending.size(); ++i) {
    largest = std::max(largest, std::min(1.0, p[ascending[i]] * static_cast<double>(p.size() - i)));
    adjusted[ascending[i]] = largest;
  }
  return adjusted;
}

}  // namespace fmtrain

#include "runtime/scaling/spread.h"

#include <algorithm>

#include "runtime/percentile.h"

namespace fmtrain {

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {percentile(values, 0.5), values.front(), values.back()};
}

bool apart(const Spread& a, const Spread& b) { return a.most < b.least || b.most < a.least; }

double chance_apart(int a, int b) {
  double orders = 1;  // ways in which a + b values can be dealt to the two sides
  for (int i = 1; i <= a; ++i) orders *= static_cast<double>(b + i) / i;
  return std::min(1.0, 2 / orders);
}

Json to_json(const Spread& interval) {
  return {{"median", interval.median}, {"min", interval.least}, {"max", interval.most}};
}

}  // namespace fmtrain

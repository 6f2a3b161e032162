// Repeated measurements of one figure, and when two of them differ.
#pragma once
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// In the figure's own unit.
struct Spread {
  double median = 0, least = 0, most = 0;
};

/// Of at least one value; the median as numpy.median gives it.
Spread spread_of(std::vector<double> values);
/// Beyond the noise: every value of one lies above every value of the other. Of n and n values without a difference that
/// happens with probability 2 n!² / (2n)!, which is 1/10 for three repetitions and 1/126 for five.
bool apart(const Spread& a, const Spread& b);
/// That probability, for `a` and `b` repetitions.
double chance_apart(int a, int b);
Json to_json(const Spread& interval);

}  // namespace fmtrain

// McNemar's test: do two classifiers differ on the same examples? Only those count on which one is right and the other wrong.
#pragma once
#include <cstdint>

namespace fmtrain {

struct McNemar {
  int64_t b = 0, c = 0;                        ///< only the champion is right; only the challenger is right
  double exact_p = 1;                          ///< two-sided: min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2)
  double chi2 = 0, p = 1;                      ///< (b - c)^2 / (b + c), one degree of freedom
  double corrected_chi2 = 0, corrected_p = 1;  ///< with continuity correction: max(0, |b - c| - 1)^2 / (b + c)
};

McNemar mcnemar(int64_t b, int64_t c);

}  // namespace fmtrain

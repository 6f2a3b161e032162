// How well does a series of models keep what it knew, and how soon does it know what comes?
//
//   R[i][j]: score on test j after cycle i; b[j]: score on test j before any training on it. T: the last cycle.
//   backward transfer  mean over j < T of R[T][j] - R[j][j]     below 0: later cycles cost what earlier ones learnt
//   forward transfer   mean over j > 1 of R[j-1][j] - b[j]      above 0: earlier cycles help with what is still to come
//   forgetting of j    max over i < T of R[i][j], minus R[T][j], for j < T; and its mean
//
// Transfer: Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, section 2. Forgetting:
// Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, section 4. Both know every cell; here a cell that is
// missing takes its difference out of the mean, or its score out of the maximum.
#pragma once
#include <optional>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// Fractions. Test j is the one that came with cycle j, both from 0 here. Rows may differ in length; what is not there is
/// missing.
struct ScoreMatrix {
  std::vector<std::vector<std::optional<double>>> after;  ///< R, a row a cycle
  std::vector<std::optional<double>> before;              ///< b, of the tests
};

/// Nothing where no difference is known.
struct ContinualMeasures {
  std::optional<double> backward_transfer, forward_transfer, mean_forgetting;
  std::optional<double> largest_forgetting;       ///< what the gate's limit is about
  std::vector<std::optional<double>> forgetting;  ///< of the tests before the last cycle's: T - 1
};
ContinualMeasures continual_measures(const ScoreMatrix& scores);

/// {"backward_transfer", "forward_transfer", "mean_forgetting", "largest_forgetting", "forgetting": [...]}; null: nothing.
Json measures_json(const ContinualMeasures& measures);
/// Rows of R; null: missing. What the page's "matrix" takes.
Json matrix_json(const ScoreMatrix& scores);

}  // namespace fmtrain

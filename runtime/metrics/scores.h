// Precision, recall and F1 from three integers, their averages, and rows of the tables every report shows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// What a class, an entity type, or a whole set counts: P = correct / predicted, R = correct / truth,
/// F1 = 2 correct / (predicted + truth). 0 where the denominator is 0.
struct Tally {
  int64_t correct = 0, predicted = 0, truth = 0;
  double precision() const;
  double recall() const;
  double f1() const;
  int undefined() const;  ///< how many of precision and recall have denominator 0
  bool absent() const { return predicted == 0 && truth == 0; }
  Tally& operator+=(const Tally& other);
};

struct Scores {
  double precision = 0, recall = 0, f1 = 0;
};

/// Averages over the classes that occur in the truth or in the predictions, as scikit-learn and seqeval choose them.
struct Averages {
  Scores micro;     ///< of the summed counts
  Scores macro;     ///< mean over classes of P, of R and of F1 (not the F1 of mean P and mean R)
  Scores weighted;  ///< mean weighted by truth; its F1 may lie outside [P, R]
  int64_t truth = 0;
  int undefined = 0;  ///< cells of the classes' rows that had denominator 0 and count as 0
};
Averages averages(const std::vector<Tally>& classes);

/// Rows of a table: {"label", "precision", "recall", "f1", "support"}; an average has "average" (its name) for "label".
Json label_rows(const std::vector<std::string>& names, const std::vector<Tally>& classes);  ///< without absent classes
Json average_row(const char* name, const Scores& scores, int64_t support);
Json accuracy_row(double accuracy, int64_t support);  ///< precision and recall are null, f1 holds the accuracy

/// a / b, 0 when b is 0.
double ratio(int64_t a, int64_t b);

}  // namespace fmtrain

// Published scaling results beside what the model says from their published parameters.
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/scaling/step_model.h"

namespace fmtrain {

struct PublishedCase {
  std::string name, source;  ///< source: where efficiency and parameters stand
  std::string assumed;       ///< what the source does not say and was taken
  std::string why;           ///< where the model is off by more than kPublishedPoints: the reason that is seen
  Timeline timeline;
  Network network;
  Algorithm algorithm = Algorithm::kHierarchical;
  int stage = 0, base = 1, ranks = 1;
  bool weak = true;       ///< else the global batch is the same
  double efficiency = 0;  ///< published: of `ranks` over `base`
};

/// Difference in points of efficiency that counts as agreement.
inline constexpr double kPublishedPoints = 5;
/// Of the nominal rate of every link, the share that is reached: the same for all cases.
inline constexpr double kReached = 0.8;

std::vector<PublishedCase> published_cases();
/// Rate a rank with `ranks` over that with `base`.
double predicted_efficiency(const PublishedCase& one);
/// [{"name", "ranks", "base", "mode", "published", "predicted", "points": difference, "agrees", "source", "assumed", "why"}].
Json published_json();
std::string published_text(const Json& rows);

}  // namespace fmtrain

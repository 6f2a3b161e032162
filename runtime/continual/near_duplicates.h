// Test texts that stand almost word for word in the training data: a hash of the content does not see them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

struct NearDuplicate {
  int64_t test = 0, train = 0;  ///< positions
  double similarity = 0;        ///< estimated share of common word triples (Jaccard), +-0.06 at 0.8
};

/// For each test text the most similar training text of those found, if it is at least `least` similar; by test position.
///
/// MinHash of 64 functions over the triples of words, lower case of ASCII, in 16 bands of 4 (Broder, "On the resemblance and
/// containment of documents", 1997): a pair of similarity 0.8 is compared with probability 0.9998, one of 0.3 with 0.12. Time
/// and memory are linear in the texts: a band's bucket keeps its first 8 training texts. A text of fewer than 3 words is one
/// triple.
std::vector<NearDuplicate> near_duplicates(const std::vector<std::string>& tests, const std::vector<std::string>& train,
                                           double least = 0.8);

}  // namespace fmtrain

// Random samples for the statistics' tests and simulations, the same wherever they are drawn.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/draws.h"

namespace fmtrain {

/// Standard normal numbers of one stream, by Box and Muller.
class Normals {
 public:
  explicit Normals(uint64_t seed) : draws_(seed, 0x74657374, 0) {}
  double next() {
    const double u = draws_.unit(at_), v = draws_.unit(at_ + 1);
    at_ += 2;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  }

 private:
  Draws draws_;
  uint64_t at_ = 0;
};

/// [n, dims], independent.
inline std::vector<float> normal_rows(int64_t n, int64_t dims, uint64_t seed) {
  Normals normals(seed);
  std::vector<float> rows(static_cast<size_t>(n * dims));
  for (auto& value : rows) value = static_cast<float>(normals.next());
  return rows;
}

/// Like embeddings: 8 latent numbers mixed into `dims`, and noise of a tenth; the first latent number is shifted by `shift` of
/// its standard deviation. The mixture is the same for all seeds.
inline std::vector<float> latent_rows(int64_t n, int64_t dims, double shift, uint64_t seed) {
  constexpr int64_t kLatent = 8;
  static const auto mixture = normal_rows(kLatent, 4096, 0xabcdef);
  Normals normals(seed * 2 + 1);
  std::vector<float> rows;
  for (int64_t i = 0; i < n; ++i) {
    double latent[kLatent];
    for (auto& value : latent) value = normals.next();
    latent[0] += shift;
    for (int64_t d = 0; d < dims; ++d) {
      double sum = 0.1 * normals.next();
      for (int64_t k = 0; k < kLatent; ++k) sum += latent[k] * static_cast<double>(mixture[static_cast<size_t>(k * 4096 + d)]);
      rows.push_back(static_cast<float>(sum));
    }
  }
  return rows;
}

}  // namespace fmtrain

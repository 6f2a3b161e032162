#include "models/initial_values.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <numbers>

#include "models/ops/philox.h"

namespace fmtrain {
namespace {

/// FNV-1a, 64 bits.
uint64_t name_hash(const std::string& name) {
  uint64_t h = 14695981039346656037ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

/// (0, 1]
double uniform(uint32_t bits) { return (bits + 1.0) / 4294967296.0; }

}  // namespace

void fill_normal(at::Tensor& value, uint64_t seed, const std::string& name, double deviation) {
  const uint64_t h = name_hash(name);
  float* p = value.data_ptr<float>();
  const int64_t n = value.numel();
  at::parallel_for(0, (n + 3) / 4, 4096, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const auto bits = philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(h), static_cast<uint32_t>(h >> 32)},
                                   {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
      for (int64_t k = 0; k < 4 && block * 4 + k < n; ++k) {
        const size_t pair = static_cast<size_t>(k / 2 * 2);
        const double radius = std::sqrt(-2 * std::log(uniform(bits[pair]))), angle = 2 * std::numbers::pi * uniform(bits[pair + 1]);
        p[block * 4 + k] = static_cast<float>(deviation * radius * (k % 2 == 0 ? std::cos(angle) : std::sin(angle)));
      }
    }
  });
}

}  // namespace fmtrain

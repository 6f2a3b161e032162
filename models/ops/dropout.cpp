#include "models/ops/dropout.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <bit>
#include <cmath>

#include "models/ops/multiversion.h"
#include "models/ops/on_gpu.h"
#include "models/ops/philox.h"

namespace fmtrain {
namespace {

constexpr int kLanes = 16;  // blocks computed side by side

struct Counter {
  uint32_t base[kLanes], position[kLanes], sample, step, key0, key1;
};

/// Philox of sixteen counters, as philox4x32() but with the lanes innermost, so that it vectorises.
FMTRAIN_MULTIVERSION
void sixteen_blocks(const Counter& c, uint32_t words[4][kLanes]) {
  uint32_t a[kLanes], b[kLanes], d[kLanes], e[kLanes];
  for (uint32_t i = 0; i < kLanes; ++i) {
    a[i] = c.base[i];
    b[i] = c.position[i];
    d[i] = c.sample;
    e[i] = c.step;
  }
  uint32_t k0 = c.key0, k1 = c.key1;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53} * a[i], p1 = uint64_t{0xCD9E8D57} * d[i];
      a[i] = static_cast<uint32_t>(p1 >> 32) ^ b[i] ^ k0;
      b[i] = static_cast<uint32_t>(p1);
      d[i] = static_cast<uint32_t>(p0 >> 32) ^ e[i] ^ k1;
      e[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int i = 0; i < kLanes; ++i) {
    words[0][i] = a[i];
    words[1][i] = b[i];
    words[2][i] = d[i];
    words[3][i] = e[i];
  }
}

Counter counter_of(const DropoutKey& key, uint32_t sample) {
  Counter c{};
  c.sample = sample;
  c.step = key.step;
  c.key0 = static_cast<uint32_t>(key.seed);
  c.key1 = static_cast<uint32_t>(key.seed >> 32);
  return c;
}

uint32_t base_of(const DropoutKey& key, uint32_t block) { return key.layer << 24 | static_cast<uint32_t>(key.site) << 20 | block; }

FMTRAIN_MULTIVERSION
void mask_of_words(const uint32_t words[4][kLanes], uint32_t threshold, float scale, float* mask) {
  for (int i = 0; i < kLanes; ++i)
    for (int w = 0; w < 4; ++w) {
      mask[i * 8 + w * 2] = (words[w][i] & 0xFFFF) >= threshold ? scale : 0.0f;
      mask[i * 8 + w * 2 + 1] = (words[w][i] >> 16) >= threshold ? scale : 0.0f;
    }
}

void multiply_rows(const float* x, float* y, int64_t rows, int64_t features, const int64_t* positions, const int64_t* samples, const DropoutKey& key) {
  at::parallel_for(0, rows, 16, [&](int64_t first, int64_t last) {
    std::vector<float> mask(static_cast<size_t>(features));
    for (int64_t r = first; r < last; ++r) {
      dropout_mask(key, {static_cast<uint32_t>(positions[r]), static_cast<uint32_t>(samples[r])}, 0, mask);
      for (int64_t f = 0; f < features; ++f) y[r * features + f] = x[r * features + f] * mask[static_cast<size_t>(f)];
    }
  });
}

at::Tensor apply_mask(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key) {
  if (x.is_cuda()) return mask_rows_on_gpu(x.detach(), positions, samples, key);
  const auto on_cpu = x.detach().to(at::kCPU, at::kFloat).contiguous();
  auto y = at::empty_like(on_cpu);
  multiply_rows(on_cpu.data_ptr<float>(), y.data_ptr<float>(), x.size(0), x.size(1), positions.data_ptr<int64_t>(), samples.data_ptr<int64_t>(), key);
  return y.to(x.device());
}

class Dropout final : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples,
                            const DropoutKey& key) {
    ctx->save_for_backward({positions, samples});
    ctx->saved_data["key"] = key.saved();
    return apply_mask(x, positions, samples, key);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto key = DropoutKey::restored(ctx->saved_data["key"].toIntVector());
    return {apply_mask(grads[0], saved[0], saved[1], key), {}, {}, {}};
  }
};

}  // namespace

uint32_t DropoutKey::threshold() const { return static_cast<uint32_t>(std::lround(p * 65536)); }
float DropoutKey::scale() const { return static_cast<float>(1.0 / (1.0 - p)); }

std::vector<int64_t> DropoutKey::saved() const {
  return {std::bit_cast<int64_t>(p), static_cast<int64_t>(seed), step, layer, static_cast<int64_t>(site)};
}

DropoutKey DropoutKey::restored(const std::vector<int64_t>& saved) {
  return {std::bit_cast<double>(saved[0]), static_cast<uint64_t>(saved[1]), static_cast<uint32_t>(saved[2]), static_cast<uint32_t>(saved[3]),
          static_cast<DropoutSite>(saved[4])};
}

void dropout_mask(const DropoutKey& key, DropoutRow row, uint32_t first_block, std::span<float> mask) {
  uint32_t words[4][kLanes];
  float values[kLanes * 8];
  Counter counter = counter_of(key, row.sample);
  std::fill_n(counter.position, kLanes, row.position);
  for (size_t done = 0; done < mask.size(); done += kLanes * 8) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) counter.base[lane] = base_of(key, first_block) + static_cast<uint32_t>(done / 8) + lane;
    sixteen_blocks(counter, words);
    mask_of_words(words, key.threshold(), key.scale(), values);
    std::copy_n(values, std::min<size_t>(kLanes * 8, mask.size() - done), mask.data() + done);
  }
}

void dropout_square(const DropoutKey& key, uint32_t sample, uint32_t first_block, int64_t size, int64_t width, float* mask) {
  uint32_t words[4][kLanes];
  float values[kLanes * 8];
  Counter counter = counter_of(key, sample);
  const int64_t blocks = (size + 7) / 8, all = size * blocks;  // the lanes run on over the ends of rows
  for (int64_t done = 0; done < all; done += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      counter.position[lane] = static_cast<uint32_t>((done + lane) / blocks);
      counter.base[lane] = base_of(key, first_block) + static_cast<uint32_t>((done + lane) % blocks);
    }
    sixteen_blocks(counter, words);
    mask_of_words(words, key.threshold(), key.scale(), values);
    for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, all - done); ++lane)
      std::copy_n(values + lane * 8, 8, mask + (done + lane) / blocks * width + (done + lane) % blocks * 8);
  }
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key) {
  return key.p == 0 ? x : Dropout::apply(x, positions, samples, key);
}

}  // namespace fmtrain

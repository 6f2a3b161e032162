#include "runtime/out_of_memory.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include "runtime/ledger.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Config config_of(int64_t micro, int64_t recompute, int64_t zero) {
  Config config;
  config.batch.global = 36;
  config.batch.micro = micro;
  config.engine.recompute.layers = recompute;
  config.engine.zero = zero;
  return config;
}

TEST(OutOfMemory, KnowsItsErrors) {
  EXPECT_TRUE(is_out_of_memory(std::bad_alloc()));
  EXPECT_TRUE(is_out_of_memory(std::bad_array_new_length()));
  EXPECT_TRUE(is_out_of_memory(c10::OutOfMemoryError(c10::SourceLocation{"", "", 1}, "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")));
  EXPECT_FALSE(is_out_of_memory(std::runtime_error("DefaultCPU")));
}

TEST(OutOfMemory, SaysWhatWasHeldAndAskedAndWhatToChange) {
  start_ledger();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const Booking booking(Purpose::kOptimizer);
  const auto state = at::zeros({3 << 18});
  const rlimit small{rlim_t{1} << 40, before.rlim_max};  // address space: ends only what is asked for below
  ASSERT_EQ(setrlimit(RLIMIT_AS, &small), 0);
  std::string text;
  try {
    const auto more = at::empty({int64_t{1} << 40}, at::kByte);
  } catch (const std::exception& error) {
    EXPECT_TRUE(is_out_of_memory(error)) << error.what();
    text = out_of_memory_text(error, config_of(8, 0, 0));
  }
  setrlimit(RLIMIT_AS, &before);
  EXPECT_THAT(text, StartsWith("out of memory: 1048576.0 MiB more were needed; the tensors of this rank held "));
  EXPECT_THAT(text, HasSubstr("optimizer 3.0 MiB"));
  EXPECT_THAT(text, HasSubstr("; set engine.recompute: full (same result, a third more computing), or batch.micro: 4 instead of 8"));
  const Json ledger = ledger_json();
  EXPECT_EQ(ledger.at("asked"), int64_t{1} << 40);
  EXPECT_EQ(ledger.at("optimizer").at("now"), 3 << 20);
}

TEST(OutOfMemory, AdvisesOnlyWhatCanBeChanged) {
  const std::bad_alloc error;
  EXPECT_THAT(out_of_memory_text(error, config_of(1, 1, 1)), HasSubstr("; start fewer ranks a host"));
  const auto text = out_of_memory_text(error, config_of(4, 1, 2));
  EXPECT_THAT(text, HasSubstr("; set batch.micro: 2 instead of 4"));
  EXPECT_THAT(out_of_memory_text(error, config_of(18, 1, 2)), HasSubstr("batch.micro: 9 instead of 18"));
  EXPECT_THAT(out_of_memory_text(error, config_of(15, 1, 2)), HasSubstr("batch.micro: 6 instead of 15"));
  EXPECT_THAT(text, Not(HasSubstr("engine.")));
}

/// Needs of a model whose leaves keep nearly all: a sample has 64 tokens.
MemoryNeeds needs_of(int64_t global) {
  MemoryNeeds n;
  n.shape.vocab_size = 100;
  n.shape.hidden_size = 768;
  n.shape.layers = n.trained_layers = 12;
  n.shape.heads = 12;
  n.shape.intermediate_size = 3072;
  n.trained = n.small = n.largest_tensor = 1000;
  n.global = global;
  n.largest_leaf = [](int64_t micro) { return LeafSize{64 * micro, 64 * 64 * micro}; };
  return n;
}

TEST(OutOfMemory, AdvisesTheLargestLeafThatFits) {
  const MemoryNeeds needs = needs_of(64);
  const FitSetting now{0, 0, 32};
  const auto total = [&](int64_t micro) { return predict(needs, {0, 0, micro}).total(); };
  ASSERT_GT(total(32), total(16));
  EXPECT_EQ(fitting_micro(needs, now, total(8)), 8);
  EXPECT_EQ(fitting_micro(needs, now, total(8) - 1), 4);
  EXPECT_EQ(fitting_micro(needs, now, int64_t{1} << 50), 16) << "what failed fits by the prediction: the next smaller one";
  EXPECT_EQ(fitting_micro(needs, now, 1), 0);
  EXPECT_THAT(out_of_memory_text(std::bad_alloc(), config_of(18, 1, 2), 4), HasSubstr("batch.micro: 4 instead of 18"));
}

TEST(OutOfMemory, OfAGpuHasItsNumbers) {
  const c10::OutOfMemoryError error(c10::SourceLocation{"", "", 1},
                                    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1 GiB is free. And more");
  EXPECT_THAT(out_of_memory_text(error, config_of(8, 0, 0)), StartsWith("out of memory on the GPU: CUDA out of memory. Tried to allocate 2.00 GiB"));
}

}  // namespace
}  // namespace fmtrain

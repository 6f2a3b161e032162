// Reading ahead changes nothing but the time.
#include "runtime/data/loader.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <atomic>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

/// Samples of one token that is the sample's id; id 99 is damaged.
class Numbers final : public Dataset {
 public:
  const DatasetInfo& info() const override { return info_; }
  int64_t size() const override { return 100; }
  std::span<const int32_t> lengths() const override { return {}; }
  std::span<const int32_t> valid_targets() const override { return {}; }
  std::span<const int32_t> texts() const override { return {}; }
  Batch get(std::span<const int64_t> ids) const override {
    Batch b;
    b.tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong);
    if (ids[0] == 99) throw DataError("sample 99 is damaged");
    return b;
  }
  SampleWords words(int64_t) const override { return {}; }
  int32_t label(int64_t) const override { return 0; }

 private:
  DatasetInfo info_;
};

/// first, first + 1, ... to last.
auto ids_to(int64_t last, std::atomic<int64_t>& next) {
  return [last, &next]() -> std::optional<std::vector<int64_t>> {
    if (next > last) return std::nullopt;
    return std::vector<int64_t>{next++};
  };
}

class Depth : public testing::TestWithParam<int> {};

TEST_P(Depth, GivesTheSequenceAndThenTheEnd) {
  const Numbers data;
  std::atomic<int64_t> next{0};
  Loader loader(data, ids_to(20, next), GetParam());
  for (int64_t i = 0; i <= 20; ++i) {
    const auto batch = loader.next();
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->tokens[0].item<int64_t>(), i);
  }
  for (int again = 0; again < 2; ++again) EXPECT_FALSE(loader.next());
  EXPECT_GE(loader.waited(), 0);
}

TEST_P(Depth, AnErrorComesAfterTheBatchesBeforeIt) {
  const Numbers data;
  std::atomic<int64_t> next{97};
  Loader loader(data, ids_to(99, next), GetParam());
  for (const int64_t i : {97, 98}) EXPECT_EQ(loader.next()->tokens[0].item<int64_t>(), i);
  EXPECT_THROW(loader.next(), DataError);
}

TEST_P(Depth, EndsWhileItsThreadWaits) {
  const Numbers data;
  std::atomic<int64_t> next{0};
  {
    Loader loader(data, ids_to(98, next), GetParam());
    while (GetParam() > 0 && next <= GetParam()) std::this_thread::yield();  // the queue is full and one batch waits for room
  }
  EXPECT_EQ(next, GetParam() > 0 ? GetParam() + 1 : 0);  // it has read no further
}

INSTANTIATE_TEST_SUITE_P(Loader, Depth, testing::Values(0, 1, 2, 3, 4));

}  // namespace
}  // namespace fmtrain

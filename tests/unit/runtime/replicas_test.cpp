#include "runtime/replicas.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <atomic>
#include <random>

#include "comm/thread_communicator.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;
using testing::Not;

/// What `ranks` ranks say when bit `bit` of `element` differs on rank `odd` (-1: nowhere); "" when nothing.
std::string check(int ranks, int odd, int64_t element = 0, int bit = 0) {
  std::string said;
  std::atomic<int> thrown{0};
  run_ranks(ranks, [&](Communicator& comm) {
    std::vector<NamedParameter> parameters{{"a", at::arange(35, at::kFloat).view({5, 7})}, {"b", at::ones({16})}};
    if (comm.rank() == odd) reinterpret_cast<uint32_t*>(parameters[element / 35].value.data_ptr<float>())[element % 35] ^= 1u << bit;
    try {
      check_replicas(parameters, comm, "node" + std::to_string(comm.rank()));
    } catch (const NumericError& error) {
      ++thrown;
      if (comm.rank() == 0) said = error.what();
    }
  });
  EXPECT_EQ(thrown, said.empty() ? 0 : ranks) << "all ranks throw, or none";
  return said;
}

TEST(Replicas, EqualOnesPass) {
  for (const int ranks : {1, 2, 3, 8}) EXPECT_EQ(check(ranks, -1), "");
}

TEST(Replicas, OneFlippedBitNamesItsRank) {
  std::mt19937 random(1);
  for (int i = 0; i < 150; ++i) {
    const int ranks = i % 3 == 0 ? 3 : i % 3 == 1 ? 4 : 8, odd = static_cast<int>(random() % static_cast<unsigned>(ranks));
    const auto said = check(ranks, odd, static_cast<int64_t>(random() % 51), static_cast<int>(random() % 32));
    const std::string name = "rank " + std::to_string(odd) + " on node" + std::to_string(odd);
    ASSERT_THAT(said, HasSubstr("different: " + name + ". "));
  }
}

TEST(Replicas, OfTwoBothAreNamed) { EXPECT_THAT(check(2, 1), HasSubstr("rank 0 on node0")); }

}  // namespace
}  // namespace fmtrain

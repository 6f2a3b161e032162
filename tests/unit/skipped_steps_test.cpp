// NaN and infinity in the loss, in the gradient, or in what a rank reads: all ranks skip the same step, keep the same parameters, and
// the third in a row ends the run.
#include <gmock/gmock.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <atomic>
#include <mutex>
#include <set>

#include "comm/thread_communicator.h"
#include "runtime/engine/engine.h"
#include "runtime/errors.h"
#include "runtime/finite_check.h"
#include "runtime/hash.h"
#include "tests/unit/small_bert.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

enum class Fault { kNanLoss, kInfiniteLoss, kNanGradient, kInfiniteGradient, kInput };

/// A loss of the same value whose gradient for one weight is infinite, or NaN.
at::Tensor with_bad_gradient(const at::Tensor& loss, TaskModel& model, bool nan) {
  const auto weight = model.parameters()[5].value;
  const auto root = at::sqrt((weight - weight.detach()).sum());  // of 0, where the slope is infinite
  return loss + (nan ? root * 0.0 : root);
}

/// The loss of a leaf on the rank that has the fault.
Loss broken(TaskModel& model, const Batch& batch, const Pass& pass, Fault fault) {
  Loss loss = model.loss(batch, pass);
  switch (fault) {
    case Fault::kNanLoss: loss.sum = loss.sum * std::numeric_limits<double>::quiet_NaN(); break;
    case Fault::kInfiniteLoss: loss.sum = loss.sum * std::numeric_limits<double>::infinity(); break;
    case Fault::kNanGradient: loss.sum = with_bad_gradient(loss.sum, model, true); break;
    case Fault::kInfiniteGradient: loss.sum = with_bad_gradient(loss.sum, model, false); break;
    case Fault::kInput: {  // ids cannot be NaN: the vectors that they stand for can
      const auto poison = at::full({model.config().hidden_size}, std::numeric_limits<float>::quiet_NaN());
      loss.sum = loss.sum + (model.hidden_states(batch, pass) + poison).sum();
    }
  }
  return loss;
}

std::string hash_of(TaskModel& model) {
  std::string all;
  for (const auto& p : model.parameters()) {
    const auto value = p.value.detach().contiguous();
    all += xxh3_hex(value.const_data_ptr(), value.nbytes());
  }
  return all;
}

/// What a rank saw of steps 0..n-1.
struct Seen {
  std::vector<bool> applied;
  std::vector<int64_t> bad_leaves;  ///< of step 2
  std::vector<std::string> hashes;  ///< of all parameters after each step
  bool operator==(const Seen&) const = default;
};

/// Four steps; the last rank has the fault in its last leaf of step 2.
Seen run(int stage, int ranks, Fault fault, Precision precision) {
  std::vector<Seen> seen(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    auto config = small_bert();
    config.precision = precision;
    const auto model = make_bert(config, 7);
    const auto engine = stage == 0 ? make_replicated_engine(*model, comm, {}, true) : make_sharded_engine(*model, comm, {}, stage, true);
    model->send_gradients({});  // what a fault adds comes through the graph, so all do
    auto& mine = seen[static_cast<size_t>(comm.rank())];
    const int64_t leaves = kSlots / comm.size(), first = comm.rank() * leaves;
    for (int64_t step = 0; step < 4; ++step) {
      engine->begin_step({kSlots, first, leaves, kTargets});
      for (int64_t i = 0; i < leaves; ++i) {
        const auto batch = leaf(step, first + i);
        const Pass pass{true, 3, step};
        const bool bad = step == 2 && first + i + 1 == kSlots;
        engine->backward(bad ? broken(*model, batch, pass, fault) : model->loss(batch, pass), i + 1 == leaves);
      }
      const auto result = engine->step(1e-2, false);
      mine.applied.push_back(result.applied);
      if (step == 2) mine.bad_leaves = result.bad_leaves;
      comm.barrier();  // stages 1 to 3 may share memory
      mine.hashes.push_back(hash_of(*model));
    }
  });
  for (const auto& rank : seen) EXPECT_EQ(rank, seen[0]) << "the ranks differ";
  return seen[0];
}

class SkippedSteps : public testing::TestWithParam<Fault> {};

TEST_P(SkippedSteps, AreTheSameOnAllRanksAndChangeNothing) {
  const bool in_loss = GetParam() != Fault::kNanGradient && GetParam() != Fault::kInfiniteGradient;
  for (const auto precision : {Precision::kFp32, Precision::kFp16})
    for (const int stage : {0, 1, 2, 3})
      for (const int ranks : {1, 2, 4}) {
        SCOPED_TRACE("stage " + std::to_string(stage) + " on " + std::to_string(ranks) + (precision == Precision::kFp16 ? " fp16" : ""));
        const auto seen = run(stage, ranks, GetParam(), precision);
        EXPECT_THAT(seen.applied, ElementsAre(true, true, false, true));
        if (in_loss) EXPECT_THAT(seen.bad_leaves, ElementsAre(kSlots - 1));
        else EXPECT_THAT(seen.bad_leaves, IsEmpty());
        EXPECT_EQ(seen.hashes[2], seen.hashes[1]);
        EXPECT_NE(seen.hashes[3], seen.hashes[2]);
      }
}

INSTANTIATE_TEST_SUITE_P(Faults, SkippedSteps, testing::Values(Fault::kNanLoss, Fault::kInfiniteLoss, Fault::kNanGradient,
                                                               Fault::kInfiniteGradient, Fault::kInput));

StepResult skipped(std::vector<int64_t> bad_leaves, bool overflow = false) {
  StepResult result;
  result.bad_leaves = std::move(bad_leaves);
  result.overflow = overflow;
  return result;
}

Step some_step() {
  Step step;
  step.epoch = 4;
  step.leaves = {{10, 11}, {20, 21}, {30}, {}};
  return step;
}

TEST(CheckFinite, NamesTheSamplesOfTheBadLeavesElseAll) {
  TrainState state;
  state.step = 6;
  EXPECT_EQ(check_finite(skipped({1, 2}), some_step(), state), "step 7 (epoch 4) was skipped: the loss is not finite; samples 20, 21, 30");
  EXPECT_EQ(check_finite(skipped({}), some_step(), state), "step 7 (epoch 4) was skipped: the gradient is not finite; samples 10, 11, 20, 21, 30");
}

TEST(CheckFinite, TheThirdInARowEndsTheRun) {
  TrainState state;
  StepResult applied;
  applied.applied = true;
  const auto skip = [&](bool overflow = false) { return check_finite(skipped({0}, overflow), some_step(), state); };
  skip();
  skip();
  EXPECT_EQ(check_finite(applied, some_step(), state), "");  // the row is broken
  skip();
  EXPECT_EQ(skip(true), "") << "an overflow is no fault";
  skip();
  state.step = 20;
  try {
    skip();
    FAIL() << "goes on";
  } catch (const NumericError& error) {
    EXPECT_EQ(error.code(), ExitCode::kNumeric);
    EXPECT_THAT(error.what(), StartsWith("loss or gradient was not finite in 3 steps in a row"));
    EXPECT_THAT(error.what(), HasSubstr("the loss, at step 21 (epoch 4); samples 10, 11"));
  }
}

TEST(CheckFinite, AMillionSamplesStayALine) {
  TrainState state;
  Step step;
  step.leaves.assign(1, std::vector<int64_t>(1'000'000, 5));
  const auto text = check_finite(skipped({}), step, state);
  EXPECT_LT(text.size(), 2000u);
  EXPECT_THAT(text, HasSubstr("5, 5 and 999744 more"));
}

}  // namespace
}  // namespace fmtrain

// A leaf that two ranks compute: equal bits when all is well, named ranks when one of them computes wrongly.
#include "runtime/leaf_check.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <mutex>
#include <set>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"
#include "runtime/errors.h"
#include "tests/unit/small_bert.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

enum class Fault { kNone, kLoss, kGradient };

/// What a rank computes that does not work: another loss in the last bit, or the loss with another gradient.
Loss forward(TaskModel& model, const Batch& batch, const Pass& pass, Fault fault) {
  Loss loss = model.loss(batch, pass);
  const auto weight = model.parameters()[7].value;
  if (fault == Fault::kLoss) loss.sum = loss.sum * (1 + 0x1p-22);
  if (fault == Fault::kGradient) loss.sum = loss.sum + 1e-3 * (weight - weight.detach()).sum();
  return loss;
}

struct Case {
  int stage = 0, ranks = 1;
  Precision precision = Precision::kFp32;
  int64_t recompute = 0;
  bool check = true;
  Fault fault = Fault::kNone;
  bool in_owner = false;  ///< the fault is in the leaf's own rank, else in the one that computes it again
};

/// Steps 0..2, each of them checked.
struct Outcome {
  std::vector<double> losses;
  at::Tensor weights;
  std::string said;
  int thrown = 0;
  std::set<std::pair<int, int>> pairs;
};

Outcome run(const Case& c) {
  Outcome outcome;
  std::mutex mutex;
  run_ranks(c.ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    auto config = small_bert();
    config.precision = c.precision;
    config.recompute = c.recompute;
    const auto model = make_bert(config, 7);
    const auto engine = c.stage == 0 ? make_replicated_engine(*model, comm, {}, true) : make_sharded_engine(*model, comm, {}, c.stage, true);
    if (c.fault == Fault::kGradient) model->send_gradients({});  // what the fault adds comes through the graph, so all do
    const LeafCheck check(comm, "node" + std::to_string(comm.rank()), "alike");
    const auto [first, last] = leaves_of(comm.rank(), comm.size(), kSlots);
    std::vector<double> losses;
    try {
      for (int64_t step = 0; step < 3; ++step) {
        const int64_t filled = step == 1 ? 3 : kSlots;  // a short step: some ranks have no leaf
        const int64_t present = std::clamp<int64_t>(filled - first, 0, last - first);
        const Pass pass{true, 3, step};
        const auto duty = check.duty(step, kSlots, filled);
        engine->begin_step({kSlots, first, present, kTargets, c.check ? duty.slot : -1});
        for (int64_t i = 0; i < present; ++i)
          engine->backward(forward(*model, leaf(step, first + i), pass, c.in_owner ? c.fault : Fault::kNone), i + 1 == present);
        LeafDigest again;
        if (c.check && comm.rank() == duty.checker)
          again = engine->digest(forward(*model, leaf(step, duty.slot), pass, c.in_owner ? Fault::kNone : c.fault));
        losses.push_back(engine->step(1e-2, false).loss);
        if (c.check) check.compare(duty, engine->watched(), again);
        const std::lock_guard lock(mutex);
        outcome.pairs.insert({duty.owner, duty.checker});
      }
    } catch (const NumericError& error) {
      const std::lock_guard lock(mutex);
      ++outcome.thrown;
      outcome.said = error.what();
      return;
    }
    comm.barrier();
    if (comm.rank() > 0) return;
    std::vector<at::Tensor> flat;
    for (const auto& p : model->parameters()) flat.push_back(p.value.detach().flatten());
    outcome.losses = losses;
    outcome.weights = at::cat(flat);
  });
  return outcome;
}

TEST(LeafCheck, FindsEqualBitsAndChangesNothing) {
  for (const auto precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    const auto reference = run({0, 1, precision, 0, false});
    for (const int stage : {0, 1, 2, 3})
      for (const int ranks : {1, 2, 4, 8})
        for (const int64_t recompute : {0, 2}) {
          const auto checked = run({stage, ranks, precision, recompute});
          const auto what = "stage " + std::to_string(stage) + " on " + std::to_string(ranks) + " recompute " + std::to_string(recompute);
          EXPECT_EQ(checked.said, "") << what;
          EXPECT_EQ(checked.losses, reference.losses) << what;
          EXPECT_TRUE(at::equal(checked.weights, reference.weights)) << what;
        }
  }
}

TEST(LeafCheck, NamesBothRanksWhenOneComputesWrongly) {
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {2, 4, 8})
      for (const auto fault : {Fault::kLoss, Fault::kGradient})
        for (const bool in_owner : {false, true}) {
          const auto outcome = run({stage, ranks, Precision::kFp32, 0, true, fault, in_owner});
          EXPECT_EQ(outcome.thrown, ranks) << "all ranks end";
          EXPECT_THAT(outcome.said, HasSubstr("leaf 0 of this step has other bits when it is computed again: first on rank 0 on node0, then on rank 1 on node1."));
        }
}

TEST(LeafCheck, ARankAloneFindsAFaultThatComesAndGoes) {
  for (const int stage : {0, 2})
    EXPECT_THAT(run({stage, 1, Precision::kFp32, 0, true, Fault::kGradient}).said, HasSubstr("first on rank 0 on node0, then on the same."));
}

/// The duties of steps 999, 1999, ... that a run checks.
std::vector<LeafDuty> duties(int ranks, const std::function<std::string(int)>& kind, int64_t present = kSlots) {
  std::vector<LeafDuty> all;
  run_ranks(ranks, [&](Communicator& comm) {
    const LeafCheck check(comm, "node", kind(comm.rank()));
    if (comm.rank() > 0) return;
    for (int64_t step = 999; step < 100'000; step += 1000) all.push_back(check.duty(step, kSlots, present));
  });
  return all;
}

TEST(LeafCheck, EveryLeafAndRankHasItsTurn) {
  for (const int ranks : {1, 3, 4, 8}) {
    std::set<int64_t> slots;
    std::set<int> owners, checkers;
    for (const auto& duty : duties(ranks, [](int) { return "alike"; })) {
      slots.insert(duty.slot);
      owners.insert(duty.owner);
      checkers.insert(duty.checker);
      const auto [first, last] = leaves_of(duty.owner, ranks, kSlots);
      EXPECT_TRUE(first <= duty.slot && duty.slot < last);
      EXPECT_EQ(duty.checker, (duty.owner + 1) % ranks);
    }
    EXPECT_EQ(slots.size(), static_cast<size_t>(kSlots));
    EXPECT_EQ(owners.size(), static_cast<size_t>(ranks));
    EXPECT_EQ(checkers.size(), static_cast<size_t>(ranks));
  }
}

TEST(LeafCheck, StaysAmongRanksOfOneKindAndAmongFilledLeaves) {
  for (const auto& duty : duties(4, [](int rank) { return rank % 2 == 0 ? "old" : "new"; })) EXPECT_EQ(duty.checker, (duty.owner + 2) % 4);
  for (const auto& duty : duties(4, [](int rank) { return std::to_string(rank); })) EXPECT_EQ(duty.checker, duty.owner);
  for (const auto& duty : duties(8, [](int) { return "alike"; }, 1)) EXPECT_EQ(duty.slot, 0);
}

}  // namespace
}  // namespace fmtrain

// A tiny model on a GPU and on the CPU: losses and weights stay close; on the GPU a repetition gives the same bits.
#include <ATen/ATen.h>

#include "launch/device.h"
#include "models/task_model.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/part_updates.h"
#include "tests/gpu/needs_gpu.h"

namespace fmtrain {
namespace {

ModelConfig tiny(Task task, Precision precision) {
  ModelConfig c;
  c.vocab_size = 211;
  c.hidden_size = 48;
  c.layers = 2;
  c.heads = 3;
  c.intermediate_size = 96;
  c.max_positions = 64;
  c.labels = 5;
  c.task = task;
  c.precision = precision;
  return c;
}

/// Three samples; every seventh token carries no target.
Batch batch_of(Task task, int64_t first_id) {
  Batch b;
  const auto rows = at::arange(60);
  b.offsets = at::tensor({0, 7, 31, 60}, at::kLong);
  b.tokens = (rows * 37 + first_id).remainder(211);
  b.types = at::zeros_like(rows);
  b.positions = at::cat({at::arange(7), at::arange(24), at::arange(29)});
  b.sample_ids = at::arange(3) + first_id;
  b.targets = task == Task::kTokenClassification ? at::where(rows.remainder(7) == 0, kIgnoreTarget, rows.remainder(5))
                                                 : at::tensor({0, 4, 2}, at::kLong);
  b.valid_targets = b.targets.ne(kIgnoreTarget).sum().item<int64_t>();
  return b;
}

struct Result {
  std::vector<double> losses;
  at::Tensor weights;  ///< all of them, on the CPU
};

Result train_some(Task task, Precision precision, OptimizerName optimizer, Device wanted, bool offload = false) {
  constexpr int64_t kLeaves = 4;
  const auto world = make_device_world(wanted, make_single_communicator(), 0, "host");
  const at::Device device(world.device);
  auto model = make_bert(tiny(task, precision), 1);
  for (auto& p : model->parameters()) p.value.set_data(p.value.detach().to(device));
  OptimizerSection section;
  section.name = optimizer;
  const auto engine = make_replicated_engine(*model, *world.comm, section, true, 0, offload);
  Result result;
  for (int64_t step = 0; step < 3; ++step) {
    double targets = 0;
    for (int64_t leaf = 0; leaf < kLeaves; ++leaf) targets += static_cast<double>(batch_of(task, leaf).valid_targets);
    engine->begin_step({kLeaves, 0, kLeaves, targets});
    for (int64_t leaf = 0; leaf < kLeaves; ++leaf)
      engine->backward(model->loss(to(batch_of(task, 3 * (step * kLeaves + leaf)), device), Pass{true, 1, step}),
                       leaf + 1 == kLeaves);
    const auto done = engine->step(optimizer == OptimizerName::kSgd ? 0.1 : 1e-3, false);
    EXPECT_TRUE(done.applied);
    result.losses.push_back(done.loss);
  }
  std::vector<at::Tensor> flat;
  for (const auto& p : model->parameters()) flat.push_back(p.value.detach().cpu().flatten());
  result.weights = at::cat(flat);
  return result;
}

class TrainOnGpu : public testing::TestWithParam<std::pair<Task, Precision>> {};

/// By SGD, for AdamW's first steps go by the sign of a gradient, and that of a gradient near zero is a matter of rounding.
TEST_P(TrainOnGpu, FollowsTheCpu) {
  const auto [task, precision] = GetParam();
  const auto cpu = train_some(task, precision, OptimizerName::kSgd, Device::kCpu),
             gpu = train_some(task, precision, OptimizerName::kSgd, Device::kCuda);
  const double tolerance = precision == Precision::kFp32 ? 1e-5 : 1e-2;
  for (size_t i = 0; i < cpu.losses.size(); ++i) EXPECT_NEAR(gpu.losses[i], cpu.losses[i], tolerance * cpu.losses[i]) << i;
  EXPECT_LE((gpu.weights - cpu.weights).norm().item<double>(), tolerance * cpu.weights.norm().item<double>());
}

TEST_P(TrainOnGpu, RepeatsItsBits) {
  const auto [task, precision] = GetParam();
  for (const auto optimizer : {OptimizerName::kAdamW, OptimizerName::kLamb}) {
    const auto one = train_some(task, precision, optimizer, Device::kCuda), two = train_some(task, precision, optimizer, Device::kAuto);
    EXPECT_EQ(one.losses, two.losses);
    EXPECT_TRUE(at::equal(one.weights, two.weights));
  }
}

/// The processor's loops may contract products and sums otherwise than the kernel.
TEST_P(TrainOnGpu, FollowsItselfWithOffloadAndRepeatsThatToo) {
  const auto [task, precision] = GetParam();
  const auto on_gpu = train_some(task, precision, OptimizerName::kSgd, Device::kCuda),
             offloaded = train_some(task, precision, OptimizerName::kSgd, Device::kCuda, true);
  EXPECT_LE((on_gpu.weights - offloaded.weights).norm().item<double>(), 1e-5 * on_gpu.weights.norm().item<double>());
  for (const auto optimizer : {OptimizerName::kAdamW, OptimizerName::kLamb}) {
    const auto one = train_some(task, precision, optimizer, Device::kCuda, true), two = train_some(task, precision, optimizer, Device::kCuda, true);
    EXPECT_EQ(one.losses, two.losses);
    EXPECT_TRUE(at::equal(one.weights, two.weights));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TrainOnGpu,
                         testing::Values(std::pair{Task::kTokenClassification, Precision::kFp32},
                                         std::pair{Task::kSequenceClassification, Precision::kFp32},
                                         std::pair{Task::kTokenClassification, Precision::kBf16},
                                         std::pair{Task::kTokenClassification, Precision::kFp16}));

/// One update of LAMB and the pull to the start, in parts [0, cut) and [cut, numel): what is left in param, exp_avg, exp_avg_sq.
std::vector<at::Tensor> update_in_parts(at::Device device, int64_t cut) {
  constexpr int64_t kNumel = 10'007;
  at::manual_seed(6);
  std::vector<at::Tensor> t;  // param, grad, exp_avg, exp_avg_sq, start
  for (const double scale : {1.0, 0.01, 0.01, 0.0, 1.0}) t.push_back(at::randn({kNumel}) * scale);
  t[3] = at::rand({kNumel}) / 1000;
  for (auto& x : t) x = x.to(device);
  const auto update = lamb_update(0.01, 0.9, 0.999, 1e-6, 0.5, 3);
  for (const auto& [first, last] : {std::pair<int64_t, int64_t>{0, cut}, {cut, kNumel}}) {
    const auto part = [&, from = first, to = last](size_t k) { return t[k].narrow(0, from, to - from); };
    pull_towards(part(4), 0.25, part(0));
    make_lamb_direction(update, part(0), part(1), part(2), part(3));
    update_by_direction(1e-2, part(0), part(1));
  }
  return {t[0].cpu(), t[2].cpu(), t[3].cpu()};
}

TEST(LambOnGpu, FollowsTheCpuAndDoesNotDependOnTheCut) {
  const at::Device gpu(at::kCUDA, 0);
  const auto cpu = update_in_parts(at::kCPU, 4977), whole = update_in_parts(gpu, 0), cut = update_in_parts(gpu, 4977);
  for (size_t k = 0; k < whole.size(); ++k) {
    EXPECT_TRUE(at::allclose(whole[k], cpu[k], 1e-5, 1e-8)) << k;
    EXPECT_TRUE(at::equal(whole[k], cut[k])) << k;
  }
}

TEST(BlockSumsOnGpu, FollowTheCpuFromAnyElementOfTheLayout) {
  const auto data = at::randn({3 * kNormBlock});
  for (const int64_t first : {int64_t{0}, kNormBlock - 16, int64_t{2000}}) {
    const auto cpu = at::zeros({norm_blocks({first, first + data.numel()})}, at::kDouble), gpu = cpu.to(at::kCUDA);
    block_sums(data, first, cpu);
    block_sums(data.to(at::kCUDA), first, gpu);
    EXPECT_TRUE(at::allclose(gpu.cpu(), cpu, 1e-12, 0)) << first;
  }
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return fmtrain::run_tests_with_gpus(1);
}

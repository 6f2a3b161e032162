// Faults at named points of the program. The linker puts the functions below between the object files of fmtrain and some of its own
// functions (--wrap, tests/fault.cmake), which makes the program fmtrain_faulty; fmtrain itself holds nothing of this.
//
// FMTRAIN_FAULT=POINT:KIND:RANK:CALL strikes at the CALLth time (1, 2, ...) that the rank comes to the point, and says when on stderr.
//
// FMTRAIN_SAMPLES=PATH: every rank appends to PATH.RANK, for each step that it has done, a line "step epoch id id ...": the samples of
// the batches that it was handed to train on, as they name themselves, whatever the plan says. A kill tears no line.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "comm/communicator.h"
#include "comm/node.h"
#include "launch/environment.h"
#include "models/ops/linear.h"
#include "runtime/checkpoint/shard.h"
#include "runtime/data/dataset_file.h"
#include "runtime/data/loader.h"
#include "runtime/finite_check.h"

namespace fmtrain {
namespace {

struct Fault {
  std::string point, kind;
  int rank = -1;
  int64_t call = 1;

  Fault() {
    const char* text = std::getenv("FMTRAIN_FAULT");
    std::istringstream fields(text ? text : "");
    std::string number;
    if (!std::getline(fields, point, ':') || !std::getline(fields, kind, ':') || !std::getline(fields, number, ':')) return;
    rank = std::stoi(number) == launched_number() ? std::stoi(number) : -1;
    fields >> call;
  }
};

const Fault& fault() {
  static const Fault only;
  return only;
}

/// This rank comes to a point: is it here and now?
bool due(const std::string& point) {
  static std::atomic<int64_t> calls{0};
  if (fault().rank < 0 || fault().point != point || ++calls != fault().call) return false;
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::fprintf(stderr, "fault struck at %.3f\n", now);
  return true;
}

void block_in_read() {
  int ends[2];
  char byte;
  if (::pipe(ends) == 0)
    while (::read(ends[0], &byte, 1) != 1) {
    }
}

void strike() {
  const std::string& kind = fault().kind;
  if (kind == "kill") raise(SIGKILL);
  if (kind == "segv") raise(SIGSEGV);
  if (kind == "abrt") raise(SIGABRT);
  if (kind == "stop") raise(SIGSTOP);
  if (kind == "exit") std::exit(3);
  if (kind == "throw") throw std::runtime_error("a fault of the test");
  if (kind == "read") block_in_read();
  for (volatile bool forever = true; kind == "loop" && forever;) {
  }
}

void point(const std::string& name) {
  if (due(name)) strike();
}

std::string& samples_of_step() {
  static std::string only;
  return only;
}

void note_samples(const at::Tensor& ids) {
  for (int64_t i = 0; i < ids.numel(); ++i) samples_of_step().append(" ").append(std::to_string(ids[i].item<int64_t>()));
}

void append_samples(const std::string& line) {
  const char* path = std::getenv("FMTRAIN_SAMPLES");
  if (!path) return;
  const std::string file = std::string(path) + "." + std::to_string(launched_number());
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) throw std::runtime_error(file + ": cannot write");
  ::close(fd);
}

}  // namespace

// __real_X is the program's function X, __wrap_X is called in its place. A changed declaration breaks the link, not the test.
#define BETWEEN(RESULT, NAME, SYMBOL, ...) \
  RESULT real_##NAME(__VA_ARGS__) __asm__("__real_" SYMBOL); \
  RESULT wrap_##NAME(__VA_ARGS__) __asm__("__wrap_" SYMBOL); \
  RESULT wrap_##NAME(__VA_ARGS__)
#define STRING "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"

BETWEEN(void, check_agreement, "_ZN7fmtrain15check_agreementERNS_12CommunicatorE" STRING, Communicator& comm, const std::string& config) {
  point("init");
  real_check_agreement(comm, config);
}

BETWEEN(DatasetFile, read_dataset_file, "_ZN7fmtrain17read_dataset_fileE" STRING "l", const std::string& path, int64_t in_memory) {
  point("data");
  return real_read_dataset_file(path, in_memory);
}

BETWEEN(at::Tensor, linear, "_ZN7fmtrain6linearERKN2at6TensorERKNS_12LinearWeightE", const at::Tensor& x, const LinearWeight& w) {
  point(at::GradMode::is_enabled() ? "forward" : "eval");
  return real_linear(x, w);
}

BETWEEN(void, publish, "_ZN7fmtrain4Node7publishEmRKNS_4CallE", Node* node, uint64_t seq, const Call& call) {
  Call other = call;
  if (due("collective")) {
    strike();
    if (fault().kind == "mismatch") ++other.numel;
  }
  real_publish(node, seq, other);
}

BETWEEN(std::optional<Batch>, next_batch, "_ZN7fmtrain6Loader4nextEv", Loader* loader) {
  auto batch = real_next_batch(loader);
  if (batch && at::GradMode::is_enabled()) note_samples(batch->sample_ids);  // not of evaluations
  return batch;
}

/// Behind the update of every step.
BETWEEN(std::string, check_finite, "_ZN7fmtrain12check_finiteB5cxx11ERKNS_10StepResultERKNS_4StepERNS_10TrainStateE", const StepResult& result,
        const Step& step, TrainState& state) {
  append_samples(std::to_string(state.step).append(" ").append(std::to_string(step.epoch)).append(samples_of_step()).append("\n"));
  samples_of_step().clear();
  return real_check_finite(result, step, state);
}

/// On the main thread; what is thrown while a shard is written is a failed save, not a failed run.
BETWEEN(int64_t, shard_bytes, "_ZN7fmtrain11shard_bytesERKNS_9StateDictE", const StateDict& state) {
  if (fault().kind == "throw") point("checkpoint");
  return real_shard_bytes(state);
}

BETWEEN(int, write_shard, "_ZN7fmtrain11write_shardERNS_7FileOpsE" STRING "RNS_10ShardImageERSt6vectorIlSaIlEE", FileOps& files,
        const std::string& path, ShardImage& image, std::vector<int64_t>& facts) {
  if (fault().kind != "throw") point("checkpoint");
  return real_write_shard(files, path, image, facts);
}

}  // namespace fmtrain

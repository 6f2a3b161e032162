// Saves of the training state of a BERT-base-sized model, one for each line read from standard input; bench/saves.py drives it.
//   save_bench DIR      first prints the shapes; then, a line a save: stall_s (the caller waits), persist_s (until step-N is there),
//                       verified_s (until it was read back), bytes
#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>

#include "models/task_model.h"
#include "runtime/checkpoint/checkpoint.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

ModelConfig bert_base() {
  ModelConfig c;
  c.vocab_size = 30522;
  c.hidden_size = 768;
  c.layers = c.heads = 12;
  c.intermediate_size = 3072;
  c.max_positions = 512;
  c.labels = 13;
  return c;
}

/// Parameters and both moments of AdamW.
StateDict state_of(const std::vector<NamedParameter>& parameters) {
  StateDict state;
  for (const char* prefix : {"param/", "exp_avg/", "exp_avg_sq/"})
    for (const auto& p : parameters) state.pieces.push_back({prefix + p.name, p.value.sizes().vec(), 0, at::randn(p.value.numel())});
  return state;
}

void save(CheckpointStore& store, const StateDict& state, int64_t step) {
  int64_t bytes = 0;
  for (const auto& piece : state.pieces) bytes += static_cast<int64_t>(piece.data.nbytes());
  const double start = now();
  store.begin_save(step, state, Json::object(), Json::object(), -1);
  const double stall = now() - start;
  double persist = 0;
  std::optional<bool> saved;
  std::string why;
  while (!saved) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    saved = store.advance_save(false, &why);
    const auto steps = store.steps();
    if (persist == 0 && !steps.empty() && steps.front() == step) persist = now() - start;
  }
  if (!*saved) throw std::runtime_error(why);
  std::cout << Json{{"stall_s", stall}, {"persist_s", persist}, {"verified_s", now() - start}, {"bytes", bytes}}.dump() << std::endl;
}

void run(const std::string& dir) {
  const auto comm = make_single_communicator();
  CheckpointStore store(dir, posix_files(), *comm, 1);
  const auto model = make_bert(bert_base(), 1);
  const StateDict state = state_of(model->parameters());
  Json shapes = Json::array();
  for (const auto& piece : state.pieces) shapes.push_back({piece.name, piece.shape});
  std::cout << shapes.dump() << std::endl;
  std::string line;
  for (int64_t step = 1; std::getline(std::cin, line); ++step) save(store, state, step);
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: save_bench DIR");
  fmtrain::run(argv[1]);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "save_bench: %s\n", error.what());
  return 1;
}

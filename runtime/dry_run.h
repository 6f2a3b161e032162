// What a run would do, without doing it: no MPI, no GPU, no step.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/config/config.h"
#include "runtime/json.h"

namespace fmtrain {

struct DryRunOptions {
  int ranks = 1;
  int ranks_per_node = 0;  ///< 0: all ranks on one machine
  int64_t memory = 0;      ///< bytes a rank may take; 0: its share of this machine's
  bool gpu = false;        ///< the run would be on GPUs
};

/// {config (YAML), model {...}, data {...}, groups [...], unfreezing {text, parts [{step, joins, tensors, elements}]} (step: updates
/// done before) with finetune.unfreeze_every, steps {...}, learning_rate [[step, rate]...], memory {bytes per rank}, memory_by_zero
/// [total at engine.zero 0..3], shared_memory {by_rank, once}, fit {...} or null, checkpoint {bytes}, resume {step or null, dir, fixed}}; docs/training.md has the fields of
/// memory, shared_memory and fit; sha256 and sampled of data are hashes of all of it and of some samples, resume.fixed is what a
/// checkpoint has to have in common with the run. Prepares raw data into the cache as the run itself would. Throws the errors the run would throw.
Json dry_run(const Config& config, const DryRunOptions& options);

/// The same for people.
std::string dry_run_text(const Json& facts);

}  // namespace fmtrain

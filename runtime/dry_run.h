// What a run would do, without doing it: no MPI, no GPU, no step.
#pragma once
#include <string>

#include "runtime/config/config.h"
#include "runtime/json.h"

namespace fmtrain {

/// {config (YAML), model {...}, data {...}, groups [...], steps {...}, learning_rate [[step, rate]...], memory {bytes per rank}, memory_by_zero [total at engine.zero 0..3],
/// checkpoint {bytes}, resume {step or null}} of a run on `ranks` ranks. Prepares raw data into the cache as the run itself
/// would. Throws the errors the run would throw.
Json dry_run(const Config& config, int ranks);

/// The same for people.
std::string dry_run_text(const Json& facts);

}  // namespace fmtrain

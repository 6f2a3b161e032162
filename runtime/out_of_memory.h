// A run that ended because memory ran out: what it held, what it asked for, and what to change.
#pragma once
#include <cstdint>
#include <exception>
#include <string>

#include "runtime/config/config.h"
#include "runtime/json.h"
#include "runtime/memory_fit.h"

namespace fmtrain {

/// Memory of the host (std::bad_alloc, LibTorch's CPU allocator) or of a GPU (c10::OutOfMemoryError) ran out.
bool is_out_of_memory(const std::exception& error);

/// The largest batch.micro below `now`'s whose prediction fits both into `limit` bytes (0: unknown) and into what this rank's tensors
/// held at the last shortage and asked for then, so much being known to be too much; 0: none, or nothing is known.
int64_t fitting_micro(const MemoryNeeds& needs, const FitSetting& now, int64_t limit);

/// One line for people: the bytes that were missing where they are known, what the tensors of this rank held at that moment by
/// purpose, and which keys to change. `micro`: of fitting_micro(); 0: half of what it is.
std::string out_of_memory_text(const std::exception& error, const Config& config, int64_t micro = 0);

/// For failure.json: {purpose: {now, peak}} in bytes (ledger.h), at the moment of the last shortage if there was one, and then
/// {asked: bytes} too.
Json ledger_json();

}  // namespace fmtrain

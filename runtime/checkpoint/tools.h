// What `fmtrain checkpoint` does with the checkpoints of a run: facts as JSON, no tensors, no ranks. Nothing but
// prune_checkpoints changes a run directory, and no checkpoint is taken into memory as a whole.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/file_ops.h"
#include "runtime/json.h"

namespace fmtrain {

// `run` is a run directory, `checkpoint` one RUN/checkpoints/step-N. A path that does not exist is a ConfigError, a damaged
// checkpoint a CheckpointError where nothing else is said.

/// {run, checkpoints: [{step, ranks, bytes, best} or {step, problem}]}, newest first, by their manifests alone. A run that
/// is running may delete one meanwhile; that one is left out. best: the best evaluation that the newest of them knows of.
Json list_checkpoints(FileOps& files, const std::string& run);

/// {checkpoints: [{step, path, bytes, valid} and problem where not valid]} of one checkpoint or of all of a run, newest first.
Json verify_checkpoints(FileOps& files, const std::string& run_or_checkpoint);

/// {path, step, ranks, bytes, files: [{name, bytes}], tensors: [{name, shape, pieces}], fixed, state}. The manifest and the
/// headers are verified, the other blocks are not read.
Json inspect_checkpoint(FileOps& files, const std::string& checkpoint);

/// {a, b: {path, step, ranks}, fixed: [{key, a, b}], only_a, only_b, other_shape: [names],
///  tensors: [{name, elements, differ, largest}], equal}. fixed: what differs, of lists the lines the other does not have.
/// differ: elements with other bits; largest: of |a - b|, null when one of them is not finite. Both are verified first.
Json diff_checkpoints(FileOps& files, const std::string& a, const std::string& b);

/// Joins param/NAME, or ema/NAME, into a safetensors file with the tensors NAME: what model.safetensors of a model directory holds,
/// without parameters that were frozen. weights: "trained", "ema", or "" for what the run evaluates (evaluate.weights), so that the
/// file is of the kind of RUN/model. {path, step, weights, output, tensors, bytes, frozen}. ConfigError when `output` exists, or
/// when there is no average.
Json export_checkpoint(FileOps& files, const std::string& checkpoint, const std::string& output, std::string weights = "");

/// Keeps the newest `keep` (>= 1) that verify and the one of the best evaluation, deletes the older ones. Damaged ones among
/// the newest are left for the user. Without one that verifies nothing is deleted. {run, kept, damaged: [{step, problem}], deleted}
/// with dry_run: what would be. StorageError when one cannot be deleted.
Json prune_checkpoints(FileOps& files, const std::string& run, int64_t keep, bool dry_run);

}  // namespace fmtrain

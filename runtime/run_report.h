// report.json of a run: what was computed, how good it is, how fast it went, on what (docs/training.md lists the fields).
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "runtime/report/run_log.h"
#include "runtime/run_inputs.h"
#include "runtime/train_state.h"
#include "runtime/trainer.h"

namespace fmtrain {

/// Collective. For each rank {rank, host, rss, pss, peak_rss (bytes, -1: unknown), ledger {purpose: {now, peak}} (bytes, ledger.h),
/// seconds {compute, communication, data, optimizer, other} of this start}, in rank order.
Json gather_ranks(Communicator& comm, const std::string& host, const StepRecord& sums);

/// Collective. GFLOP/s of the matrix products of this model's shape, all ranks at once, added up over the ranks.
double gather_product_rate(Communicator& comm, const TaskModel& model, int64_t rows, const std::string& device);

struct ReportFacts {
  const Config& config;
  const RunOptions& options;
  const RunInputs& inputs;
  const TrainState& state;
  const Json &before, &after, &ranks;
  double first_step_s;   ///< from the start of the program to the end of the first step, without the evaluation before it
  double product_rate;   ///< from gather_product_rate
  SaveTimes saves;
};
Json run_report(const ReportFacts& facts);

/// What the result was made from: {base, base_sha256, config, train_sha256, tokenizer_sha256}.
Json lineage_json(const Config& config, const RunInputs& inputs);

}  // namespace fmtrain

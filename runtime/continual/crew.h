// What all ranks of a continual command do together, on rank 0's word: rank 0 decides and writes, the others carry out orders, so
// that no decision depends on the number of ranks.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/config/config.h"
#include "runtime/trainer.h"

namespace fmtrain {

/// How a training differs from that of the config; relative to nothing: all paths are absolute or of the working directory.
struct TrainingOrder {
  std::string directory;             ///< run.dir
  std::string model, train;          ///< "": as in the config, with its validation and test sets
  std::optional<double> lr, warmup, l2_start;
};

/// A model on files in the form of write_raw.h.
struct ObservationOrder {
  std::string model;
  std::vector<std::string> data;
};

struct DriftOrder {
  std::string model, reference, window;
  bool window_labelled = false;
};

struct DriftFacts;        // drift_report.h
struct NamedObservation;  // observe.h

class Crew {
 public:
  Crew(const Config& config, Communicator& comm, const RunOptions& options) : config_(config), comm_(comm), options_(options) {}

  /// On every rank but 0: carries out orders until rank 0 dismisses. Returns the
  /// exit code that it dismisses with.
  ExitCode serve();
  /// On rank 0, once, after the last order; not after an exception, which ends all ranks.
  void dismiss(ExitCode code);
  /// On rank 0, before it ends with an error of its own: the others, where they wait for an order, end with the same and say nothing.
  void fail(ExitCode code, const std::string& message);

  // ---- orders, on rank 0 --------------------------------------------------------------------------------------------
  /// False: asked to stop, the state is saved (exit 75).
  bool train(const TrainingOrder& order);
  /// Of each file. Its labels that the model does not know get ids after the model's own.
  std::vector<NamedObservation> observe(const ObservationOrder& order);
  DriftFacts check(const DriftOrder& order);

  const Config& config() const { return config_; }
  const RunOptions& options() const { return options_; }
  bool serves_gpu() const { return options_.device != "cpu"; }
  int ranks() const { return comm_.size(); }

 private:
  void send(const Json& order);
  template <class Order>
  auto together(const Order& order);
  Json receive();
  bool carry_out(const TrainingOrder& order);
  std::vector<NamedObservation> carry_out(const ObservationOrder& order);
  DriftFacts carry_out(const DriftOrder& order);
  void enter(const char* phase) const;
  const Config& config_;
  Communicator& comm_;
  const RunOptions& options_;
  bool carrying_out_ = false;
};

}  // namespace fmtrain

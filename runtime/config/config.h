// Every key of the config file, with default, unit and meaning; names and defaults are docs/config.md's. The table that maps
// keys to these fields is runtime/config/keys.cpp, and from it come the reader, the schema and the reference.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/model_config.h"

namespace fmtrain {

enum class Device { kAuto, kCpu, kCuda };
enum class Format { kAuto, kConll, kCsv, kTsv, kJsonl, kClinc150, kHdf5 };
enum class Overlong { kSplit, kTruncate, kError };
enum class Order { kRandom, kLengthGrouped };
enum class OptimizerName { kAdamW, kSgd, kLamb };
enum class ScheduleName { kLinear, kCosine, kConstant, kInverseSqrt, kWsd };
enum class Weights { kTrained, kEma };
enum class Init { kPretrained, kRandom };
enum class Offload { kNone, kOptimizer };
enum class ShardGroup { kWorld, kNode };
enum class Progress { kAuto, kBar, kPlain, kOff };
enum class ChallengerStart { kAuto, kChampion, kBase };

/// "epoch" or a number of steps.
struct Every {
  int64_t steps = 0;  ///< 0: at the end of every epoch
};

/// Layers of a model that are treated as one: "none", "full" (each by itself) or {every: k}.
struct Segments {
  int64_t layers = 0;  ///< 0: none
};

struct RunSection {
  std::string dir;                      ///< run directory; default runs/NAME, NAME = the config file's name
  uint64_t seed = 1;                    ///< fixes order, new heads and dropout
  std::optional<double> time_limit;     ///< seconds; the run saves and stops with exit code 75 before it
};

struct ModelSection {
  std::string path;                     ///< directory, or a name in the model cache
  Task task = Task::kTokenClassification;
  Pooling pooling = Pooling::kPooler;
  DropoutRates dropout;                 ///< probabilities in [0, 1)
  Init init = Init::kPretrained;
};

struct Columns {
  std::string text = "text", label = "label";  ///< csv, tsv, jsonl: names of columns or members
  int64_t word = 0, tag = -1;                  ///< conll: column numbers; negative: from the end
};

struct DataSection {
  std::string train, validation, test;  ///< files as written, resolved to existing paths; empty: none
  Format format = Format::kAuto;
  Columns columns;
  int64_t max_length = 128;             ///< tokens with special tokens, 4..1,048,576
  Overlong overlong = Overlong::kSplit;
  Order order = Order::kRandom;
  std::optional<int64_t> limit;         ///< first n training samples
};

struct BatchSection {
  int64_t global = 32;                  ///< samples of one update
  int64_t micro = 16;                   ///< samples of one leaf; divides global
};

struct OptimizerSection {
  OptimizerName name = OptimizerName::kAdamW;
  double lr = 2.0e-4;                   ///< peak learning rate
  double weight_decay = 0.01;           ///< not applied to biases and norm weights
  double beta1 = 0.9, beta2 = 0.999;    ///< adamw, lamb
  double eps = 1.0e-8;                  ///< adamw, lamb
  double momentum = 0.9;                ///< sgd
  double clip_norm = 1.0;               ///< largest global gradient norm; 0: no clipping
  double layer_decay = 1.0;             ///< learning rate of a layer, as a share of that of the layer above
  double ema = 0.0;                     ///< decay of the average of the weights; 0: no average
};

struct ScheduleSection {
  ScheduleName name = ScheduleName::kLinear;
  double warmup = 0.1;                  ///< < 1: share of all steps; >= 1: steps
  double epochs = 3;                    ///< passes over the training set
  std::optional<int64_t> steps;         ///< updates; overrides epochs
};

/// Parameters that are not trained.
struct Freeze {
  bool freeze_backbone = false;         ///< only the head is trained
  bool freeze_embeddings = false;
  int64_t freeze_layers = 0;            ///< the first n encoder layers
  std::vector<std::string> patterns;    ///< glob patterns (* and ?) over parameter names
};

struct FinetuneSection : Freeze {
  std::optional<Every> unfreeze_every;  ///< after each, the next layer down is trained too; absent: all from the start
  double l2_start = 0.0;                ///< pull of the backbone towards the weights that the run started from
};

struct EvaluateSection {
  Every every;
  std::string metric = "auto";          ///< auto: f1 for token classification, accuracy for sequence classification; also "loss"
  std::optional<int64_t> patience;      ///< evaluations without improvement before the run stops
  Weights weights = Weights::kTrained;  ///< that are evaluated and become the model
  double min_delta = 0.0;               ///< smallest change that counts as improvement
};

struct CheckpointSection {
  Every every;
  double seconds = 1800;                ///< longest time between two
  int64_t keep = 3;                     ///< checkpoints kept besides the best
  bool async = true;                    ///< write behind the next steps
};

struct EngineSection {
  Device device = Device::kAuto;
  int64_t zero = 1;                     ///< 0: replicated; 1: optimizer state sharded; 2: gradients too; 3: parameters too
  ShardGroup shard_group = ShardGroup::kWorld;  ///< the ranks that share that out; kNode: those of a host, and every host has a copy
  Precision precision = Precision::kFp32;
  Offload offload = Offload::kNone;     ///< of GPU ranks: what lies and is computed on the host
  Segments recompute;                   ///< activations computed again in backward
  std::optional<int64_t> threads;       ///< per rank; absent (auto): the cores of the affinity mask over the ranks of the node
};

struct NumericsSection {
  bool exact = true;                    ///< same bits for every rank count
};

struct ReportSection {
  Progress progress = Progress::kAuto;
  bool tensorboard = true;
  int64_t bootstrap = 1000;             ///< resamples for the confidence intervals; 0: none
};

/// `fmtrain continual`; empty registry: the config is of one run only.
struct ContinualSection {
  std::string registry;                 ///< directory of versions, aliases, lineage, texts
  std::string incoming;                 ///< directory where new files are dropped; empty: REGISTRY/incoming
  std::string schedule = "weekly";      ///< as CycleSchedule (runtime/continual/schedule.h)
  int64_t window = 1000;                ///< texts of a drift window and of a rolling test
  struct Drift {
    double alpha = 0.01;                ///< of the permutation test
    int64_t permutations = 500;         ///< at least 1 / alpha - 1
    int64_t consecutive = 2;            ///< windows in a row that must drift
  } drift;
  struct Replay {
    double share = 0.25;                ///< of a cycle's training texts
    int64_t capacity = 50'000;          ///< texts kept to draw from
  } replay;
  struct Gate {
    double core_margin = 0.01;          ///< that core test and slices may lose
    std::vector<std::string> slices;    ///< runtime/continual/slices.h
    int64_t bootstrap = 10'000;         ///< resamples
    std::optional<double> latency;      ///< milliseconds a text, at most
    std::optional<double> size;         ///< MB of weights, at most
  } gate;
  struct Brakes {
    double min_hours = 24;              ///< between two cycles
    int64_t max_per_week = 7;           ///< cycles
    double cooldown_hours = 48;         ///< after a rejected challenger
  } brakes;
  struct Challenger {
    ChallengerStart from = ChallengerStart::kAuto;
    double lr_scale = 0.3;              ///< of optimizer.lr, from the champion
    double warmup = 0.06;               ///< as schedule.warmup, from the champion
    double l2_start = 0.01;             ///< as finetune.l2_start, from the champion
  } challenger;
};

struct Config {
  RunSection run;
  ModelSection model;
  DataSection data;
  BatchSection batch;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  FinetuneSection finetune;
  EvaluateSection evaluate;
  CheckpointSection checkpoint;
  EngineSection engine;
  NumericsSection numerics;
  ReportSection report;
  ContinualSection continual;
  std::string name;                           ///< the config file's name without folder and extension
  std::map<std::string, std::string> origin;  ///< key path -> "default", "file:line", or "--set"
};

/// Read and check one file. All faults at once in one ConfigError, a line each: "file:line:col: path: what (did you mean ...)".
/// `overrides` are "a.b=c". Relative data and model paths are resolved against the file's folder, then the working directory.
Config load_config(const std::string& path, const std::vector<std::string>& overrides);

/// The resolved config as YAML, each value with its origin as a comment; load_config of it gives the same Config.
std::string resolved_yaml(const Config& config);

/// SHA-256 over the keys that fix the computation (not run.dir, run.time_limit, checkpoint, report, engine.threads,
/// data paths), as `path=value` lines. Two runs with equal hashes, data and weights give equal bits.
std::string computation_hash(const Config& config);

/// `key: value` lines that differ between two computation descriptions, for messages on resume.
std::vector<std::string> computation_lines(const Config& config);

/// configs/reference.yaml: every key with default, unit and meaning.
std::string reference_yaml();
/// JSON Schema (2020-12) of the config file, for editors.
std::string config_schema();

}  // namespace fmtrain

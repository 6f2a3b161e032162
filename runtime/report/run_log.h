// The growing files of a run directory, written by rank 0: log.jsonl (a line a step), eval.jsonl (a line an evaluation),
// warnings.jsonl (a line a step that needs attention), TensorBoard events, and exit.json.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/report/tensorboard.h"

namespace fmtrain {

/// C's "%a" of a double: every bit of the loss, so that runs can be compared with diff.
std::string hex_float(double value);

/// One line of log.jsonl; times in seconds.
struct StepRecord {
  int64_t step = 0;         ///< counted from 1: updates taken, this one included
  int64_t epoch = 0;        ///< counted from 0
  double loss = 0, lr = 0, grad_norm = 0;
  int64_t samples = 0, tokens = 0;
  double total = 0, compute = 0, communication = 0, data = 0, optimizer = 0;
  double waiting = 0;       ///< of communication: without work, for other ranks had not come yet
  std::optional<double> loss_scale;  ///< of fp16; else there is no such field
};
/// With loss_hex and seconds.other, the rest of the total. A loss that is not finite is null; loss_hex still names it.
Json to_json(const StepRecord& record);

/// Saves of this start. Training waits while the state is copied, and before the next save while one is still being written.
struct SaveTimes {
  int64_t saved = 0, failed = 0;
  double stall_seconds = 0;  ///< that training waited
  double write_seconds = 0;  ///< that the saves took
};

class RunLog {
 public:
  /// Opens the files. Lines of steps after `last_step` are cut off, as is a last line that a crash left unfinished: the logs
  /// of a resumed run are those of an uninterrupted one. 0: a new run. Throws StorageError.
  RunLog(std::string run_dir, int64_t last_step, bool tensorboard);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  void step(const StepRecord& record);
  /// `line`: {step, split, loss, metrics {...}}.
  void evaluation(const Json& line);
  /// `line`: {step, epoch, kind, ...}.
  void warning(const Json& line);
  /// Puts the files on disk. Called before a checkpoint of the same step is committed: then no checkpoint is ever ahead of the
  /// logs, also after a power loss.
  void sync();

 private:
  std::string log_path_, eval_path_, warnings_path_;
  int log_ = -1, eval_ = -1, warnings_ = -1;
  std::unique_ptr<EventFile> events_;
};

/// All lines of log.jsonl, eval.jsonl or warnings.jsonl that can be read; none when there is no such file.
std::vector<Json> read_jsonl(const std::string& path);

/// How a run ended. `rank` is the one that noticed first; `phase` one of init, load, train, evaluate, metrics, checkpoint, report.
struct ExitRecord {
  int code = 0;
  std::string reason;
  int rank = 0;
  std::string host, phase;
  int64_t step = 0;
};
/// run_dir/exit.json, complete or not there at all. The first rank wins: false, and nothing changes, when the file exists or
/// cannot be written. Never throws: it runs while a program fails.
bool write_exit(const std::string& run_dir, const ExitRecord& record) noexcept;
/// Removes the exit.json of an earlier start, and what ranks of it left that were killed while they wrote theirs.
void clear_exit(const std::string& run_dir);

}  // namespace fmtrain

// Every system call of a save fails in every way (docs/checkpoint-format.md): a checkpoint is reported as saved only if it is, one
// that was there loads, and neither descriptors nor leftovers stay.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"
#include "tests/fault/small_run.h"
#include "tests/support/system_calls.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

struct Trial {
  int rank = 0;  ///< whose call fails
  int64_t call = 1;
  Fault fault = Fault::kEio;
  bool replaces = false;  ///< a damaged one of the same step lies there
};

struct Outcome {
  bool clean = false;  ///< fewer calls than that: nothing failed
  std::string where;   ///< the call that failed
  std::vector<std::string> violations;
};

int64_t descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

class FailingCalls : public TemporaryFolder {
 protected:
  std::string dir() const { return path("checkpoints"); }
  bool has(const char* prefix) const {
    std::vector<std::string> names;
    posix_files().list(dir(), &names);
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return name.starts_with(prefix); });
  }

  /// A fault that the save must report: nothing it has to do for the checkpoint may fail unnoticed.
  bool must_report(const SystemFaults& faults) const {
    const auto& call = faults.call();
    if (call == "unlink" || call == "rmdir" || call == "opendir") return false;
    return faults.path().find("/.tmp-20") != std::string::npos ||
           (call == "fsync" && faults.path() == dir() && faults.earlier() == 0);
  }
  static bool is_repeated(const SystemFaults& faults, Fault fault) {
    const auto& call = faults.call();
    return fault == Fault::kShort || (fault == Fault::kEintr && (call == "open" || call == "write" || call == "pread"));
  }

  /// Step 10 is there, step 20 is saved with a fault.
  Outcome attempt(const Trial& trial, const Wrap& wrap) const {
    remove_tree(posix_files(), dir());
    save_all(posix_files(), dir(), {trial.replaces ? std::vector<int64_t>{10, 20} : std::vector<int64_t>{10}, 2});
    if (trial.replaces) write("checkpoints/step-20/" + shard_name(1, kRanks), "x");
    Outcome outcome;
    const auto check = [&](bool right, const char* what) {
      if (!right) outcome.violations.push_back(what);
    };
    const int64_t before = descriptors();
    std::mutex mutex;
    int saved = 0;
    bool repeated = false, reported = false;
    run_ranks(kRanks, [&](Communicator& comm) {
      SystemFaults faults;
      const auto files = wrap(faults);
      CheckpointStore store(dir(), *files, comm, 1);
      comm.barrier();
      if (comm.rank() == trial.rank) faults.fail_at(trial.call, trial.fault);
      const bool ok = store.save(20, state_of(20, 1024, comm.rank(), kRanks), small_of(20), kFixedPart, -1, nullptr);
      const std::lock_guard lock(mutex);
      saved += ok;
      if (comm.rank() != trial.rank) return;
      outcome.clean = !faults.failed();
      outcome.where = faults.call() + " " + faults.path();
      repeated = is_repeated(faults, trial.fault);
      reported = must_report(faults) && !repeated && trial.fault != Fault::kKill;
    });
    SystemFaults::revive();
    check(descriptors() == before, "a descriptor is open");
    check(saved == 0 || saved == kRanks || trial.fault == Fault::kKill, "the ranks disagree");
    check(saved == kRanks || !(outcome.clean || repeated), "it was not repeated");
    check(saved == 0 || !reported, "it was not reported");
    if (trial.fault != Fault::kKill && trial.fault != Fault::kFullDisk) check(!has(".tmp-"), "a temporary is left by the save");
    try {
      const auto loaded = start(posix_files(), dir(), 1024);
      check(loaded == 20 || (loaded == 10 && saved == 0), "the checkpoint is lost");
    } catch (const std::exception& error) {
      outcome.violations.push_back(error.what());
    }
    check(!has(".tmp-") && !has(".del-"), "a leftover is there after the next start");
    return outcome;
  }

  struct Figures {
    int64_t trials = 0;
    std::map<std::string, int64_t> calls, violations;  ///< by kind; by what
  };
  Figures try_all(const std::vector<Fault>& faults, const std::vector<bool>& replaces, const Wrap& wrap) const {
    Figures figures;
    Trial trial;
    for (const bool replace : replaces)
      for (trial.rank = 0; trial.rank < kRanks; ++trial.rank)
        for (const auto fault : faults) {
          trial.fault = fault;
          trial.replaces = replace;
          for (trial.call = 1;; ++trial.call, ++figures.trials) {
            const auto outcome = attempt(trial, wrap);
            for (const auto& what : outcome.violations)
              ++figures.violations[what + " (" + outcome.where.substr(0, outcome.where.find(' ')) + ")"];
            if (outcome.clean || trial.call > 1000) break;
            ++figures.calls[outcome.where.substr(0, outcome.where.find(' '))];
          }
        }
    return figures;
  }
};

TEST_F(FailingCalls, NeverCostACheckpoint) {
  testing::internal::CaptureStderr();
  const auto f = try_all({Fault::kEio, Fault::kEnospc, Fault::kEintr, Fault::kShort, Fault::kFullDisk, Fault::kKill},
                         {false, true}, [](FileOps& files) { return std::make_unique<ForwardingFiles>(files); });
  testing::internal::GetCapturedStderr();
  for (const auto& [what, count] : f.violations) ADD_FAILURE() << count << " times: " << what;
  for (const char* call :
       {"open", "write", "fsync", "close", "rename", "mkdir", "unlink", "rmdir", "opendir", "pread", "fstat", "statvfs"})
    EXPECT_TRUE(f.calls.count(call)) << call;
  std::printf("R2: %ld failed calls of %zu kinds in 6 ways, %zu kinds of violations\n", f.trials, f.calls.size(),
              f.violations.size());
}

class FailingCallsOf : public FailingCalls, public testing::WithParamInterface<Broken> {};

TEST_P(FailingCallsOf, ABrokenWriterIsCaught) {
  testing::internal::CaptureStderr();
  const auto f = try_all({Fault::kEio, Fault::kKill}, {false}, broken(GetParam()));
  testing::internal::GetCapturedStderr();
  EXPECT_FALSE(f.violations.empty());
  for (const auto& [what, count] : f.violations)
    std::printf("R2: broken writer %s: %ld times: %s\n", name_of(GetParam()).c_str(), count, what.c_str());
}

INSTANTIATE_TEST_SUITE_P(Writers, FailingCallsOf,
                         testing::Values(Broken::kIgnoresClose, Broken::kKeepsOpen, Broken::kRepeatsSync,
                                         Broken::kLeavesLeftovers),
                         [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace fmtrain

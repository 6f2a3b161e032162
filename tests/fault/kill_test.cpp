// Real processes that save all the time and get SIGKILL at random instants: what was acknowledged loads at the next start, and two
// writers that break the protocol are caught. Acknowledgements come through a pipe, so that they survive the writer.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

#include "comm/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/shard.h"
#include "runtime/errors.h"
#include "tests/fault/small_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

constexpr int64_t kElements = 256 << 10;  ///< 3 MiB a checkpoint

/// Saves step after step into a folder; never returns. Calls `acknowledge` with each step that counts as saved.
using Writer = std::function<void(const std::string& dir, int ranks, const std::function<void(int64_t)>& acknowledge)>;

Writer protocol(const Wrap& wrap, int64_t keep) {
  return [wrap, keep](const std::string& dir, int ranks, const auto& acknowledge) {
    const auto files = wrap(posix_files());
    run_ranks(ranks, [&](Communicator& comm) {
      CheckpointStore store(dir, *files, comm, keep);
      const auto found = store.load_newest(state_of(0, kElements, 0, 1), kFixedPart);
      for (int64_t step = found ? found->at("trainer").at("step").get<int64_t>() + 1 : 1;; ++step) {
        const bool saved = store.save(step, state_of(step, kElements, comm.rank(), ranks), small_of(step), kFixedPart, -1, nullptr);
        if (saved && comm.rank() == 0) acknowledge(step);
      }
    });
  };
}

/// Every rank replaces its own file of the one checkpoint as soon as it has written it. Each file is whole at any time.
void commit_alone(const std::string& dir, int ranks, const std::function<void(int64_t)>& acknowledge) {
  run_ranks(ranks, [&](Communicator& comm) {
    const std::string mine = dir + "/" + shard_name(comm.rank(), ranks);
    std::vector<int64_t> facts;
    at::Tensor memory;
    for (int64_t step = 1;; ++step) {
      posix_files().unlink(mine + ".new");
      ShardImage image(state_of(step, kElements, comm.rank(), ranks), true, memory);
      image.settle();
      write_shard(posix_files(), mine + ".new", image, facts);
      posix_files().rename(mine + ".new", mine);
      comm.barrier();
      if (comm.rank() == 0) acknowledge(step);
    }
  });
}

/// A process that writes. kill() after a random time in which it went on saving: the last step that it acknowledged.
class Victim {
 public:
  Victim(const Writer& writer, const std::string& dir, int ranks) {
    if (::pipe(ends_) != 0) throw std::runtime_error("no pipe");
    child_ = ::fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      writer(dir, ranks, [this](int64_t step) {
        if (::write(ends_[1], &step, sizeof step) != kBytes) ::_exit(1);
      });
      ::_exit(0);
    }
    ::close(ends_[1]);
  }

  int64_t kill(std::chrono::microseconds after) {
    int64_t step = -1, more = 0;
    if (::read(ends_[0], &step, sizeof step) != kBytes) throw std::runtime_error("the writer ended by itself");
    std::this_thread::sleep_for(after);
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    while (::read(ends_[0], &more, sizeof more) == kBytes) step = more;
    ::close(ends_[0]);
    return step;
  }

 private:
  static constexpr ssize_t kBytes = sizeof(int64_t);
  int ends_[2];
  pid_t child_;
};

struct Found {
  bool lost = false, torn = false, leftovers = false;
};

/// What the next start finds of checkpoints by the protocol.
Found examine(const std::string& dir, int64_t acknowledged) {
  Found found;
  for (const auto step : checkpoint_steps(posix_files(), dir)) {
    try {
      verify_checkpoint(posix_files(), dir + "/step-" + std::to_string(step));
    } catch (const CheckpointError&) {
      found.torn = true;
    }
  }
  try {
    found.lost = start(posix_files(), dir, kElements) < acknowledged;
  } catch (const std::exception&) {
    found.lost = true;
  }
  std::vector<std::string> names;
  posix_files().list(dir, &names);
  for (const auto& name : names) found.leftovers |= name.starts_with(".tmp-") || name.starts_with(".del-");
  return found;
}

/// Of commit_alone: shards of different steps are no state that the run was ever in. The last element of a shard tells its step.
Found examine_shards(const std::string& dir, int ranks) {
  std::set<float> steps;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto state = state_of(0, kElements, rank, ranks);
    const std::string file = dir + "/" + shard_name(rank, ranks);
    const auto size = static_cast<int64_t>(std::filesystem::file_size(file));
    float last = 0;
    int fd = -1;
    posix_files().open(file, &fd);
    posix_files().read(fd, &last, sizeof last, size - static_cast<int64_t>(sizeof last));
    posix_files().close(fd);
    steps.insert(last - state.pieces.back().data[-1].item<float>());
  }
  return {false, steps.size() > 1, false};
}

class Kill9 : public TemporaryFolder {
 protected:
  struct Figures {
    int64_t kills = 0, lost = 0, torn = 0, leftovers = 0, failed = 0;
  };

  /// `fresh`: every kill in a folder of its own, else one start after the other.
  using Look = std::function<Found(const std::string& dir, int ranks, int64_t acknowledged)>;
  Figures kill_often(const Writer& writer, int64_t kills, bool fresh, const Look& look) {
    Figures figures;
    std::mt19937 random(3);
    testing::internal::CaptureStderr();
    for (; figures.kills < kills; ++figures.kills) {
      const int ranks = figures.kills % 2 ? 4 : 2;
      const std::string dir = path(fresh ? std::to_string(figures.kills) : "one");
      posix_files().make_dir(dir);
      Victim victim(writer, dir, ranks);
      const auto acknowledged = victim.kill(std::chrono::microseconds(random() % 40'000));
      const Found found = look(dir, ranks, acknowledged);
      figures.lost += found.lost;
      figures.torn += found.torn;
      figures.leftovers += found.leftovers;
      figures.failed += found.lost || found.torn || found.leftovers;
      if (fresh) remove_tree(posix_files(), dir);
    }
    testing::internal::GetCapturedStderr();
    return figures;
  }

  static Found by_protocol(const std::string& dir, int, int64_t acknowledged) { return examine(dir, acknowledged); }

  static void print(const char* writer, const Figures& f) {
    std::printf("R1: kill -9 of 2 or 4 ranks, %s: %ld trials, %ld failures; %ld lost, %ld torn visible, %ld with leftovers\n", writer,
                f.kills, f.failed, f.lost, f.torn, f.leftovers);
  }
};

TEST_F(Kill9, NothingAcknowledgedIsLostAndNothingTornIsVisible) {
  const Wrap sound = [](FileOps& files) { return std::make_unique<ForwardingFiles>(files); };
  const auto figures = kill_often(protocol(sound, 2), 100 * fault_scale(), false, by_protocol);
  EXPECT_EQ(figures.failed, 0);
  print("the writer alone", figures);
}

TEST_F(Kill9, AWriterInPlaceIsCaught) {
  constexpr int64_t kAll = 1000;  // deletions take time in which nothing is torn
  const auto figures = kill_often(protocol(broken(Broken::kWritesInPlace), kAll), 150, true, by_protocol);
  EXPECT_GE(figures.failed, figures.kills * 3 / 10);
  print("broken writer WritesInPlace (must fail)", figures);
}

TEST_F(Kill9, RanksThatCommitAloneAreCaught) {
  const Look look = [](const std::string& dir, int ranks, int64_t) { return examine_shards(dir, ranks); };
  const auto figures = kill_often(commit_alone, 100, true, look);
  EXPECT_GT(figures.failed, 0);
  print("broken writer CommitsAlone (must fail)", figures);
}

}  // namespace
}  // namespace fmtrain

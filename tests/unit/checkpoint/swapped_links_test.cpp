// Directories below that of checkpoints are swapped for links just before a call on them reaches the kernel: nothing outside is read,
// written or removed. Without RootedFiles the same swaps reach the outside, which proves that they hit.
#include "runtime/rooted_files.h"

#include <map>

#include "tests/unit/checkpoint/checkpoint_folder.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

/// From call number `strike` on every directory in `dir` is a link to one of the same name in `outside`, for `width` calls.
class Swapping : public ForwardingFiles {
 public:
  Swapping(std::string dir, std::string outside, int64_t strike, int64_t width)
      : dir_(std::move(dir)), outside_(std::move(outside)), strike_(strike), width_(width) {}
  ~Swapping() override { swap_back(); }
  int64_t calls() const { return calls_; }

 protected:
  FileOps& next() override {
    if (++calls_ == strike_) swap();
    if (calls_ == strike_ + width_) swap_back();
    return ForwardingFiles::next();
  }

 private:
  void swap() {
    std::vector<std::string> names;
    posix_files().list(dir_, &names);
    for (const auto& name : names) {
      const std::string path = dir_ + "/" + name;
      if (!fs::is_directory(fs::symlink_status(path))) continue;
      fs::rename(path, aside(name));
      const bool has_twin = fs::exists(outside_ + "/" + name);
      fs::create_directory_symlink(outside_ + "/" + (has_twin ? name : std::string("empty")), path);
      swapped_.push_back(name);
    }
  }
  void swap_back() {
    for (const auto& name : swapped_) {
      const std::string path = dir_ + "/" + name;
      if (fs::is_symlink(path)) fs::remove(path);
      if (!fs::exists(fs::symlink_status(path))) fs::rename(aside(name), path);
    }
    swapped_.clear();
  }
  std::string aside(const std::string& name) const { return dir_ + "-aside-" + name; }
  std::string dir_, outside_;
  int64_t strike_, width_, calls_ = 0;
  std::vector<std::string> swapped_;
};

class SwappedLinks : public Checkpoints {
 protected:
  /// Outside lie whole checkpoints of the steps that are used here, of other values, and a directory without anything.
  void SetUp() override {
    Checkpoints::SetUp();
    for (const int64_t step : {1, 2, 3}) store_outside(step);
    fs::create_directories(path("outside/empty"));
  }
  void store_outside(int64_t step) const {
    run_ranks(1, [&](Communicator& comm) {
      CheckpointStore store(path("outside"), posix_files(), comm, 100);
      Flat flat(500 + static_cast<double>(step));
      std::string why;
      EXPECT_TRUE(store.save(step, flat.share(comm), kSmall, kFixed, -1, &why));
    });
  }
  std::map<std::string, std::string> outside() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(path("outside"))) {
      const auto name = fs::relative(entry.path(), path("outside")).string();
      all[name] = entry.is_regular_file() ? content("outside/" + name) : "";
    }
    return all;
  }
  /// A save over an older checkpoint, which is deleted, one more, and a load; what fails may fail. The value loaded, 0: none.
  double work(FileOps& files) const {
    double value = 0;
    run_ranks(1, [&](Communicator& comm) {
      try {
        CheckpointStore store(dir(), files, comm, 1);
        for (const int64_t step : {2, 3}) {
          Flat flat(static_cast<double>(step));
          std::string why;
          store.save(step, flat.share(comm), kSmall, kFixed, -1, &why);
        }
        Flat flat;
        flat.values.fill_(0);
        if (store.load_newest(flat.whole(), kFixed)) value = flat.values[0].item<double>() * 1000;
      } catch (const Error&) {
      }
    });
    return value;
  }
  struct Outcome {
    int64_t calls = 0, reads = 0, changes = 0;  ///< calls without a swap; runs that took values from outside, that changed what lies there
  };
  /// One run for every call, with the swap just before it, which lasts for that call, and one where it lasts.
  Outcome strike_all(bool rooted) {
    Outcome once = strike_all(rooted, 1), lasting = strike_all(rooted, 1'000'000);
    return {once.calls + lasting.calls, once.reads + lasting.reads, once.changes + lasting.changes};
  }
  Outcome strike_all(bool rooted, int64_t width) {
    const auto before = outside();
    Outcome outcome;
    for (int64_t strike = 0; strike <= outcome.calls; ++strike) {
      remove_tree(posix_files(), dir());
      save(1, {1});
      testing::internal::CaptureStderr();
      double value = 0;
      int64_t calls = 0;
      {
        Swapping swapping(dir(), path("outside"), strike, width);
        RootedFiles below(swapping, dir());
        value = work(rooted ? static_cast<FileOps&>(below) : swapping);
        calls = swapping.calls();
      }
      testing::internal::GetCapturedStderr();
      if (strike == 0) {
        outcome.calls = calls;
        EXPECT_NEAR(value, 3, 1e-3) << "the work itself fails";
      }
      if (value > 400) ++outcome.reads;
      if (outside() == before) continue;
      ++outcome.changes;
      remove_tree(posix_files(), path("outside"));
      SetUp();
    }
    return outcome;
  }
};

TEST_F(SwappedLinks, ReachNothingOutside) {
  const auto outcome = strike_all(true);
  EXPECT_GT(outcome.calls, 150);
  EXPECT_EQ(outcome.reads, 0);
  EXPECT_EQ(outcome.changes, 0);
  std::printf("R22: directories of checkpoints swapped for links just before a call: %lld trials, %lld failures; 0 files read, written or removed outside\n",
              static_cast<long long>(outcome.calls), static_cast<long long>(outcome.reads + outcome.changes));
}

TEST_F(SwappedLinks, ReachTheOutsideByPlainPaths) {
  const auto outcome = strike_all(false);
  EXPECT_GT(outcome.reads, 0);
  EXPECT_GT(outcome.changes, 0);
}

TEST_F(SwappedLinks, NoNameLeadsOutOfTheRoot) {
  fs::create_directories(dir() + "/step-1");
  fs::create_directory_symlink(path("outside"), dir() + "/link");
  fs::create_symlink(path("outside/step-1/manifest.json"), dir() + "/step-1/file");
  RootedFiles files(posix_files(), dir());
  int fd = -1;
  std::vector<std::string> names;
  for (const char* name : {"/link/step-1/manifest.json", "/step-1/file", "/../outside/step-1/manifest.json", "/step-1/../../outside/step-1/manifest.json"}) {
    EXPECT_NE(files.open(dir() + name, &fd), 0) << name;
    EXPECT_NE(files.create_exclusive(dir() + name, &fd), 0) << name;
  }
  for (const char* name : {"/link", "/..", "/step-1/.."}) EXPECT_NE(files.list(dir() + name, &names), 0) << name;
  EXPECT_EQ(files.list(dir(), &names), 0);
  EXPECT_THAT(names, testing::ElementsAre("link", "step-1"));
}

/// The directory was opened: who moves it away and puts a link in its place moves nothing.
TEST_F(SwappedLinks, TheRootItselfIsHeld) {
  fs::create_directories(dir());
  RootedFiles files(posix_files(), dir());
  EXPECT_EQ(files.make_dir(dir() + "/a"), 0);
  fs::rename(dir(), path("moved"));
  fs::create_directory_symlink(path("outside"), dir());
  EXPECT_EQ(files.make_dir(dir() + "/b"), 0);
  EXPECT_TRUE(fs::is_directory(path("moved/b")));
  EXPECT_FALSE(fs::exists(path("outside/b")));
}

}  // namespace
}  // namespace fmtrain

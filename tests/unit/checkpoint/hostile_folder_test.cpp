// A directory of checkpoints into which somebody put links, pipes and nonsense: nothing outside of it is read, written or removed, and
// nothing is waited for.
#include <sys/stat.h>

#include "tests/unit/checkpoint/checkpoint_folder.h"

namespace fmtrain {
namespace {

class HostileFolder : public Checkpoints {
 protected:
  void SetUp() override {
    Checkpoints::SetUp();
    fs::create_directories(path("outside"));
    write("outside/precious", "mine");
  }
  void link(const std::string& target, const std::string& name) const { fs::create_symlink(path(target), dir() + "/" + name); }
  void expect_untouched() const {
    EXPECT_EQ(content("outside/precious"), "mine");
    std::vector<std::string> left;
    posix_files().list(path("outside"), &left);
    EXPECT_THAT(left, testing::ElementsAre("precious"));
  }
  /// Replaces a file of a checkpoint by a link to a copy of it, or by a pipe.
  void replace(const std::string& file, bool by_link) const {
    fs::rename(path(file), path("copy"));
    if (by_link) return fs::create_symlink(path("copy"), path(file));
    ASSERT_EQ(::mkfifo(path(file).c_str(), 0600), 0);
  }
};

TEST_F(HostileFolder, LeftoversThatAreLinksGoWithoutWhatTheyPointTo) {
  save(1, {1});
  for (const char* name : {".tmp-9-00000001", ".del-4"}) link("outside", name);
  fs::create_directories(dir() + "/.tmp-8-00000002");
  link("outside", ".tmp-8-00000002/inner");
  link("outside/precious", ".tmp-8-00000002/file");
  EXPECT_EQ(load(1), 1);
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-1"));
  expect_untouched();
}

TEST_F(HostileFolder, ACheckpointThatIsALinkIsDeletedAsALink) {
  save(1, {5});
  link("outside", "step-1");
  link("outside", ".del-1");  // in the way of the deletion
  save(1, {6, 7}, 1);
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-7"));
  expect_untouched();
}

TEST_F(HostileFolder, LatestIsReplacedWhateverItIs) {
  const std::string latest = dir() + "/latest";
  int64_t step = 0;
  const auto saves = [&](bool replaced) {
    save(1, {++step});
    EXPECT_EQ(load(1), step);
    EXPECT_EQ(fs::is_regular_file(fs::symlink_status(latest)), replaced);
    if (replaced) {
      EXPECT_EQ(content("checkpoints/latest"), "step-" + std::to_string(step) + "\n");
    }
    remove_tree(posix_files(), latest);
    expect_untouched();
  };
  fs::create_directories(dir());
  for (const char* target : {"outside/precious", "outside", "outside/none"}) {
    link(target, "latest");
    saves(true);
  }
  ASSERT_EQ(::mkfifo(latest.c_str(), 0600), 0);
  saves(true);
  for (const std::string& text : {std::string(10 << 20, 'x'), std::string("step-99\n"), std::string("../../outside"), std::string("step-1\x1b[2J\0", 11)}) {
    write("checkpoints/latest", text);
    saves(true);
  }
  fs::create_directories(latest + "/inner");  // a name in use: the checkpoint is saved, the hint is not
  testing::internal::CaptureStderr();
  saves(false);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("latest: cannot write"));
}

TEST_F(HostileFolder, LinksAndPipesAreNoPartOfACheckpoint) {
  for (const bool by_link : {true, false})
    for (const bool of_manifest : {true, false}) {
      remove_tree(posix_files(), dir());
      save(2, {1, 2});
      const auto file = of_manifest ? manifest(2) : shard(2, 1, 2);
      replace(file, by_link);
      testing::internal::CaptureStderr();
      EXPECT_EQ(load(2), 1) << file << by_link;
      EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(path(file)));
      fs::remove(path("copy"));
    }
}

TEST_F(HostileFolder, ManifestsOfTheWrongTypesAreRefused) {
  const std::vector<std::pair<const char*, Json>> wrong{
      {"step", "2"}, {"step", -2}, {"step", 2.5}, {"ranks", nullptr}, {"ranks", 1 << 30}, {"files", Json::object()}, {"files", {1, 2}},
      {"files", Json::array()}, {"format", "1"}, {"format", 999}, {"state", "x"}, {"fixed", Json::array()}};
  for (const auto& [name, value] : wrong) {
    remove_tree(posix_files(), dir());
    save(1, {1, 2});
    forge(2, [&, key = name, to = value](Json& json) { json[key] = to; });
    int64_t loaded = -2;
    try {
      testing::internal::CaptureStderr();
      loaded = load(1);
    } catch (const Error& error) {  // "fixed": whole, but of another run
      EXPECT_THAT(error.what(), HasSubstr(dir() + "/step-2"));
      loaded = 1;
    }
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(loaded, 1) << name << value;
  }
}

}  // namespace
}  // namespace fmtrain

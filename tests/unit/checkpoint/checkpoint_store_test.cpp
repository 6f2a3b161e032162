// Checkpoints with ranks as threads: any R to any S, damage, retention, and reads that fail. Failing saves: tests/fault.
#include <cerrno>
#include <map>
#include <set>

#include "tests/support/fail_files.h"
#include "tests/unit/checkpoint/checkpoint_folder.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

TEST_F(Checkpoints, AnyNumberOfRanksReadsThatOfAnyOther) {
  for (int saved = 1; saved <= 4; ++saved) {
    remove_tree(posix_files(), dir());
    save(saved, {5});
    for (int loading = 1; loading <= 4; ++loading) EXPECT_EQ(load(loading), 5) << saved << " to " << loading;
    EXPECT_EQ(fs::status(dir() + "/step-5").permissions(), fs::perms::owner_all);
    EXPECT_EQ(fs::status(path(manifest(5))).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(content("checkpoints/latest"), "step-5\n");
    EXPECT_NO_THROW(verify_checkpoint(posix_files(), dir() + "/step-5"));
  }
}

/// Which shards were read whole, by whom.
class WholeReads final : public ForwardingFiles {
 public:
  int open(const std::string& path, int* fd) override {
    const int error = ForwardingFiles::open(path, fd);
    if (!error) names_[*fd] = path.substr(path.find_last_of('/') + 1);
    return error;
  }
  int read(int fd, void* data, size_t bytes, int64_t offset) override {
    int64_t all = 0;
    if (size(fd, &all) == 0 && offset == 0 && static_cast<int64_t>(bytes) == all && names_[fd].starts_with("shard-")) shards.insert(names_[fd]);
    return ForwardingFiles::read(fd, data, bytes, offset);
  }
  std::set<std::string> shards;

 private:
  std::map<int, std::string> names_;
};

TEST_F(Checkpoints, ARankReadsTheFilesThatHoldWhatItNeeds) {
  save(4, {5});
  for (const int ranks : {1, 2, 4, 8})
    run_ranks(ranks, [&](Communicator& comm) {
      WholeReads files;
      CheckpointStore store(dir(), files, comm, 3);
      Flat flat;
      flat.values.fill_(-1);
      ASSERT_TRUE(store.load_newest(flat.share(comm), kFixed));
      std::set<std::string> needed;
      const int64_t first = comm.rank() * kAll / ranks, last = (comm.rank() + 1) * kAll / ranks;
      for (int shard = 0; shard < 4; ++shard)
        if (first < (shard + 1) * kAll / 4 && shard * kAll / 4 < last) needed.insert(shard_name(shard, 4));
      EXPECT_EQ(files.shards, needed) << comm.rank() << " of " << ranks;
      EXPECT_TRUE(at::equal(flat.values.slice(0, first, last), Flat(5).values.slice(0, first, last)));
    });
}

TEST_F(Checkpoints, NoneIsAFreshStart) { EXPECT_EQ(load(2), -1); }

TEST_F(Checkpoints, ADamagedNewestIsNamedSetAsideAndTheOneBeforeUsed) {
  const std::string second = shard(20, 1, 2), first = shard(20, 0, 2);
  const std::vector<std::pair<std::string, std::function<void()>>> damages{
      {"is damaged between bytes 0",
       [&] {
         auto t = content(second);
         t[t.size() / 2] = static_cast<char>(t[t.size() / 2] ^ 1);
         write(second, t);
       }},
      {"is damaged between bytes 0",
       [&] {
         auto t = content(second);
         t[9] = static_cast<char>(t[9] ^ 4);
         write(second, t);
       }},
      {"the manifest says", [&] { write(second, content(second).substr(0, 100)); }},
      {"the manifest says", [&] { write(second, content(second) + "x"); }},
      {"has 0 bytes", [&] { write(second, ""); }},
      {"cannot be opened", [&] { fs::remove(path(second)); }},
      {shard_name(0, 2),
       [&] {
         const auto t = content(first);
         write(first, content(second));
         write(second, t);
       }},
      {"its own SHA-256",
       [&] {
         auto t = content(manifest(20));
         t[12] = '3';
         write(manifest(20), t);
       }},
      {"its own SHA-256", [&] { write(manifest(20), ""); }},
      {"its own SHA-256",
       [&] {
         const auto t = content(manifest(20));
         write(manifest(20), t.substr(0, t.size() - 1));
       }},
      {"its own SHA-256", [&] { write(manifest(20), content(manifest(20)) + "\n"); }},
      {"cannot open", [&] { fs::remove(path(manifest(20))); }},
      {"format 2, this program reads 1", [&] { forge(20, [](Json& j) { j["format"] = 2; }); }},
      {"is the checkpoint of step 10", [&] { write(manifest(20), content(manifest(10))); }},
      {"names an unexpected file", [&] { forge(20, [](Json& j) { j["files"][1]["name"] = "../x"; }); }},
      {"lists other files than ranks", [&] { forge(20, [](Json& j) { j["ranks"] = 3; }); }},
      {"number of hashes disagree", [&] { forge(20, [](Json& j) { j["files"][0]["blocks"] = Json::array(); }); }},
      {"not a size", [&] { forge(20, [](Json& j) { j["files"][0]["bytes"] = -1; }); }},
      {"key 'state' not found", [&] { forge(20, [](Json& j) { j.erase("state"); }); }},
  };
  for (size_t i = 0; i < damages.size(); ++i) {
    remove_tree(posix_files(), dir());
    save(2, {10, 20});
    damages[i].second();
    testing::internal::CaptureStderr();
    EXPECT_EQ(load(3), 10) << i;
    const auto warning = testing::internal::GetCapturedStderr();
    EXPECT_THAT(warning, testing::AllOf(HasSubstr("step-20"), HasSubstr(damages[i].first), HasSubstr("trying an older"))) << i;
    EXPECT_EQ(std::count(warning.begin(), warning.end(), '\n'), 1) << "one rank speaks";
    EXPECT_EQ(count(".bad-step-20-"), 1u) << i;
    EXPECT_EQ(count("step-20"), 0u) << i;
    EXPECT_EQ(load(1), 10) << "and again without it";
  }
}

/// A manifest, sealed and whole, whose file has one of 200 names: none is opened but a shard's own.
TEST_F(Checkpoints, HostileNamesAreRefused) {
  save(1, {1});
  const Json good = read_manifest(posix_files(), dir() + "/step-1");
  const std::string own = shard_name(0, 1), target = path("outside");
  write("outside", content(shard(1, 0, 1)));
  std::vector<std::string> names{"", ".", "..", "/", target, "/dev/zero", "/proc/self/mem", "../../outside", "./" + own, own + "/", "../step-1/" + own,
                                 std::string(256, 'a'), std::string(5000, '/'), own + std::string(1, '\0'), "shard-00000-of-00002.safetensors"};
  for (char c = 1; c < 32; ++c) names.push_back(own + c);
  for (int depth = 1; names.size() < 150; ++depth) {
    std::string up;
    for (int i = 0; i < depth; ++i) up += "../";
    names.push_back(up + "outside");
    names.push_back(up + own);
    names.push_back("x/" + up + own);
  }
  for (int i = 0; names.size() < 200; ++i) names.push_back("shard-" + std::to_string(i) + "-of-00001.safetensors");
  for (const auto& name : names) {
    Json members = good;
    members.erase("sha256");
    members["files"][0]["name"] = name;
    write("checkpoints/step-1/manifest.json", manifest_text(members));
    EXPECT_THROW(read_manifest(posix_files(), dir() + "/step-1"), CheckpointError) << name;
  }
}

TEST_F(Checkpoints, NoneOfSeveralIsValid) {
  save(2, {1, 2});
  for (const int64_t step : {1, 2}) write(shard(step, 0, 2), "x");
  for (int attempt = 0; attempt < 2; ++attempt) {  // the second start must not be a fresh one
    testing::internal::CaptureStderr();
    try {
      load(2);
      ADD_FAILURE();
    } catch (const CheckpointError& error) {
      EXPECT_EQ(error.code(), ExitCode::kNoCheckpoint);
      EXPECT_THAT(error.what(), HasSubstr("none of 2 checkpoints is valid"));
    }
    testing::internal::GetCapturedStderr();
  }
}

TEST_F(Checkpoints, AnotherRunIsRefusedWithTheDifferences) {
  save(2, {4});
  Json other = kFixed;
  const auto refusal = [&]() -> std::pair<ExitCode, std::string> {
    try {
      load(2, other);
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {};
  };
  other["data"] = "e";
  EXPECT_THAT(refusal(), testing::Pair(ExitCode::kData, HasSubstr(R"(another run: data: "d" then, "e" now; put the training file back)")));
  other["config_lines"][0] = "lr=3";
  EXPECT_THAT(refusal(), testing::Pair(ExitCode::kConfig, HasSubstr(R"(config_lines: "lr=1" then, "lr=3" now; data: "d" then, "e" now)")));
  EXPECT_EQ(load(2), 4) << "and it stays";
}

TEST_F(Checkpoints, TensorsOfAnotherShapeAreNotTaken) {
  save(2, {4});
  run_ranks(2, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 3);
    Flat flat;
    auto targets = flat.whole();
    targets.pieces[0].shape = {7, 5};
    EXPECT_THROW(store.load_newest(targets, kFixed), CheckpointError);
  });
}

TEST_F(Checkpoints, RetentionKeepsTheNewestAndTheBest) {
  save(2, {1, 2, 3, 10, 11}, 2, 2);
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-10", "step-11", "step-2"));
}

TEST_F(Checkpoints, OnlyProperNamesAreCheckpoints) {
  save(1, {2});
  for (const char* name : {"step-", "step-x", "step-03", "step-3a", ".step-9", "step-99999999999999999999"})
    fs::create_directory(dir() + "/" + name);
  EXPECT_THAT(checkpoint_steps(posix_files(), dir()), testing::ElementsAre(2));
  EXPECT_THROW(checkpoint_steps(posix_files(), path("none")), StorageError);
}

TEST_F(Checkpoints, AValidOneOfTheSameStepIsKeptADamagedOneReplaced) {
  save(2, {5});
  const auto before = fs::last_write_time(path(manifest(5)));
  save(2, {5});
  EXPECT_EQ(fs::last_write_time(path(manifest(5))), before);
  write(shard(5, 0, 2), "x");
  save(2, {5});
  EXPECT_EQ(load(2), 5);
  EXPECT_EQ(count(".bad-step-5-"), 1u);
}

TEST_F(Checkpoints, LeftoversGoAtTheNextStart) {
  save(1, {1});
  fs::create_directories(dir() + "/.tmp-7/x");
  fs::create_directories(dir() + "/.del-3");
  write("checkpoints/latest.tmp-12", "");
  EXPECT_EQ(load(1), 1);
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-1"));
}

/// A read that fails on one rank alone must not leave the others waiting, nor with another checkpoint.
TEST_F(Checkpoints, AFailedReadOfOneRankSendsAllToTheOlderOne) {
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 100);
    remove_tree(posix_files(), dir());
    save(2, {1, 2});
    std::atomic<int64_t> first{-1}, second{-1};
    testing::internal::CaptureStderr();
    run_ranks(2, [&](Communicator& comm) {
      FailFiles files;
      CheckpointStore store(dir(), files, comm, 5);
      if (comm.rank() == 1) files.fail_at(call, EIO);
      Flat flat;
      ASSERT_TRUE(store.load_newest(flat.whole(), kFixed).has_value());
      (comm.rank() ? second : first) = std::lround(flat.values[0].item<double>() * 1000);
      if (comm.rank() == 1) clean = !files.failed();
    });
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(first, second) << call;
  }
}

TEST_F(Checkpoints, ADirectoryThatCannotBeMadeIsAnErrorOnAllRanks) {
  std::atomic<int> thrown{0};
  run_ranks(3, [&](Communicator& comm) {
    try {
      CheckpointStore store(path("none/checkpoints"), posix_files(), comm, 3);
    } catch (const StorageError&) {
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 3);
}

}  // namespace
}  // namespace fmtrain

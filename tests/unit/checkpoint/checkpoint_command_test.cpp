// `fmtrain checkpoint` as a user meets it: text, JSON, help and exit codes.
#include <sys/wait.h>

#include <cstdio>

#include "tests/unit/checkpoint/checkpoint_folder.h"

namespace fmtrain {
namespace {

struct Result {
  int code = -1;
  std::string out, err;
};

class Command : public Checkpoints {
 protected:
  Result fmtrain(const std::string& arguments) const {
    const std::string command = "cd '" + folder_.string() + "' && OMP_NUM_THREADS=1 timeout -k 5 60 '" + FMTRAIN_BINARY +
                                "' checkpoint " + arguments + " 2> stderr";
    Result result;
    FILE* pipe = popen(command.c_str(), "r");
    char block[4096];
    while (const size_t n = fread(block, 1, sizeof block, pipe)) result.out.append(block, n);
    result.code = WEXITSTATUS(pclose(pipe));
    result.err = content("stderr");
    fs::remove(path("stderr"));
    return result;
  }
  void damage(int64_t step) const { write(shard(step, 0, 2), "x"); }
};

TEST_F(Command, EachHasAnExampleAndRefusesWhatItDoesNotKnow) {
  for (const std::string name : {"list", "verify", "inspect", "diff", "export", "prune"}) {
    const auto help = fmtrain(name + " --help");
    EXPECT_EQ(help.code, 0) << name;
    EXPECT_THAT(help.out, testing::AllOf(HasSubstr("Example: fmtrain checkpoint " + name + " "), HasSubstr("--json"))) << name;
    EXPECT_EQ(fmtrain(name).code, 2) << name << " without arguments";
    EXPECT_EQ(fmtrain(name + " . . . --no-such").code, 2) << name;
  }
  for (const char* arguments : {"", "nothing", "prune .", "prune . --keep 0", "prune . --keep x", "export step-1", "list none",
                                "verify none/checkpoints/step-3", "inspect none", "diff none none", "prune none --keep 1"})
    EXPECT_EQ(fmtrain(arguments).code, 2) << arguments;
  EXPECT_THAT(fmtrain("list none").err, HasSubstr("none: there is no such directory"));
}

TEST_F(Command, ARunWithoutCheckpoints) {
  const std::vector<std::pair<std::string, int>> cases{{"list .", 0}, {"verify .", 4}, {"prune . --keep 1", 4}};
  for (const auto& [arguments, code] : cases) {
    const auto result = fmtrain(arguments);
    EXPECT_EQ(result.code, code) << arguments;
    EXPECT_THAT(result.out, HasSubstr("none")) << arguments;
  }
  EXPECT_EQ(fmtrain("list .").out, "none\n");
  EXPECT_EQ(parse_json(fmtrain("list . --json").out, {}), (Json{{"run", "."}, {"checkpoints", Json::array()}}));
}

TEST_F(Command, SoundOnes) {
  save(2, {1, 2});
  EXPECT_THAT(fmtrain("list .").out, testing::MatchesRegex("step 2  2 ranks  [0-9]+ bytes\nstep 1  2 ranks  [0-9]+ bytes\n"));
  EXPECT_THAT(fmtrain("verify .").out,
              testing::MatchesRegex("step 2  verified  [0-9]+ bytes\nstep 1  verified  [0-9]+ bytes\n"));
  EXPECT_THAT(fmtrain("verify checkpoints/step-1").out, testing::MatchesRegex("step 1  verified  [0-9]+ bytes\n"));
  const auto inspect = fmtrain("inspect checkpoints/step-2");
  for (const char* part : {"step 2, 2 ranks", "  shard-00001-of-00002.safetensors  ", "\n  param/a  [5,7]\n", "\n  lr=1\n",
                           "\n  trainer.step: 9\n"})
    EXPECT_THAT(inspect.out, HasSubstr(part));
  const auto diff = fmtrain("diff checkpoints/step-1 checkpoints/step-2");
  EXPECT_EQ(diff.code, 1);
  EXPECT_THAT(diff.out, HasSubstr("param/b: 16 of 16 elements differ, by at most 0.00"));
  EXPECT_THAT(diff.out, HasSubstr("\n0 of 6 common tensors are equal\n"));
  for (const char* name : {"list .", "verify .", "inspect checkpoints/step-1", "diff checkpoints/step-1 checkpoints/step-1",
                           "export checkpoints/step-1 -o one", "prune . --keep 1 --dry-run"}) {
    const auto result = fmtrain(name + std::string(" --json"));
    EXPECT_EQ(result.code, 0) << name << result.err;
    EXPECT_NO_THROW(parse_json(result.out, {})) << name;
  }
  EXPECT_THAT(fmtrain("export checkpoints/step-1 -o two").out, HasSubstr("two: 3 tensors of step 1, "));
  EXPECT_EQ(content("one"), content("two"));
  EXPECT_EQ(fmtrain("export checkpoints/step-1 -o two").code, 2) << "it exists";
  EXPECT_EQ(fmtrain("export checkpoints/step-1 -o three --weights ema").code, 2) << "there is no average";
  EXPECT_EQ(fmtrain("export checkpoints/step-1 -o three --weights all").code, 2);
  EXPECT_EQ(fmtrain("prune . --keep 1 --dry-run").out, "kept: 2\nwould be deleted: 1\n");
  EXPECT_EQ(fmtrain("prune . --keep 1").out, "kept: 2\ndeleted: 1\n");
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-2"));
}

TEST_F(Command, DamagedOnes) {
  save(2, {1, 2, 3});
  damage(3);
  write(manifest(2), "{}");
  const auto verify = fmtrain("verify .");
  EXPECT_EQ(verify.code, 4);
  EXPECT_THAT(verify.out,
              testing::ContainsRegex("step 3  damaged: .*has 1 bytes.*\nstep 2  damaged: .*SHA-256.*\nstep 1  verified"));
  EXPECT_EQ(fmtrain("verify checkpoints/step-1").code, 0);
  EXPECT_EQ(fmtrain("verify checkpoints/step-3").code, 4);
  EXPECT_EQ(fmtrain("list .").code, 4) << "a manifest is damaged";
  EXPECT_EQ(fmtrain("inspect checkpoints/step-2").code, 4);
  EXPECT_EQ(fmtrain("diff checkpoints/step-1 checkpoints/step-3").code, 4);
  EXPECT_EQ(fmtrain("export checkpoints/step-3 -o out").code, 4);
  EXPECT_FALSE(fs::exists(path("out")));
  const auto prune = fmtrain("prune . --keep 1");
  EXPECT_EQ(prune.code, 4);
  EXPECT_THAT(prune.out, HasSubstr("kept: 1\ndeleted: none\n"));
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-1", "step-2", "step-3"));
}

/// A manifest that is whole and sealed but says something else than a run would: no crash, no internal error.
TEST_F(Command, ForgedOnes) {
  const std::vector<std::function<void(Json&)>> changes{[](Json& j) {
                                                          j["state"] = Json{{"trainer", 3}};
                                                        },
                                                        [](Json& j) {
                                                          j["fixed"] = Json{{"config_lines", {{"a", 1}}}};
                                                        },
                                                        [](Json& j) { j["state"]["trainer"]["best_step"] = "\x1b[31m"; },
                                                        [](Json& j) { j["files"][0]["blocks"][0] = 7; },
                                                        [](Json& j) { j["files"] = Json::array(), j["ranks"] = 0; }};
  for (size_t i = 0; i < changes.size(); ++i) {
    remove_tree(posix_files(), dir());
    save(2, {1, 2});
    forge(2, changes[i]);
    for (const char* name : {"list .", "verify .", "inspect checkpoints/step-2", "diff checkpoints/step-1 checkpoints/step-2",
                             "prune . --keep 1 --dry-run"}) {
      const auto result = fmtrain(name);
      EXPECT_TRUE(result.code == 0 || result.code == 4 || (result.code == 1 && std::string(name).starts_with("diff"))) << i << " " << name << ": " << result.code << " " << result.err;
      EXPECT_EQ((result.out + result.err).find('\x1b'), std::string::npos) << name;
    }
  }
}

}  // namespace
}  // namespace fmtrain

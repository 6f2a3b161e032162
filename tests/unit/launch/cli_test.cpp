// The program as a user meets it: commands, help, exit codes, what it prints and where it writes.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "runtime/json.h"
#include "tests/unit/config/config_folder.h"
#include "tests/unit/config/wrong_configs.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

struct Result {
  int code = -1;
  std::string out, err;
};

/// Runs the program in the test's folder, with a home, a model cache and a place for temporary files in it.
class CommandLine : public ConfigFolder {
 protected:
  void SetUp() override {
    ConfigFolder::SetUp();
    for (const char* name : {"user", "tmp"}) fs::create_directory(path(name));
  }

  Result fmtrain(const std::string& arguments) const {
    const std::string command = "cd '" + path("") + "' && HOME=$PWD/user TMPDIR=$PWD/tmp FMTRAIN_HOME=home timeout -k 5 60 '" +
                                FMTRAIN_BINARY + "' " + arguments + " 2> user/stderr";
    Result result;
    FILE* pipe = popen(command.c_str(), "r");
    char block[4096];
    while (const size_t n = fread(block, 1, sizeof block, pipe)) result.out.append(block, n);
    result.code = WEXITSTATUS(pclose(pipe));
    result.err = content("user/stderr");
    fs::remove(path("user/stderr"));
    return result;
  }

  /// The tiny config, its model and its data, copied so that nothing can reach the source tree.
  void copy_tiny() const {
    const std::string source = FMTRAIN_SOURCE_DIR;
    fs::create_directories(path("data"));
    fs::create_directories(path("configs"));
    fs::copy(source + "/data/wnut17", path("data/wnut17"));
    fs::copy(source + "/configs/tiny_model", path("configs/tiny_model"));
    fs::copy(source + "/configs/tiny_cpu.yaml", path("configs/tiny_cpu.yaml"));
  }

  std::set<std::string> files() const {
    std::set<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      all.insert(entry.path().lexically_relative(folder_).string());
    return all;
  }
};

/// The names below "Subcommands:" in a help text.
std::vector<std::string> commands_in(const std::string& help) {
  std::vector<std::string> names;
  const auto start = help.find("\nSubcommands:\n");
  if (start == std::string::npos) return names;
  const std::string rest = help.substr(start + 1);
  const std::regex line("\n  ([a-z]+)(?= |\n)");
  for (std::sregex_iterator match(rest.begin(), rest.end(), line), end; match != end; ++match) names.push_back((*match)[1]);
  return names;
}

TEST_F(CommandLine, EveryCommandHelpsWithAnExample) {
  std::vector<std::string> all{""};
  for (size_t i = 0; i < all.size(); ++i) {
    const auto help = fmtrain(all[i] + " --help");
    EXPECT_EQ(help.code, 0) << all[i];
    EXPECT_EQ(help.err, "") << all[i];
    const std::string name = all[i].empty() || all[i] == " train" ? "" : all[i].substr(1);  // `fmtrain CONFIG` trains
    EXPECT_TRUE(std::regex_search(help.out, std::regex("Examples?: [^\n]*fmtrain " + name)))
        << "fmtrain" << all[i] << " --help gives no example of it:\n"
        << help.out;
    for (const auto& below : commands_in(help.out)) all.push_back(all[i] + " " + below);
  }
  for (const char* name : {" train", " check", " prepare", " eval", " predict", " tokenize", " score", " checkpoint", " config",
                           " config schema", " config reference", " version"})
    EXPECT_THAT(all, testing::Contains(name));
}

TEST_F(CommandLine, WhatItDoesNotKnowEndsWithTwo) {
  for (const char* arguments :
       {"", "retrain", "version --loud", "version extra", "train", "check", "train c.yaml --resume maybe",
        "check c.yaml --ranks 0", "check c.yaml --ranks two", "check c.yaml --memory 16GX", "check c.yaml --memory -1GB", "config", "config nothing", "checkpoint", "prepare", "eval m",
        "predict", "tokenize", "score", "c.yaml --colour"}) {
    const auto result = fmtrain(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_NE(result.err, "") << arguments;
  }
}

TEST_F(CommandLine, WrongConfigsEndWithTwoAndTheirFaults) {
  const auto& all = wrong_configs();
  for (size_t i = 0; i < all.size(); i += all.size() / 8) {
    write("c.yaml", all[i].text);
    const auto result = fmtrain((i % 2 ? "" : "train ") + std::string("c.yaml"));
    EXPECT_EQ(result.code, 2) << all[i].text;
    EXPECT_EQ(result.err, "fmtrain: c.yaml:" + all[i].message + "\n");
    EXPECT_EQ(result.out, "");
  }
  write("c.yaml", kLeastConfig + "lr: 1\nrun: {seed: x}\n");
  for (const char* command : {"check", "train", "prepare"})
    EXPECT_EQ(fmtrain(command + std::string(" c.yaml --set batch.micro=5 --set optimizer.lr=-1")).err,
              "fmtrain: c.yaml:3:1: lr: unknown key (did you mean optimizer.lr?)\n"
              "c.yaml:4:13: run.seed: must be a whole number, not \"x\"\n"
              "--set: optimizer.lr: must be between 0 and 100, not -1\n"
              "--set: batch.micro: 5 does not divide batch.global 32\n")
        << command;
  EXPECT_FALSE(fs::exists(path("runs")));
}

TEST_F(CommandLine, OverridesMayStandBeforeAndAfterTheConfig) {
  write("c.yaml", kLeastConfig);
  for (const char* arguments : {"c.yaml --set run.seed=x", "train c.yaml --set run.seed=x", "train --set run.seed=x c.yaml",
                                "c.yaml --set=run.seed=x", "check --set run.seed=x c.yaml"}) {
    const auto result = fmtrain(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.err, "fmtrain: --set: run.seed: must be a whole number, not \"x\"\n") << arguments;
  }
}

TEST_F(CommandLine, PrintsTheReferenceAndTheSchemaOfTheReader) {
  EXPECT_EQ(fmtrain("config reference").out, reference_yaml());
  EXPECT_EQ(fmtrain("config schema").out, config_schema());
}

TEST_F(CommandLine, VersionNamesTheProgramAndItsLibraries) {
  const auto text = fmtrain("version"), json = fmtrain("version --json");
  EXPECT_EQ(text.code, 0);
  ASSERT_EQ(json.code, 0);
  const Json versions = Json::parse(json.out);
  std::vector<std::string> names;
  std::string rows;
  for (const auto& [name, version] : versions.items()) {
    names.push_back(name);
    EXPECT_NE(version, "");
    rows += name + std::string(11 - std::min<size_t>(10, name.size()), ' ') + version.get<std::string>() + "\n";
  }
  EXPECT_EQ(text.out, rows);
  EXPECT_THAT(names, testing::IsSupersetOf({"fmtrain", "torch", "mpi", "hdf5", "compiler", "processor"}));
  EXPECT_EQ(versions.at("fmtrain"), FMTRAIN_VERSION);
  EXPECT_EQ(versions.at("compiler"), __VERSION__);
  EXPECT_THAT(versions.at("torch").get<std::string>(), StartsWith("2.11."));
  EXPECT_THAT(versions.at("hdf5").get<std::string>(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST_F(CommandLine, CheckGivesTheFactsOfARun) {
  copy_tiny();
  const auto result = fmtrain("check configs/tiny_cpu.yaml --ranks 4 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json facts = Json::parse(result.out);
  for (const char* member :
       {"config", "model", "data", "groups", "parameters", "learning_rate", "memory", "checkpoint", "resume"})
    EXPECT_TRUE(facts.contains(member)) << member;
  EXPECT_EQ(facts.at("steps"), Json({{"total", 13}, {"per_epoch", 13}, {"leaves", 8}, {"ranks", 4}}));  // 200 texts, 16 a step
  EXPECT_EQ(facts.at("learning_rate").size(), 11u);
  int64_t elements = 0, sum = 0;
  for (const auto& p : facts.at("parameters")) {
    int64_t product = 1;
    for (const int64_t n : p.at("shape")) product *= n;
    elements += product;
  }
  EXPECT_EQ(facts.at("model").at("parameters"), elements);
  const auto memory = [&](const char* name) { return facts.at("memory").at(name).get<int64_t>(); };
  for (const char* name : {"parameters", "bf16_copy", "gradients", "buckets", "optimizer", "snapshot"}) sum += memory(name);
  sum += std::max({memory("activations"), memory("evaluation"), memory("freed"), memory("reading")});
  EXPECT_EQ(memory("total"), memory("process") + std::max(memory("loading"), sum));
  EXPECT_EQ(facts.at("resume").at("step"), nullptr);
  EXPECT_FALSE(fs::exists(path("runs")));
  write("again.yaml", facts.at("config").get<std::string>());  // it is a config itself
  EXPECT_EQ(load_config(path("again.yaml"), {}).batch.micro, 2);
}

TEST_F(CommandLine, CheckNamesTheLargestMicroBatchThatFits) {
  copy_tiny();
  const auto few = fmtrain("check configs/tiny_cpu.yaml --ranks 12 --set batch.global=48 --set batch.micro=16");
  EXPECT_EQ(few.code, 2);
  EXPECT_EQ(
      few.err,
      "fmtrain: batch.micro: 12 ranks need at least as many leaves, but batch.global / batch.micro is 3; the largest micro "
      "that fits is 4\n");
  const auto many = fmtrain("check configs/tiny_cpu.yaml --ranks 64");
  EXPECT_EQ(many.code, 2);
  EXPECT_EQ(many.err,
            "fmtrain: batch.global: 64 ranks need at least as many leaves, but batch.global / batch.micro is 8; it must be at "
            "least 64\n");
}

TEST_F(CommandLine, AConfigAloneIsTrainedAndNothingElseIsWritten) {
  copy_tiny();
  const auto before = files();
  const std::string options =
      " configs/tiny_cpu.yaml --set data.limit=48 --set data.test=null --set schedule.steps=2 --set report.bootstrap=0 --set "
      "run.dir=";
  const auto named = fmtrain("train" + options + "named"), alone = fmtrain(options + "alone");
  ASSERT_EQ(named.code, 0) << named.err;
  ASSERT_EQ(alone.code, 0) << alone.err;
  const auto weights = [&](const std::string& run) { return Json::parse(content(run + "/report.json")).at("weights_sha256"); };
  EXPECT_EQ(weights("alone"), weights("named"));
  EXPECT_EQ(Json::parse(content("alone/exit.json")).at("code"), 0);
  for (const auto& file : files())
    EXPECT_TRUE(before.count(file) || std::regex_search(file, std::regex("^(named|alone|home)(/|$)"))) << "wrote " << file;
}

TEST_F(CommandLine, WithoutAGpuThereIsNothingToOffload) {
  copy_tiny();
  setenv("CUDA_VISIBLE_DEVICES", "", 1);  // none, whatever this machine has
  const Result r = fmtrain("configs/tiny_cpu.yaml --set engine.device=auto --set engine.offload=optimizer");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("fmtrain: engine.offload: optimizer moves what is on a GPU to host memory, but there is no GPU here; remove it"));
}

TEST_F(CommandLine, WhatIsNotThereIsNamed) {
  EXPECT_EQ(fmtrain("none.yaml").err, "fmtrain: none.yaml: no such config file\n");
  for (const char* arguments :
       {"eval m d.csv", "predict nobody", "tokenize nobody", "prepare t.conll --model nobody -o x.h5"}) {
    const auto result = fmtrain(arguments + std::string(" < /dev/null"));
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_THAT(result.err, StartsWith("fmtrain: ")) << arguments;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << arguments << ": " << result.err;
  }
}

}  // namespace
}  // namespace fmtrain

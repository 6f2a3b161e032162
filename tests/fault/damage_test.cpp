// Damaged checkpoints (docs/checkpoint-format.md): every flipped bit and every truncation is found, and what is wrong is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/reader.h"
#include "runtime/errors.h"
#include "tests/fault/small_run.h"

namespace fmtrain {
namespace {

const std::string kStep = kDir + "/step-10", kManifest = "manifest.json";
constexpr int64_t kElements = 8192;

Disk saved(const std::vector<int64_t>& steps, int64_t elements = kElements) {
  PowerLoss files(empty_disk());
  save_all(files, kDir, {steps, 5, elements});
  return files.killed_after(files.changes());
}

std::string& content(Disk& disk, const std::string& file) { return disk.nodes.at(disk.find(kStep + "/" + file)).data; }
std::string shard(int rank) { return shard_name(rank, kRanks); }

/// What a start says of such a disk on standard error and in its exception; "" when it takes the checkpoint.
std::string refusal(const Disk& disk) {
  PowerLoss files(disk);
  std::string what;
  testing::internal::CaptureStderr();
  try {
    start(files, kDir, kElements);
  } catch (const Error& error) {
    what = error.what();
  }
  return testing::internal::GetCapturedStderr() + what;
}

std::string problem_of(const std::function<void()>& check) {
  try {
    check();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// The three readers all refuse it and name the file: a start, `fmtrain checkpoint verify`, and the tools' reader.
bool is_found(const Disk& disk, const std::string& file) {
  PowerLoss files(disk);
  const auto names = [&](const std::string& text) { return text.find(kStep + "/" + file + ": ") != std::string::npos; };
  return names(refusal(disk)) && names(problem_of([&] { verify_checkpoint(files, kStep); })) &&
         names(problem_of([&] { CheckpointReader(files, kStep, CheckpointReader::Check::kAll); }));
}

struct Region {
  std::string name, file;
  size_t begin = 0, end = 0;  ///< bytes
};

/// All bytes of a checkpoint by what they hold.
std::vector<Region> regions() {
  Disk disk = saved({10});
  const auto& manifest = content(disk, kManifest);
  const size_t state = manifest.find("\"state\":"), files = manifest.find(",\"files\":");
  std::vector<Region> all{{"manifest", kManifest, 0, state},
                          {"small state", kManifest, state, files},
                          {"manifest", kManifest, files, manifest.size()}};
  for (int rank = 0; rank < kRanks; ++rank) {
    const auto& text = content(disk, shard(rank));
    const auto header = parse_safetensors_header(text, static_cast<int64_t>(text.size()));
    all.push_back({"header", shard(rank), 0, static_cast<size_t>(header.data_start)});
    for (const auto& tensor : header.tensors)
      all.push_back({tensor.name.starts_with("param/") ? "tensors" : "optimizer state", shard(rank),
                     static_cast<size_t>(header.data_start + tensor.begin),
                     static_cast<size_t>(header.data_start + tensor.end)});
  }
  return all;
}

/// Flips a random bit of a region of this name; the file.
std::string flip(Disk& disk, const std::string& name, const std::vector<Region>& all, std::mt19937& random) {
  std::vector<Region> fitting;
  for (const auto& region : all)
    if (region.name == name) fitting.push_back(region);
  std::vector<double> bytes;
  for (const auto& region : fitting) bytes.push_back(static_cast<double>(region.end - region.begin));
  const auto& region = fitting[std::discrete_distribution<size_t>(bytes.begin(), bytes.end())(random)];
  auto& byte = content(disk, region.file)[std::uniform_int_distribution(region.begin, region.end - 1)(random)];
  byte = static_cast<char>(byte ^ (1 << std::uniform_int_distribution(0, 7)(random)));
  return region.file;
}

const char* const kRegions[] = {"manifest", "small state", "header", "tensors", "optimizer state"};

TEST(Damage, EveryFlippedBitIsFoundAndItsFileNamed) {
  const Disk good = saved({10});
  const auto all = regions();
  std::mt19937 random(3);
  int64_t flips = 0, found = 0;
  for (const auto* name : kRegions)
    for (int64_t i = 0; i < 200 * fault_scale(); ++i, ++flips) {
      Disk disk = good;
      const auto file = flip(disk, name, all, random);
      const bool right = is_found(disk, file);
      found += right;
      EXPECT_TRUE(right) << name << " " << file << ": " << refusal(disk);
    }
  std::printf("R5: %ld bit flips, %ld found and their file named\n", flips, found);
}

TEST(Damage, AReaderWithoutHashesIsCaught) {
  const Disk good = saved({10});
  const auto all = regions();
  std::mt19937 random(3);
  int64_t missed = 0;
  for (const auto* name : kRegions)
    for (int i = 0; i < 200; ++i) {
      Disk disk = good;
      flip(disk, name, all, random);
      PowerLoss files(disk);
      missed += problem_of([&] { verify_without_hashes(files, kStep); }).empty();
    }
  EXPECT_GT(missed, 400);
  std::printf("R5: a reader without hashes misses %ld of 1000\n", missed);
}

TEST(Damage, SoundCheckpointsRaiseNoAlarm) {
  int64_t alarms = 0, loads = 0;
  for (int64_t i = 0; i < 100 * fault_scale(); ++i, ++loads) {
    const int64_t step = 10 + i, elements = 2 + 98 * i % kElements / 2 * 2;
    PowerLoss files(saved({step}, elements));
    testing::internal::CaptureStderr();
    const bool right = problem_of([&] {
                         if (start(files, kDir, elements) != step) throw std::runtime_error("another step");
                         verify_checkpoint(files, kDir + "/step-" + std::to_string(step));
                       }).empty();
    alarms += !right || !testing::internal::GetCapturedStderr().empty();
  }
  EXPECT_EQ(alarms, 0);
  std::printf("R5: %ld sound checkpoints loaded, %ld alarms\n", loads, alarms);
}

TEST(Damage, EveryTruncationIsFound) {
  Disk good = saved({10});
  std::mt19937 random(4);
  int64_t cuts = 0, found = 0;
  const auto cut = [&](const std::string& file, size_t bytes) {
    Disk disk = good;
    content(disk, file).resize(bytes);
    const bool right = is_found(disk, file);
    EXPECT_TRUE(right) << file << " of " << bytes << " bytes: " << refusal(disk);
    found += right;
    ++cuts;
  };
  const std::vector<std::string> names{shard(0), shard(1), kManifest};
  for (const auto& file : names)
    for (size_t bytes = 0; bytes < content(good, file).size(); bytes += 4096) cut(file, bytes);
  for (int64_t i = 0; i < 200 * fault_scale(); ++i) {
    const auto& file = names[std::uniform_int_distribution<size_t>(0, 2)(random)];
    cut(file, std::uniform_int_distribution<size_t>(0, content(good, file).size() - 1)(random));
  }
  std::printf("R6: %ld truncations, %ld found and their file named\n", cuts, found);
}

/// Changes the members of the manifest and seals it again: forged, or of another program.
void forge(Disk& disk, const std::function<void(Json&)>& change) {
  Json json = parse_json(content(disk, kManifest), {});
  json.erase("sha256");
  change(json);
  content(disk, kManifest) = manifest_text(json);
}

void remove(Disk& disk, const std::string& file) { disk.nodes.at(disk.find(kStep)).names.erase(file); }

/// A third shard that repeats the second, with all names and the manifest made to fit.
void add_shard(Disk& disk) {
  auto& names = disk.nodes.at(disk.find(kStep)).names;
  const int first = names.at(shard(0)), second = names.at(shard(1));
  names = {{kManifest, names.at(kManifest)}, {shard_name(0, 3), first}, {shard_name(1, 3), second}, {shard_name(2, 3), second}};
  forge(disk, [](Json& json) {
    json["ranks"] = 3;
    json["files"].push_back(json["files"][1]);
    for (int rank = 0; rank < 3; ++rank) json["files"][static_cast<size_t>(rank)]["name"] = shard_name(rank, 3);
  });
}

struct Case {
  const char* what;
  std::string says;
  std::function<void(Disk&)> damage;
};

TEST(Damage, WhatIsWrongIsSaid) {
  const std::vector<Case> cases{
      {"empty shard", shard(0) + ": has 0 bytes, the manifest says", [](Disk& d) { content(d, shard(0)).clear(); }},
      {"longer shard", shard(1) + ": has 49", [](Disk& d) { content(d, shard(1)) += "x"; }},
      {"missing shard", shard(1) + ": cannot be opened: No such file", [](Disk& d) { remove(d, shard(1)); }},
      {"extra shard", "does not hold every element of param/w once", add_shard},
      {"extra name", "manifest.json: lists other files than ranks",
       [](Disk& d) { forge(d, [](Json& j) { j["files"].push_back(j["files"][1]); }); }},
      {"swapped shards", shard(0) + ": is damaged between bytes 0 and",
       [](Disk& d) { std::swap(content(d, shard(0)), content(d, shard(1))); }},
      {"swapped in the manifest", "manifest.json: names an unexpected file",
       [](Disk& d) { forge(d, [](Json& j) { std::swap(j["files"][0], j["files"][1]); }); }},
      {"shard of another step", shard(1) + ": is damaged between bytes 0 and",
       [](Disk& d) {
         Disk other = saved({20});
         content(d, shard(1)) = other.nodes.at(other.find(kDir + "/step-20/" + shard(1))).data;
       }},
      {"missing manifest", "manifest.json: cannot open: No such file", [](Disk& d) { remove(d, kManifest); }},
      {"empty manifest", "manifest.json: does not end with its own SHA-256", [](Disk& d) { content(d, kManifest).clear(); }},
      {"changed manifest", "manifest.json: does not match its own SHA-256", [](Disk& d) { content(d, kManifest)[30] = '7'; }},
      {"manifest of another step", "step-10: is the checkpoint of step 20",
       [](Disk& d) { forge(d, [](Json& j) { j["step"] = 20; }); }},
      {"manifest of another run", R"(was written by another run: data: "e" then, "d" now)",
       [](Disk& d) { forge(d, [](Json& j) { j["fixed"]["data"] = "e"; }); }},
      {"future format", "manifest.json: format 2, this program reads 1",
       [](Disk& d) { forge(d, [](Json& j) { j["format"] = 2; }); }},
      {"no format", "manifest.json: ", [](Disk& d) { forge(d, [](Json& j) { j.erase("format"); }); }},
  };
  std::set<std::string> messages;
  for (const auto& one : cases) {
    Disk disk = saved({10});
    one.damage(disk);
    const auto message = refusal(disk);
    EXPECT_THAT(message, testing::HasSubstr(one.says)) << one.what;
    messages.insert(message);
  }
  EXPECT_EQ(messages.size(), cases.size());
  std::printf("R6: %zu kinds of damage refused, %zu messages\n", cases.size(), messages.size());
}

/// A file that the manifest does not list belongs to nobody: it changes nothing.
TEST(Damage, AStrayFileIsNotRead) {
  Disk disk = saved({10});
  disk.nodes.at(disk.find(kStep)).names[shard_name(2, 3)] = disk.find(kStep + "/" + shard(1));
  EXPECT_EQ(refusal(disk), "");
}

}  // namespace
}  // namespace fmtrain

// A folder with checkpoints of a small state, saved and loaded by ranks that are threads.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <atomic>
#include <cmath>
#include <filesystem>

#include "comm/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {

namespace fs = std::filesystem;
using testing::HasSubstr;

inline const Json kFixed{{"config", "abc"}, {"config_lines", {"lr=1", "seed=2"}}, {"data", "d"}};
inline const Json kSmall{{"engine", {{"optimizer_steps", 7}}}, {"trainer", {{"step", 9}}}};

struct Tensor {
  const char* name;
  std::vector<int64_t> shape;
  int64_t offset, numel;
};
inline const std::vector<Tensor> kTensors{{"a", {5, 7}, 0, 35}, {"b", {16}, 35, 16}, {"c", {30, 3}, 51, 90}};
inline constexpr int64_t kAll = 141;

/// A state of three tensors end to end whose every element is its own index plus `step` / 1000.
struct Flat {
  explicit Flat(double step = 0) : values(at::arange(kAll, at::kFloat) + step / 1000) {}
  StateDict pieces(int64_t first, int64_t last) {
    StateDict dict;
    for (const char* prefix : {"param/", "exp_avg/"})
      for (const auto& t : kTensors) {
        const int64_t from = std::max(first, t.offset), to = std::min(last, t.offset + t.numel);
        if (from < to)
          dict.pieces.push_back({prefix + std::string(t.name), t.shape, from - t.offset, values.slice(0, from, to)});
      }
    return dict;
  }
  StateDict share(const Communicator& comm) {
    return pieces(comm.rank() * kAll / comm.size(), (comm.rank() + 1) * kAll / comm.size());
  }
  StateDict whole() { return pieces(0, kAll); }
  at::Tensor values;
};

class Checkpoints : public TemporaryFolder {
 protected:
  std::string dir() const { return path("checkpoints"); }

  void save(int ranks, const std::vector<int64_t>& steps, int64_t keep = 100, int64_t best = -1) const {
    run_ranks(ranks, [&](Communicator& comm) {
      CheckpointStore store(dir(), posix_files(), comm, keep);
      for (const auto step : steps) {
        std::string why;
        Flat flat(static_cast<double>(step));
        EXPECT_TRUE(store.save(step, flat.share(comm), kSmall, kFixed, best, &why)) << why;
      }
    });
  }

  /// The step that `ranks` ranks load, all elements checked; -1: none. Throws what all ranks threw.
  int64_t load(int ranks, const Json& fixed = kFixed) const {
    std::atomic<int64_t> loaded{-1};
    run_ranks(ranks, [&](Communicator& comm) {
      CheckpointStore store(dir(), posix_files(), comm, 3);
      Flat flat;
      flat.values.fill_(-1);
      const auto small = store.load_newest(flat.whole(), fixed);
      if (!small) return;
      EXPECT_EQ(*small, kSmall);
      const auto step = static_cast<int64_t>(std::lround(flat.values[0].item<double>() * 1000));
      EXPECT_TRUE(at::equal(flat.values, Flat(static_cast<double>(step)).values));
      loaded = step;
    });
    return loaded;
  }

  std::string shard(int64_t step, int rank, int size) const {
    return "checkpoints/step-" + std::to_string(step) + "/" + shard_name(rank, size);
  }
  std::string manifest(int64_t step) const { return "checkpoints/step-" + std::to_string(step) + "/manifest.json"; }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    posix_files().list(dir(), &all);
    return all;
  }
  size_t count(const std::string& prefix) const {
    size_t n = 0;
    for (const auto& name : names()) n += name.starts_with(prefix);
    return n;
  }
  /// Changes members of a manifest and seals it again: a forged one.
  void forge(int64_t step, const std::function<void(Json&)>& change) const {
    Json json = parse_json(content(manifest(step)), {});
    json.erase("sha256");
    change(json);
    write(manifest(step), manifest_text(json));
  }
};

}  // namespace fmtrain

#include "tests/fault/small_run.h"

#include <ATen/ATen.h>

#include <cstdlib>
#include <stdexcept>

#include "comm/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {


/// Every file with its content, every directory with "", by path.
void show(const Disk& disk, int node, const std::string& path, std::map<std::string, std::string>& all) {
  all[path] = disk.nodes.at(node).data;
  for (const auto& [name, below] : disk.nodes.at(node).names) show(disk, below, path + "/" + name, all);
}

std::string hash_of(const Disk& disk) {
  std::map<std::string, std::string> all;
  show(disk, 0, "", all);
  std::string text;
  for (const auto& [path, data] : all) text += path + ":" + std::to_string(data.size()) + ":" + data;
  return xxh3_hex(text.data(), text.size());
}

}  // namespace

int64_t fault_scale() {
  const char* scale = std::getenv("FMTRAIN_FAULT_SCALE");
  return scale ? std::max(1L, std::atol(scale)) : 1;
}

StateDict state_of(int64_t step, int64_t elements, int rank, int size) {
  const int64_t first = elements * rank / size, last = elements * (rank + 1) / size;
  StateDict dict;
  double kind = 0;
  for (const char* name : {"param/w", "exp_avg/w", "exp_avg_sq/w"})
    dict.pieces.push_back({name,
                           {elements / 2, 2},
                           first,
                           at::arange(first, last, at::kFloat) + kind++ / 4 + static_cast<double>(step * 10'000)});
  return dict;
}

Json small_of(int64_t step) { return {{"trainer", {{"step", step}}}}; }

std::vector<Saved> save_all(FileOps& files, const std::string& dir, const Plan& plan, const PowerLoss* disk) {
  std::vector<Saved> saved;
  run_ranks(kRanks, [&](Communicator& comm) {
    CheckpointStore store(dir, files, comm, plan.keep);
    if (plan.resume && store.load_newest(state_of(0, plan.elements, 0, 1), kFixedPart)) store.prune(-1);
    for (const auto step : plan.steps) {
      const auto state = state_of(step, plan.elements, comm.rank(), kRanks);
      const bool ok = store.save(step, state, small_of(step), kFixedPart, -1, nullptr);
      if (comm.rank() == 0) saved.push_back({disk ? disk->changes() : 0, step, ok});
    }
  });
  return saved;
}

int64_t start(FileOps& files, const std::string& dir, int64_t elements) {
  int64_t step = -1;
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir, files, comm, 1);
    const auto found = state_of(0, elements, 0, 1);
    const auto small = store.load_newest(found, kFixedPart);
    if (!small) return;
    step = small->at("trainer").at("step").get<int64_t>();
    const auto right = state_of(step, elements, 0, 1);
    for (size_t i = 0; i < right.pieces.size(); ++i)
      if (!at::equal(found.pieces[i].data, right.pieces[i].data)) throw std::logic_error("loaded what was not saved");
  });
  return step;
}

Disk empty_disk() {
  PowerLoss files;
  files.make_dir(kDir);
  return files.killed_after(files.changes());
}

const Finding& Examiner::examine(const Disk& disk) {
  const auto [known, fresh] = known_.try_emplace(hash_of(disk));
  if (fresh) known->second = look(disk);
  return known->second;
}

Finding Examiner::look(const Disk& disk) {
  Finding found;
  PowerLoss files(disk);
  if (disk.find(kDir) >= 0)
    for (const auto step : checkpoint_steps(files, kDir)) {
      const std::string path = kDir + "/step-" + std::to_string(step);
      try {
        verify_checkpoint(files, path);
        ++found.verified;
        std::map<std::string, std::string> content;
        show(disk, disk.find(path), "", content);
        found.wrong |= content != right_files(step);
      } catch (const CheckpointError&) {
        found.torn.insert(step);
      }
    }
  try {
    found.newest = start(files, kDir, elements_);
  } catch (const CheckpointError&) {
  } catch (const std::logic_error&) {
    found.wrong = true;
  }
  std::vector<std::string> names;
  files.list(kDir, &names);
  for (const auto& name : names) found.leftovers |= name.starts_with(".tmp-") || name.starts_with(".del-");
  return found;
}

const std::map<std::string, std::string>& Examiner::right_files(int64_t step) {
  const auto [known, fresh] = right_.try_emplace(step);
  if (fresh) {
    PowerLoss files(empty_disk());
    save_all(files, kDir, {{step}, 1, elements_});
    const Disk disk = files.killed_after(files.changes());
    show(disk, disk.find(kDir + "/step-" + std::to_string(step)), "", known->second);
  }
  return known->second;
}

}  // namespace fmtrain

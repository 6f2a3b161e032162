#include "runtime/checkpoint/restarts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "runtime/errors.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestRecord = 4096;

struct Count {
  int64_t step = 0, restarts = 0;
};

bool is_there(FileOps& files, const std::string& path) {
  int fd = -1;
  const int error = files.open(path, &fd);
  if (!error) files.close(fd);
  return error != ENOENT;
}

std::optional<Count> read_count(FileOps& files, const std::string& path) {
  if (!is_there(files, path)) return std::nullopt;
  try {
    const Json json = parse_json(read_file(files, path, kLargestRecord, Links::kRefuse), {kLargestRecord, 2});
    for (const char* name : {"step", "restarts"})
      if (!json.at(name).is_number_unsigned()) throw std::runtime_error(std::string(name) + " is not a whole number");
    return Count{json.at("step").get<int64_t>(),
                 static_cast<int64_t>(std::min<uint64_t>(json.at("restarts").get<uint64_t>(), kRestartsWithoutProgress))};
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fmtrain: warning: %s: %s; restarts are counted anew\n", path.c_str(), error.what());
    return std::nullopt;
  }
}

/// The first start of a run is no restart; the first one from a newer checkpoint is one.
Count counted(const std::optional<Count>& before, int64_t step) {
  if (!before) return {step, 0};
  return {step, before->step == step ? before->restarts + 1 : 1};
}

}  // namespace

void count_restart(FileOps& files, const std::string& run_dir, Communicator& comm, int64_t step, bool resume) {
  const std::string path = run_dir + "/restarts.json";
  int64_t restarts = 0, error = 0;
  if (comm.rank() == 0) {
    const Count now = counted(resume ? read_count(files, path) : std::nullopt, step);
    restarts = now.restarts;
    if (restarts <= kRestartsWithoutProgress)
      error = replace_file(files, path, Json{{"step", now.step}, {"restarts", now.restarts}}.dump() + "\n");
  }
  auto known = at::tensor({restarts, error});
  comm.all_reduce(known, ReduceOp::kMax).wait();
  if (known[0].item<int64_t>() > kRestartsWithoutProgress)
    throw Error(ExitCode::kDoNotRequeue,
                std::to_string(kRestartsWithoutProgress) + " restarts from step " + std::to_string(step) +
                    " ended before a newer checkpoint was saved; find the cause in the logs, then remove " + path +
                    " and start again");
  if (const auto worst = static_cast<int>(known[1].item<int64_t>()))
    throw StorageError(path + ": cannot be written: " + std::strerror(worst));
}

}  // namespace fmtrain

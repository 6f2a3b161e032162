#include "runtime/preflight/checkpoints.h"

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/reader.h"

namespace fmtrain {
namespace {

int64_t bytes_of(const Json& manifest) {
  int64_t bytes = 0;
  for (const auto& file : manifest.at("files")) bytes += file.at("bytes").get<int64_t>();
  return bytes;
}

/// Whether the bytes were compared too. Throws CheckpointError.
bool verify(FileOps& files, const std::string& path, const Json& manifest, int64_t most) {
  const bool all = bytes_of(manifest) <= most;
  CheckpointReader(files, path, all ? CheckpointReader::Check::kAll : CheckpointReader::Check::kHeaders);
  return all;
}

}  // namespace

Row judge_checkpoints(FileOps& files, const std::string& dir, const Json& fixed, int64_t most) {
  Row row{"checkpoint", Status::kOk, "none: the run starts at the beginning", ""};
  std::vector<std::string> names;
  if (files.list(dir, &names) != 0) return row;
  const auto steps = checkpoint_steps(files, dir);
  for (const auto step : steps) try {
    const std::string path = dir + "/step-" + std::to_string(step);
    const Json manifest = read_manifest(files, path);
    const bool all = verify(files, path, manifest, most);
    raise(row, row.details.empty() ? Status::kOk : Status::kWarning);
    row.found = "the run goes on from step " + std::to_string(step) +
                (all ? " (all its bytes are right)" : " (its files are there; too large to compare all bytes here)");
    row.values = {{"step", step}, {"verified", all}};
    if (const auto code = difference_code(manifest.at("fixed"), fixed); code != ExitCode::kOk) {
      row.status = Status::kFailed;
      row.code = code;
      row.found = path + " was written by another run: " + differences(manifest.at("fixed"), fixed);
      row.fix = code == ExitCode::kData ? "put the training file back as it was, or use another run.dir or --resume never"
                                        : "use another run.dir or --resume never";
    }
    return row;
  } catch (const std::exception& error) {
    row.details.push_back(error.what());
    row.fix = "an older checkpoint serves: nothing has to be done";
  }
  if (steps.empty()) return row;
  row.status = Status::kFailed;
  row.code = ExitCode::kNoCheckpoint;
  row.found = dir + ": none of " + std::to_string(steps.size()) + " checkpoints is whole";
  row.fix = "see fmtrain checkpoint verify RUN; to begin anew: another run.dir, or --resume never";
  return row;
}

}  // namespace fmtrain

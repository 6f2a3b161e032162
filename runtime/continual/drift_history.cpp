#include "runtime/continual/drift_history.h"

#include <algorithm>
#include <cerrno>

#include "runtime/continual/sealed_json.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr size_t kLongestHistory = size_t{64} << 20;

std::string path_of(const Registry& registry) { return registry.directory() + "/drift.jsonl"; }

std::string text_of_file(const Registry& registry) {
  int fd = -1;
  if (registry.files().open_plain(path_of(registry), &fd) == ENOENT) return "";
  if (fd >= 0) registry.files().close(fd);
  return read_file(registry.files(), path_of(registry), kLongestHistory, Links::kRefuse);
}

double number_of(const Json& record, const char* name) {
  if (!record.at(name).is_number()) throw std::runtime_error(std::string(name) + " is not a number");
  return record.at(name).get<double>();
}

bool flag_of(const Json& record, const char* name) {
  if (!record.at(name).is_boolean()) throw std::runtime_error(std::string(name) + " is neither true nor false");
  return record.at(name).get<bool>();
}

std::string print(const DriftRecord& r) {
  const Json record{{"format", 1},
                    {"time", r.time},
                    {"champion", r.champion},
                    {"texts", r.texts},
                    {"first_batch", r.first_batch},
                    {"last_batch", r.last_batch},
                    {"window_sha256", r.window_sha256},
                    {"p", r.p},
                    {"severity", r.severity},
                    {"drifted", r.drifted},
                    {"dropped", r.dropped},
                    {"verdict", r.verdict}};
  std::string text = seal(record);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

DriftRecord parse(std::string_view line) {
  const Json record = unseal(std::string(line) + "\n");
  require_members(record, {"format", "time", "champion", "texts", "first_batch", "last_batch", "window_sha256", "p", "severity",
                           "drifted", "dropped", "verdict"});
  whole_of(record, "format", 1, 1);
  return {whole_of(record, "time"),        whole_of(record, "champion"),    whole_of(record, "texts"),
          whole_of(record, "first_batch"), whole_of(record, "last_batch"),  sha256_of(record, "window_sha256"),
          number_of(record, "p"),          number_of(record, "severity"),   flag_of(record, "drifted"),
          flag_of(record, "dropped"),      text_of(record, "verdict")};
}

}  // namespace

std::vector<DriftRecord> drift_history(const Registry& registry) {
  const std::string text = text_of_file(registry);
  std::vector<DriftRecord> records;
  for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    try {
      records.push_back(parse(std::string_view(text).substr(at, end - at)));
    } catch (const std::runtime_error& error) {
      throw CheckpointError(path_of(registry) + ": line " + std::to_string(records.size() + 1) + ": " + error.what());
    }
  }
  return records;
}

void add_drift_record(Registry& registry, const DriftRecord& record) {
  const auto known = drift_history(registry);
  if (!known.empty()) {
    DriftRecord last = known.back();
    last.time = record.time;
    if (print(last) == print(record)) return;
  }
  write_file_atomic(registry.files(), path_of(registry), text_of_file(registry) + print(record) + "\n");
}

bool drifted_before(const std::vector<DriftRecord>& history, int64_t champion, int64_t first_batch, int64_t consecutive) {
  int64_t wanted = consecutive - 1;
  for (auto record = history.rbegin(); wanted > 0 && record != history.rend(); ++record) {
    if (record->champion != champion) return false;
    if (record->last_batch >= first_batch) continue;
    if (!record->drifted) return false;
    first_batch = record->first_batch;
    --wanted;
  }
  return wanted <= 0;
}

}  // namespace fmtrain

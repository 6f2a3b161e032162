#include "runtime/continual/cycle.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include "runtime/continual/gate.h"
#include "runtime/continual/sealed_json.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr std::array<const char*, 6> kStages{"triggered", "data-frozen", "trained", "evaluated", "decided", "published"};

CycleStage stage_of(const std::string& name) {
  const auto found = std::find(kStages.begin(), kStages.end(), name);
  if (found == kStages.end()) throw std::runtime_error("stage is none");
  return static_cast<CycleStage>(found - kStages.begin());
}

/// What history() relies on; the rest of a record is the work's own.
void check_record(CycleStage stage, const Json& record) {
  if (!record.is_object()) throw std::runtime_error("a record is no object");
  if (stage == CycleStage::kDecided) text_of(record, "verdict");
  if (stage == CycleStage::kTrained && record.contains("gpu_hours") && !record.at("gpu_hours").is_number())
    throw std::runtime_error("gpu_hours is not a number");
}

CycleStage after(CycleStage stage) { return static_cast<CycleStage>(static_cast<int>(stage) + 1); }

Json work_after(CycleStage stage, CycleWork& work, const CycleState& state, const std::string& directory) {
  switch (stage) {
    case CycleStage::kTriggered:
      return work.freeze(state, directory);
    case CycleStage::kDataFrozen:
      return work.train(state, directory);
    case CycleStage::kTrained:
      return work.evaluate(state, directory);
    case CycleStage::kEvaluated:
      return work.decide(state, directory);
    case CycleStage::kDecided:
      return work.publish(state, directory);
    case CycleStage::kPublished:
      break;
  }
  throw std::logic_error("a published cycle has no further stage");
}

constexpr const char* kAbandoned = "abandoned";

/// An unknown verdict, as that of an abandoned cycle, counts as inconclusive: it neither cools down nor stops the series.
CycleOutcome outcome(const CycleState& cycle) {
  if (cycle.stage < CycleStage::kDecided) return CycleOutcome::kUnfinished;
  const auto verdict = cycle.records.at("decided").value("verdict", "");
  if (verdict == gate_verdict_name(GateVerdict::kPromote)) return CycleOutcome::kPromoted;
  return verdict == gate_verdict_name(GateVerdict::kReject) ? CycleOutcome::kRejected : CycleOutcome::kInconclusive;
}

}  // namespace

const char* cycle_stage_name(CycleStage stage) { return kStages[static_cast<size_t>(stage)]; }

std::string print_cycle(const CycleState& state) {
  return seal_readable({{"format", 1},
                        {"number", state.number},
                        {"stage", cycle_stage_name(state.stage)},
                        {"version", version_name(state.version)},
                        {"fence", state.fence},
                        {"started", state.started},
                        {"records", state.records}},
                       parse_cycle);
}

CycleState parse_cycle(const Json& record) {
  require_members(record, {"format", "number", "stage", "version", "fence", "started", "records"});
  whole_of(record, "format", 1, 1);
  CycleState state{whole_of(record, "number", 1), stage_of(text_of(record, "stage")), version_of(text_of(record, "version")),
                   whole_of(record, "fence"),     whole_of(record, "started"),        record.at("records")};
  if (!state.version) throw std::runtime_error("version is none");
  if (!state.records.is_object()) throw std::runtime_error("records is no object");
  for (size_t s = 0; s < kStages.size(); ++s)
    if (state.records.contains(kStages[s]) != (s <= static_cast<size_t>(state.stage)))
      throw std::runtime_error(std::string("records do not fit the stage: ") + kStages[s]);
  for (const auto& [name, one] : state.records.items()) check_record(stage_of(name), one);
  return state;
}

std::string Cycles::directory(int64_t number) const { return registry_.directory() + "/cycles/" + version_name(number); }

std::optional<CycleState> Cycles::stored(int64_t number) const {
  const std::string path = directory(number) + "/state.json";
  int fd = -1;
  const int error = registry_.files().open_plain(path, &fd);
  if (error == ENOENT) return std::nullopt;  // killed between the directory and its first state
  require_success(error, path, "open");
  registry_.files().close(fd);
  const Json record = read_sealed(registry_.files(), path);
  try {
    return parse_cycle(record);
  } catch (const std::runtime_error& wrong) {
    throw CheckpointError(path + ": " + wrong.what());
  }
}

std::vector<CycleState> Cycles::all() const {
  std::vector<std::string> names;
  const int error = registry_.files().list(registry_.directory() + "/cycles", &names);
  if (error != ENOENT) require_success(error, registry_.directory() + "/cycles", "list");
  std::vector<CycleState> cycles;
  for (const auto& name : names)
    if (const int64_t number = version_of(name))
      if (auto cycle = stored(number)) cycles.push_back(std::move(*cycle));
  return cycles;
}

std::vector<PastCycle> Cycles::history(const std::vector<CycleState>& cycles) {
  std::vector<PastCycle> past;
  for (const auto& cycle : cycles) {
    double gpu_hours = 0;
    if (cycle.records.contains("trained")) gpu_hours = cycle.records.at("trained").value("gpu_hours", 0.0);
    past.push_back({cycle.started, outcome(cycle), gpu_hours});
  }
  return past;
}

std::optional<CycleState> Cycles::unfinished() const {
  const auto cycles = all();
  if (cycles.empty() || cycles.back().stage == CycleStage::kPublished) return std::nullopt;
  return cycles.back();
}

void Cycles::remove_leftovers() const {
  FileOps& files = registry_.files();
  const std::string &top = registry_.directory(), place = top + "/cycles";
  remove_temporaries(files, top, [](const std::string& name) { return name == "drift.jsonl" || name == "continual.html"; });
  remove_temporaries(files, place, [](const std::string& name) { return name.starts_with("window.") || name.starts_with("reference."); });
  std::vector<std::string> names;
  files.list(place, &names);
  for (const auto& name : names)  // each a directory of its cycle alone
    if (version_of(name)) remove_temporaries(files, place + "/" + name, [](const std::string&) { return true; });
}

CycleState Cycles::begin(const Json& trigger, int64_t version, int64_t now) {
  const auto cycles = all();
  if (!cycles.empty() && cycles.back().stage != CycleStage::kPublished) throw std::logic_error("a cycle is unfinished");
  CycleState state;
  state.number = cycles.empty() ? 1 : cycles.back().number + 1;
  state.version = version;
  state.started = now;
  state.records = {{cycle_stage_name(CycleStage::kTriggered), trigger}};
  const std::string place = directory(state.number);
  const int error = registry_.files().make_dir(place);
  if (error != EEXIST) require_success(error, place, "create");
  const std::string cycles_directory = registry_.directory() + "/cycles";
  require_success(registry_.files().sync_dir(cycles_directory), cycles_directory, "sync");
  save(state);
  return state;
}

CycleState Cycles::finish(CycleState state, CycleWork& work) {
  while (state.stage != CycleStage::kPublished) {
    // Between the end of the work and the new state a kill costs the work once more, never its result: it is idempotent.
    const Json record = work_after(state.stage, work, state, directory(state.number));
    state.stage = after(state.stage);
    state.records[cycle_stage_name(state.stage)] = record;
    save(state);
  }
  return state;
}

CycleState Cycles::abandon(CycleState state, const std::string& reason) {
  while (state.stage != CycleStage::kPublished) {
    state.stage = after(state.stage);
    state.records[cycle_stage_name(state.stage)] = {{"abandoned", reason}};
    if (state.stage == CycleStage::kDecided) state.records[cycle_stage_name(state.stage)]["verdict"] = kAbandoned;
  }
  save(state);
  return state;
}

int64_t Cycles::highest_fence() const {
  int64_t highest = 0;
  for (const auto& cycle : all()) highest = std::max(highest, cycle.fence);
  return highest;
}

void Cycles::save(const CycleState& state) const {
  CycleState mine = state;
  mine.fence = fence_.generation;
  const auto before = stored(state.number);
  if (before && before->fence > fence_.generation)
    throw Error(ExitCode::kLocked, directory(state.number) + ": a later run goes on with this cycle");
  const std::string text = print_cycle(mine);
  std::string why;
  if (fence_.still_mine && !fence_.still_mine(&why)) throw Error(ExitCode::kLocked, why);
  write_file_atomic(registry_.files(), directory(state.number) + "/state.json", text);
}

}  // namespace fmtrain

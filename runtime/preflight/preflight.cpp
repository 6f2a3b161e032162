#include "runtime/preflight/preflight.h"

#include <algorithm>
#include <cmath>

#include "runtime/data/plan.h"
#include "runtime/dry_run.h"
#include "runtime/hash.h"
#include "runtime/preflight/checkpoints.h"
#include "runtime/preflight/gather.h"
#include "runtime/preflight/storage.h"
#include "runtime/preflight/subjects.h"

namespace fmtrain {
namespace {

constexpr int64_t kComparedBytes = int64_t{2} << 30;  ///< of a checkpoint

/// A row's part of the work; what it throws on one rank must be thrown on all.
Row config_row(const std::vector<Json>& ranks, const std::vector<std::string>& names, const Config& config) {
  Row row{"config", Status::kOk, config.name + ", run.dir " + config.run.dir, ""};
  std::vector<std::string> faults;
  for (const auto& r : ranks) faults.push_back(r.at("config_fault"));
  judge_faults(row, faults, names);
  if (row.status == Status::kFailed) row.fix = "correct the config, or put it where every host sees it";
  return row;
}

Row program_row(const std::vector<Json>& ranks, const std::vector<std::string>& names) {
  Row row{"program", Status::kOk, "config, program and libraries are the same on all ranks", ""};
  std::vector<std::vector<std::string>> values;
  for (const auto& r : ranks) values.push_back({r.at("config"), r.at("program"), r.at("libraries")});
  judge_equal(row, {"config", "program", "libraries or processor"}, values, names,
              "start all ranks with the same program, config file and --set values, on hosts of one kind");
  if (row.status != Status::kFailed) return row;
  const bool same_text =
      std::all_of(values.begin(), values.end(), [&](const auto& v) { return v[0] == values[0][0] && v[1] == values[0][1]; });
  if (same_text) row.status = Status::kWarning;  // it runs, but bits may differ between ranks
  return row;
}

/// What a dry run on one rank has found, or why there is none.
Json dry_facts(const Json& facts, const std::string& error, ExitCode code) {
  if (!error.empty()) return {{"error", error}, {"code", static_cast<int>(code)}};
  Json data = Json::object();
  for (const auto& [name, d] : facts.at("data").items()) data[name] = {d.at("sha256"), d.at("sampled")};
  const auto& fit = facts.at("fit");
  const bool advice = fit.is_object() && !fit.at("changes").empty();
  return {{"error", ""},
          {"code", 0},
          {"data", data.dump()},
          {"weights", facts.at("model").at("weights_sha256")},
          {"tokenizer", facts.at("model").at("tokenizer_sha256")},
          {"total", facts.at("memory").at("total")},
          {"limit", fit.is_object() ? fit.at("memory") : Json(0)},
          {"source", fit.is_object() ? fit.at("source") : Json("")},
          {"advice", advice ? fit.at("changes").at(0).at("text") : Json("")}};
}

bool of_data(int code) { return code == static_cast<int>(ExitCode::kData) || code == static_cast<int>(ExitCode::kStorage); }

class Checks {
 public:
  Checks(const Config& config, Communicator& comm, const PreflightRank& rank, const PreflightOptions& options,
         const PreflightHelp& help)
      : config_(config), comm_(comm), rank_(rank), options_(options), help_(help), clocks_(real_clocks()) {}

  Preflight run() {
    const double start = clocks_.steady();
    meet();
    if (passed("launcher")) network();
    if (passed("config") && passed("program") && passed("launcher")) inputs();
    if (passed("config") && passed("program") && passed("launcher")) storage();
    for (const char* name : {"collectives", "nccl", "hosts", "clocks", "plan", "data", "weights", "memory", "shared memory",
                             "storage", "lock", "checkpoint", "time"})
      if (!find(name)) add({name, Status::kNotRun, "needs what failed above", ""});
    result_.seconds = clocks_.steady() - start;
    return std::move(result_);
  }

 private:
  void add(Row row) { result_.rows.push_back(std::move(row)); }
  const Row* find(const std::string& name) const {
    const auto row = std::find_if(result_.rows.begin(), result_.rows.end(), [&](const Row& r) { return r.name == name; });
    return row == result_.rows.end() ? nullptr : &*row;
  }
  bool passed(const char* name) const {
    return find(name) && find(name)->status != Status::kFailed && find(name)->status != Status::kNotRun;
  }

  /// What ranks say of themselves.
  void meet() {
    const auto ranks = gather_json(comm_, {{"place", place_json(rank_.place)},
                                           {"device_fault", rank_.device_fault},
                                           {"config_fault", rank_.config_fault},
                                           {"config", config_key()},
                                           {"program", rank_.program},
                                           {"libraries", rank_.libraries}});
    std::vector<std::string> hosts;
    for (const auto& r : ranks) {
      result_.places.push_back(place_from_json(r.at("place")));
      hosts.push_back(result_.places.back().host);
    }
    names_ = rank_names(hosts);
    leaders_ = leaders_of(result_.places);
    add(judge_launcher(rank_.launched, comm_.size(), static_cast<int>(leaders_.size())));
    add(config_row(ranks, names_, config_));
    add(judge_placement(result_.places));
    add(judge_devices(result_.places, device_fault(ranks)));
    add(program_row(ranks, names_));
  }

  std::string config_key() const {
    const std::string key = rank_.config_fault.empty() ? computation_hash(config_) + config_.run.dir : "";
    return sha256_hex(key.data(), key.size());
  }

  std::string device_fault(const std::vector<Json>& ranks) const {
    Row row{"", Status::kOk, "", ""};
    std::vector<std::string> faults;
    for (const auto& r : ranks) faults.push_back(r.at("device_fault"));
    judge_faults(row, faults, names_);
    return row.status == Status::kFailed ? row.found : help_.device_fault(result_.places);
  }

  void network() {
    int64_t room = INT64_MAX;
    for (const auto& p : result_.places)
      room = std::min(room, p.shm_free < 0 ? INT64_MAX : p.shm_free / static_cast<int64_t>(4 * result_.places.size()));
    constexpr int64_t kMost = 8 << 20;
    add(judge_collectives("collectives", measure_collectives(comm_, at::kCPU, std::min(room, kMost)), comm_.size(),
                          expected_of_all()));
    const bool gpus = result_.places[0].gpu >= 0 && passed("devices") && passed("config") && passed("program");
    if (gpus) {
      const auto comm = help_.make_gpu_communicator(config_);
      const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(rank_.place.gpu));
      add(judge_collectives("nccl", measure_collectives(*comm, device, kMost), comm_.size(), expected_of_all()));
    } else add({"nccl", Status::kNotRun, result_.places[0].gpu >= 0 ? "needs what failed above" : "no GPU", ""});
    const auto pairs = measure_pairs(comm_, help_.channel, leaders_, options_.expected, clocks_, options_.network_seconds);
    HostNames hosts;
    for (const int leader : leaders_) hosts[leader] = result_.places[static_cast<size_t>(leader)].host;
    const auto n = static_cast<int64_t>(leaders_.size());
    add(judge_pairs(pairs, hosts, options_.expected, n * (n - 1) / 2));
    add(judge_clocks(pairs, hosts));
  }

  /// Nothing is expected of an all-reduce inside one host.
  double expected_of_all() const { return leaders_.size() > 1 ? options_.expected : 0; }

  /// Rank 0 first, which may have to prepare data; no call in here is collective but those of gather.h.
  void inputs() {
    Row plan{"plan", Status::kOk,
             std::to_string(config_.batch.global / config_.batch.micro) + " leaves an update for " +
                 std::to_string(comm_.size()) + " ranks",
             ""};
    try {
      check_ranks(config_.batch, comm_.size());
    } catch (const Error& error) {
      plan = {"plan", Status::kFailed, error.what(), "set batch.micro as it says, or start fewer ranks", error.code()};
    }
    add(plan);
    if (plan.status == Status::kFailed) return;
    Json mine = comm_.rank() == 0 ? dry() : Json();
    const bool first = rank_zeros(comm_, mine).at("code") == 0;
    if (comm_.rank() > 0) mine = first ? dry() : Json{{"error", ""}, {"code", 0}};
    judge_inputs(gather_json(comm_, mine), first);
  }

  Json dry() {
    try {
      if (comm_.rank() == 0) help_.trial_read(config_);
      const auto local = std::count_if(result_.places.begin(), result_.places.end(),
                                       [&](const RankPlace& p) { return p.host == rank_.place.host; });
      facts_ = dry_run(config_, {comm_.size(), static_cast<int>(local), options_.memory, result_.places[0].gpu >= 0});
      return dry_facts(facts_, "", ExitCode::kOk);
    } catch (const Error& error) {
      return dry_facts({}, error.what(), error.code());
    } catch (const std::exception& error) {
      return dry_facts({}, error.what(), ExitCode::kInternal);
    }
  }

  void judge_inputs(const std::vector<Json>& ranks, bool complete) {
    Row data{"data", Status::kOk, "opened, hashed and sampled alike on all ranks", "", ExitCode::kData},
        weights{"weights", Status::kOk, "", ""};
    for (Row* row : {&data, &weights}) {
      std::vector<std::string> faults;
      for (const auto& r : ranks) {
        const int code = r.at("code");
        const bool here = code != 0 && of_data(code) == (row == &data);
        faults.push_back(here ? r.at("error") : Json(""));
        if (here) row->code = static_cast<ExitCode>(code);
      }
      judge_faults(*row, faults, names_);
      if (row->status == Status::kFailed)
        row->fix = row == &data ? "correct the file, or put it where every host sees it"
                                : "correct model.path or the keys named, on every host";
    }
    const bool loaded = complete && std::all_of(ranks.begin(), ranks.end(), [](const Json& r) { return r.at("code") == 0; });
    if (loaded) compare(ranks, data, weights);
    if (!loaded && data.status == Status::kOk) data = {"data", Status::kNotRun, "needs what failed", ""};
    if (!loaded && weights.status == Status::kOk) weights = {"weights", Status::kNotRun, "needs what failed", ""};
    add(data);
    add(weights);
    if (loaded) memory(ranks);
  }

  void compare(const std::vector<Json>& ranks, Row& data, Row& weights) {
    std::vector<std::vector<std::string>> of_data, of_weights;
    for (const auto& r : ranks) {
      of_data.push_back({r.at("data"), r.at("tokenizer")});
      of_weights.push_back({r.at("weights")});
    }
    judge_equal(data, {"data", "tokenizer"}, of_data, names_,
                "all hosts must see the same files: copy them again, or use shared storage");
    const Json run = rank_zeros(comm_, facts_);
    const auto& model = run.at("model");
    weights.found = model.at("weights_sha256") == ""
                        ? "random (model.init)"
                        : "every tensor is used or listed, every parameter is loaded or a new head";
    weights.values = {{"sha256", model.at("weights_sha256")}, {"notes", model.at("notes")}};
    judge_equal(weights, {"weights"}, of_weights, names_, "all hosts must see the same model directory");
    result_.run = run;
  }

  void memory(const std::vector<Json>& ranks) {
    std::vector<RankNeed> needs;
    for (const auto& r : ranks) needs.push_back({r.at("total"), r.at("limit"), r.at("source"), r.at("advice")});
    add(judge_memory(needs, names_));
    const auto& shared = result_.run.at("shared_memory");
    add(judge_shared_memory(result_.places, shared.at("by_rank"), shared.at("once")));
  }

  void storage() {
    const bool known = result_.run.is_object();
    const bool leader = std::find(leaders_.begin(), leaders_.end(), comm_.rank()) != leaders_.end();
    const int64_t bytes = known ? result_.run.at("checkpoint").at("bytes").get<int64_t>() : 0;
    for (auto& row :
         check_storage(comm_, help_.files, {config_.run.dir, config_.checkpoint.keep, bytes, leader, rank_.identity}))
      add(row);
    if (!known) return;
    Json rows = Json::array();
    if (comm_.rank() == 0) rows = {row_json(checkpoint()), row_json(time_row())};
    for (const auto& row : rank_zeros(comm_, rows)) add(row_from_json(row));
  }

  /// On rank 0.
  Row checkpoint() const try {
    return judge_checkpoints(help_.files, config_.run.dir + "/checkpoints", result_.run.at("resume").at("fixed"),
                             kComparedBytes);
  } catch (const Error& error) {
    return {"checkpoint", Status::kFailed, error.what(), "see fmtrain checkpoint verify RUN", error.code()};
  }

  /// On rank 0.
  Row time_row() const {
    const auto& step = result_.run.at("resume").at("step");
    const auto left = result_.run.at("steps").at("total").get<int64_t>() - (step.is_null() ? 0 : step.get<int64_t>());
    double limit = config_.run.time_limit.value_or(0);
    if (rank_.seconds_left > 0) limit = limit > 0 ? std::min(limit, rank_.seconds_left) : rank_.seconds_left;
    return judge_time(std::max<int64_t>(left, 0), logged_step_seconds(help_.files, config_.run.dir), limit);
  }

  const Config& config_;
  Communicator& comm_;
  const PreflightRank& rank_;
  const PreflightOptions& options_;
  const PreflightHelp& help_;
  MeasureClocks clocks_;
  Preflight result_;
  Json facts_;                      ///< of this rank's dry run
  std::vector<std::string> names_;  ///< of ranks
  std::vector<int> leaders_;        ///< the first rank of each host
};

}  // namespace

Preflight preflight(const Config& config, Communicator& comm, const PreflightRank& rank, const PreflightOptions& options,
                    const PreflightHelp& help) {
  return Checks(config, comm, rank, options, help).run();
}

}  // namespace fmtrain

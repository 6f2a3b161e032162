#include "runtime/continual/facts.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "runtime/continual/challenger_work.h"
#include "runtime/continual/measures.h"
#include "runtime/continual/schedule.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

std::string day(int64_t time) {
  const std::time_t t = time;
  std::tm utc{};
  gmtime_r(&t, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &utc);
  return text;
}

const Json& part(const CycleState& cycle, CycleStage stage) {
  static const Json none = Json::object();
  const auto found = cycle.records.find(cycle_stage_name(stage));
  return found == cycle.records.end() ? none : *found;
}

bool was_promoted(const CycleState& cycle) { return part(cycle, CycleStage::kPublished).value("promoted", false); }

Json cycle_facts(const CycleState& cycle) {
  const Json& gate = part(cycle, CycleStage::kDecided);
  const Json& data = part(cycle, CycleStage::kDataFrozen);
  Json facts{{"number", cycle.number},
             {"started", cycle.started},
             {"trigger", part(cycle, CycleStage::kTriggered).value("kind", "")},
             {"stage", cycle_stage_name(cycle.stage)},
             {"verdict", gate.value("verdict", Json())},
             {"reasons", gate.value("reasons", Json::array())},
             {"version", cycle.version},
             {"fresh", data.value("fresh", Json())},
             {"replayed", data.value("replayed", Json())},
             {"promoted", was_promoted(cycle)}};
  for (const char* set : {"rolling", "core"})
    if (gate.contains(set)) {
      const Json& of = gate.at(set);
      facts[set] = {{"champion", of.at("champion")}, {"challenger", of.at("challenger")}, {"lcb95", of.at("lcb95")},
                    {"ucb95", of.at("ucb95")},       {"texts", of.at("examples")}};
    }
  return facts;
}

Json serving(const std::vector<AuditRecord>& audit) {
  Json list = Json::array();
  for (const auto& record : audit)
    if (record.action == "promote" || record.action == "rollback")
      list.push_back({{"version", record.version}, {"from", record.time}, {"action", record.action}});
  return list;
}

Json drift_facts(const std::vector<DriftRecord>& history, double alpha) {
  Json list = Json::array();
  for (const auto& r : history)
    list.push_back({{"time", r.time}, {"p", r.p}, {"alpha", alpha}, {"severity", r.severity}, {"verdict", r.verdict}, {"champion", r.champion}});
  return list;
}

/// R[i][j]: row 0 is the first version, row i the model in use after the i-th cycle that was evaluated; test 0 is core, test i the
/// rolling one of that cycle, also where it had none.
void add_matrix(const std::vector<CycleState>& cycles, int64_t champion, Json& facts) {
  std::vector<std::string> names{"core"};
  std::vector<Json> scores;
  for (size_t i = 0; i < cycles.size(); ++i) {
    const Json& evaluated = part(cycles[i], CycleStage::kEvaluated);
    if (!evaluated.contains("tests")) continue;
    names.push_back("rolling-" + version_name(cycles[i].number));
    if (scores.empty()) {
      scores.push_back(Json::object());
      const Json tests = evaluated.at("tests");
      for (const auto& [name, of] : tests.items()) scores[0][name == "rolling" ? names[1] : name] = of.at("champion");
    }
    scores.push_back(scores_in_use_after(cycles, i, champion));
  }
  ScoreMatrix matrix{{}, std::vector<std::optional<double>>(names.size())};
  for (const auto& known : scores) {
    matrix.after.emplace_back();
    for (const auto& name : names)
      matrix.after.back().push_back(known.contains(name) ? std::optional(known.at(name).get<double>()) : std::nullopt);
  }
  facts["tests"] = names;
  facts["matrix"] = matrix_json(matrix);
  facts["measures"] = measures_json(continual_measures(matrix));
}

std::string alias_of(const Aliases& aliases, int64_t version) {
  if (version == aliases.champion) return "champion";
  if (version == aliases.previous) return "previous";
  return version == aliases.challenger ? "challenger" : "";
}

/// Of all that ever were: cards outlive weights.
std::vector<int64_t> known_versions(const Registry& registry) {
  std::vector<std::string> names;
  registry.files().list(registry.directory() + "/cards", &names);
  std::vector<int64_t> found;
  for (const auto& name : names)
    if (name.ends_with(".json"))
      if (const int64_t version = version_of(name.substr(0, name.size() - 5))) found.push_back(version);
  return found;
}

std::string text(const Json& value) { return value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump(); }

std::string name_of(const Json& version) { return version.is_number() && version > 0 ? version_name(version.get<int64_t>()) : "none"; }

}  // namespace

Brakes brakes_of(const ContinualSection& config) {
  Brakes brakes;
  brakes.min_hours = config.brakes.min_hours;
  brakes.max_per_week = config.brakes.max_per_week;
  brakes.cooldown_hours = config.brakes.cooldown_hours;
  return brakes;
}

Json continual_facts(Registry& registry, const Config& config, int64_t now) {
  const Aliases aliases = registry.aliases();
  const auto cycles = Cycles(registry, {}).all();
  Json facts{{"version", 1}, {"registry", registry.directory()}, {"now", now}, {"champion", aliases.champion}};
  facts["aliases"] = {{"champion", aliases.champion}, {"previous", aliases.previous}, {"challenger", aliases.challenger}};
  facts["serving"] = serving(registry.audit());
  facts["drift"] = drift_facts(drift_history(registry), config.continual.drift.alpha);
  facts["cycles"] = Json::array();
  for (const auto& cycle : cycles) facts["cycles"].push_back(cycle_facts(cycle));
  facts["unfinished"] = Json();
  if (!cycles.empty() && cycles.back().stage != CycleStage::kPublished)
    facts["unfinished"] = {{"number", cycles.back().number}, {"stage", cycle_stage_name(cycles.back().stage)}};
  add_matrix(cycles, aliases.champion, facts);
  const int64_t last = cycles.empty() ? aliases.last.time : cycles.back().started;
  const auto due = last ? CycleSchedule(config.continual.schedule).next(last) : std::nullopt;
  facts["next_due"] = due ? Json(*due) : Json();
  facts["braked"] = braked(Cycles::history(cycles), brakes_of(config.continual), TriggerKind::kSchedule, now);
  return facts;
}

Json version_facts(Registry& registry) {
  const Aliases aliases = registry.aliases();
  const auto audit = registry.audit();
  const auto weights = registry.versions();
  Json list = Json::array();
  for (const int64_t version : known_versions(registry)) {
    const Lineage lineage = registry.lineage(version);
    Json facts{{"version", version}, {"parent", lineage.parent}, {"alias", alias_of(aliases, version)}};
    facts["trigger"] = lineage.trigger.is_object() ? lineage.trigger.value("kind", Json()) : Json();
    facts["verdict"] = lineage.gate.is_object() ? lineage.gate.value("verdict", Json()) : Json();
    facts["has_weights"] = std::find(weights.begin(), weights.end(), version) != weights.end();
    facts["promoted"] = Json();
    for (const auto& record : audit)
      if (record.version == version && (record.action == "promote" || record.action == "rollback")) facts["promoted"] = record.time;
    list.push_back(facts);
  }
  return {{"version", 1}, {"registry", registry.directory()}, {"versions", list}};
}

Json lineage_facts(Registry& registry, int64_t version) {
  const Lineage lineage = registry.lineage(version);
  const auto weights = registry.versions();
  Json facts{{"version", version}, {"verified", Json()}};
  if (std::find(weights.begin(), weights.end(), version) != weights.end()) {
    registry.verified(version);
    facts["verified"] = true;
  }
  facts["ancestors"] = Json::array();
  Lineage of = lineage;
  for (int64_t generation = 0;; ++generation) {
    Json record{{"version", of.version},
                {"parent", of.parent},
                {"base_sha256", of.base_sha256},
                {"dataset_sha256", of.dataset_sha256},
                {"replay_sha256", of.replay_sha256},
                {"config_sha256", of.config_sha256},
                {"code_version", of.code_version},
                {"seed", of.seed},
                {"trigger", of.trigger},
                {"gate", of.gate}};
    facts["ancestors"].push_back(record);
    if (of.parent == 0) return facts;
    if (of.parent >= of.version)
      throw CheckpointError(registry.directory() + ": version " + version_name(of.version) + " names a later one as its parent");
    of = registry.lineage(of.parent);
  }
}

std::string version_text(const Json& facts) {
  std::string out = "version  parent  in use as   gate          trigger         promoted\n";
  for (const auto& v : facts.at("versions")) {
    char line[200];
    std::snprintf(line, sizeof line, "%-8s %-7s %-11s %-13s %-15s %s%s\n", name_of(v.at("version")).c_str(), name_of(v.at("parent")).c_str(),
                  text(v.at("alias")).c_str(), text(v.at("verdict")).c_str(), text(v.at("trigger")).c_str(),
                  v.at("promoted").is_null() ? "-" : day(v.at("promoted").get<int64_t>()).c_str(),
                  v.at("has_weights") == true ? "" : "  (weights are gone)");
    out += line;
  }
  return out;
}

std::string lineage_text(const Json& facts) {
  std::string out;
  for (const auto& a : facts.at("ancestors")) {
    out += "version " + name_of(a.at("version")) + (a.at("parent") == 0 ? ", from the base model\n" : ", from version " + name_of(a.at("parent")) + "\n");
    for (const char* name : {"base_sha256", "dataset_sha256", "replay_sha256", "config_sha256", "code_version", "seed"})
      if (text(a.at(name)) != "") out += "  " + std::string(name) + std::string(15 - std::string(name).size(), ' ') + text(a.at(name)) + "\n";
    if (a.at("trigger").is_object()) out += "  trigger        " + text(a.at("trigger").value("kind", Json())) + "\n";
    if (a.at("gate").is_object()) out += "  gate           " + text(a.at("gate").value("verdict", Json())) + "\n";
  }
  return out + (facts.at("verified").is_null() ? "its weights are gone\n" : "every byte of it is as it was registered\n");
}

std::string status_text(const Json& facts) {
  const Json& aliases = facts.at("aliases");
  std::string out = "champion " + name_of(aliases.at("champion")) + ", previous " + name_of(aliases.at("previous")) + ", challenger " +
                    name_of(aliases.at("challenger")) + "\n";
  if (!facts.at("serving").empty())
    out += "serving since " + day(facts.at("serving").back().at("from").get<int64_t>()) + " UTC (" +
           text(facts.at("serving").back().at("action")) + ")\n";
  if (!facts.at("drift").empty()) {
    const Json& last = facts.at("drift").back();
    out += "last drift test " + day(last.at("time").get<int64_t>()) + ": " + text(last.at("verdict")) + ", p " + text(last.at("p")) + "\n";
  }
  for (const auto& c : facts.at("cycles"))
    out += "cycle " + text(c.at("number")) + "  " + day(c.at("started").get<int64_t>()) + "  " + text(c.at("trigger")) + "  version " +
           name_of(c.at("version")) + "  " + (c.at("stage") == "published" ? text(c.at("verdict")) : "stopped at " + text(c.at("stage"))) + "\n";
  if (!facts.at("unfinished").is_null()) out += "unfinished: fmtrain continual run goes on with it\n";
  out += "next due " + (facts.at("next_due").is_null() ? std::string("by hand only") : day(facts.at("next_due").get<int64_t>()) + " UTC") + "\n";
  if (facts.at("braked") != "") out += "braked: " + text(facts.at("braked")) + "\n";
  return out;
}

}  // namespace fmtrain

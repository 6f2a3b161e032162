#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/trial_read.h"
#include "launch/watch_cycles.h"
#include "launch/world.h"
#include "runtime/continual/crew.h"
#include "runtime/continual/facts.h"
#include "runtime/continual/runner.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

struct ContinualOptions {
  std::string config, model, reason, abandon, launcher;
  std::vector<std::string> overrides;
  int64_t version = 0;
  double every = 3600;
  bool now = false, json = false;
};

int64_t seconds_now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

LockIdentity identity() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return this_process(host, slurm_job(), slurm_restarts());
}

Config load(const ContinualOptions& o) {
  Config config = load_config(o.config, o.overrides);
  if (config.continual.registry.empty())
    throw ConfigError(o.config + ": continual.registry: is missing; name a directory for the versions of this model, as registry/ner");
  return config;
}

void print_facts(const Json& facts, bool json, const std::string& text) {
  const std::string out = json ? facts.dump(1, ' ', true, Json::error_handler_t::replace) + "\n" : text;
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

// ---- commands of all ranks -------------------------------------------------------------------------------------------

std::string text_of_check(const Json& facts) {
  std::string out;
  for (const auto& line : facts.at("refused")) out += "refused " + line.get<std::string>() + "\n";
  out += "champion " + version_name(facts.at("champion")) + ", " + facts.at("new_labelled").dump() + " labelled texts since the last cycle\n";
  if (facts.contains("insufficient")) return out + "insufficient data: " + facts.at("insufficient").get<std::string>() + "\n";
  const Json& drift = facts.at("drift");
  char line[160];
  std::snprintf(line, sizeof line, "drift test: %s (MMD p %.4f, severity %.2f)\n", drift.at("verdict").get<std::string>().c_str(),
                drift.at("mmd").at("p").get<double>(), drift.at("severity").get<double>());
  return out + line;
}

std::string text_of_run(const Json& facts) {
  std::string out = facts.contains("check") ? text_of_check(facts.at("check")) : "";
  const auto did = facts.at("did").get<std::string>();
  if (!facts.contains("cycle") || !facts.at("cycle").is_object())
    return out + did + (facts.contains("why") ? ": " + facts.at("why").get<std::string>() : "") + "\n";
  const Json& c = facts.at("cycle");
  out += "cycle " + c.at("number").dump() + ", version " + version_name(c.at("version")) + ": " + c.at("verdict").get<std::string>() +
         (c.at("promoted") == true ? ", it is the champion now" : "") + "\n";
  for (const auto& reason : c.at("reasons")) out += "  " + reason.get<std::string>() + "\n";
  if (const int64_t needed = c.at("gate").value("labels_needed", int64_t{0}); needed > 0)
    out += "  about " + std::to_string(needed) + " more labels would tell\n";
  return out;
}

std::string text_of_init(const Json& facts) {
  return "champion " + version_name(facts.value("champion", int64_t{0})) + ": " + facts.at("did").get<std::string>() + "\n";
}

using RunnerTask = std::function<ContinualAnswer(ContinualRunner&)>;

ContinualAnswer answer_of(const Config& config, Crew& crew, const RunOptions& options, const RunnerTask& task) {
  trial_read(config);
  ContinualClock clock{seconds_now, identity(), options.versions.value("fmtrain", ""), {}};
  clock.say = [](const std::string& line) { std::fprintf(stderr, "fmtrain: %s\n", line.c_str()); };
  ContinualRunner runner(config, crew, clock);
  *options.status = {"continual", 0};
  return task(runner);
}

/// Rank 0 runs `task`; the others serve it.
int in_world(const ContinualOptions& o, const RunnerTask& task, std::string (*text)(const Json&)) {
  std::string run_dir;
  const auto read = [&] {
    Config config = load(o);
    run_dir = config.run.dir;
    config.run.dir = config.continual.registry + "/cycles";  // its lock, and records of how the command ended
    return config;
  };
  return run_in_world(read, [&](const Config& config, Communicator& comm, RunOptions& options) {
    Crew crew(config, comm, options);
    if (comm.rank() != 0) return crew.serve();
    try {
      const ContinualAnswer answer = answer_of(config, crew, options, task);
      print_facts(answer.facts, o.json, answer.code == ExitCode::kRequeue ? "" : text(answer.facts));
      crew.dismiss(answer.code);
      return answer.code;
    } catch (const Error& error) {
      crew.fail(error.code(), error.what());
      throw;
    }
  });
}

int init(const ContinualOptions& o) {
  const std::string run_dir = load(o).run.dir;
  return in_world(o, [&](ContinualRunner& runner) { return runner.init(o.model, run_dir); }, text_of_init);
}

int check_newest(const ContinualOptions& o) {
  return in_world(o, [](ContinualRunner& runner) { return runner.check(); }, text_of_check);
}

int run_cycle(const ContinualOptions& o) {
  return in_world(o, [&](ContinualRunner& runner) { return runner.run({o.now, o.abandon}); }, text_of_run);
}

// ---- commands that need no other rank ----------------------------------------------------------------------------------

int status(const ContinualOptions& o) {
  const Config config = load(o);
  Registry registry(posix_files(), config.continual.registry);
  const Json facts = continual_facts(registry, config, seconds_now());
  print_facts(facts, o.json, status_text(facts));
  return 0;
}

int list(const ContinualOptions& o) {
  Registry registry(posix_files(), load(o).continual.registry);
  const Json facts = version_facts(registry);
  print_facts(facts, o.json, version_text(facts));
  return 0;
}

int lineage(const ContinualOptions& o) {
  Registry registry(posix_files(), load(o).continual.registry);
  const int64_t version = o.version ? o.version : registry.aliases().champion;
  if (!version) throw ConfigError(registry.directory() + ": has no champion; name a version");
  const Json facts = lineage_facts(registry, version);
  print_facts(facts, o.json, lineage_text(facts));
  return 0;
}

Json changed(Registry& registry, const char* did, double began) {
  const Aliases now = registry.aliases();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count() - began;
  return {{"version", 1}, {"did", did}, {"champion", now.champion}, {"previous", now.previous}, {"seconds", seconds}};
}

/// `change` makes the change and returns what it did.
int change(const ContinualOptions& o, const std::function<const char*(Registry&, RegistryWriter&)>& change_aliases) {
  const double began = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  Registry registry(posix_files(), load(o).continual.registry);
  if (!registry.aliases().champion) throw ConfigError(registry.directory() + ": has no champion; make one with fmtrain continual init");
  RegistryLock lock(registry, identity());
  RegistryWriter writer(registry, lock.fence());
  const char* did = change_aliases(registry, writer);
  const Json facts = changed(registry, did, began);
  print_facts(facts, o.json, "champion " + version_name(facts.at("champion")) + ": " + did + "\n");
  return 0;
}

int rollback(const ContinualOptions& o) {
  return change(o, [&](Registry& registry, RegistryWriter& writer) {
    const int64_t from = o.version ? o.version : registry.aliases().champion;
    const int64_t before = registry.aliases().champion;
    writer.rollback(from, o.reason, seconds_now());
    return registry.aliases().champion == before ? "was rolled back before" : "rolled back";
  });
}

int promote(const ContinualOptions& o) {
  return change(o, [&](Registry& registry, RegistryWriter& writer) {
    const int64_t version = o.version ? o.version : registry.aliases().challenger;
    if (!version) throw ConfigError(registry.directory() + ": has no challenger; name a version");
    const Aliases before = registry.aliases();
    writer.promote(version, o.reason.empty() ? "by hand" : o.reason, seconds_now());
    return registry.aliases().champion == before.champion ? "was promoted before; rollback brings a former champion back" : "promoted";
  });
}

int watch(const ContinualOptions& o) {
  load(o);
  return watch_cycles({o.config, o.overrides, o.launcher, o.every});
}

struct ContinualCommand {
  const char *name, *does, *example;
  int (*run)(const ContinualOptions&);
};

const ContinualCommand kContinualCommands[] = {
    {"init", "Makes the registry and its first version: the model of the config's run, trained now where it is not complete.\n"
             "data.train, data.validation and data.test become the first texts; the last is the frozen test (core).",
     "mpirun -np 2 fmtrain continual init configs/continual_ner.yaml", init},
    {"check", "Takes new files and tests the newest window for drift. Exit code 0: none, 10: drift, 11: insufficient data.",
     "mpirun -np 2 fmtrain continual check configs/continual_ner.yaml", check_newest},
    {"run", "One whole cycle, where a trigger asks for one: take new data, test for drift, freeze, train a challenger, compare,\n"
            "promote or not. Goes on with a cycle that was killed. Exit code 0: done or nothing to do, 75: stopped, run it again.",
     "mpirun -np 2 fmtrain continual run configs/continual_ner.yaml", run_cycle},
    {"status", "Champion, last drift test, cycles, when the next is due and what holds it back.",
     "fmtrain continual status configs/continual_ner.yaml", status},
    {"list", "All versions that ever were, and which are in use.", "fmtrain continual list configs/continual_ner.yaml", list},
    {"lineage", "Which data, base model, config and parent a version comes from; hashes its files. Exit code 4: a byte has changed.",
     "fmtrain continual lineage configs/continual_ner.yaml 3", lineage},
    {"rollback", "The previous champion serves again, at once.", "fmtrain continual rollback configs/continual_ner.yaml --reason 'too many false alarms'",
     rollback},
    {"promote", "Makes the challenger, or the version named, champion by hand.", "fmtrain continual promote configs/continual_ner.yaml 3", promote},
    {"watch", "Runs `continual run` again and again in the foreground until SIGTERM; triggers and brakes decide what each does.",
     "fmtrain continual watch configs/continual_ner.yaml --launcher 'mpirun -np 2' --every 3600", watch},
};

void add_continual_arguments(CLI::App& sub, const std::string& name, ContinualOptions& o) {
  sub.add_option("CONFIG", o.config, "config file with continual.registry")->required();
  if (name == "lineage" || name == "promote" || name == "rollback")
    sub.add_option(name == "rollback" ? "--from" : "VERSION", o.version,
                   name == "rollback" ? "the champion to leave; a repetition then changes nothing" : "number of the version")
        ->check(CLI::Range(1, 999999));
  if (name == "init") sub.add_option("--model", o.model, "a model directory that fmtrain wrote, instead of the config's run");
  if (name == "run") {
    sub.add_flag("--now", o.now, "a cycle by hand: no trigger is needed, only the weekly limit holds");
    sub.add_option("--abandon", o.abandon, "WHY: gives up the unfinished cycle, and does nothing else");
  }
  if (name == "rollback" || name == "promote") sub.add_option("--reason", o.reason, "for the audit");
  if (name == "watch") {
    sub.add_option("--launcher", o.launcher, "in front of each run, as 'mpirun -np 2'");
    sub.add_option("--every", o.every, "seconds between two runs")->check(CLI::Range(1.0, 1e7))->capture_default_str();
  }
  sub.add_option("--set", o.overrides, "KEY=VALUE, overrides a key of the config; may be repeated")->allow_extra_args(false);
  if (name != "watch") sub.add_flag("--json", o.json, "print the facts as JSON");
}

}  // namespace

void add_continual(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("continual", "Fine-tune again as data drifts: a registry of versions, drift tests, challengers, a gate, rollback.\n"
                                                  "See docs/continual.md.");
  command->require_subcommand(1);
  command->footer("Example: mpirun -np 2 fmtrain continual run configs/continual_ner.yaml");
  for (const auto& entry : kContinualCommands) {
    auto* sub = command->add_subcommand(entry.name, entry.does);
    sub->footer(std::string("Example: ") + entry.example);
    const auto options = std::make_shared<ContinualOptions>();
    add_continual_arguments(*sub, entry.name, *options);
    sub->callback([&action, &entry, options] { action = [&entry, options] { return entry.run(*options); }; });
  }
}

}  // namespace fmtrain

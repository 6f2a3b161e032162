#include <cstdio>

#include "launch/commands.h"
#include "runtime/dry_run.h"

namespace fmtrain {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  int ranks = 1;
  bool json = false;
};

int check(const Options& o) {
  const Json facts = dry_run(load_config(o.config, o.overrides), o.ranks);
  std::printf("%s\n", o.json ? facts.dump(1).c_str() : dry_run_text(facts).c_str());
  return 0;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("check", "What a run would do, without a step, a GPU or MPI: the resolved config, parameter groups, steps, learning rates,\n"
                                              "memory and checkpoint bytes of a rank (estimates), and what would be resumed. Raw data is prepared into the\n"
                                              "cache, as the run would do it.\n"
                                              "Example: fmtrain check configs/ner_wnut17.yaml --ranks 2");
  const auto o = std::make_shared<Options>();
  command->add_option("CONFIG", o->config, "config file")->required();
  command->add_option("--ranks", o->ranks, "ranks the run would have")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command->add_option("--set", o->overrides, "KEY=VALUE, overrides a key of the config; may be repeated");
  command->add_flag("--json", o->json, "print all facts as JSON, with every parameter");
  command->callback([&action, o] { action = [o] { return check(*o); }; });
}

}  // namespace fmtrain

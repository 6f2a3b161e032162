#include "launch/commands.h"
#include "launch/run.h"

namespace fmtrain {
namespace {

struct TrainOptions {
  std::string config, resume = "auto";
  std::vector<std::string> overrides;
};

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("train", "Fine-tune the model of a config file; `fmtrain CONFIG` means the same.\n"
                                              "Start it under mpirun or srun for several ranks; the result does not depend on how many.\n"
                                              "A run directory with a checkpoint is continued.\n"
                                              "Example: mpirun -np 2 fmtrain configs/ner_wnut17.yaml --set run.seed=2 --set run.dir=runs/seed2");
  const auto options = std::make_shared<TrainOptions>();
  command->add_option("CONFIG", options->config, "config file")->required();
  command->add_option("--set", options->overrides, "KEY=VALUE, overrides a key of the config; may be repeated")->allow_extra_args(false);
  command->add_option("--resume", options->resume, "auto: continue from the newest checkpoint; never: start anew and delete the old run")->check(CLI::IsMember({"auto", "never"}));
  command->callback([&action, options] { action = [options] { return run_training(options->config, options->overrides, options->resume == "auto"); }; });
}

}  // namespace fmtrain

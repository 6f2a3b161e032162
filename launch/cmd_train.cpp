#include "launch/commands.h"

namespace fmtrain {

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "fine-tune the model of a config file");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

#include "launch/commands.h"

namespace fmtrain {

void add_config(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("config", "schema and reference of the config file");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

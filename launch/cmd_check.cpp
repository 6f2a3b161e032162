#include "launch/commands.h"

namespace fmtrain {

void add_check(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("check", "dry run");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

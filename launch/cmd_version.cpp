#include "launch/commands.h"

namespace fmtrain {

void add_version(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("version", "versions of this program and its libraries");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

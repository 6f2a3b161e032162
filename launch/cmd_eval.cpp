#include "launch/commands.h"

namespace fmtrain {

void add_eval(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "metrics of a model directory");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

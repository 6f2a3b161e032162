#include "launch/commands.h"

namespace fmtrain {

void add_predict(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("predict", "predictions as JSON lines");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

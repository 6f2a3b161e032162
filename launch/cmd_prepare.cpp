#include "launch/commands.h"

namespace fmtrain {

void add_prepare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("prepare", "raw text to one HDF5 file");
  command->callback([&action] { action = [] { return 1; }; });
}

}  // namespace fmtrain

#include <iostream>

#include "launch/commands.h"
#include "runtime/config/config.h"

namespace fmtrain {
namespace {

void add_printer(CLI::App& parent, const char* name, const char* what, const char* example, std::string (*text)(), Action& action) {
  CLI::App* command = parent.add_subcommand(name, what);
  command->footer(std::string("Example: ") + example);
  command->callback([&action, text] {
    action = [text] {
      std::cout << text();
      return 0;
    };
  });
}

}  // namespace

void add_config(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("config", "what a config file may say: every key, or a JSON Schema for editors");
  command->footer("Both come from the table the reader itself uses, so they are never behind it. docs/config.md explains the file.\n\n"
                  "Example: fmtrain config reference > my.yaml");
  command->require_subcommand(1);
  add_printer(*command, "reference", "every key with its default, unit and meaning, as a config file",
              "fmtrain config reference > my.yaml", reference_yaml, action);
  add_printer(*command, "schema", "JSON Schema (2020-12) of the config file, for completion and checks in editors",
              "fmtrain config schema > fmtrain.schema.json", config_schema, action);
}

}  // namespace fmtrain

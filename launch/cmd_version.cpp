#include <cstdio>

#include "launch/commands.h"
#include "launch/versions.h"

namespace fmtrain {

void add_version(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("version", "Versions of this program and its libraries, and which LibTorch and MPI were found.\nExample: fmtrain version");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print them as JSON");
  command->callback([&action, json] {
    action = [json] {
      Json versions = program_versions();
      versions.update(library_paths());
      if (*json) std::printf("%s\n", versions.dump(1).c_str());
      else
        for (const auto& [name, version] : versions.items()) std::printf("%-10s %s\n", name.c_str(), version.get<std::string>().c_str());
      return 0;
    };
  });
}

}  // namespace fmtrain

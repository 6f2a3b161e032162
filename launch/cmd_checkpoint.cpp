#include <cstdio>

#include "launch/commands.h"
#include "runtime/checkpoint/manifest.h"

namespace fmtrain {
namespace {

int each(const std::string& run, bool verify) {
  const std::string dir = run + "/checkpoints";
  for (const auto step : checkpoint_steps(posix_files(), dir)) {
    const std::string checkpoint = dir + "/step-" + std::to_string(step);
    const Json manifest = read_manifest(posix_files(), checkpoint);
    if (verify) verify_checkpoint(posix_files(), checkpoint);
    std::printf("step %lld  %d ranks%s\n", static_cast<long long>(step), manifest.at("ranks").get<int>(), verify ? "  verified" : "");
  }
  return 0;
}

}  // namespace

void add_checkpoint(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("checkpoint", "The checkpoints of a run directory.\nExample: fmtrain checkpoint verify runs/ner_wnut17");
  command->require_subcommand(1);
  const auto run = std::make_shared<std::string>();
  for (const bool verify : {false, true}) {
    auto* sub = command->add_subcommand(verify ? "verify" : "list", verify ? "read everything and compare it with the hashes in the manifest" : "steps, newest first");
    sub->add_option("RUN", *run, "run directory")->required();
    sub->footer("Example: fmtrain checkpoint " + sub->get_name() + " runs/ner_wnut17");
    sub->callback([&action, run, verify] { action = [run, verify] { return each(*run, verify); }; });
  }
}

}  // namespace fmtrain

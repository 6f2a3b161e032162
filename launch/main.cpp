#include <malloc.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "launch/environment.h"
#include "runtime/errors.h"
#include "runtime/model_path.h"

namespace fmtrain {
namespace {

/// `fmtrain cfg.yaml` means `fmtrain train cfg.yaml`.
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  const auto ends_with = [](const std::string& s, const std::string& end) {
    return s.size() > end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
  };
  if (!args.empty() && (ends_with(args[0], ".yaml") || ends_with(args[0], ".yml"))) args.insert(args.begin(), "train");
  return {args.rbegin(), args.rend()};  // CLI11 takes them in reverse order
}

int run_program(int argc, char** argv) {
  CLI::App app{"fmtrain: fine-tune a pretrained model on one machine or many. The config fixes the result; the ranks share the work.\n"
               "Example: mpirun -np 2 fmtrain configs/ner_wnut17.yaml"};
  app.name("fmtrain");
  app.require_subcommand(1);
  Action action;
  for (auto* add : {add_train, add_check, add_prepare, add_eval, add_predict, add_tokenize, add_score, add_checkpoint, add_config, add_version, add_continual, add_bench,
                    add_read_prepared})
    add(app, action);
  try {
    app.parse(arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kConfig);
  }
  return action();
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  ::umask(077);  // what a run writes is its user's alone
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);  // the variable overrules the API; many parallel file systems have no locks
  // Tensors come and go every step: keep their pages instead of returning them to the kernel each time.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  fmtrain::set_cache_dir(fmtrain::cache_home());
  try {
    return fmtrain::run_program(argc, argv);
  } catch (const fmtrain::Error& error) {
    std::fprintf(stderr, "fmtrain: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fmtrain: internal error: %s\n", error.what());
    return static_cast<int>(fmtrain::ExitCode::kInternal);
  }
}

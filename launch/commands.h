// The commands of the program. Each registers its options with CLI11 and, when chosen, sets `action`; main runs the action
// and turns what it throws into an exit code and one line on stderr.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace fmtrain {

using Action = std::function<int()>;

void add_train(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_prepare(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_predict(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_score(CLI::App& app, Action& action);
void add_checkpoint(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
void add_version(CLI::App& app, Action& action);
void add_continual(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_read_prepared(CLI::App& app, Action& action);  ///< trial_read.h

}  // namespace fmtrain

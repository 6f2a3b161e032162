#include <iomanip>
#include <iostream>
#include <memory>
#include <sstream>

#include "launch/commands.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/metrics/report_text.h"
#include "runtime/metrics/tag_columns.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 28;
constexpr const char* kFooter =
    "Columns are divided by tabs or spaces and the last two count; a blank line ends a sentence. Tags are O, B-TYPE, I-TYPE.\n"
    "Strict (default): only B-TYPE begins an entity, as seqeval's strict IOB2. Lenient: I-TYPE after O or after another\n"
    "type begins one too, as conlleval and seqeval's default. The text is conlleval's, in percent, then seqeval's table, in\n"
    "fractions.\n\n"
    "Example: fmtrain score --lenient predictions.conll";

struct ScoreOptions {
  std::string file;
  bool lenient = false, json = false;
  int64_t bootstrap = 1000;
  uint64_t seed = 1;
};

std::string standard_input() {
  std::string content;
  char block[1 << 16];
  while (std::cin.read(block, sizeof block) || std::cin.gcount() > 0) {
    content.append(block, static_cast<size_t>(std::cin.gcount()));
    if (content.size() > kMaxBytes) throw DataError("standard input: larger than 256 MiB; split it at a blank line");
  }
  return content;
}

std::string score_text(const Json& evaluation, bool lenient) {
  const Json& tables = lenient ? evaluation.at("lenient") : evaluation;
  const Json &metrics = evaluation.at("metrics"), &intervals = evaluation.at("intervals");
  std::ostringstream beside;
  beside << std::fixed << std::setprecision(2) << "\nF1 strict " << 100 * metrics.at("f1").get<double>() << " %";
  if (intervals.contains("f1"))
    beside << " (95 %: " << 100 * intervals["f1"][0].get<double>() << " to " << 100 * intervals["f1"][1].get<double>() << ")";
  beside << ", lenient " << 100 * metrics.at("lenient_f1").get<double>() << " %\n";
  return conlleval_text(evaluation, lenient ? EntityMode::kLenient : EntityMode::kStrict) + "\n" +
         report_table(tables.at("per_label"), tables.at("averages")) + beside.str();
}

int score(const ScoreOptions& options) {
  const bool piped = options.file == "-";
  const std::string name = piped ? "standard input" : options.file;
  const TaggingCounts counts =
      score_tag_columns(piped ? standard_input() : read_file(posix_files(), options.file, kMaxBytes), name);
  const Json evaluation = metrics_of(counts, options.bootstrap, options.seed);
  std::cout << (options.json ? evaluation.dump(2) + "\n" : score_text(evaluation, options.lenient));
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("score", "entity report of a file with word, gold and predicted tag on each line");
  command->footer(kFooter);
  const auto options = std::make_shared<ScoreOptions>();
  command->add_option("FILE", options->file, "file with the columns, - for standard input")->required();
  command->add_flag("--lenient", options->lenient, "count entities as conlleval does");
  command->add_flag("--json", options->json, "print every metric of both modes as JSON, in fractions");
  command->add_option("--bootstrap", options->bootstrap, "resamples for the 95 % intervals, 0: none")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of the resamples")->capture_default_str();
  command->callback([&action, options] { action = [options] { return score(*options); }; });
}

}  // namespace fmtrain

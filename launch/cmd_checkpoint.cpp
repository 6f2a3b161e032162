#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "launch/commands.h"
#include "runtime/checkpoint/tools.h"
#include "runtime/errors.h"
#include "runtime/run_lock.h"

namespace fmtrain {
namespace {

struct CheckpointArguments {
  std::string path, other, output, weights;
  int64_t keep = 0;
  bool dry_run = false, json = false;
};

struct CheckpointCommand {
  const char *name, *does, *example;
  Json (*facts)(const CheckpointArguments&);
  std::string (*text)(const Json&);
  bool (*fine)(const Json&);
  int otherwise = static_cast<int>(ExitCode::kNoCheckpoint);  ///< exit code where not fine
};

/// Text of a checkpoint for a terminal: without quotes where it is harmless.
std::string plain(const Json& value) {
  if (!value.is_string()) return value.dump(-1, ' ', true, Json::error_handler_t::replace);
  const auto safe = quoted(value.get<std::string>());
  return safe.substr(1, safe.size() - 2);
}

std::string joined(const Json& list) {
  std::string text;
  for (const auto& item : list) {
    if (!text.empty()) text += ", ";
    text += plain(item);
  }
  return text.empty() ? "none" : text;
}

std::string text_of_list(const Json& facts) {
  std::string text;
  for (const auto& c : facts.at("checkpoints")) {
    text += "step " + plain(c.at("step")) + "  ";
    if (c.contains("problem")) text += "damaged: " + c.at("problem").get<std::string>() + "\n";
    else
      text +=
          plain(c.at("ranks")) + " ranks  " + plain(c.at("bytes")) + " bytes" + (c.at("best") == true ? "  best" : "") + "\n";
  }
  return text.empty() ? "none\n" : text;
}

std::string text_of_verify(const Json& facts) {
  std::string text;
  for (const auto& c : facts.at("checkpoints"))
    text += "step " + plain(c.at("step")) + "  " +
            (c.at("valid") == true ? "verified  " + plain(c.at("bytes")) + " bytes"
                                   : "damaged: " + c.at("problem").get<std::string>()) +
            "\n";
  return text.empty() ? "none\n" : text;
}

std::string text_of_inspect(const Json& facts) {
  std::string text = "step " + plain(facts.at("step")) + ", " + plain(facts.at("ranks")) + " ranks, " +
                     plain(facts.at("bytes")) + " bytes\n\nfiles\n";
  for (const auto& file : facts.at("files"))
    text += "  " + plain(file.at("name")) + "  " + plain(file.at("bytes")) + " bytes\n";
  text += "\ntensors\n";
  for (const auto& t : facts.at("tensors")) text += "  " + plain(t.at("name")) + "  " + plain(t.at("shape")) + "\n";
  text += "\nwhat fixed the computation\n";
  for (const auto& [key, value] : facts.at("fixed").items()) {
    if (!value.is_array()) text += "  " + plain(key) + ": " + plain(value) + "\n";
    else
      for (const auto& line : value) text += "  " + plain(line) + "\n";
  }
  text += "\nstate\n";
  for (const auto& [part, members] : facts.at("state").items())
    for (const auto& [key, value] : members.items()) text += "  " + plain(part) + "." + plain(key) + ": " + plain(value) + "\n";
  return text;
}

std::string text_of_diff(const Json& facts) {
  std::string text;
  for (const char* side : {"a", "b"})
    text += std::string(side) + ": " + facts.at(side).at("path").get<std::string>() + "  step " +
            plain(facts.at(side).at("step")) + ", " + plain(facts.at(side).at("ranks")) + " ranks\n";
  for (const auto& f : facts.at("fixed"))
    text += plain(f.at("key")) + ": a " + plain(f.at("a")) + ", b " + plain(f.at("b")) + "\n";
  for (const char* kind : {"only_a", "only_b", "other_shape"})
    if (!facts.at(kind).empty()) text += std::string(kind) + ": " + joined(facts.at(kind)) + "\n";
  size_t equal = 0;
  for (const auto& t : facts.at("tensors")) {
    equal += t.at("differ") == 0;
    if (t.at("differ") == 0) continue;
    const auto& largest = t.at("largest");
    text += plain(t.at("name")) + ": " + plain(t.at("differ")) + " of " + plain(t.at("elements")) +
            " elements differ, by at most " + (largest.is_null() ? "a value that is not finite" : plain(largest)) + "\n";
  }
  return text + std::to_string(equal) + " of " + std::to_string(facts.at("tensors").size()) + " common tensors are equal\n";
}

std::string text_of_export(const Json& facts) {
  return facts.at("output").get<std::string>() + ": " + plain(facts.at("tensors")) + " tensors of step " +
         plain(facts.at("step")) + (facts.at("weights") == "ema" ? " (averaged weights), " : ", ") + plain(facts.at("bytes")) + " bytes\n" +
         (facts.at("frozen") == true ? "Parameters that were frozen are not among them; they are in the base model.\n" : "");
}

std::string text_of_prune(const Json& facts) {
  std::string text;
  for (const auto& c : facts.at("damaged"))
    text += "step " + plain(c.at("step")) + "  damaged, left as it is: " + c.at("problem").get<std::string>() + "\n";
  return text + "kept: " + joined(facts.at("kept")) + "\n" +
         (facts.at("dry_run") == true ? "would be deleted: " : "deleted: ") + joined(facts.at("deleted")) + "\n";
}

bool always(const Json&) { return true; }

bool lists_no_problem(const Json& facts) {
  for (const auto& c : facts.at("checkpoints"))
    if (c.contains("problem")) return false;
  return true;
}

const CheckpointCommand kCheckpointCommands[] = {
    {"list", "Steps of a run, newest first, by their manifests; may be used while the run is running.", "list runs/ner_wnut17",
     [](const CheckpointArguments& o) { return list_checkpoints(posix_files(), o.path); }, text_of_list, lists_no_problem},
    {"verify", "Reads everything and compares all hashes, of one checkpoint or of all of a run.", "verify runs/ner_wnut17",
     [](const CheckpointArguments& o) { return verify_checkpoints(posix_files(), o.path); }, text_of_verify,
     [](const Json& facts) { return !facts.at("checkpoints").empty() && lists_no_problem(facts); }},
    {"inspect", "Files, tensors, the config that fixed the computation, and the counters of one checkpoint.",
     "inspect runs/ner_wnut17/checkpoints/step-321",
     [](const CheckpointArguments& o) { return inspect_checkpoint(posix_files(), o.path); }, text_of_inspect, always},
    {"diff", "How two checkpoints differ: config, data, and each tensor. As with diff(1), exit code 1 says that they do.",
     "diff runs/one/checkpoints/step-321 runs/two/checkpoints/step-321",
     [](const CheckpointArguments& o) { return diff_checkpoints(posix_files(), o.path, o.other); }, text_of_diff,
     [](const Json& facts) { return facts.at("equal") == true; }, 1},
    {"export", "Joins the parameters of all ranks into one safetensors file with Hugging Face's names.",
     "export runs/ner_wnut17/checkpoints/step-321 -o model.safetensors",
     [](const CheckpointArguments& o) { return export_checkpoint(posix_files(), o.path, o.output, o.weights); }, text_of_export,
     always},
    {"prune", "Deletes old checkpoints, but never the newest that verify nor the best. Exit code 9 while the run is running.",
     "prune runs/ner_wnut17 --keep 1 --dry-run",
     [](const CheckpointArguments& o) {
       std::optional<RunLock> lock;
       char host[256] = "";
       ::gethostname(host, sizeof host - 1);
       if (!o.dry_run && std::filesystem::is_directory(o.path + "/checkpoints")) lock.emplace(posix_files(), o.path, this_process(host, "", 0));
       Json facts = prune_checkpoints(posix_files(), o.path, o.keep, o.dry_run);
       facts["dry_run"] = o.dry_run;
       return facts;
     },
     text_of_prune, [](const Json& facts) { return facts.at("damaged").empty() && !facts.at("kept").empty(); }},
};

int run_command(const CheckpointCommand& command, const CheckpointArguments& o) {
  try {
    const Json facts = command.facts(o);
    const auto text = o.json ? facts.dump(1, ' ', true, Json::error_handler_t::replace) + "\n" : command.text(facts);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return command.fine(facts) ? 0 : command.otherwise;
  } catch (const nlohmann::json::exception& error) {  // a manifest that is sealed and whole but holds something else
    throw CheckpointError(o.path + ": " + error.what());
  }
}

void add_checkpoint_arguments(CLI::App& sub, const std::string& name, CheckpointArguments& o) {
  const bool of_run = name == "list" || name == "prune";
  const char* what = of_run             ? "run directory"
                     : name == "verify" ? "run directory, or RUN/checkpoints/step-N"
                                        : "RUN/checkpoints/step-N";
  sub.add_option(of_run ? "RUN" : name == "verify" ? "PATH" : name == "diff" ? "A" : "STEP_DIR", o.path, what)->required();
  if (name == "diff") sub.add_option("B", o.other, "the other one")->required();
  if (name == "export") sub.add_option("-o,--output", o.output, "the file to write; it must not exist")->required();
  if (name == "export")
    sub.add_option("--weights", o.weights, "trained, or ema: the average; default: what the run evaluates (evaluate.weights)")
        ->check(CLI::IsMember({"trained", "ema"}));
  if (name == "prune") {
    sub.add_option("--keep", o.keep, "number to keep besides the best")->required()->check(CLI::Range(1, 1000000));
    sub.add_flag("--dry-run", o.dry_run, "say what would be deleted, delete nothing");
  }
  sub.add_flag("--json", o.json, "print the facts as JSON");
}

}  // namespace

void add_checkpoint(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("checkpoint",
                         "Look at, check, compare, export and delete the checkpoints of a run; needs no GPU, no MPI.\n"
                         "Exit code 4: something is damaged, or there is nothing to verify or keep.");
  command->require_subcommand(1);
  command->footer("Example: fmtrain checkpoint verify runs/ner_wnut17");
  for (const auto& entry : kCheckpointCommands) {
    auto* sub = command->add_subcommand(entry.name, entry.does);
    sub->footer(std::string("Example: fmtrain checkpoint ") + entry.example);
    const auto options = std::make_shared<CheckpointArguments>();
    add_checkpoint_arguments(*sub, entry.name, *options);
    sub->callback([&action, &entry, options] { action = [&entry, options] { return run_command(entry, *options); }; });
  }
}

}  // namespace fmtrain

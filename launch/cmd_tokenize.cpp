#include <charconv>
#include <fstream>
#include <iostream>

#include "launch/commands.h"
#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/model_path.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {
namespace {

void append(std::string& out, int32_t number) {
  char digits[12];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// One line of JSON at the end of `out`.
void append(std::string& out, const Encoding& e) {
  out += "{\"ids\":";
  for (size_t i = 0; i < e.ids.size(); ++i) {
    out += i ? ',' : '[';
    append(out, e.ids[i]);
  }
  out += "],\"offsets\":";
  for (size_t i = 0; i < e.ids.size(); ++i) {
    out += i ? ",[" : "[[";
    append(out, e.begin[i]);
    out += ',';
    append(out, e.end[i]);
    out += ']';
  }
  out += "]}\n";
}

int tokenize(const std::string& model, const std::string& input) {
  const auto tokenizer = load_tokenizer(resolve_model(model));
  std::ifstream file;
  if (input != "-") {
    file.open(input);
    if (!file) throw DataError(input + ": cannot open");
  }
  std::istream& in = input == "-" ? std::cin : file;
  std::string line, json;
  Encoding encoding;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    try {
      tokenizer->encode(line, encoding);
      json.clear();
      append(json, encoding);
      std::cout << json;
    } catch (const DataError& error) {
      std::cout.flush();
      throw DataError(input + ":" + std::to_string(number) + ": " + error.what());
    }
    if (in.rdbuf()->in_avail() <= 0) std::cout.flush();
  }
  return 0;
}

struct TokenizeOptions {
  std::string model, input = "-";
};

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("tokenize", "Token ids and character offsets of each line of a text, as JSON lines.\n"
                                                 "Offsets count Unicode code points of the line; special tokens have [0,0].\n"
                                                 "Example: echo 'Heart attack in Berlin' | fmtrain tokenize all-MiniLM-L6-v2");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("MODEL", options->model, "model directory, or a name in the model cache")->required();
  command->add_option("INPUT", options->input, "text file, one text a line; - for standard input (the default)");
  command->callback([&action, options] { action = [options] { return tokenize(options->model, options->input); }; });
}

}  // namespace fmtrain

// `fmtrain bench tokenizer`: text to token ids, beside a hash of the same bytes.
#include <cstdio>
#include <random>
#include <thread>

#include "launch/bench.h"
#include "runtime/data/lines.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"
#include "runtime/model_path.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxText = size_t{2} << 30;

struct TokenizerOptions : BenchOptions {
  std::string model, text;
  int megabytes = 16;
  std::vector<int> threads{1, 2};
};

/// Sentences of the vocabulary's words, frequent ones more often, of which no two are equal; one word in twenty is made of two.
std::string generated(const Tokenizer& tokenizer, size_t bytes) {
  std::vector<std::string> words;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto& token = tokenizer.token(id);
    if (token.size() > 1 && token[0] >= 'a' && token[0] <= 'z') words.push_back(token);
  }
  if (words.empty()) throw ConfigError("bench tokenizer: the vocabulary has no words to make a text of; give --text");
  std::mt19937_64 random(1);
  const auto word = [&] {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    return words[static_cast<size_t>(u * u * u * static_cast<double>(words.size()))];
  };
  std::string text;
  for (int64_t line = 0; text.size() < bytes; ++line) {
    text += std::to_string(line);
    for (auto n = 5 + random() % 25; n > 0; --n) text.append(" ").append(word()).append(random() % 20 ? "" : word()).append(random() % 12 ? "" : ",");
    text += ".\n";
  }
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> result;
  for (Lines lines(text); lines.next();) result.push_back(lines.text());
  return result;
}

struct PassTimes {
  double cold = 0, warm = 0;  ///< seconds of the first pass of new threads, and of their second one
  int64_t tokens = 0;
};

/// Each thread reads its own run of lines, twice.
PassTimes passes(const Tokenizer& tokenizer, const std::vector<std::string_view>& lines, int threads) {
  std::vector<PassTimes> parts(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (size_t t = 0; t < parts.size(); ++t)
    running.emplace_back([&, t] {
      const size_t first = lines.size() * t / parts.size(), last = lines.size() * (t + 1) / parts.size();
      Encoding encoding;
      for (double* seconds : {&parts[t].cold, &parts[t].warm}) {
        const double start = bench_clock();
        for (size_t i = first; i < last; ++i) {
          tokenizer.encode(lines[i], encoding);
          parts[t].tokens += static_cast<int64_t>(encoding.ids.size());
        }
        *seconds = bench_clock() - start;
      }
    });
  for (auto& thread : running) thread.join();
  PassTimes all;
  for (const PassTimes& part : parts) {
    all.cold = std::max(all.cold, part.cold);
    all.warm = std::max(all.warm, part.warm);
    all.tokens += part.tokens / 2;
  }
  return all;
}

struct TokenizerArm {
  int threads = 1;
  std::vector<double> cold, warm;  ///< MB/s of each round
};

Json report_tokenizer(const TokenizerArm& arm) {
  const Spread cold = spread_of(arm.cold), warm = spread_of(arm.warm);
  std::printf("%d thread%s %8.1f MB/s with new caches (%.1f-%.1f) %8.1f MB/s with warm ones (%.1f-%.1f)\n", arm.threads, arm.threads == 1 ? " " : "s",
              cold.median, cold.least, cold.most, warm.median, warm.least, warm.most);
  return {{"threads", arm.threads}, {"cold_mb_per_second", to_json(cold)}, {"warm_mb_per_second", to_json(warm)}};
}

int bench_tokenizer(const TokenizerOptions& options) {
  const auto tokenizer = load_tokenizer(resolve_model(options.model));
  const std::string text = options.text.empty() ? generated(*tokenizer, static_cast<size_t>(options.megabytes) << 20) : read_file(posix_files(), options.text, kMaxText);
  const auto lines = lines_of(text);
  const double megabytes = 1e-6 * static_cast<double>(text.size());
  std::vector<TokenizerArm> arms;
  for (const int threads : options.threads) arms.push_back({threads, {}, {}});
  std::vector<double> hash;
  int64_t tokens = 0;
  for (int round = 0; round <= options.rounds; ++round) {
    const double start = bench_clock();
    xxh3_hex(text.data(), text.size());
    const double hashed = bench_clock() - start;
    if (round > 0) hash.push_back(megabytes / hashed);
    for (auto& arm : arms) {
      const PassTimes pass = passes(*tokenizer, lines, arm.threads);
      tokens = pass.tokens;
      if (round == 0) continue;
      arm.cold.push_back(megabytes / pass.cold);
      arm.warm.push_back(megabytes / pass.warm);
    }
  }
  std::printf("%.1f MB of UTF-8, %zu lines, %lld tokens; XXH3 reads it at %.0f MB/s\n", megabytes, lines.size(), static_cast<long long>(tokens), spread_of(hash).median);
  Json result{{"text", options.text.empty() ? "generated" : options.text}, {"bytes", text.size()}, {"lines", lines.size()}, {"tokens", tokens},
              {"hash_mb_per_second", to_json(spread_of(hash))}, {"arms", Json::array()}};
  for (const auto& arm : arms) result["arms"].push_back(report_tokenizer(arm));
  write_bench(options, "tokenizer", result);
  return 0;
}

}  // namespace

void add_bench_tokenizer(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("tokenizer", "Text to token ids and offsets, a line at a time. Each round has new threads, whose caches are empty (cold); then they\n"
                                                    "read their lines again (warm).\nExample: fmtrain bench tokenizer all-MiniLM-L6-v2 --text corpus.txt");
  const auto options = std::make_shared<TokenizerOptions>();
  add_bench_options(*command, *options);
  command->add_option("MODEL", options->model, "model directory, or a name in the model cache: the tokenizer")->required();
  command->add_option("--text", options->text, "text file, one text a line; without it, sentences are made of the vocabulary's words");
  command->add_option("--megabytes", options->megabytes, "MiB of text to make")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--threads", options->threads, "numbers of threads, each an arm")->check(CLI::Range(1, 256))->capture_default_str();
  command->callback([&action, options] { action = [options] { return bench_tokenizer(*options); }; });
}

}  // namespace fmtrain

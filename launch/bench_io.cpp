// `fmtrain bench io`: samples of a prepared file as batches, in the random order of a plan, beside a plain copy of as many bytes.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "launch/bench.h"
#include "runtime/data/dataset.h"
#include "runtime/data/dataset_file.h"
#include "runtime/data/plan.h"

namespace fmtrain {
namespace {

constexpr int64_t kBatch = 32;
constexpr int32_t kVocabulary = 30522;

struct IoOptions : BenchOptions {
  int64_t rows = 200'000;
  std::string folder = ".";
};

/// A file that is removed in the end, even by an error.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// `rows` labelled samples; `length` ids each, or 0: 8 to 60 of them, 31 on average, as WNUT-17's sentences have.
void write_rows(const std::string& path, int64_t rows, int64_t length) {
  DatasetFile data;
  data.info.task = Task::kSequenceClassification;
  data.info.labels = {"a", "b"};
  data.info.max_length = 128;
  data.info.texts = rows;
  std::mt19937 random(1);
  for (int64_t s = 0; s < rows; ++s) {
    const int64_t n = length > 0 ? length : 8 + static_cast<int64_t>(random() % 27 + random() % 27);
    for (int64_t t = 0; t < n; ++t) data.tokens.push_back(static_cast<int32_t>(random() % kVocabulary));
    data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
    data.texts.push_back(static_cast<int32_t>(s));
    data.labels.push_back(static_cast<int32_t>(s % 2));
  }
  write_dataset_file(data, path);
}

struct ReadArm {
  const char* name;
  const char* meaning;
  std::unique_ptr<Dataset> data;
  std::vector<double> rows_per_second, copies_per_second;  ///< of each round; copies: of as many bytes as a row's batch has
};

/// One epoch, batch after batch; the ids are known before.
double epoch_seconds(const Dataset& data, const std::vector<int64_t>& ids) {
  const double start = bench_clock();
  for (size_t first = 0; first < ids.size(); first += kBatch) data.get(std::span(ids).subspan(first, std::min<size_t>(kBatch, ids.size() - first)));
  return bench_clock() - start;
}

/// Seconds to copy one batch's bytes as often as an epoch has batches: tokens, types and positions of 8 bytes a token, in cache as the
/// batches' own memory is.
double copy_seconds(const Dataset& data) {
  const auto bytes = static_cast<size_t>(24 * kBatch * data.info().tokens / std::max<int64_t>(data.size(), 1));
  std::vector<char> from(bytes, 1), to(bytes);
  const double start = bench_clock();
  for (int64_t row = 0; row < data.size(); row += kBatch) {
    from[static_cast<size_t>(row) % bytes] ^= 1;  // so that no copy can be left out
    std::memcpy(to.data(), from.data(), bytes);
  }
  return bench_clock() - start + 1e-12 * to[0];
}

void measure_reading(ReadArm& arm, int round) {
  std::vector<int64_t> ids;
  for (int64_t p = 0; p < arm.data->size(); ++p) ids.push_back(order(1, round, arm.data->size(), p));
  const auto rows = static_cast<double>(ids.size());
  const double seconds = epoch_seconds(*arm.data, ids), copy = copy_seconds(*arm.data);
  if (round == 0) return;
  arm.rows_per_second.push_back(rows / seconds);
  arm.copies_per_second.push_back(rows / copy);
}

Json report_reading(const ReadArm& arm) {
  const Spread rows = spread_of(arm.rows_per_second), copies = spread_of(arm.copies_per_second);
  std::printf("%-18s %10.0f rows/s (%.0f-%.0f) %8.2f us a row; copying its bytes %6.3f us   %s\n", arm.name, rows.median, rows.least, rows.most,
              1e6 / rows.median, 1e6 / copies.median, arm.meaning);
  return {{"arm", arm.name}, {"meaning", arm.meaning}, {"rows", arm.data->size()}, {"tokens", arm.data->info().tokens},
          {"rows_per_second", to_json(rows)}, {"copies_per_second", to_json(copies)}};
}

int bench_io(const IoOptions& options) {
  const std::string stem = options.folder + "/bench_io-" + std::to_string(::getpid());
  const TemporaryFile fixed(stem + "-128.h5"), real(stem + "-real.h5");
  write_rows(fixed.path(), options.rows, 128);
  write_rows(real.path(), options.rows, 0);
  std::vector<ReadArm> arms;
  const auto add = [&](const char* name, const char* meaning, const std::string& path, int64_t in_memory) {
    arms.push_back({name, meaning, open_dataset(path, kVocabulary, -1, in_memory), {}, {}});
  };
  add("plan_order", "128 tokens, in memory", fixed.path(), kTokensInMemory);
  add("plan_order_file", "128 tokens, from the file's page cache, each block verified", fixed.path(), 0);
  add("real_lengths", "8 to 60 tokens, in memory", real.path(), kTokensInMemory);
  add("real_lengths_file", "8 to 60 tokens, from the file's page cache, each block verified", real.path(), 0);
  for (int round = 0; round <= options.rounds; ++round)
    for (auto& arm : arms) measure_reading(arm, round);
  Json result{{"rows", options.rows}, {"batch", kBatch}, {"arms", Json::array()}};
  for (const auto& arm : arms) result["arms"].push_back(report_reading(arm));
  write_bench(options, "io", result);
  return 0;
}

}  // namespace

void add_bench_io(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("io", "Samples as batches of 32 in the random order of a plan, by one thread: rows of 128 tokens and of real lengths, from memory\n"
                                             "(small files) and from the file (large ones). Files are made, and removed at the end.\nExample: fmtrain bench io --folder /scratch");
  const auto options = std::make_shared<IoOptions>();
  add_bench_options(*command, *options);
  command->add_option("--rows", options->rows, "rows of each file; 200,000 of 128 tokens take 100 MB")->check(CLI::Range(int64_t{32}, int64_t{100'000'000}))->capture_default_str();
  command->add_option("--folder", options->folder, "where the files are made")->capture_default_str();
  command->callback([&action, options] { action = [options] { return bench_io(*options); }; });
}

}  // namespace fmtrain

// `fmtrain bench checkpoint`: how long training waits for a checkpoint, until when it is on the disk and read back, and how long
// loading it takes, beside what the disk does with the same bytes and nothing else.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "launch/bench.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/pages.h"
#include "runtime/errors.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

struct CheckpointOptions : BenchOptions {
  int64_t parameters = 109'000'000;
  std::string dir = ".";
  int threads = 2;
  double work = 1;
};

/// Tensors of a BERT of hidden size 768, embeddings first and then layer after layer, until there are `parameters` elements; the last
/// one is cut. About 16 tensors a layer of 7.1 M, as in a model.
std::vector<std::pair<std::string, std::vector<int64_t>>> tensors_of(int64_t parameters) {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> layer{
      {"query", {768, 768}}, {"query.bias", {768}}, {"key", {768, 768}}, {"key.bias", {768}}, {"value", {768, 768}}, {"value.bias", {768}},
      {"output", {768, 768}}, {"output.bias", {768}}, {"norm1", {768}}, {"norm1.bias", {768}}, {"up", {3072, 768}}, {"up.bias", {3072}},
      {"down", {768, 3072}}, {"down.bias", {768}}, {"norm2", {768}}, {"norm2.bias", {768}}};
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    if (parameters <= 0) return;
    if (c10::multiply_integers(shape) > parameters) shape = {parameters};
    parameters -= c10::multiply_integers(shape);
    tensors.emplace_back(name, shape);
  };
  add("words", {30522, 768});
  add("positions", {512, 768});
  for (int64_t l = 0; parameters > 0; ++l)
    for (const auto& [name, shape] : layer) add("layer." + std::to_string(l) + "." + name, shape);
  return tensors;
}

/// Parameters and both moments of AdamW, 12 bytes a parameter: parts of three long arrays, as a run has them.
StateDict training_state(int64_t parameters) {
  StateDict state;
  for (const char* prefix : {"param/", "exp_avg/", "exp_avg_sq/"}) {
    const auto all = at::randn({parameters});
    int64_t first = 0;
    for (const auto& [name, shape] : tensors_of(parameters)) {
      const auto numel = c10::multiply_integers(shape);
      state.pieces.push_back({prefix + name, shape, 0, all.narrow(0, first, numel)});
      first += numel;
    }
  }
  return state;
}

int64_t bytes_of(const StateDict& state) {
  int64_t bytes = 0;
  for (const auto& piece : state.pieces) bytes += static_cast<int64_t>(piece.data.nbytes());
  return bytes;
}

/// A file that is there while this is.
struct RawFile {
  RawFile(std::string name, int flags) : path(std::move(name)), fd(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (fd < 0) throw StorageError(path + ": cannot open it for direct reading and writing: " + std::strerror(errno) + "; choose another --dir");
  }
  ~RawFile() { ::close(fd); }
  std::string path;
  int fd;
};

/// What the disk does with as many bytes (whole blocks, scaled to all) in blocks of 16 MiB past the page cache: seconds to write them
/// with fsync, and to read them. `memory` holds them, in the pages the save has its own in: a disk takes few large ones faster.
struct RawDisk {
  int64_t bytes;
  at::Tensor memory;
  std::string path;

  double transfer(RawFile& file, bool read) const {
    const int64_t whole = bytes / kCheckpointBlock * kCheckpointBlock;
    auto* data = static_cast<char*>(memory.data_ptr());
    const double start = bench_clock();
    for (int64_t at = 0; at < whole; at += kCheckpointBlock) {
      const auto n = static_cast<size_t>(kCheckpointBlock);
      const ssize_t done = read ? ::pread(file.fd, data + at, n, at) : ::pwrite(file.fd, data + at, n, at);
      if (done != static_cast<ssize_t>(n)) throw StorageError(path + ": cannot be " + (read ? "read: " : "written: ") + std::strerror(errno));
    }
    if (!read && ::fsync(file.fd) != 0) throw StorageError(path + ": fsync: " + std::strerror(errno));
    return (bench_clock() - start) * static_cast<double>(bytes) / static_cast<double>(whole);
  }
  std::pair<double, double> measure() const {
    std::pair<double, double> seconds;
    {
      RawFile file(path, O_CREAT | O_TRUNC | O_WRONLY | O_DIRECT);
      seconds.first = transfer(file, false);
    }
    {
      RawFile file(path, O_RDONLY | O_DIRECT);
      seconds.second = transfer(file, true);
    }
    ::unlink(path.c_str());
    return seconds;
  }
};

/// Nothing of the checkpoint stays in the page cache, so that loading asks the disk.
void forget_pages(const std::string& checkpoint) {
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint)) {
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

/// What training does between two updates: matrix products on all threads.
class Training {
 public:
  /// As many products as take `seconds` alone.
  explicit Training(double seconds) {
    one();
    int64_t probes = 0;
    const double start = bench_clock();
    while (bench_clock() - start < seconds) one(), ++probes;
    products_ = probes;
  }
  /// Seconds of all products; `between` is called after each.
  template <typename F>
  double run(const F& between) {
    const double start = bench_clock();
    for (int64_t i = 0; i < products_; ++i) {
      one();
      between();
    }
    return bench_clock() - start;
  }

 private:
  void one() { at::mm_out(product_, left_, right_); }

  at::Tensor left_ = at::randn({256, 768}), right_ = at::randn({768, 3072}), product_ = at::empty({256, 3072});
  int64_t products_ = 0;
};

/// Of one save and load, seconds.
struct SaveRound {
  double stall = 0;    ///< that the caller waits: to begin, between products, and before the next update
  double lost = 0;     ///< the same and what the products took longer than alone
  double persist = 0;  ///< until step-N is there
  double verify = 0;   ///< until it was read back too
  double load = 0;     ///< of the same checkpoint, from the disk
  double raw_write = 0, raw_read = 0;
};

SaveRound measure_save(CheckpointStore& store, const StateDict& state, Training& work, const std::string& dir, int64_t step) {
  SaveRound t;
  const double alone = work.run([] {}), start = bench_clock();
  std::optional<bool> saved;
  std::string why;
  const auto look = [&] {
    const double before = bench_clock();
    if (!saved) saved = store.advance_save(false, &why);  // as training does after every update
    t.stall += bench_clock() - before;
    const auto steps = store.steps();
    if (t.persist == 0 && !steps.empty() && steps.front() == step) t.persist = bench_clock() - start;
  };
  store.begin_save(step, state, Json::object(), Json::object(), -1);
  t.stall = bench_clock() - start;
  work.run(look);
  t.stall += store.settle();
  t.lost = std::max(t.stall, bench_clock() - start - alone);
  while (!saved) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    look();
  }
  if (!*saved) throw StorageError(why);
  t.verify = bench_clock() - start;
  forget_pages(dir + "/step-" + std::to_string(step));
  const double begin = bench_clock();
  store.load_newest(state, Json::object());
  t.load = bench_clock() - begin;
  return t;
}

Spread of_rounds(const std::vector<SaveRound>& rounds, double (*value)(const SaveRound&)) {
  std::vector<double> values;
  for (const auto& r : rounds) values.push_back(value(r));
  return spread_of(values);
}

Json report_saves(const std::vector<SaveRound>& rounds, int64_t bytes) {
  const auto gigabytes = static_cast<double>(bytes) / 1e9;
  Json result{{"bytes", bytes}};
  std::printf("%-28s %8s %8s %8s\n", "seconds", "median", "least", "most");
  const auto line = [&](const char* key, const char* name, double (*value)(const SaveRound&)) {
    const Spread s = of_rounds(rounds, value);
    std::printf("%-28s %8.3f %8.3f %8.3f  %6.2f GB/s\n", name, s.median, s.least, s.most, gigabytes / s.median);
    result[key] = to_json(s);
  };
  line("stall_s", "training waits", [](const SaveRound& t) { return t.stall; });
  line("lost_s", "  and its products slow down", [](const SaveRound& t) { return t.lost; });
  line("persist_s", "on the disk after", [](const SaveRound& t) { return t.persist; });
  line("raw_write_s", "  raw O_DIRECT write", [](const SaveRound& t) { return t.raw_write; });
  line("verified_s", "read back after", [](const SaveRound& t) { return t.verify; });
  line("load_s", "load", [](const SaveRound& t) { return t.load; });
  line("raw_read_s", "  raw O_DIRECT read", [](const SaveRound& t) { return t.raw_read; });
  const Spread persist = of_rounds(rounds, [](const SaveRound& t) { return t.raw_write / t.persist; });
  const Spread load = of_rounds(rounds, [](const SaveRound& t) { return t.raw_read / t.load; });
  std::printf("persist at %.0f %% of the raw rate of its round (%.0f-%.0f), load at %.0f %% (%.0f-%.0f)\n", 100 * persist.median, 100 * persist.least,
              100 * persist.most, 100 * load.median, 100 * load.least, 100 * load.most);
  result["persist_of_raw"] = to_json(persist);
  result["load_of_raw"] = to_json(load);
  for (const auto& r : rounds)
    result["rounds"].push_back({{"stall_s", r.stall}, {"lost_s", r.lost}, {"persist_s", r.persist}, {"verified_s", r.verify}, {"load_s", r.load}, {"raw_write_s", r.raw_write},
                                {"raw_read_s", r.raw_read}});
  return result;
}

/// The folder of the measurement, removed at its end.
struct Folder {
  explicit Folder(std::string name) : path(std::move(name)) {
    if (const int error = posix_files().make_dir(path))
      throw StorageError(path + ": cannot be made: " + std::strerror(error) + "; remove it, or choose another --dir");
  }
  ~Folder() { remove_tree(posix_files(), path); }
  std::string path;
};

int bench_checkpoint(const CheckpointOptions& options) {
  at::set_num_threads(options.threads);
  start_ledger();  // as in a run, whose long arrays come in large pages by it
  const Folder folder(options.dir + "/fmtrain-bench-checkpoint");
  const auto comm = make_single_communicator();
  const std::string dir = folder.path + "/checkpoints";
  CheckpointStore store(dir, posix_files(), *comm, 1);
  const StateDict state = training_state(options.parameters);
  const RawDisk raw{bytes_of(state), page_memory(bytes_of(state), false).fill_(1), folder.path + "/raw"};
  Training work(options.work);
  std::vector<SaveRound> rounds;
  for (int64_t round = 0; round <= options.rounds; ++round) {
    SaveRound times = measure_save(store, state, work, dir, round + 1);
    std::tie(times.raw_write, times.raw_read) = raw.measure();
    if (round > 0) rounds.push_back(times);  // the first one makes buffers
  }
  std::printf("%lld parameters, %.2f GB of state, %d threads, %d rounds, next update after %g s\n", static_cast<long long>(options.parameters),
              static_cast<double>(raw.bytes) / 1e9, options.threads, options.rounds, options.work);
  Json result = report_saves(rounds, raw.bytes);
  for (const auto& piece : state.pieces) result["tensors"].push_back({piece.name, piece.shape});
  write_bench(options, "checkpoint", result);
  return 0;
}

}  // namespace

void add_bench_checkpoint(CLI::App& bench, Action& action) {
  auto* command = bench.add_subcommand("checkpoint", "Saves and loads of a training state, beside what the disk does with the same bytes alone.\n"
                                                     "Example: fmtrain bench checkpoint --dir /scratch --parameters 109000000");
  const auto options = std::make_shared<CheckpointOptions>();
  add_bench_options(*command, *options);
  command->add_option("--parameters", options->parameters, "of the model; its state has 12 bytes each")->check(CLI::Range(int64_t{2'000'000}, int64_t{1} << 40))
      ->capture_default_str();
  command->add_option("--dir", options->dir, "existing directory on the disk that is measured")->check(CLI::ExistingDirectory)->capture_default_str();
  command->add_option("--threads", options->threads, "of the products and of what copies before an update")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--work", options->work, "seconds of matrix products between the save's begin and the next update; 0: the update comes at once")
      ->check(CLI::Range(0.0, 3600.0))->capture_default_str();
  command->callback([&action, options] { action = [options] { return bench_checkpoint(*options); }; });
}

}  // namespace fmtrain

#include "runtime/checkpoint/checkpoint.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>

#include "runtime/checkpoint/safetensors.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr int64_t kBlock = 16 << 20;  ///< bytes under one hash
constexpr int kFormat = 1;

std::string shard_name(int rank, int size) {
  char name[64];
  std::snprintf(name, sizeof name, "shard-%05d-of-%05d.safetensors", rank, size);
  return name;
}

/// "offset:dim,dim" of a piece, kept in the shard's metadata.
std::string place_of(const TensorPiece& piece) {
  std::string text = std::to_string(piece.offset) + ":";
  for (size_t i = 0; i < piece.shape.size(); ++i) text += (i ? "," : "") + std::to_string(piece.shape[i]);
  return text;
}

int64_t to_int64(uint64_t x) { return static_cast<int64_t>(x); }

/// XXH3-128 of a block as two numbers, so that ranks can add them up into one table.
std::pair<int64_t, int64_t> block_hash(const void* data, size_t bytes) {
  const auto hex = xxh3_hex(data, bytes);
  return {to_int64(std::stoull(hex.substr(0, 16), nullptr, 16)), to_int64(std::stoull(hex.substr(16), nullptr, 16))};
}

std::string hash_text(int64_t high, int64_t low) {
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high), static_cast<unsigned long long>(low));
  return text;
}

std::string with_own_hash(Json manifest) {
  std::string text = manifest.dump();
  text.pop_back();  // the closing brace
  return text + ",\"sha256\":\"" + sha256_hex(text.data(), text.size()) + "\"}";
}

/// Calls `use(offset, bytes)` for every block of a file after checking its hash.
void read_blocks(FileOps& files, const std::string& path, const Json& entry, const std::function<void(int64_t, std::string_view)>& use) {
  int fd = -1;
  if (files.open(path, &fd) != 0) throw CheckpointError(path + ": is missing");
  int64_t size = 0;
  files.size(fd, &size);
  std::string problem;
  if (size != entry.at("bytes").get<int64_t>()) problem = "has " + std::to_string(size) + " bytes, the manifest says " + entry.at("bytes").dump();
  std::string block;
  const auto& hashes = entry.at("blocks");
  for (int64_t at = 0, i = 0; at < size && problem.empty(); at += kBlock, ++i) {
    block.resize(static_cast<size_t>(std::min(kBlock, size - at)));
    if (files.read(fd, block.data(), block.size(), at) != 0) problem = "cannot be read at byte " + std::to_string(at);
    else if (static_cast<size_t>(i) >= hashes.size() || xxh3_hex(block.data(), block.size()) != hashes[static_cast<size_t>(i)])
      problem = "is damaged between bytes " + std::to_string(at) + " and " + std::to_string(at + static_cast<int64_t>(block.size()));
    else use(at, block);
  }
  files.close(fd);
  if (!problem.empty()) throw CheckpointError(path + ": " + problem);
}

std::string read_verified(FileOps& files, const std::string& path, const Json& entry) {
  std::string content;
  read_blocks(files, path, entry, [&](int64_t, std::string_view block) { content.append(block); });
  return content;
}

/// Copies the part of a stored piece that a target needs; returns elements copied.
int64_t copy_overlap(const TensorPiece& target, int64_t offset, const float* values, int64_t count) {
  const int64_t first = std::max(offset, target.offset), last = std::min(offset + count, target.offset + target.data.numel());
  if (first >= last) return 0;
  target.data.narrow(0, first - target.offset, last - first).copy_(at::from_blob(const_cast<float*>(values + (first - offset)), {last - first}, at::kFloat));
  return last - first;
}

std::vector<std::string> listed(FileOps& files, const std::string& dir) {
  std::vector<std::string> names;
  files.list(dir, &names);
  return names;
}

}  // namespace

CheckpointStore::CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep) : dir_(std::move(dir)), files_(files), comm_(comm), keep_(keep) {
  if (comm.rank() == 0) {
    files.make_dir(dir_);
    for (const auto& name : listed(files, dir_))
      if (name.compare(0, 5, ".tmp-") == 0 || name.compare(0, 5, ".del-") == 0) remove_tree(files, dir_ + "/" + name);
  }
  comm.barrier();
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> found;
  for (const auto& name : listed(files_, dir_))
    if (name.compare(0, 5, "step-") == 0 && name.size() < 24 && name.find_first_not_of("0123456789", 5) == std::string::npos && name.size() > 5) found.push_back(std::stoll(name.substr(5)));
  std::sort(found.rbegin(), found.rend());
  return found;
}

/// facts: bytes of the file, then two numbers per block.
int CheckpointStore::write_shard(const std::string& path, const StateDict& state, std::vector<int64_t>& facts) {
  SafetensorsHeader header;
  for (const auto& piece : state.pieces) {
    header.tensors.push_back({piece.name, "F32", {piece.data.numel()}, 0, 0});
    header.metadata[piece.name] = place_of(piece);
  }
  std::string content = make_safetensors_header(header);
  for (const auto& piece : state.pieces) {
    const auto data = piece.data.cpu().contiguous();
    content.append(static_cast<const char*>(data.data_ptr()), data.nbytes());
  }
  const auto size = static_cast<int64_t>(content.size());
  facts.push_back(size);
  for (int64_t at = 0; at < size; at += kBlock) {
    const auto [high, low] = block_hash(content.data() + at, static_cast<size_t>(std::min(kBlock, size - at)));
    facts.insert(facts.end(), {high, low});
  }
  int fd = -1;
  if (const int error = files_.create_exclusive(path, &fd)) return error;
  int error = files_.write(fd, content.data(), content.size());
  if (!error) error = files_.fsync(fd);
  const int closed = files_.close(fd);
  return error ? error : closed;
}

bool CheckpointStore::save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step, std::string* why) {
  const std::string final_dir = dir_ + "/step-" + std::to_string(step), temporary = dir_ + "/.tmp-" + std::to_string(step);
  const auto agree = [&](int error) {
    auto worst = at::full({1}, error, at::kLong);
    comm_.all_reduce(worst, ReduceOp::kMax).wait();
    if (worst.item<int64_t>() == 0) return true;
    if (comm_.rank() == 0) remove_tree(files_, temporary);
    if (why) *why = dir_ + ": cannot write the checkpoint of step " + std::to_string(step) + ": " + std::strerror(static_cast<int>(worst.item<int64_t>()));
    return false;
  };
  int error = 0;
  if (comm_.rank() == 0) {
    remove_tree(files_, temporary);
    error = files_.make_dir(temporary);
  }
  if (!agree(error)) return false;
  std::vector<int64_t> facts;
  if (!agree(write_shard(temporary + "/" + shard_name(comm_.rank(), comm_.size()), state, facts))) return false;
  auto longest = at::full({1}, static_cast<int64_t>(facts.size()), at::kLong);
  comm_.all_reduce(longest, ReduceOp::kMax).wait();
  auto table = at::zeros({comm_.size(), longest.item<int64_t>()}, at::kLong);
  std::copy(facts.begin(), facts.end(), table[comm_.rank()].data_ptr<int64_t>());
  auto flat = table.view({-1});
  comm_.all_reduce(flat, ReduceOp::kSum).wait();
  if (comm_.rank() == 0) {
    Json manifest{{"format", kFormat}, {"step", step}, {"ranks", comm_.size()}, {"fixed", fixed}, {"state", small}, {"files", Json::array()}};
    for (int r = 0; r < comm_.size(); ++r) {
      const auto* row = table[r].data_ptr<int64_t>();
      Json file{{"name", shard_name(r, comm_.size())}, {"bytes", row[0]}, {"blocks", Json::array()}};
      for (int64_t b = 0; b * kBlock < row[0]; ++b) file["blocks"].push_back(hash_text(row[1 + 2 * b], row[2 + 2 * b]));
      manifest["files"].push_back(file);
    }
    try {
      write_file_atomic(files_, temporary + "/manifest.json", with_own_hash(manifest));
    } catch (const StorageError&) {
      error = EIO;
    }
    if (!error) remove_tree(files_, final_dir);
    if (!error) error = files_.rename(temporary, final_dir);
    if (!error) error = files_.sync_dir(dir_);
  }
  if (!agree(error)) return false;
  if (comm_.rank() == 0) {
    write_file_atomic(files_, dir_ + "/latest", "step-" + std::to_string(step) + "\n");
    prune(best_step);
  }
  return true;
}

void CheckpointStore::prune(int64_t best_step) {
  const auto all = steps();
  for (size_t i = static_cast<size_t>(keep_); i < all.size(); ++i) {
    if (all[i] == best_step) continue;
    const std::string away = dir_ + "/.del-" + std::to_string(all[i]);
    if (files_.rename(dir_ + "/step-" + std::to_string(all[i]), away) == 0) remove_tree(files_, away);
  }
}

Json read_manifest(FileOps& files, const std::string& checkpoint) {
  const std::string path = checkpoint + "/manifest.json";
  try {
    const std::string text = read_file(files, path, 64u << 20);
    const auto mark = text.rfind(",\"sha256\":\"");
    if (mark == std::string::npos || text.size() != mark + 77 || sha256_hex(text.data(), mark) != text.substr(mark + 11, 64)) throw std::runtime_error("does not match its own SHA-256");
    const Json json = parse_json(text, {64u << 20, 12});
    if (json.at("format") != kFormat) throw std::runtime_error("format " + json.at("format").dump() + ", this program reads " + std::to_string(kFormat));
    const auto ranks = json.at("ranks").get<int>();
    if (json.at("files").size() != static_cast<size_t>(ranks)) throw std::runtime_error("lists other files than ranks");
    for (int r = 0; r < ranks; ++r)
      if (json.at("files")[static_cast<size_t>(r)].at("name") != shard_name(r, ranks)) throw std::runtime_error("names an unexpected file");
    return json;
  } catch (const std::exception& error) {
    throw CheckpointError(path + ": " + error.what());
  }
}

void verify_checkpoint(FileOps& files, const std::string& checkpoint) {
  const Json manifest = read_manifest(files, checkpoint);
  for (const auto& file : manifest.at("files")) read_blocks(files, checkpoint + "/" + file.at("name").get<std::string>(), file, [](int64_t, std::string_view) {});
}

Json CheckpointStore::load(int64_t step, const StateDict& targets, const Json& fixed) {
  const std::string checkpoint = dir_ + "/step-" + std::to_string(step);
  const Json manifest = read_manifest(files_, checkpoint);
  if (manifest.at("fixed") != fixed) throw ConfigError(checkpoint + ": was written by another run: " + Json::diff(manifest.at("fixed"), fixed).dump() + "; use another run.dir or --resume never");
  std::vector<int64_t> filled(targets.pieces.size(), 0);
  for (const auto& entry : manifest.at("files")) {
    const std::string path = checkpoint + "/" + entry.at("name").get<std::string>();
    const std::string content = read_verified(files_, path, entry);
    try {
      const auto header = parse_safetensors_header(content, static_cast<int64_t>(content.size()));
      for (const auto& t : header.tensors) {
        const int64_t offset = std::stoll(header.metadata.at(t.name));
        for (size_t i = 0; i < targets.pieces.size(); ++i)
          if (targets.pieces[i].name == t.name)
            filled[i] += copy_overlap(targets.pieces[i], offset, reinterpret_cast<const float*>(content.data() + header.data_start + t.begin), (t.end - t.begin) / 4);
      }
    } catch (const std::runtime_error& error) {
      throw CheckpointError(path + ": " + error.what());
    }
  }
  for (size_t i = 0; i < filled.size(); ++i)
    if (filled[i] != targets.pieces[i].data.numel()) throw CheckpointError(checkpoint + ": does not hold all of " + targets.pieces[i].name);
  return manifest.at("state");
}

std::optional<Json> CheckpointStore::load_newest(const StateDict& targets, const Json& fixed) {
  const auto all = steps();
  comm_.barrier();
  for (const auto step : all) {
    std::string problem;
    Json small;
    try {
      small = load(step, targets, fixed);
    } catch (const CheckpointError& error) {
      problem = error.what();
    }
    auto bad = at::full({1}, problem.empty() ? 0 : 1, at::kLong);
    comm_.all_reduce(bad, ReduceOp::kMax).wait();
    if (bad.item<int64_t>() == 0) return small;
    if (!problem.empty()) std::fprintf(stderr, "fmtrain: warning: %s; trying an older checkpoint\n", problem.c_str());
    comm_.barrier();
    if (comm_.rank() == 0) files_.rename(dir_ + "/step-" + std::to_string(step), dir_ + "/.bad-step-" + std::to_string(step));
  }
  if (!all.empty()) throw CheckpointError(dir_ + ": none of " + std::to_string(all.size()) + " checkpoints is valid");
  return std::nullopt;
}

}  // namespace fmtrain

#include "runtime/checkpoint/manifest.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <random>
#include <stdexcept>

#include "runtime/hash.h"
#include "runtime/huge_pages.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestManifest = 64u << 20;
constexpr size_t kUnaligned = 64;      ///< what FileOps reads to such a place comes from the page cache
constexpr size_t kMark = 11, kSeal = kMark + 64 + 2;  ///< ,"sha256":" and then 64 digits and "}

[[noreturn]] void reject(const std::string& what) { throw std::runtime_error(what); }

void check_own_hash(const std::string& text) {
  const size_t content = text.size() < kSeal ? 0 : text.size() - kSeal;
  if (content == 0 || text.compare(content, kMark, ",\"sha256\":\"") != 0 || !text.ends_with("\"}"))
    reject("does not end with its own SHA-256");
  if (sha256_hex(text.data(), content) != text.substr(content + kMark, 64)) reject("does not match its own SHA-256");
}

void check_file(const Json& file, const std::string& name) {
  if (file.at("name") != name) reject("names an unexpected file");
  const auto& bytes = file.at("bytes");
  const auto& blocks = file.at("blocks");
  if (!bytes.is_number_unsigned() || bytes.get<uint64_t>() > INT64_MAX - kCheckpointBlock) reject(name + ": not a size");
  const auto count = (bytes.get<int64_t>() + kCheckpointBlock - 1) / kCheckpointBlock;
  if (!blocks.is_array() || static_cast<int64_t>(blocks.size()) != count)
    reject(name + ": its size and its number of hashes disagree");
}

void check_members(const Json& json) {
  if (!json.at("format").is_number_integer() || json.at("format") != kCheckpointFormat)
    reject("format " + json.at("format").dump() + ", this program reads " + std::to_string(kCheckpointFormat));
  for (const char* name : {"step", "ranks"})
    if (!json.at(name).is_number_unsigned()) reject(std::string(name) + " is not a whole number");
  const auto& files = json.at("files");
  if (!files.is_array() || json.at("ranks").get<uint64_t>() != files.size()) reject("lists other files than ranks");
  for (size_t r = 0; r < files.size(); ++r)
    check_file(files[r], shard_name(static_cast<int>(r), static_cast<int>(files.size())));
  if (!json.at("fixed").is_object() || !json.at("state").is_object()) reject("fixed or state is not an object");
}

/// Lines of one list that the other does not have.
std::string missing(const Json& list, const Json& other) {
  std::string text;
  for (const auto& line : list)
    if (std::find(other.begin(), other.end(), line) == other.end()) text += (text.empty() ? "" : ", ") + line.dump();
  return text.empty() ? "nothing" : text;
}

}  // namespace

std::string shard_name(int rank, int size) {
  char name[64];
  std::snprintf(name, sizeof name, "shard-%05d-of-%05d.safetensors", rank, size);
  return name;
}

std::string manifest_text(const Json& members) {
  std::string text = members.dump();
  text.pop_back();  // the closing brace
  return text + ",\"sha256\":\"" + sha256_hex(text.data(), text.size()) + "\"}";
}

Json read_manifest(FileOps& files, const std::string& checkpoint) {
  const std::string path = checkpoint + "/manifest.json";
  std::string text;
  try {
    text = read_file(files, path, kLargestManifest, Links::kRefuse);
  } catch (const std::exception& error) {
    throw CheckpointError(error.what());
  }
  try {
    check_own_hash(text);
    const Json json = parse_json(text, {kLargestManifest, 12});
    check_members(json);
    return json;
  } catch (const std::exception& error) {
    throw CheckpointError(path + ": " + error.what());
  }
}

void read_blocks(FileOps& files, int fd, const Json& entry, From from, const std::function<bool(std::string_view, int64_t)>& use) {
  int64_t size = 0;
  if (const int error = files.size(fd, &size)) reject(std::string("cannot be read: ") + std::strerror(error));
  if (size != entry.at("bytes").get<int64_t>())
    reject("has " + std::to_string(size) + " bytes, the manifest says " + entry.at("bytes").dump());
  auto block = huge_memory(kCheckpointBlock + kUnaligned), next = huge_memory(kCheckpointBlock + kUnaligned);  // for direct reads (pages.h)
  const auto start = [&](const HugeMemory& memory) { return memory.get() + (from == From::kDisk ? 0 : kUnaligned); };
  const auto bytes = [&](int64_t at) { return static_cast<size_t>(std::min(kCheckpointBlock, size - at)); };
  std::future<int> reading;  // after its memory: it is waited for before that goes
  for (int64_t at = 0; at < size; at += kCheckpointBlock) {
    const int error = reading.valid() ? reading.get() : files.read(fd, start(block), bytes(at), at);
    const int64_t following = at + kCheckpointBlock;
    if (!error && at > 0 && following < size)
      reading = std::async(std::launch::async | std::launch::deferred, [&, following] { return files.read(fd, start(next), bytes(following), following); });
    const std::string place = "between bytes " + std::to_string(at) + " and " + std::to_string(at + static_cast<int64_t>(bytes(at)));
    if (error) reject("cannot be read " + place + ": " + std::strerror(error));
    const auto& expected = entry.at("blocks")[static_cast<size_t>(at / kCheckpointBlock)];
    const auto found = xxh3_hex(start(block), bytes(at));
    if (found != expected) reject("is damaged " + place + ": its hash is " + found + ", the manifest says " + expected.dump());
    if (!use({start(block), bytes(at)}, at)) return;
    if (reading.valid()) reading.wait(), std::swap(block, next);
  }
}

void with_file(FileOps& files, const std::string& checkpoint, const Json& entry, const std::function<void(int)>& use) {
  const std::string path = checkpoint + "/" + entry.at("name").get<std::string>();
  int fd = -1;
  if (const int error = files.open_plain(path, &fd)) throw CheckpointError(path + ": cannot be opened: " + std::strerror(error));
  std::string problem;
  try {
    use(fd);
  } catch (const std::exception& error) {
    problem = error.what();
  }
  files.close(fd);
  if (!problem.empty()) throw CheckpointError(path + ": " + problem);
}

void verify_file(FileOps& files, const std::string& checkpoint, const Json& entry) {
  with_file(files, checkpoint, entry,
            [&](int fd) { read_blocks(files, fd, entry, From::kDisk, [](std::string_view, int64_t) { return true; }); });
}

void verify_checkpoint(FileOps& files, const std::string& checkpoint) {
  const Json manifest = read_manifest(files, checkpoint);
  for (const auto& entry : manifest.at("files")) verify_file(files, checkpoint, entry);
}

bool is_step_name(const std::string& name) {
  if (!name.starts_with("step-") || name.size() == 5 || name.size() > 5 + 18) return false;
  if (name.find_first_not_of("0123456789", 5) != std::string::npos) return false;
  return name.size() == 6 || name[5] != '0';
}

std::vector<int64_t> checkpoint_steps(FileOps& files, const std::string& dir) {
  std::vector<std::string> names;
  if (const int error = files.list(dir, &names)) throw StorageError(dir + ": cannot be read: " + std::strerror(error));
  std::vector<int64_t> steps;
  for (const auto& name : names)
    if (is_step_name(name)) steps.push_back(std::stoll(name.substr(5)));
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

int64_t generation_of(const Json& manifest) {
  const auto found = manifest.find("generation");
  return found != manifest.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::string bad_name(const std::string& dir, int64_t step) {
  char nonce[16];
  std::snprintf(nonce, sizeof nonce, "%08x", std::random_device{}());
  return dir + "/.bad-step-" + std::to_string(step) + "-" + nonce;
}

int delete_checkpoint(FileOps& files, const std::string& dir, int64_t step) {
  const std::string away = dir + "/.del-" + std::to_string(step);
  remove_tree(files, away);  // of a deletion that was cut off: it would be in the way
  if (const int error = files.rename(dir + "/step-" + std::to_string(step), away)) return error;
  files.sync_dir(dir);
  remove_tree(files, away);
  return 0;
}

std::string differences(const Json& saved, const Json& now) {
  std::string text;
  Json all = saved;
  all.update(now);
  for (const auto& [name, unused] : all.items()) {
    const Json a = saved.value(name, Json()), b = now.value(name, Json());
    if (a == b) continue;
    const bool lists = a.is_array() && b.is_array();
    text += (text.empty() ? "" : "; ") + name + ": " + (lists ? missing(a, b) : a.dump()) + " then, " +
            (lists ? missing(b, a) : b.dump()) + " now";
  }
  return text;
}

ExitCode difference_code(const Json& saved, const Json& now) {
  if (saved == now) return ExitCode::kOk;
  Json same_data = saved;
  if (now.contains("data")) same_data["data"] = now.at("data");
  return same_data == now ? ExitCode::kData : ExitCode::kConfig;
}

}  // namespace fmtrain

#include "runtime/continual/registry.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "runtime/continual/sealed_json.h"
#include "runtime/continual/stored_files.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr size_t kAuditLimit = size_t{64} << 20;

/// A link is neither there nor not there: StorageError.
bool exists(FileOps& files, const std::string& path) {
  int fd = -1;
  const int error = files.open_plain(path, &fd);
  if (error == ENOENT) return false;
  require_success(error, path, "open");
  files.close(fd);
  return true;
}

/// Turns what a parser says into the error of a damaged file.
template <class Parse>
auto parsed(const std::string& path, Parse parse) {
  try {
    return parse();
  } catch (const std::runtime_error& error) {
    throw CheckpointError(path + ": " + error.what());
  }
}

std::vector<std::string> list(FileOps& files, const std::string& path) {
  std::vector<std::string> names;
  const int error = files.list(path, &names);
  if (error != ENOENT) require_success(error, path, "list");
  return names;
}

/// At most 1,024 bytes, cut between characters: of a text that is none, JSON makes three bytes of each (U+FFFD), which is still
/// below the 4,096 that a reader takes.
std::string shortened(const std::string& reason) {
  constexpr size_t kLongest = 1024;
  if (reason.size() <= kLongest) return reason;
  size_t end = kLongest;
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(reason[at]) & 0xC0) == 0x80; };
  while (end > kLongest - 4 && continues(end)) --end;
  return reason.substr(0, end);
}

/// 123 of 000123.json; 0 of other names.
int64_t card_of(const std::string& name) { return name.ends_with(".json") ? version_of(name.substr(0, name.size() - 5)) : 0; }

std::string missing(int64_t version) { return "no version " + version_name(version); }

}  // namespace

Aliases Registry::aliases() const {
  const std::string path = directory_ + "/aliases.json";
  if (!exists(files_, path)) {
    // Taken for an empty one, a registry in use would lose its champion, and the next prune its weights.
    if (versions().empty() && !exists(files_, directory_ + "/audit.jsonl")) return {};
    throw CheckpointError(path + ": missing, but the registry is in use; put it back (audit.jsonl tells what it said)");
  }
  const Json record = read_sealed(files_, path);
  return parsed(path, [&] { return parse_aliases(record); });
}

std::vector<int64_t> Registry::versions() const {
  std::vector<int64_t> found;
  for (const auto& name : list(files_, directory_ + "/versions"))
    if (const int64_t version = version_of(name)) found.push_back(version);
  return found;
}

Lineage Registry::lineage(int64_t version) const {
  std::string path = version_directory(version) + "/lineage.json";
  if (!exists(files_, path)) path = card(version);
  if (!exists(files_, path)) throw ConfigError(directory_ + ": " + missing(version));
  const Json record = read_sealed(files_, path);
  auto lineage = parsed(path, [&] { return parse_lineage(record); });
  if (lineage.version != version) throw CheckpointError(path + ": is of version " + version_name(lineage.version));
  return lineage;
}

std::string Registry::verified(int64_t version) const {
  const std::string place = version_directory(version);
  if (!exists(files_, place)) throw ConfigError(directory_ + ": " + missing(version) + ", or its weights are gone");
  if (!exists(files_, place + "/lineage.json")) throw CheckpointError(place + "/lineage.json: missing");
  const Lineage known = lineage(version);
  // Names left at the end do not belong: a loader that looks for files by name would take them.
  auto names = list(files_, place);
  for (const auto& file : known.files) {
    const auto found = std::find(names.begin(), names.end(), file.name);
    if (found == names.end()) throw CheckpointError(place + "/" + file.name + ": missing");
    names.erase(found);
    const StoredFile now = hash_file(files_, place, file.name);
    if (!(now == file))
      throw CheckpointError(place + "/" + file.name + ": changed since it was registered: " + std::to_string(now.bytes) +
                            " bytes, SHA-256 " + now.sha256 + ", expected " + std::to_string(file.bytes) + ", " + file.sha256);
  }
  for (const auto& name : names)
    if (name != "lineage.json") throw CheckpointError(place + ": " + quoted(name) + " does not belong to the version");
  return place;
}

std::vector<AuditRecord> Registry::audit() const {
  const std::string path = directory_ + "/audit.jsonl";
  std::vector<AuditRecord> records;
  if (!exists(files_, path)) return records;
  const std::string text = read_file(files_, path, kAuditLimit, Links::kRefuse);
  for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    const auto line = std::string_view(text).substr(at, end - at);
    records.push_back(parsed(path, [&] { return parse_audit(parse_json(line, {1 << 16, 4})); }));
  }
  return records;
}

void make_directories(const Registry& registry) {
  FileOps& files = registry.files();
  for (const char* part : {"", "/versions", "/cards", "/cycles", "/texts"}) {
    const std::string path = registry.directory() + part;
    const int error = files.make_dir(path);
    if (error != EEXIST) require_success(error, path, "create");
  }
  require_success(files.sync_dir(registry.directory()), registry.directory(), "sync");
}

Fence fence_of(RunLock& lock, int64_t highest) {
  return {std::max(lock.generation(), highest + 1), [&lock](std::string* why) { return lock.still_mine(why); }};
}

RegistryLock::RegistryLock(Registry& registry, const LockIdentity& me, double patience) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience);
  make_directories(registry);
  while (!lock_) try {
      lock_ = std::make_unique<RunLock>(registry.files(), registry.directory(), me);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kLocked || std::chrono::steady_clock::now() > end) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  highest_ = registry.aliases().fence;
}

void require_fence(const Registry& registry, const Fence& fence) {
  std::string why;
  const int64_t highest = registry.aliases().fence;
  if (fence.generation < highest)
    throw Error(ExitCode::kLocked, registry.directory() + ": a later run (fence " + std::to_string(highest) +
                                       ") was here; this one (" + std::to_string(fence.generation) + ") must not write");
  if (fence.still_mine && !fence.still_mine(&why)) throw Error(ExitCode::kLocked, why);
}

RegistryWriter::RegistryWriter(Registry& registry, Fence fence) : registry_(registry), fence_(std::move(fence)) {
  make_directories(registry_);
  const Aliases now = registry_.aliases();
  require_mine();
  remove_leftovers();
  // Before the first version: from then on a registry without the file is a damaged one.
  if (now.last.number == 0) write_aliases(now);
  const auto lines = registry_.audit();
  if (now.last.number > (lines.empty() ? 0 : lines.back().number)) append_audit(now.last);
}

/// Unfinished copies and removals of versions, and temporaries of the files that are replaced under this lock; nothing that others
/// put there.
void RegistryWriter::remove_leftovers() const {
  FileOps& files = registry_.files();
  const std::string &top = registry_.directory(), versions = top + "/versions";
  remove_temporaries(files, top, [](const std::string& name) { return name == "aliases.json" || name == "audit.jsonl"; });
  remove_temporaries(files, top + "/cards", [](const std::string& name) { return card_of(name) > 0; });
  for (const auto& name : list(files, versions))
    if ((name.starts_with(".tmp-") || name.starts_with(".del-")) && version_of(name.substr(5))) remove_tree(files, versions + "/" + name);
}

int64_t RegistryWriter::next_version() const {
  int64_t last = 0;
  for (const int64_t version : registry_.versions()) last = std::max(last, version);
  for (const auto& name : list(registry_.files(), registry_.directory() + "/cards")) last = std::max(last, card_of(name));
  return last + 1;
}

void RegistryWriter::add(const std::string& from, Lineage lineage) {
  FileOps& files = registry_.files();
  const std::string versions = registry_.directory() + "/versions", place = registry_.version_directory(lineage.version);
  if (exists(files, place)) {
    lineage.files = registry_.lineage(lineage.version).files;
    if (read_file(files, place + "/lineage.json", kAuditLimit, Links::kRefuse) != print_lineage(lineage))
      throw ConfigError(place + ": is there already, with another lineage");
  } else {
    const std::string temporary = versions + "/.tmp-" + version_name(lineage.version);  // one writer: the lock is held
    remove_tree(files, temporary);
    require_success(files.make_dir(temporary), temporary, "create");
    lineage.files = copy_files(files, from, temporary);
    write_file_atomic(files, temporary + "/lineage.json", print_lineage(lineage));
    require_success(files.sync_dir(temporary), temporary, "sync");
    require_mine();
    require_success(files.rename(temporary, place), place, "create");
    require_success(files.sync_dir(versions), versions, "sync");
  }
  write_file_atomic(files, registry_.card(lineage.version), print_lineage(lineage));
}

/// Challenged, promoted, rejected or gone back to. The last change is asked too: its line may be owed.
bool RegistryWriter::named_before(const Aliases& now, int64_t version) const {
  const auto lines = registry_.audit();
  const auto names_it = [&](const AuditRecord& record) { return record.version == version; };
  return names_it(now.last) || std::any_of(lines.begin(), lines.end(), names_it);
}

void RegistryWriter::challenge(int64_t version, int64_t now) {
  Aliases next = registry_.aliases();
  if (named_before(next, version)) return;
  registry_.lineage(version);
  next.challenger = version;
  change(next, "challenge", version, "", now);
}

void RegistryWriter::promote(int64_t version, const std::string& reason, int64_t now) {
  Aliases next = registry_.aliases();
  // Not only the champion: what was promoted before a kill may have been rolled back since.
  if (std::find(next.promoted.begin(), next.promoted.end(), version) != next.promoted.end()) return;
  registry_.verified(version);
  next.previous = next.champion;
  next.champion = version;
  if (next.challenger == version) next.challenger = 0;
  next.promoted.push_back(version);
  change(next, "promote", version, reason, now);
}

void RegistryWriter::reject(int64_t version, const std::string& reason, int64_t now) {
  Aliases next = registry_.aliases();
  if (next.challenger != version) return;
  next.challenger = 0;
  change(next, "reject", version, reason, now);
}

int64_t RegistryWriter::rollback(int64_t from, const std::string& reason, int64_t now) {
  Aliases next = registry_.aliases();
  if (next.champion != from) {
    if (next.last.action == "rollback" && next.previous == from) return next.champion;  // done before a kill
    throw ConfigError(registry_.directory() + ": the champion is " + version_name(next.champion) + ", not " +
                      version_name(from) + ": look again which version to leave");
  }
  if (!next.previous) throw ConfigError(registry_.directory() + ": there is no previous champion to go back to");
  registry_.verified(next.previous);
  std::swap(next.champion, next.previous);
  next.promoted.push_back(next.champion);
  change(next, "rollback", next.champion, reason, now);
  return next.champion;
}

std::vector<int64_t> RegistryWriter::prune(int64_t keep) {
  FileOps& files = registry_.files();
  const std::string versions = registry_.directory() + "/versions";
  const Aliases now = registry_.aliases();
  if (!now.champion)
    throw ConfigError(registry_.directory() + ": has no champion yet: nothing is removed before one is promoted");
  std::vector<int64_t> kept{now.champion, now.previous, now.challenger}, removed;
  int64_t older = 0;
  for (auto version = now.promoted.rbegin(); version != now.promoted.rend() && older < keep; ++version)
    if (std::find(kept.begin() + 3, kept.end(), *version) == kept.end() && *version != now.champion) {
      kept.push_back(*version);
      ++older;
    }
  for (const int64_t version : registry_.versions()) {
    if (std::find(kept.begin(), kept.end(), version) != kept.end()) continue;
    // Renamed first: a kill in the middle of a removal must not leave a version that lacks files.
    require_mine();
    const std::string place = registry_.version_directory(version), doomed = versions + "/.del-" + version_name(version);
    require_success(files.rename(place, doomed), place, "remove");
    require_success(files.sync_dir(versions), versions, "sync");  // nor may a power loss take the files before the name
    remove_tree(files, doomed);
    removed.push_back(version);
  }
  return removed;
}

void RegistryWriter::change(Aliases next, const char* action, int64_t version, const std::string& reason, int64_t now) {
  // The record travels inside aliases.json, so alias and audit line are one change: a kill before the line leaves the next
  // writer to add it.
  next.last = {next.last.number + 1, now, action, version, fence_.generation, shortened(reason)};
  write_aliases(next);
  append_audit(next.last);
}

void RegistryWriter::write_aliases(Aliases next) {
  next.fence = fence_.generation;
  const std::string text = print_aliases(next);
  require_mine();
  write_file_atomic(registry_.files(), registry_.directory() + "/aliases.json", text);
}

/// The whole file is replaced: a torn last line cannot be, and a registry sees a few changes a week.
void RegistryWriter::append_audit(const AuditRecord& record) {
  const std::string path = registry_.directory() + "/audit.jsonl";
  std::string text = exists(registry_.files(), path) ? read_file(registry_.files(), path, kAuditLimit, Links::kRefuse) : "";
  write_file_atomic(registry_.files(), path, text + print_audit(record) + "\n");
}

void RegistryWriter::require_mine() const { require_fence(registry_, fence_); }

}  // namespace fmtrain

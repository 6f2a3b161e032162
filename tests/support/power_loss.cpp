#include "tests/support/power_loss.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace fmtrain {
namespace {

constexpr size_t kPage = 4096;  ///< bytes that arrive together
using Kind = DiskChange::Kind;

std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

void apply(Disk& disk, const DiskChange& change) {
  auto& node = disk.nodes[change.node];
  for (const auto& [name, target] : change.names) {
    if (target < 0) node.names.erase(name);
    else node.names[name] = target;
  }
  if (change.kind == Kind::kPage) {
    const auto at = static_cast<size_t>(change.offset);
    node.data.resize(std::max(node.data.size(), at + change.data.size()));  // a page that did not arrive reads as zeros
    node.data.replace(at, change.data.size(), change.data);
  }
}

/// Nodes that have a name, or may have one once some of `pending` arrived.
std::set<int> reachable(const Disk& disk, const std::vector<DiskChange>& pending) {
  std::set<int> found{0};
  for (std::vector<int> left{0}; !left.empty();) {
    const int node = left.back();
    left.pop_back();
    const auto visit = [&](int target) {
      if (target >= 0 && found.insert(target).second) left.push_back(target);
    };
    for (const auto& [name, target] : disk.nodes.at(node).names) visit(target);
    for (const auto& change : pending)
      if (change.node == node)
        for (const auto& [name, target] : change.names) visit(target);
  }
  return found;
}

}  // namespace

int Disk::find(const std::string& path) const {
  int node = 0;
  for (const auto& part : parts_of(path)) {
    const auto& names = nodes.at(node).names;
    const auto entry = names.find(part);
    if (entry == names.end()) return -1;
    node = entry->second;
  }
  return node;
}

int64_t Disk::bytes() const {
  int64_t sum = 0;
  for (const int node : reachable(*this, {})) sum += static_cast<int64_t>(nodes.at(node).data.size());
  return sum;
}

Disk Crash::state(const std::vector<bool>& arrived) const {
  Disk disk = synced;
  for (size_t i = 0; i < pending.size(); ++i)
    if (arrived[i]) apply(disk, pending[i]);
  return disk;
}

PowerLoss::PowerLoss(const Disk& disk) {
  for (const int node : reachable(disk, {})) start_.nodes[node] = disk.nodes.at(node);
  now_ = start_;
  next_node_ = start_.nodes.rbegin()->first + 1;
}

size_t PowerLoss::changes() const {
  const std::lock_guard lock(mutex_);
  return calls_.size();
}

int64_t PowerLoss::open_files() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(open_.size());
}

/// Of one node changes become safe in their order: the ones before a sync of it with the sync.
Crash PowerLoss::crash_after(size_t changes) const {
  const std::lock_guard lock(mutex_);
  Crash crash{start_, {}};
  for (const auto& [node, directory] : made_) crash.synced.nodes[node].directory = directory;
  for (size_t i = 0; i < changes; ++i)
    for (const auto& change : calls_[i]) {
      if (change.kind != Kind::kSync) crash.pending.push_back(change);
      else
        std::erase_if(crash.pending, [&](const auto& earlier) {
          if (earlier.node != change.node) return false;
          apply(crash.synced, earlier);
          return true;
        });
    }
  const auto seen = reachable(crash.synced, crash.pending);
  std::erase_if(crash.pending, [&](const auto& change) { return !seen.count(change.node); });
  return crash;
}

Disk PowerLoss::killed_after(size_t changes) const {
  const auto crash = crash_after(changes);
  return crash.state(std::vector<bool>(crash.pending.size(), true));
}

PowerLoss::Place PowerLoss::place(const std::string& path) const {
  const auto parts = parts_of(path);
  if (parts.empty()) return {-1, 0, ""};
  const auto parent = path.substr(0, path.rfind(parts.back()));
  const int directory = now_.find(parent);
  if (directory < 0 || !now_.nodes.at(directory).directory) return {-1, -1, parts.back()};
  const auto& names = now_.nodes.at(directory).names;
  const auto entry = names.find(parts.back());
  return {directory, entry == names.end() ? -1 : entry->second, parts.back()};
}

void PowerLoss::log(std::vector<DiskChange> call) {
  for (const auto& change : call) apply(now_, change);
  calls_.push_back(std::move(call));
}

void PowerLoss::change_names(int directory, std::vector<std::pair<std::string, int>> names) {
  log({{Kind::kNames, directory, std::move(names), 0, {}}});
}

int PowerLoss::add(const std::string& path, bool directory, int* node) {
  const auto at = place(path);
  if (at.node >= 0) return EEXIST;
  if (at.directory < 0) return ENOENT;
  *node = next_node_++;
  made_[*node] = directory;
  now_.nodes[*node].directory = directory;
  change_names(at.directory, {{at.name, *node}});
  return 0;
}

int PowerLoss::remove(const std::string& path, bool directory) {
  const auto at = place(path);
  if (at.node < 0 || at.directory < 0) return ENOENT;
  const auto& node = now_.nodes.at(at.node);
  if (node.directory != directory) return directory ? ENOTDIR : EISDIR;
  if (!node.names.empty()) return ENOTEMPTY;
  change_names(at.directory, {{at.name, -1}});
  return 0;
}

int PowerLoss::open_node(int node, int* fd) {
  *fd = next_fd_++;
  open_[*fd] = {node, 0};
  return 0;
}

int PowerLoss::create_exclusive(const std::string& path, int* fd) {
  const std::lock_guard lock(mutex_);
  int node = -1;
  const int error = add(path, false, &node);
  return error ? error : open_node(node, fd);
}

int PowerLoss::open(const std::string& path, int* fd) {
  const std::lock_guard lock(mutex_);
  const auto at = place(path);
  return at.node < 0 ? ENOENT : open_node(at.node, fd);
}

int PowerLoss::write(int fd, const void* data, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto file = open_.find(fd);
  if (file == open_.end()) return EBADF;
  auto& offset = file->second.offset;
  std::vector<DiskChange> pages;
  for (size_t at = 0; at < bytes;) {
    const size_t n = std::min(bytes - at, kPage - static_cast<size_t>(offset) % kPage);
    pages.push_back({Kind::kPage, file->second.node, {}, offset, {static_cast<const char*>(data) + at, n}});
    at += n;
    offset += static_cast<int64_t>(n);
  }
  log(std::move(pages));
  return 0;
}

int PowerLoss::fsync(int fd) {
  const std::lock_guard lock(mutex_);
  const auto file = open_.find(fd);
  if (file == open_.end()) return EBADF;
  log({{Kind::kSync, file->second.node, {}, 0, {}}});
  return 0;
}

int PowerLoss::sync_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const int node = place(path).node;
  if (node < 0) return ENOENT;
  log({{Kind::kSync, node, {}, 0, {}}});
  return 0;
}

int PowerLoss::close(int fd) {
  const std::lock_guard lock(mutex_);
  return open_.erase(fd) ? 0 : EBADF;
}

int PowerLoss::make_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  int node = -1;
  return add(path, true, &node);
}

int PowerLoss::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const auto a = place(from), b = place(to);
  if (a.node < 0 || b.directory < 0) return ENOENT;
  if (a.directory != b.directory) return EXDEV;
  if (b.node >= 0) {
    const auto &old = now_.nodes.at(b.node), &moved = now_.nodes.at(a.node);
    if (old.directory != moved.directory) return old.directory ? EISDIR : ENOTDIR;
    if (!old.names.empty()) return ENOTEMPTY;
  }
  change_names(a.directory, {{a.name, -1}, {b.name, a.node}});
  return 0;
}

int PowerLoss::unlink(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return remove(path, false);
}

int PowerLoss::remove_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return remove(path, true);
}

int PowerLoss::read(int fd, void* data, size_t bytes, int64_t offset) {
  const std::lock_guard lock(mutex_);
  const auto file = open_.find(fd);
  if (file == open_.end()) return EBADF;
  const auto& content = now_.nodes.at(file->second.node).data;
  const auto at = static_cast<size_t>(offset);
  if (at > content.size() || bytes > content.size() - at) return EIO;
  std::copy_n(content.data() + at, bytes, static_cast<char*>(data));
  return 0;
}

int PowerLoss::size(int fd, int64_t* bytes) {
  const std::lock_guard lock(mutex_);
  const auto file = open_.find(fd);
  if (file == open_.end()) return EBADF;
  *bytes = static_cast<int64_t>(now_.nodes.at(file->second.node).data.size());
  return 0;
}

int PowerLoss::list(const std::string& path, std::vector<std::string>* names) {
  const std::lock_guard lock(mutex_);
  const int node = place(path).node;
  if (node < 0) return ENOENT;
  if (!now_.nodes.at(node).directory) return ENOTDIR;
  names->clear();
  for (const auto& [name, unused] : now_.nodes.at(node).names) names->push_back(name);
  return 0;
}

int PowerLoss::space(const std::string&, int64_t* free_bytes) {
  *free_bytes = int64_t{1} << 40;
  return 0;
}

}  // namespace fmtrain

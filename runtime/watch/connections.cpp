#include "runtime/watch/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>

#include "runtime/file_ops.h"

namespace fmtrain {
namespace {

/// "10.0.0.2"; "" for what is no internet address.
std::string address_of(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  const void* bytes = peer.ss_family == AF_INET    ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(peer).sin_addr)
                      : peer.ss_family == AF_INET6 ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr)
                                                   : nullptr;
  if (bytes) ::inet_ntop(peer.ss_family, bytes, text, sizeof text);
  return text;
}

bool established(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 && info.tcpi_state == TCP_ESTABLISHED;
}

bool inside(const std::string& address) { return address.starts_with("127.") || address.starts_with("::ffff:127.") || address == "::1"; }

}  // namespace

std::map<ino_t, std::string> Connections::standing() const {
  std::map<ino_t, std::string> found;
  std::vector<std::string> names;
  if (posix_files().list("/proc/self/fd", &names) != 0) return last_;
  for (const auto& name : names) {
    const int fd = std::atoi(name.c_str());  // may be closed, or another file's, by now: each call then says so
    struct stat info {};
    sockaddr_storage peer{};
    socklen_t bytes = sizeof peer;
    if (::fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode) || ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) continue;
    const std::string address = address_of(peer);
    if (!address.empty() && (inside_ || !inside(address)) && established(fd)) found.emplace(info.st_ino, address);
  }
  return found;
}

const std::string& Connections::closed() {
  auto now = standing();
  for (const auto& [inode, address] : lasting_)
    if (closed_.empty() && !now.contains(inode)) closed_ = address;
  for (const auto& connection : now)
    if (last_.contains(connection.first)) lasting_.insert(connection);
  last_ = std::move(now);
  return closed_;
}

}  // namespace fmtrain

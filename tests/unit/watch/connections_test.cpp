#include "runtime/watch/connections.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

namespace fmtrain {
namespace {

/// Two ends of a connection inside this host.
struct Pair {
  int near = -1, far = -1;
  Pair() {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(::listen(listener, 1), 0);
    EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    near = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::connect(near, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    far = ::accept(listener, nullptr, nullptr);
    ::close(listener);
  }
  void close_far() {
    ::close(far);
    far = -1;
  }
  ~Pair() {
    for (const int fd : {near, far})
      if (fd >= 0) ::close(fd);
  }
};

TEST(Connections, OneThatLastedAndIsClosedAtTheOtherEndIsFound) {
  Connections connections(true);
  Pair pair, other;
  for (int look = 0; look < 3; ++look) EXPECT_EQ(connections.closed(), "");
  pair.close_far();  // this end stays open, as where nobody reads from it
  EXPECT_EQ(connections.closed(), "127.0.0.1");
  EXPECT_EQ(connections.closed(), "127.0.0.1");
}

TEST(Connections, OneThatTheLibraryHasClosedItselfIsFoundToo) {
  Connections connections(true);
  auto pair = std::make_unique<Pair>();
  connections.closed();
  connections.closed();
  pair.reset();  // as MPI does when it reads the end
  EXPECT_EQ(connections.closed(), "127.0.0.1");
}

TEST(Connections, OneThatStoodAtASingleLookIsNone) {
  Connections connections(true);
  Pair pair;
  EXPECT_EQ(connections.closed(), "");
  pair.close_far();
  for (int look = 0; look < 3; ++look) EXPECT_EQ(connections.closed(), "");
}

TEST(Connections, OnesInsideThisHostDoNotCount) {
  Connections connections;
  Pair pair;
  connections.closed();
  connections.closed();
  pair.close_far();
  EXPECT_EQ(connections.closed(), "");
}

}  // namespace
}  // namespace fmtrain

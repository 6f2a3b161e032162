// TCP connections of this process to other hosts. Those of MPI last as long as the run, so that one which is closed tells of a process
// at its other end that has died; no message of MPI's does.
#pragma once
#include <sys/types.h>

#include <map>
#include <string>

namespace fmtrain {

class Connections {
 public:
  /// `inside`: those inside this host too, for tests.
  explicit Connections(bool inside = false) : inside_(inside) {}
  /// Looks at all of them, without a message. The address at the other end of one that stood at two looks in a row and stands no
  /// longer; "" as long as there is none (shorter ones belong to how two processes find each other). For one thread.
  const std::string& closed();

 private:
  /// Established now: inode of the socket, and the address at its other end.
  std::map<ino_t, std::string> standing() const;
  bool inside_;
  std::map<ino_t, std::string> last_, lasting_;
  std::string closed_;
};

}  // namespace fmtrain

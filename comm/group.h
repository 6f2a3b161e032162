// Which ranks a communicator has, for messages.
#pragma once
#include <cstdint>

namespace fmtrain {

/// All; those of a node; those at the same place of every node.
enum class Group : uint32_t { kWorld, kNode, kAcross };

/// "", " of a node", " across nodes": what follows the name of a collective.
inline const char* words_of(Group group) {
  constexpr const char* kWords[] = {"", " of a node", " across nodes"};
  return kWords[static_cast<uint32_t>(group)];
}

}  // namespace fmtrain

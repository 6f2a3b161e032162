#include "comm/mpi_ranks.h"

#include <string>

namespace fmtrain {
namespace {

std::vector<Member> members_of(const MpiSession& session) {
  constexpr size_t kName = MPI_MAX_PROCESSOR_NAME;
  std::string mine = session.host(), all(kName * static_cast<size_t>(session.size()), '\0');
  mine.resize(kName);
  MPI_Allgather(mine.data(), kName, MPI_CHAR, all.data(), kName, MPI_CHAR, MPI_COMM_WORLD);
  std::vector<Member> members;
  for (int rank = 0; rank < session.size(); ++rank) members.push_back({rank, all.c_str() + static_cast<size_t>(rank) * kName});
  return members;
}

/// A number for each rank that is equal on one host: the lowest rank there.
std::vector<int> real_nodes(const MpiSession& session) {
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, session.rank(), MPI_INFO_NULL, &node);
  int lowest = session.rank();
  MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, node);
  MPI_Comm_free(&node);
  std::vector<int> all(static_cast<size_t>(session.size()));
  MPI_Allgather(&lowest, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
  return all;
}

}  // namespace

MpiRanks world_ranks(const MpiSession& session, std::vector<int> node_of_rank) {
  if (node_of_rank.empty()) node_of_rank = real_nodes(session);
  auto promises = std::make_shared<Promises>();
  return {MPI_COMM_WORLD, session.rank(), members_of(session), std::move(node_of_rank), Group::kWorld, std::move(promises)};
}

MpiRanks part_of(const MpiRanks& all, int color, Group group) {
  std::vector<int> colors(static_cast<size_t>(all.size()));
  MPI_Allgather(&color, 1, MPI_INT, colors.data(), 1, MPI_INT, all.comm);
  MpiRanks part{MPI_COMM_NULL, 0, {}, {}, group, all.promises};
  for (size_t r = 0; r < colors.size(); ++r) {
    if (colors[r] != color) continue;
    if (static_cast<int>(r) == all.rank) part.rank = part.size();
    part.members.push_back(all.members[r]);
    part.node_of_rank.push_back(all.node_of_rank[r]);
  }
  MPI_Comm_split(all.comm, color, all.rank, &part.comm);
  return part;
}

}  // namespace fmtrain

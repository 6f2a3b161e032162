// n ranks as n threads of one process, so a multi-rank test is three lines:
//   run_ranks(4, [](Communicator& comm) {
//     auto x = at::full({1}, comm.rank()); comm.all_reduce(x, ReduceOp::kTreeSum).wait(); EXPECT_EQ(x.item<int>(), 6);
//   });
#pragma once
#include <functional>

#include "comm/communicator.h"

namespace fmtrain {

/// Runs body once a rank and returns when all are done. Collectives have the meaning of comm/communicator.h and are done when
/// they are called. If a body throws, the others' collectives throw too, and the first exception is thrown again here. per_node: so
/// many ranks one after the other share memory, as if each such group were on a host of its own; 0: all do.
void run_ranks(int size, const std::function<void(Communicator&)>& body, int per_node = 0);

}  // namespace fmtrain

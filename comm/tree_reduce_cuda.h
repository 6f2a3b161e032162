// tree_reduce on a GPU: the same bits as on the CPU (comm/tree_reduce.h).
#pragma once
#include <cstdint>

#include "comm/tree_fold.h"

namespace fmtrain {

/// out[i] = tree over the ranks' [i] for i < numel (kMax where `maximum`), asynchronously on `stream` (a cudaStream_t). Device
/// memory; out may be x.own. Defined for float, double, int64_t, int32_t. Launch errors are left to cudaGetLastError.
template <class T>
void tree_reduce_cuda(const RankValues<T>& x, T* out, int64_t numel, bool maximum, void* stream);

}  // namespace fmtrain

// Memory that direct reads and writes of files use.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fmtrain {

/// `bytes` of host memory from the start of a page on; of 32 MiB or more in huge pages, where the kernel gives them: a disk takes few
/// long pieces faster than many short ones (1.31 GB past the page cache on a virtual disk: 0.27 s from huge pages, 0.43 s from small
/// ones). `pinned`: page-locked, for a GPU.
at::Tensor page_memory(int64_t bytes, bool pinned);

}  // namespace fmtrain

// ((x0+x1)+(x2+x3))+... over the pieces of all ranks; an odd one out joins at the end of its level.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace fmtrain {

/// out = the tree sum of `pieces`, all of one size; out may be one of them. No piece but `out` is changed.
void tree_sum(const std::vector<at::Tensor>& pieces, at::Tensor out);

}  // namespace fmtrain

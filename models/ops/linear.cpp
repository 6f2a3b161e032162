#include "models/ops/linear.h"

#include <torch/autograd.h>

#include "models/ops/product.h"

namespace fmtrain {
namespace {

/// Products on the values for products; the weight itself only receives the gradient.
class Linear final : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& low) {
    const auto input = x.to(low.scalar_type());
    ctx->save_for_backward({input, low});
    ctx->saved_data["x"] = static_cast<int64_t>(x.scalar_type());
    ctx->saved_data["needs"] = std::vector<int64_t>{x.requires_grad(), weight.requires_grad(), bias.requires_grad()};
    return product(input, low, bias.to(low.scalar_type()));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto needs = ctx->saved_data["needs"].toIntVector();
    const auto dy = grads[0].to(saved[1].scalar_type());
    at::Tensor dx, dw, db;
    if (needs[0]) dx = product_grad_input(dy, saved[1]).to(static_cast<at::ScalarType>(ctx->saved_data["x"].toInt()));
    if (needs[1]) dw = product_grad_weight(dy, saved[0]).to(at::kFloat);
    if (needs[2]) db = grads[0].sum({0}, false, at::kFloat);
    return {dx, dw, db, {}};
  }
};

}  // namespace

at::ScalarType product_type(Precision precision) {
  return precision == Precision::kFp32 ? at::kFloat : precision == Precision::kBf16 ? at::kBFloat16 : at::kHalf;
}

at::Tensor linear(const at::Tensor& x, const LinearWeight& w) {
  return Linear::apply(x, w.weight, w.bias, w.low.defined() ? w.low : w.weight.detach());
}

}  // namespace fmtrain

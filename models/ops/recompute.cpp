#include "models/ops/recompute.h"

#include <torch/custom_class.h>
#include <torch/autograd.h>

namespace fmtrain {
namespace {

using Segment = std::function<at::Tensor(const at::Tensor&)>;

struct KeptSegment final : torch::CustomClassHolder {
  explicit KeptSegment(Segment s) : segment(std::move(s)) {}
  Segment segment;
};

class Recompute final : public torch::autograd::Function<Recompute> {
 public:
  /// `tie` requires gradients: the parameters inside the segment are not seen by the outer graph.
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& tie, const Segment& segment) {
    ctx->save_for_backward({x, tie});
    ctx->saved_data["segment"] = c10::IValue::make_capsule(c10::make_intrusive<KeptSegment>(segment));
    const at::NoGradGuard no_grad;
    return segment(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& grads) {
    const auto kept = c10::static_intrusive_pointer_cast<KeptSegment>(ctx->saved_data["segment"].toCapsule());
    const auto original = ctx->get_saved_variables()[0];
    const at::AutoGradMode with_grad(true);
    const auto x = original.detach().requires_grad_(original.requires_grad());
    torch::autograd::backward({kept->segment(x)}, {grads[0]});
    return {x.grad(), {}, {}};
  }
};

}  // namespace

at::Tensor recomputed(const at::Tensor& x, Segment segment) {
  if (!at::GradMode::is_enabled()) return segment(x);
  return Recompute::apply(x, at::empty({0}, x.options()).requires_grad_(true), segment);
}

}  // namespace fmtrain

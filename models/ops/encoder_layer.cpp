#include "models/ops/encoder_layer.h"

#include <ATen/ATen.h>
#include <torch/autograd.h>
#include <torch/custom_class.h>

#include "models/ops/product.h"
#include "models/ops/row_passes.h"

namespace fmtrain {
namespace {

template <class A>
A* data(const at::Tensor& t) { return static_cast<A*>(t.data_ptr()); }
float* floats(const at::Tensor& t) { return t.data_ptr<float>(); }

int64_t tokens(const LayerPass& pass) { return pass.rows.offsets[-1].item<int64_t>(); }

/// [rows of like, columns], the rows beyond `filled` zero: both sides of a weight's gradient are multiplied whole.
at::Tensor rows_like(const at::Tensor& like, int64_t columns, int64_t filled) {
  auto rows = at::empty({like.size(0), columns}, like.options());
  rows.narrow(0, filled, like.size(0) - filled).zero_();
  return rows;
}

/// The rows that go on after attention: the outputs, or all.
struct Onward {
  explicit Onward(const LayerPass& pass)
      : outputs(pass.outputs), count(outputs.defined() ? outputs.size(0) : tokens(pass)), positions(take(pass.positions)), samples(take(pass.samples)) {}
  /// [T] -> [count]
  at::Tensor take(const at::Tensor& all) const { return outputs.defined() ? all.index_select(0, outputs) : all; }
  /// [rows, columns] -> [padded_rows(count), columns]
  at::Tensor take_padded(const at::Tensor& all) const {
    if (!outputs.defined()) return all;
    const auto some = at::empty({padded_rows(count), all.size(1)}, all.options());
    some.narrow(0, count, some.size(0) - count).zero_();
    auto filled = some.narrow(0, 0, count);
    at::index_select_out(filled, all, 0, outputs);
    return some;
  }
  /// And back, [.., columns] -> [rows, columns], zero in the rows that went no further.
  at::Tensor spread(const at::Tensor& some, int64_t rows) const {
    if (!outputs.defined()) return some;
    return at::zeros({rows, some.size(1)}, some.options()).index_copy_(0, outputs, some.narrow(0, 0, count));
  }
  RowIds ids() const { return {positions.const_data_ptr<int64_t>(), samples.const_data_ptr<int64_t>()}; }

  at::Tensor outputs;
  int64_t count;
  at::Tensor positions, samples;  ///< [count]
};

/// What backward needs of forward. context and what follows it are of the onward rows.
struct Kept final : torch::CustomClassHolder {
  Kept(const EncoderLayer& of, const LayerPass& with) : layer(of), pass(with), onward(with) {}
  EncoderLayer layer;
  LayerPass pass;
  Onward onward;
  at::Tensor x, qkv, softmax, context, attended, wide;
  struct Norm { at::Tensor normalised, inverse; } attended_norm, output_norm;
};

using Norm = Kept::Norm;

/// y = norm(dropout(x) + residual); `kept` is filled unless nullptr.
template <class A>
at::Tensor norm_forward(const Kept& k, const at::Tensor& x, const at::Tensor& residual, const DropoutKey& dropout, size_t weight, Norm* kept) {
  const int64_t t = k.onward.count, d = x.size(1);
  const auto y = rows_like(x, d, t);
  if (kept) *kept = {at::empty({t, d}, x.options()), at::empty({t}, x.options().dtype(at::kFloat))};
  dropout_add_norm<A>({t, d, data<A>(x), data<A>(residual), floats(k.layer.parameters[weight]), floats(k.layer.parameters[weight + 1]), k.layer.norm_eps,
                       k.onward.ids(), data<A>(y),
                       kept ? data<A>(kept->normalised) : nullptr, kept ? floats(kept->inverse) : nullptr},
                      dropout);
  return y;
}

/// Fills in `k` unless `keep` is false.
template <class A>
at::Tensor forward(Kept& k, const at::Tensor& x, bool keep) {
  const EncoderLayer& l = k.layer;
  const int64_t t = tokens(k.pass), d = x.size(1);
  const auto times = [&, packed = keep ? nullptr : k.pass.packed](const at::Tensor& rows, const ProductWeight& w, LayerParameter first) {
    return product(rows, packed ? packed->of(l.parameters[first], w.weight) : w.weight, w.bias);
  };
  const auto qkv = times(x, l.qkv, kQueryWeight), mixed = rows_like(x, d, t);
  if (keep) k.softmax = at::empty({t, l.heads, 2}, x.options().dtype(at::kFloat));
  attention_forward<A>({data<A>(qkv), d, l.heads, k.pass.rows, k.pass.attention}, data<A>(mixed), keep ? floats(k.softmax) : nullptr);
  const auto context = k.onward.take_padded(mixed);
  const auto attended = norm_forward<A>(k, times(context, l.context, kContextWeight), k.onward.take_padded(x), k.pass.context,
                                        kAttendedNormWeight, keep ? &k.attended_norm : nullptr);
  const auto wide = times(attended, l.wide, kWideWeight);
  const auto active = keep ? rows_like(wide, wide.size(1), k.onward.count) : wide;
  gelu_forward<A>(data<A>(wide), data<A>(active), k.onward.count, wide.size(1));
  if (keep) k.x = x, k.qkv = qkv, k.context = context, k.attended = attended, k.wide = wide;
  return norm_forward<A>(k, times(active, l.output, kOutputWeight), attended, k.pass.output, kOutputNormWeight, keep ? &k.output_norm : nullptr);
}

/// Gradients of the parameters, by LayerParameter; those that nobody wants stay undefined, and those that a sink took.
struct Gradients {
  const EncoderLayer& layer;
  std::vector<at::Tensor> of;
  std::vector<bool> wanted;
  void give(size_t i, const at::Tensor& gradient) {
    if (!wanted[i]) return;
    if (layer.sink) layer.sink(i, gradient);
    else of[i] = gradient;
  }
  void give_weight(size_t i, const at::Tensor& dy, const at::Tensor& x) {
    if (wanted[i]) give(i, product_grad_weight(dy, x, place(i)));
  }
  at::Tensor place(size_t i) const { return layer.place && wanted[i] ? layer.place(i) : at::Tensor(); }
};

struct NormGradients {
  at::Tensor residual, x;
};

/// Of the norm whose weight is parameter `weight` and of the bias before it, parameter weight - 1.
template <class A>
NormGradients norm_backward(const Kept& k, const at::Tensor& dy, const at::Tensor& dy_too, const Norm& norm, const DropoutKey& dropout, size_t weight,
                            Gradients& grads) {
  const int64_t t = k.onward.count, d = dy.size(1);
  NormGradients out{rows_like(dy, d, t), {}};
  out.x = dropout.p > 0 ? rows_like(dy, d, t) : out.residual;
  const auto sums = at::empty({3, d}, norm.inverse.options());
  dropout_add_norm_backward<A>({t, d, data<A>(dy), dy_too.defined() ? data<A>(dy_too) : nullptr, data<A>(norm.normalised), floats(norm.inverse),
                                floats(k.layer.parameters[weight]), k.onward.ids(), data<A>(out.residual), data<A>(out.x), floats(sums[0]), floats(sums[1]),
                                floats(sums[2])},
                               dropout);
  grads.give(weight, sums[0]);
  grads.give(weight + 1, sums[1]);
  grads.give(weight - 1, sums[2]);
  return out;
}

/// Through gelu and the products on both sides of it; returns the gradient of attended on this way.
template <class A>
at::Tensor feed_forward_backward(Kept& k, const at::Tensor& dy, Gradients& grads) {
  const int64_t t = k.onward.count;
  const auto active = std::exchange(k.wide, at::Tensor()), grad = product_grad_input(dy, k.layer.output.weight);
  const int64_t m = active.size(1);
  active.narrow(0, t, active.size(0) - t).zero_();
  const auto bias = at::empty({m}, k.output_norm.inverse.options());
  gelu_backward(data<A>(active), data<A>(grad), t, m, floats(bias));
  grads.give(kWideBias, bias);
  grads.give_weight(kOutputWeight, dy, active);
  grads.give_weight(kWideWeight, grad, k.attended);
  return product_grad_input(grad, k.layer.wide.weight);
}

/// Returns the gradient of x on the way through attention.
template <class A>
at::Tensor attention_part_backward(Kept& k, const at::Tensor& dy, Gradients& grads) {
  const int64_t t = tokens(k.pass), d = dy.size(1);
  grads.give_weight(kContextWeight, dy, k.context);
  const auto grad_context = k.onward.spread(product_grad_input(dy, k.layer.context.weight), k.x.size(0)), grad = rows_like(k.x, 3 * d, t);
  attention_backward<A>({data<A>(k.qkv), d, k.layer.heads, k.pass.rows, k.pass.attention}, floats(k.softmax), data<A>(grad_context), data<A>(grad));
  const auto bias = at::empty({3 * d}, k.softmax.options());
  column_sums<A>(data<A>(grad), t, 3 * d, floats(bias));
  const bool any = grads.wanted[kQueryWeight] || grads.wanted[kKeyWeight] || grads.wanted[kValueWeight];
  const auto place = as_one(grads.place(kQueryWeight), grads.place(kKeyWeight), grads.place(kValueWeight));
  const auto weight = any ? product_grad_weight(grad, k.x, place) : at::Tensor();
  for (const size_t part : {0, 1, 2}) {
    const auto first = static_cast<int64_t>(part) * d;
    if (any) grads.give(kQueryWeight + part, weight.narrow(0, first, d));
    grads.give(kQueryBias + part, bias.narrow(0, first, d));
  }
  return product_grad_input(grad, k.layer.qkv.weight);
}

/// Gradient of x.
template <class A>
at::Tensor backward(Kept& k, const at::Tensor& dy, Gradients& grads) {
  const auto output = norm_backward<A>(k, dy, {}, k.output_norm, k.pass.output, kOutputNormWeight, grads);
  k.output_norm.normalised.reset();
  const auto through = feed_forward_backward<A>(k, output.x, grads);
  const auto attended = norm_backward<A>(k, through, output.residual, k.attended_norm, k.pass.context, kAttendedNormWeight, grads);
  const auto dx = attention_part_backward<A>(k, attended.x, grads);
  add_into<A>(data<A>(dx), data<A>(k.onward.spread(attended.residual, dx.size(0))), tokens(k.pass), dx.size(1));
  dx.narrow(0, tokens(k.pass), dx.size(0) - tokens(k.pass)).zero_();
  return dx;
}

/// Runs `use` with the element type of activations.
template <class Use>
auto with_type(at::ScalarType type, const Use& use) {
  return type == at::kFloat ? use(float{}) : use(Bf16{});
}

class Layer final : public torch::autograd::Function<Layer> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, at::TensorList /*parameters*/,
                            const c10::intrusive_ptr<Kept>& kept) {
    ctx->saved_data["kept"] = c10::IValue::make_capsule(kept);
    return with_type(x.scalar_type(), [&](auto type) { return fmtrain::forward<decltype(type)>(*kept, x, true); });
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& dy) {
    const auto kept = c10::static_intrusive_pointer_cast<Kept>(ctx->saved_data["kept"].toCapsule());
    ctx->saved_data.clear();  // freed when this returns, not with the graph
    TORCH_CHECK(kept->wide.defined(), "a layer's backward runs once");
    Gradients grads{kept->layer, std::vector<at::Tensor>(kLayerParameters), {}};
    for (size_t i = 0; i < kLayerParameters; ++i) grads.wanted.push_back(ctx->needs_input_grad(1 + i));
    const auto dx = with_type(kept->x.scalar_type(), [&](auto type) { return fmtrain::backward<decltype(type)>(*kept, dy[0].contiguous(), grads); });
    torch::autograd::variable_list all{dx};
    all.insert(all.end(), grads.of.begin(), grads.of.end());
    all.emplace_back();
    return all;
  }
};

}  // namespace

bool has_encoder_layer(at::Device device, at::ScalarType type) { return device.is_cpu() && (type == at::kFloat || type == at::kBFloat16); }

at::Tensor encoder_layer(const at::Tensor& x, const EncoderLayer& layer, const LayerPass& pass) {
  const auto kept = c10::make_intrusive<Kept>(layer, pass);
  const bool graph = at::GradMode::is_enabled() &&
                     (x.requires_grad() || std::any_of(layer.parameters.begin(), layer.parameters.end(), [](const auto& p) { return p.requires_grad(); }));
  if (graph) return Layer::apply(x, at::TensorList(layer.parameters), kept);
  return with_type(x.scalar_type(), [&](auto type) { return forward<decltype(type)>(*kept, x, false); });
}

}  // namespace fmtrain

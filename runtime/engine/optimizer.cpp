#include "runtime/engine/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "runtime/engine/part_updates.h"
#include "runtime/errors.h"
#include "runtime/ledger.h"
#include "runtime/parameter_place.h"

namespace fmtrain {

std::vector<std::string> optimizer_states(const OptimizerSection& config, double l2_start) {
  std::vector<std::string> names{"exp_avg/", "exp_avg_sq/"};
  if (config.name == OptimizerName::kSgd) names = {"momentum/"};
  if (l2_start > 0) names.push_back("start/");
  if (config.ema > 0) names.push_back("ema/");
  return names;
}

TensorRates rates_of(const UpdateOptions& options, const FlatTensor& tensor) {
  const auto place = place_of(tensor.name);
  TensorRates rates;
  rates.lr = std::pow(options.optimizer.layer_decay, static_cast<double>(depth_below_head(place, options.layers)));
  if (place.backbone()) rates.pull = options.l2_start;
  if (tensor.decays && rates.pull == 0) rates.weight_decay = options.optimizer.weight_decay;
  return rates;
}

namespace {

/// To a GPU in the order of its stream, without waiting for it; from there the values are here when it returns.
void copy(const std::vector<at::Tensor>& from, const std::vector<at::Tensor>& to) {
  for (size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i], /*non_blocking=*/to[i].is_cuda());
}

}  // namespace

Optimizer::Optimizer(const UpdateOptions& options, const FlatLayout& layout, std::vector<Range> owned, const at::Tensor& values)
    : config_(options.optimizer), layout_(layout), owned_(std::move(owned)) {
  for (const auto& t : layout.tensors) {
    rates_.push_back(rates_of(options, t));
    depths_.push_back(depth_below_head(place_of(t.name), options.layers));
    deepest_ = std::max(deepest_, depths_.back());
  }
  const Booking booking(Purpose::kOptimizer);
  const auto pieces = of_layout(values);
  int64_t numel = 0;
  for (const auto& piece : pieces) numel += piece.numel();
  const auto home = options.offload ? values.options().device(at::kCPU) : values.options();
  for (const auto& name : optimizer_states(config_, options.l2_start))
    state_.emplace_back(name, name == "start/" || name == "ema/" ? at::cat(pieces).to(home) : at::zeros({numel}, home));
  if (!options.offload) return;
  const auto bridge = home.pinned_memory(values.is_cuda());
  host_values_ = booked(at::empty({numel}, bridge), Purpose::kOptimizer);
  host_gradients_ = booked(at::empty({numel}, bridge), Purpose::kOptimizer);
  values_changed(values);
}

Optimizer::Pieces Optimizer::of_layout(const at::Tensor& memory) const {
  Pieces pieces;
  for (const auto& range : owned_) pieces.push_back(memory.narrow(0, range.first, range.numel()));
  return pieces;
}

Optimizer::Pieces Optimizer::of_owned(const at::Tensor& memory) const {
  Pieces pieces;
  int64_t first = 0;
  for (const auto& range : owned_) {
    pieces.push_back(memory.narrow(0, first, range.numel()));
    first += range.numel();
  }
  return pieces;
}

void Optimizer::values_changed(const at::Tensor& values) {
  if (host_values_.defined()) copy(of_layout(values), of_owned(host_values_));
}

bool Optimizer::train_down_to(int64_t depth) {
  TORCH_CHECK(steps_ == 0 || !unfrozen_at_.empty(), "updates were done without a word on what was trained");
  const size_t before = unfrozen_at_.size();
  while (std::ssize(unfrozen_at_) <= std::min(depth, deepest_)) unfrozen_at_.push_back(steps_);
  return unfrozen_at_.size() > before;
}

void Optimizer::set_steps(int64_t steps, std::vector<int64_t> unfrozen_at) {
  const bool in_order = std::is_sorted(unfrozen_at.begin(), unfrozen_at.end()) && std::ssize(unfrozen_at) <= deepest_ + 1;
  if (!in_order || (!unfrozen_at.empty() && (unfrozen_at.front() < 0 || unfrozen_at.back() > steps)))
    throw CheckpointError("state.engine.unfrozen_at: is not the numbers of updates at which the model's layers joined; resume from an older one, or start with --resume never");
  steps_ = steps;
  unfrozen_at_ = std::move(unfrozen_at);
  awake_.reset();  // the moments have been loaded
}

int64_t Optimizer::steps_of(size_t tensor) const {
  return steps_ - (unfrozen_at_.empty() ? 0 : unfrozen_at_[static_cast<size_t>(depths_[tensor])]);
}

std::vector<Optimizer::Part> Optimizer::parts(const Pieces& values, const Gradients& gradients) const {
  TORCH_CHECK(gradients.size() == owned_.size(), gradients.size(), " gradients for ", owned_.size(), " ranges");
  std::vector<Part> parts;
  int64_t at_state = 0;
  for (size_t i = 0; i < owned_.size(); ++i) {
    const Range& owned = owned_[i];
    for (size_t t = 0; t < layout_.tensors.size(); ++t) {
      if (!trains(t)) continue;
      const auto& tensor = layout_.tensors[t];
      const Range range{std::max(tensor.offset, owned.first), std::min(tensor.offset + tensor.numel, owned.last)};
      if (range.first >= range.last) continue;
      const int64_t inside = range.first - owned.first;
      parts.push_back({t, range, values[i].narrow(0, inside, range.numel()), gradients[i].narrow(inside, range.numel()), at_state + inside});
    }
    at_state += owned.numel();
  }
  return parts;
}

void Optimizer::step(const at::Tensor& values, const std::vector<GradientPiece>& gradients, double lr, double scale, const Join& join,
                     const QuietRows& quiet) {
  TORCH_CHECK(!average_swapped_, "an update while the average stands in the parameters' place");
  if (!host_values_.defined()) return update(of_layout(values), gradients, lr, scale, join, quiet);
  TORCH_CHECK(gradients.size() == owned_.size(), gradients.size(), " gradients for ", owned_.size(), " ranges");
  Pieces from;
  for (const auto& gradient : gradients) from.push_back(gradient.memory());
  const Pieces on_host = of_owned(host_gradients_);
  copy(from, on_host);  // waits for the GPU, so the copy back of the last update is done as well
  update(of_owned(host_values_), {on_host.begin(), on_host.end()}, lr, scale, join, quiet);
  copy(of_owned(host_values_), of_layout(values));
}

void Optimizer::update(const Pieces& values, const Gradients& gradients, double lr, double scale, const Join& join, const QuietRows& quiet) {
  ++steps_;
  const auto all = parts(values, gradients);
  for (const auto& part : all)
    if (const auto& r = rates_[part.tensor]; r.pull > 0) pull_towards(state_of(part, "start/"), lr * r.lr * r.pull, part.value);
  if (config_.name == OptimizerName::kLamb) lamb(all, lr, scale, join);
  else step_elementwise(all, lr, scale, with_awake(quiet));
  if (config_.ema > 0)
    for (const auto& part : all) pull_towards(part.value, 1 - config_.ema, state_of(part, "ema/"));
}

/// Words that no text so far has had stay without moments: for most rows of a vocabulary AdamW is a multiplication.
QuietRows Optimizer::with_awake(const QuietRows& quiet) {
  if (config_.name != OptimizerName::kAdamW || !quiet.touched || !trains(quiet.table.tensor)) return quiet;
  if (!awake_) {
    awake_.emplace(quiet.table.rows);
    for (const auto& name : {"exp_avg/", "exp_avg_sq/"}) {
      const float* values = state_named(name).const_data_ptr<float>();
      for (const Range& owned : owned_) {
        const Range part{std::max(owned.first, quiet.table.range().first), std::min(owned.last, quiet.table.range().last)};
        for (int64_t i = part.first; i < part.last; ++i)
          if (std::bit_cast<uint32_t>(values[i - owned.first]) != 0) awake_->insert((i - quiet.table.offset) / quiet.table.columns);
        values += owned.numel();
      }
    }
  }
  awake_->unite(*quiet.touched);
  return {quiet.table, quiet.touched, &*awake_};
}

void Optimizer::step_elementwise(const std::vector<Part>& parts, double lr, double scale, const QuietRows& quiet) const {
  for (const auto& part : parts) {
    const auto& r = rates_[part.tensor];
    if (config_.name == OptimizerName::kAdamW)
      update_by_adamw(adamw_update(lr * r.lr, r.weight_decay, config_.beta1, config_.beta2, config_.eps, scale, steps_of(part.tensor)), part.value,
                      part.gradient, state_of(part, "exp_avg/"), state_of(part, "exp_avg_sq/"), part.range.first, quiet, low_of(part));
    else
      update_by_sgd({static_cast<float>(scale), static_cast<float>(r.weight_decay), static_cast<float>(config_.momentum),
                     static_cast<float>(lr * r.lr)}, part.value, part.gradient.memory(), state_of(part, "momentum/"));
  }
}

const at::Tensor& Optimizer::state_named(const std::string& name) const {
  const auto found = std::find_if(state_.begin(), state_.end(), [&](const auto& state) { return state.first == name; });
  TORCH_CHECK(found != state_.end(), "no state ", name);
  return found->second;
}

at::Tensor Optimizer::state_of(const Part& part, const char* name) const {
  return state_named(name).narrow(0, part.at_state, part.range.numel());
}

at::Tensor Optimizer::low_of(const Part& part) const {
  if (low_.empty() || !low_[part.tensor].defined()) return {};
  return low_[part.tensor].narrow(0, part.range.first - layout_.tensors[part.tensor].offset, part.range.numel());
}

void Optimizer::swap_average(const at::Tensor& values) {
  constexpr int64_t kGathered = 1 << 20;  // elements that are held twice meanwhile
  const auto& averages = state_named("ema/");
  int64_t at_state = 0;
  for (const auto& range : owned_)
    for (int64_t first = range.first, n; first < range.last; first += n, at_state += n) {
      n = std::min(kGathered, range.last - first);
      const auto value = values.narrow(0, first, n), average = averages.narrow(0, at_state, n), kept = value.clone();
      value.copy_(average);
      average.copy_(kept);
    }
  average_swapped_ = !average_swapped_;
}

/// The direction takes the gradient's place until the norms of whole tensors are known.
void Optimizer::lamb(const std::vector<Part>& parts, double lr, double scale, const Join& join) {
  for (const auto& part : parts)
    make_lamb_direction(lamb_update(rates_[part.tensor].weight_decay, config_.beta1, config_.beta2, config_.eps, scale, steps_of(part.tensor)),
                        part.value, part.gradient.memory(), state_of(part, "exp_avg/"), state_of(part, "exp_avg_sq/"));
  const auto ratios = trust_ratios(parts, join);
  for (const auto& part : parts) update_by_direction(lr * rates_[part.tensor].lr * ratios[part.tensor], part.value, part.gradient.memory());
}

/// ||p|| / ||direction|| of every tensor, 1 where one of them is 0. Biases and norm weights have 1, as in the authors' code, which
/// leaves them out of weight decay and adaptation alike.
std::vector<double> Optimizer::trust_ratios(const std::vector<Part>& parts, const Join& join) const {
  std::vector<int64_t> first{0};  // of each tensor's sums in the table; a tensor's sums are of its part of each norm block
  for (const auto& t : layout_.tensors) first.push_back(first.back() + (t.decays ? norm_blocks({t.offset, t.offset + t.numel}) : 0));
  at::Tensor table = at::zeros({2, first.back()}, state_[0].second.options().dtype(at::kDouble));
  for (const auto& part : parts) {
    const auto& t = layout_.tensors[part.tensor];
    if (!t.decays) continue;
    const int64_t at_sums = first[part.tensor] + part.range.first / kNormBlock - t.offset / kNormBlock;
    const int64_t blocks = norm_blocks(part.range);
    block_sums(part.value, part.range.first, table[0].narrow(0, at_sums, blocks));
    block_sums(part.gradient, part.range.first, table[1].narrow(0, at_sums, blocks));
  }
  if (join && first.back() > 0) join(table.view({-1}));
  table = table.cpu();
  const auto norm = [&](int64_t row, size_t t) {
    const double* sums = table.const_data_ptr<double>() + row * first.back();
    return std::sqrt(std::accumulate(sums + first[t], sums + first[t + 1], 0.0));
  };
  std::vector<double> ratios;
  for (size_t t = 0; t < layout_.tensors.size(); ++t) {
    const double of_values = norm(0, t), of_direction = norm(1, t);
    ratios.push_back(of_values > 0 && of_direction > 0 ? of_values / of_direction : 1.0);
  }
  return ratios;
}

StateDict optimizer_state(const FlatLayout& layout, const at::Tensor& values, const Optimizer& optimizer,
                          const std::vector<Range>& wanted) {
  TORCH_CHECK(!optimizer.average_swapped(), "a state while the average stands in the parameters' place");
  StateDict dict;
  for (const auto& range : wanted) append_pieces(dict.pieces, "param/", layout, range, values, 0);
  for (const auto& [prefix, state] : optimizer.state()) {
    int64_t at_state = 0;
    for (const auto& owned : optimizer.owned()) {
      for (const auto& range : wanted)
        append_pieces(dict.pieces, prefix, layout, {std::max(range.first, owned.first), std::min(range.last, owned.last)}, state,
                      owned.first - at_state);
      at_state += owned.numel();
    }
  }
  dict.small["optimizer_steps"] = optimizer.steps();
  if (!optimizer.unfrozen_at().empty()) dict.small["unfrozen_at"] = optimizer.unfrozen_at();
  return dict;
}

}  // namespace fmtrain

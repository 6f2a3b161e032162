#include "runtime/engine/step_engine.h"

#include <ATen/ATen.h>
#include <torch/autograd.h>

#include <chrono>
#include <cmath>

#include "runtime/engine/part_updates.h"
#include "runtime/hash.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string hash_of(const at::Tensor& gradient) {
  if (gradient.is_sparse()) return hash_of(gradient._indices()) + hash_of(gradient._values());
  const auto bytes = gradient.cpu().contiguous();
  return xxh3_hex(bytes.const_data_ptr(), bytes.nbytes());
}

LeafDigest digest_of(double loss, const std::vector<std::string>& hashes) {
  std::string all;
  for (const auto& hash : hashes) all += hash + "/";
  return {loss, xxh3_hex(all.data(), all.size())};
}

}  // namespace

StepEngine::StepEngine(TaskModel& model, Communicator& comm, const UpdateOptions& update, FlatParams params, std::vector<Range> owned, Communicator* group)
    : comm_(comm), params_(std::move(params)), optimizer_(update, layout(), std::move(owned), values()), model_(model),
      clip_(update.optimizer.clip_norm), table_(values().is_cpu() ? table_of(layout()) : std::nullopt), loss_scale_(model.config().precision == Precision::kFp16),
      hooks_(model, [this](size_t i, const at::Tensor& gradient) { gradient_ready(i, gradient); },
             [this](size_t i) { return of_digest() ? at::Tensor() : place_for(i); }) {
  take_low_copies(group);
  const auto& parameters = model.parameters();
  const bool whole = std::all_of(parameters.begin(), parameters.end(), [](const auto& p) { return p.value.requires_grad(); });
  if (shares_low_ && !whole) model.parameters_changed();  // a frozen parameter's copy is a rank's own
  make_low_copies_anew();
}

/// In the optimizer's pass a copy costs its 2 bytes; in one of its own 4 more, read again.
void StepEngine::take_low_copies(Communicator* group) {
  std::vector<at::Tensor> low;
  const auto& parameters = model_.parameters();
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].value.requires_grad()) low.push_back(model_.low_copy(i));
  const auto wrong = [](const at::Tensor& t) { return t.defined() && (t.scalar_type() != at::kBFloat16 || !t.is_contiguous() || !t.is_cpu()); };
  const bool some = std::any_of(low.begin(), low.end(), [](const at::Tensor& t) { return t.defined(); });
  if (!some || std::any_of(low.begin(), low.end(), wrong) || !optimizer_.one_pass()) return;
  keeps_low_ = true;
  shares_low_ = group && group->sharers() == group->size();
  if (shares_low_) move_low_copies(low, layout(), *group);
  for (auto& t : low)
    if (t.defined()) t = t.view({-1});
  optimizer_.keep_low(low);
  for (size_t t = 0; t < low.size(); ++t) {
    if (!low[t].defined()) continue;
    const auto& place = layout().tensors[t];
    const int64_t end = place.offset + place.numel;
    int64_t first = place.offset;  // of what no range has covered yet
    const auto add = [&](LowCopies& to, int64_t last) {
      if (first < last) to.emplace_back(values().narrow(0, first, last - first), low[t].narrow(0, first - place.offset, last - first));
      first = std::max(first, last);
    };
    for (const Range& owned : optimizer_.owned()) {
      if (owned.last <= first || owned.first >= end) continue;
      add(others_, owned.first);
      add(mine_, std::min(owned.last, end));
    }
    add(others_, end);
  }
}

/// To where all ranks of the group see them, without their values: each then writes what it owns, once.
void StepEngine::move_low_copies(std::vector<at::Tensor>& low, const FlatLayout& layout, Communicator& group) {
  const auto first = std::find_if(low.begin(), low.end(), [](const at::Tensor& t) { return t.defined(); });
  const int64_t begin = layout.tensors[static_cast<size_t>(first - low.begin())].offset;
  const auto memory = booked(group.allocate_shared(layout.numel - begin, at::kBFloat16), Purpose::kParameters, group.sharers());
  for (size_t t = 0; t < low.size(); ++t) {
    if (!low[t].defined()) continue;
    const auto& place = layout.tensors[t];
    const auto view = memory.narrow(0, place.offset - begin, place.numel).view(place.shape);
    low[t].set_data(view);
  }
}

void StepEngine::refresh_low_copies() {
  if (!keeps_low_) return model_.parameters_changed();
  if (!shares_low_) round_all(others_);
}

/// As refresh_low_copies(), where the optimizer has not rounded what it owns. A rank that goes on must not meet one that still rounds.
void StepEngine::make_low_copies_anew() {
  if (!shares_low_) return model_.parameters_changed();
  round_all(mine_);
  comm_.barrier();
}

void StepEngine::round_all(const LowCopies& copies) {
  for (const auto& [value, low] : copies) round_low(value, low);
}

void StepEngine::set_buckets(std::vector<std::pair<size_t, size_t>> buckets_of, size_t buckets) {
  buckets_of_ = std::move(buckets_of);
  tensors_of_.resize(buckets);
  mark_trained();
}

void StepEngine::train_down_to(int64_t depth) {
  if (optimizer_.train_down_to(depth)) mark_trained();
}

void StepEngine::mark_trained() {
  const auto& parameters = params_.parameters();
  first_trained_ = 0;
  while (first_trained_ + 1 < parameters.size() && !optimizer_.trains(first_trained_)) ++first_trained_;
  first_bucket_ = buckets_of_[first_trained_].first;
  tensors_of_.assign(tensors_of_.size(), 0);
  for (size_t t = 0; t < parameters.size(); ++t) {
    TORCH_CHECK(optimizer_.trains(t) == (t >= first_trained_), parameters[t].name, " is not in the order of its depth");
    parameters[t].value.requires_grad_(t >= first_trained_);
    if (t < first_trained_) continue;
    for (size_t b = buckets_of_[t].first; b < buckets_of_[t].second; ++b) ++tensors_of_[b];
  }
}

void StepEngine::begin_step(const StepShape& shape) {
  shape_ = shape;
  facts_ = {std::vector<double>(static_cast<size_t>(shape.slots), 0.0),
            at::zeros({norm_blocks({0, layout().numel})}, values().options().dtype(at::kDouble)), shape.divisor, false};
  leaf_ = 0;
  watched_ = {};
  next_bucket_ = tensors_of_.size();
  waiting_ = tensors_of_;
  begin_leaves();
}

void StepEngine::backward(const Loss& loss, bool last) {
  TORCH_CHECK(last == last_leaf(), "leaf ", leaf_, " of ", shape_.present, " is out of order");
  auto& sum = facts_.losses[static_cast<size_t>(shape_.first + leaf_)];
  sum = loss.sum.item<double>();
  const bool watch = shape_.first + leaf_ == shape_.watched;
  if (watch) hashes_.resize(layout().tensors.size());
  run_backward(loss);
  const at::NoGradGuard no_grad;
  if (watch) watched_ = digest_of(sum, std::exchange(hashes_, {}));
  finish_leaf();
  ++leaf_;
}

LeafDigest StepEngine::digest(const Loss& loss) {
  TORCH_CHECK(leaf_ == shape_.present, "digest between two leaves");
  hashes_.resize(layout().tensors.size());
  run_backward(loss);
  return digest_of(loss.sum.item<double>(), std::exchange(hashes_, {}));
}

void StepEngine::run_backward(const Loss& loss) {
  torch::autograd::backward({loss.sum}, {at::full_like(loss.sum, loss_scale_.value() / shape_.divisor)});
}

void StepEngine::gradient_ready(size_t tensor, const at::Tensor& gradient) {
  if (!hashes_.empty()) hashes_[tensor] = hash_of(gradient);
  if (of_digest()) return;
  add_gradient(tensor, gradient);
  for (size_t b = buckets_of_[tensor].second; b-- > buckets_of_[tensor].first;) {
    add_part(tensor, b, gradient);
    if (!last_leaf()) continue;
    --waiting_[b];
    // Backward finishes the last layers first, so buckets start from the back, always in this order on every rank.
    size_t ready = next_bucket_;
    while (ready > first_bucket_ && waiting_[ready - 1] == 0) --ready;
    reduce_down_to(ready);
  }
}

void StepEngine::reduce_down_to(size_t bucket) {
  while (next_bucket_ > bucket) works_.push_back(reduce(--next_bucket_));
}

/// The norm was that of the scaled gradient. A division by a power of two rounds nothing.
void StepEngine::settle_scale(StepResult& result) {
  result.loss_scale = loss_scale_.value();
  result.grad_norm /= result.loss_scale;
  const bool finite = std::isfinite(result.loss);
  result.overflow = !result.applied && finite && result.loss_scale > LossScale::kLeast;
  loss_scale_.update(result.applied, finite);
  result.next_loss_scale = loss_scale_.value();
}

StepResult StepEngine::step(double lr, bool stop) {
  TORCH_CHECK(leaf_ == shape_.present, "step after ", leaf_, " of ", shape_.present, " leaves");
  const at::NoGradGuard no_grad;
  StepResult result;
  const double start = now(), waited = comm_.waited();
  reduce_down_to(first_bucket_);
  for (auto& work : works_) work.wait();
  works_.clear();
  reduce_rest();
  const double reduced = now();
  add_squares(facts_.squares);
  result.optimizer = now() - reduced;
  facts_.stop = stop;
  agree(comm_, facts_, result);
  settle_scale(result);
  const double agreed = now();
  if (result.applied) {
    // Of several ranks that fill in the same sum all have the same bits, and a sum of squares is not below 0: the largest counts.
    const auto join = [this](at::Tensor table) { comm_.all_reduce(table, ReduceOp::kMax).wait(); };
    optimizer_.step(values(), gradients(), lr, clip_scale(clip_, result.grad_norm) / result.loss_scale, join, quiet_rows());
    if (table_ && optimizer_.overwrites_gradients()) forget_quiet_rows();
    const double updated = now();
    hand_out(first_bucket_);  // what keeps the next step's gradients out of windows that others still read, too
    const double handed_out = now();
    refresh_low_copies();
    result.optimizer += now() - agreed - (handed_out - updated);
  }
  result.communication = now() - start - result.optimizer;
  result.waiting = comm_.waited() - waited;
  return result;
}

StateDict StepEngine::state_of(const std::vector<Range>& wanted) const {
  StateDict dict = optimizer_state(layout(), values(), optimizer_, wanted);
  loss_scale_.save(dict.small);
  return dict;
}

void StepEngine::swap_average() {
  const at::NoGradGuard no_grad;
  comm_.barrier();  // until here another rank may have read parameters that lie in memory it shares
  optimizer_.swap_average(values());
  hand_out(0);
  make_low_copies_anew();
}

void StepEngine::load_state(const Json& small) {
  optimizer_.set_steps(small.at("optimizer_steps").get<int64_t>(), small.value("unfrozen_at", std::vector<int64_t>{}));
  mark_trained();
  loss_scale_.load(small);
  optimizer_.values_changed(values());
  hand_out(0);
  make_low_copies_anew();
}

}  // namespace fmtrain

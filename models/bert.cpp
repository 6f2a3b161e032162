// BERT-family encoder (Devlin et al., 2019) over packed rows, with a head for one task. Parameter names are Hugging Face's.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "models/initial_values.h"
#include "models/ops/attention.h"
#include "models/ops/dropout.h"
#include "models/ops/linear.h"
#include "models/ops/recompute.h"
#include "models/task_model.h"

namespace fmtrain {
namespace {

/// Indices into the parameter list.
struct LayerNormIndex { size_t weight, bias; };
struct LinearIndex { size_t weight, bias; };
struct LayerIndex {
  LinearIndex query, key, value, attention_output;
  LayerNormIndex attention_norm;
  LinearIndex intermediate, output;
  LayerNormIndex output_norm;
};

/// Rows of a batch as the operations want them.
struct Rows {
  PackedRows packed;
  at::Tensor positions, samples;  ///< int64 [T]: position and sample id of each row
};

class Bert final : public TaskModel {
 public:
  Bert(const ModelConfig& config, uint64_t seed, Initial initial) : config_(config) {
    check();
    declare_embeddings();
    for (int64_t l = 0; l < config.layers; ++l) declare_layer(l);
    const size_t head = parameters_.size();
    declare_head();
    initialise(seed, initial == Initial::kAll ? 0 : head);
    parameters_changed();
  }

  const ModelConfig& config() const override { return config_; }
  std::vector<NamedParameter>& parameters() override { return parameters_; }

  void parameters_changed() override {
    low_.resize(parameters_.size());
    if (config_.precision == Precision::kFp32) return;
    const at::NoGradGuard no_grad;
    for (size_t i = first_product_; i < parameters_.size(); ++i) {
      const at::Tensor& value = parameters_[i].value;
      if (value.dim() != 2) continue;
      if (low_[i].defined() && low_[i].device() == value.device()) low_[i].copy_(value);  // one memory for the whole run
      else low_[i] = value.detach().to(product_type(config_.precision));
    }
  }

  at::Tensor hidden_states(const Batch& batch, const Pass& pass) override {
    const Rows rows = rows_of(batch);
    at::Tensor x = embed(batch, rows, pass);
    const auto n = static_cast<int64_t>(layers_.size()), segment = config_.recompute;
    if (segment == 0) return layers_of(x, rows, pass, 0, n);
    for (int64_t first = 0; first < n; first += segment) {
      const int64_t last = std::min(first + segment, n);
      const auto layers = [this, rows, pass, first, last](const at::Tensor& input) { return layers_of(input, rows, pass, first, last); };
      x = x.requires_grad() || trains(first, last) ? recomputed(x, layers) : layers(x);  // else no backward pass comes here
    }
    return x;
  }

  at::Tensor logits(const Batch& batch, const Pass& pass) override {
    at::Tensor x = hidden_states(batch, pass);
    Rows rows = rows_of(batch);
    if (config_.task == Task::kSequenceClassification) {
      x = pool(x, batch);
      rows.samples = batch.sample_ids.to(x.device());
      rows.positions = at::zeros_like(rows.samples);
    }
    x = dropout(x, rows.positions, rows.samples, key(pass, config_.dropout.head, config_.layers, DropoutSite::kHead));
    return linear(x, weight(classifier_)).to(at::kFloat);
  }

  Loss loss(const Batch& batch, const Pass& pass) override {
    return {at::cross_entropy_loss(logits(batch, pass), batch.targets, {}, at::Reduction::Sum, kIgnoreTarget), batch.valid_targets};
  }

 private:
  bool trains(int64_t first_layer, int64_t last_layer) const {
    const auto begin = parameters_.begin();
    return std::any_of(begin + layers_[first_layer].query.weight, begin + layers_[last_layer - 1].output_norm.bias + 1,
                       [](const auto& p) { return p.value.requires_grad(); });
  }

  void check() const {
    const auto& c = config_;
    TORCH_CHECK(c.hidden_size > 0 && c.heads > 0 && c.hidden_size % c.heads == 0, "hidden size ", c.hidden_size, " and ", c.heads, " heads");
    TORCH_CHECK(c.layers > 0 && c.layers < 256 && c.vocab_size > 0 && c.max_positions > 0 && c.intermediate_size > 0 && c.labels > 0, "empty model");
    TORCH_CHECK(c.heads < 256 && c.max_positions < 32768, "too many heads or positions for the dropout counter");
  }

  size_t declare(const std::string& name, at::IntArrayRef shape, bool decays) {
    parameters_.push_back({name, at::empty(shape, at::kFloat), decays});
    return parameters_.size() - 1;
  }
  LinearIndex declare_linear(const std::string& name, int64_t in, int64_t out) {
    const size_t weight = declare(name + ".weight", {out, in}, true);
    return {weight, declare(name + ".bias", {out}, false)};
  }
  LayerNormIndex declare_norm(const std::string& name) {
    const size_t weight = declare(name + ".weight", {config_.hidden_size}, false);
    return {weight, declare(name + ".bias", {config_.hidden_size}, false)};
  }

  void declare_embeddings() {
    const int64_t d = config_.hidden_size;
    declare("bert.embeddings.word_embeddings.weight", {config_.vocab_size, d}, true);
    declare("bert.embeddings.position_embeddings.weight", {config_.max_positions, d}, true);
    declare("bert.embeddings.token_type_embeddings.weight", {config_.type_vocab_size, d}, true);
    embedding_norm_ = declare_norm("bert.embeddings.LayerNorm");
    first_product_ = parameters_.size();
  }

  void declare_layer(int64_t l) {
    const std::string name = "bert.encoder.layer." + std::to_string(l) + ".";
    const int64_t d = config_.hidden_size, m = config_.intermediate_size;
    LayerIndex x;
    x.query = declare_linear(name + "attention.self.query", d, d);
    x.key = declare_linear(name + "attention.self.key", d, d);
    x.value = declare_linear(name + "attention.self.value", d, d);
    x.attention_output = declare_linear(name + "attention.output.dense", d, d);
    x.attention_norm = declare_norm(name + "attention.output.LayerNorm");
    x.intermediate = declare_linear(name + "intermediate.dense", d, m);
    x.output = declare_linear(name + "output.dense", m, d);
    x.output_norm = declare_norm(name + "output.LayerNorm");
    layers_.push_back(x);
  }

  void declare_head() {
    const bool pooled = config_.task == Task::kSequenceClassification && config_.pooling == Pooling::kPooler;
    if (pooled) pooler_ = declare_linear("bert.pooler.dense", config_.hidden_size, config_.hidden_size);
    classifier_ = declare_linear("classifier", config_.hidden_size, config_.labels);
  }

  void initialise(uint64_t seed, size_t first) {
    for (size_t i = first; i < parameters_.size(); ++i) {
      auto& p = parameters_[i];
      if (p.decays) fill_normal(p.value, seed, p.name, config_.initializer_range);
      else p.value.fill_(p.name.ends_with("LayerNorm.weight") ? 1.0 : 0.0);
    }
    for (auto& p : parameters_) p.value.requires_grad_(true);
  }

  const at::Tensor& value(size_t i) const { return parameters_[i].value; }
  LinearWeight weight(LinearIndex i) const { return {value(i.weight), value(i.bias), low_[i.weight]}; }

  /// Query, key and value projections as one product.
  LinearWeight qkv_weight(const LayerIndex& l) const {
    LinearWeight w{at::cat({value(l.query.weight), value(l.key.weight), value(l.value.weight)}),
                   at::cat({value(l.query.bias), value(l.key.bias), value(l.value.bias)}), {}};
    if (low_[l.query.weight].defined()) w.low = at::cat({low_[l.query.weight], low_[l.key.weight], low_[l.value.weight]});
    return w;
  }

  at::Tensor norm(const at::Tensor& x, LayerNormIndex i) const {
    return at::layer_norm(x, {config_.hidden_size}, value(i.weight), value(i.bias), config_.layer_norm_eps, false);
  }

  static DropoutKey key(const Pass& pass, double p, int64_t layer, DropoutSite site) {
    return {pass.training ? p : 0.0, pass.seed, static_cast<uint32_t>(pass.step), static_cast<uint32_t>(layer), site};
  }

  static Rows rows_of(const Batch& batch) {
    const auto lengths = batch.offsets.slice(0, 1) - batch.offsets.slice(0, 0, -1);
    return {{batch.offsets, batch.sample_ids}, batch.positions, at::repeat_interleave(batch.sample_ids, lengths).to(batch.positions.device())};
  }

  at::Tensor embed(const Batch& batch, const Rows& rows, const Pass& pass) const {
    constexpr bool kSparse = true;  // a leaf touches few of the rows, so their gradients come as a list
    // Backward runs last what was first here: with the largest gradient at the end, whoever reduces them holds a part of it at a time.
    const auto words = at::embedding(value(0), batch.tokens, -1, false, kSparse);
    const auto types = at::embedding(value(2), batch.types), positions = at::embedding(value(1), batch.positions);
    const auto sum = words + types + positions;
    return dropout(norm(sum, embedding_norm_), rows.positions, rows.samples, key(pass, config_.dropout.hidden, 0, DropoutSite::kEmbeddings));
  }

  at::Tensor layers_of(at::Tensor x, const Rows& rows, const Pass& pass, int64_t first, int64_t last) const {
    for (int64_t l = first; l < last; ++l) x = layer(x, rows, pass, static_cast<size_t>(l));
    return x;
  }

  at::Tensor layer(const at::Tensor& x, const Rows& rows, const Pass& pass, size_t l) const {
    const LayerIndex& i = layers_[l];
    const auto n = static_cast<int64_t>(l);
    const auto drop = [&](const at::Tensor& y, DropoutSite site) {
      return dropout(y.to(at::kFloat), rows.positions, rows.samples, key(pass, config_.dropout.hidden, n, site));
    };
    const auto context = packed_attention(linear(x, qkv_weight(i)), rows.packed, config_.heads, key(pass, config_.dropout.attention, n, DropoutSite::kAttention));
    const auto attended = norm(drop(linear(context, weight(i.attention_output)), DropoutSite::kAttentionOutput) + x, i.attention_norm);
    const auto wide = at::gelu(linear(attended, weight(i.intermediate)));
    return norm(drop(linear(wide, weight(i.output)), DropoutSite::kOutput) + attended, i.output_norm);
  }

  /// [S, hidden_size]
  at::Tensor pool(const at::Tensor& x, const Batch& batch) const {
    const auto offsets = batch.offsets.to(x.device());
    const auto starts = offsets.slice(0, 0, -1);
    if (config_.pooling == Pooling::kMean) {
      const auto lengths = offsets.slice(0, 1) - starts;
      const auto sample = at::repeat_interleave(at::arange(batch.samples(), starts.options()), lengths);
      return at::zeros({batch.samples(), x.size(1)}, x.options()).index_add(0, sample, x) / lengths.unsqueeze(1);
    }
    const auto first = x.index_select(0, starts);
    return config_.pooling == Pooling::kCls ? first : at::tanh(linear(first, weight(pooler_)).to(at::kFloat));
  }

  ModelConfig config_;
  std::vector<NamedParameter> parameters_;
  std::vector<at::Tensor> low_;  ///< 16-bit copies of the products' weights, beside parameters_
  size_t first_product_ = 0;
  LayerNormIndex embedding_norm_{};
  std::vector<LayerIndex> layers_;
  LinearIndex pooler_{}, classifier_{};
};

}  // namespace

std::unique_ptr<TaskModel> make_bert(const ModelConfig& config, uint64_t seed, Initial initial) { return std::make_unique<Bert>(config, seed, initial); }

}  // namespace fmtrain

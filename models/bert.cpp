// BERT-family encoder (Devlin et al., 2019) over packed rows, with a head for one task. Parameter names are Hugging Face's.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "models/initial_values.h"
#include "models/ops/dropout.h"
#include "models/ops/encoder_layer.h"
#include "models/ops/linear.h"
#include "models/ops/product.h"
#include "models/ops/recompute.h"
#include "models/task_model.h"

namespace fmtrain {
namespace {

/// Indices into the parameter list.
struct LayerNormIndex { size_t weight, bias; };
struct LinearIndex { size_t weight, bias; };

class Bert final : public TaskModel {
 public:
  Bert(const ModelConfig& config, uint64_t seed, Initial initial) : config_(config) {
    check();
    in_memory_ = initial == Initial::kAll;
    declare_embeddings();
    for (int64_t l = 0; l < config.layers; ++l) declare_layer(l);
    const size_t head = parameters_.size();
    in_memory_ = true;
    declare_head();
    initialise(seed, initial == Initial::kAll ? 0 : head);
    if (initial == Initial::kAll) parameters_changed();
    else if (config.precision != Precision::kFp32) make_low_copies();
  }

  const ModelConfig& config() const override { return config_; }
  std::vector<NamedParameter>& parameters() override { return parameters_; }

  void parameters_changed() override {
    if (config_.precision == Precision::kFp32) return;
    const at::NoGradGuard no_grad;
    if (low_.empty() || low_[first_product_].device() != parameters_[first_product_].value.device()) make_low_copies();
    for (size_t i = first_product_; i < parameters_.size(); ++i)
      if (low_[i].defined()) low_[i].copy_(parameters_[i].value);
  }

  at::Tensor low_copy(size_t i) const override { return low_.empty() ? at::Tensor() : low_[i]; }
  void send_gradients(GradientSink sink, GradientPlace place) override {
    sink_ = std::move(sink);
    place_ = std::move(place);
  }
  bool sends_bf16(size_t i) const override {
    const bool in_layer = i >= layers_.front() && i < layers_.back() + kLayerParameters;
    return in_layer && value(i).dim() == 2 && config_.precision == Precision::kBf16 && has_encoder_layer(value(i).device(), at::kBFloat16);
  }

  at::Tensor hidden_states(const Batch& batch, const Pass& pass) override { return encode(batch, rows_of(batch), pass); }

  at::Tensor logits(const Batch& batch, const Pass& pass) override { return logits_of(batch, {}, pass); }
  at::Tensor target_logits(const Batch& batch, const Pass& pass) override { return logits_of(batch, batch.target_rows, pass); }

  at::Tensor logits_from(const at::Tensor& hidden, const Batch& batch, const Pass& pass) override {
    return head(takes_first_rows() ? hidden.index_select(0, first_rows(batch)) : hidden, rows_of(batch), batch, pass);
  }

  Loss loss(const Batch& batch, const Pass& pass) override {
    return {at::cross_entropy_loss(target_logits(batch, pass), targets_of_logits(batch), {}, at::Reduction::Sum, kIgnoreTarget), batch.valid_targets};
  }

 private:
  /// The last layer's rows.outputs, or all rows: [.., hidden_size] fp32.
  at::Tensor encode(const Batch& batch, const LayerPass& rows, const Pass& pass) {
    at::Tensor x = embed(batch, rows, pass);
    const bool one_operation = has_encoder_layer(x.device(), product_type(config_.precision));
    const int64_t n = std::ssize(layers_), segment = config_.recompute > 0 ? config_.recompute : n;
    if (one_operation) x = at::constant_pad_nd(x.to(product_type(config_.precision)), {0, 0, 0, padded_rows(x.size(0)) - x.size(0)});
    for (int64_t first = 0; first < n; first += segment) {
      const int64_t last = std::min(first + segment, n);
      const auto layers = [=, this](const at::Tensor& input) { return layers_of(input, rows, pass, first, last, one_operation); };
      const bool again = config_.recompute > 0 && (x.requires_grad() || trains(first, last));  // else no backward pass comes here
      x = again ? recomputed(x, layers) : layers(x);
    }
    return x.narrow(0, 0, rows.outputs.defined() ? rows.outputs.size(0) : batch.length()).to(at::kFloat);
  }

  /// Token classification: of the rows `wanted`, or all when undefined. Sequence classification: of the samples.
  at::Tensor logits_of(const Batch& batch, const at::Tensor& wanted, const Pass& pass) {
    LayerPass rows = rows_of(batch);
    rows.outputs = takes_first_rows() ? first_rows(batch) : wanted;
    return head(encode(batch, rows, pass), rows, batch, pass);
  }

  /// Logits from what encode() gave.
  at::Tensor head(at::Tensor x, LayerPass rows, const Batch& batch, const Pass& pass) const {
    if (config_.task == Task::kSequenceClassification) {
      if (config_.pooling == Pooling::kMean) x = mean_of_samples(x, batch);
      if (config_.pooling == Pooling::kPooler) x = at::tanh(linear(x, weight(pooler_)).to(at::kFloat));
      rows.samples = batch.sample_ids.to(x.device());
      rows.positions = at::zeros_like(rows.samples);
    } else if (rows.outputs.defined()) {
      rows.samples = rows.samples.index_select(0, rows.outputs);
      rows.positions = rows.positions.index_select(0, rows.outputs);
    }
    x = dropout(x, rows.positions, rows.samples, key(pass, config_.dropout.head, config_.layers, DropoutSite::kHead));
    return linear(x, weight(classifier_)).to(at::kFloat);
  }

  /// The head sees the first row of each sample only.
  bool takes_first_rows() const { return config_.task == Task::kSequenceClassification && config_.pooling != Pooling::kMean; }
  static at::Tensor first_rows(const Batch& batch) { return batch.offsets.slice(0, 0, -1).to(batch.positions.device()); }

  bool trains(int64_t first_layer, int64_t last_layer) const {
    const auto begin = parameters_.begin() + static_cast<std::ptrdiff_t>(layers_[static_cast<size_t>(first_layer)]);
    return std::any_of(begin, begin + (last_layer - first_layer) * kLayerParameters, [](const auto& p) { return p.value.requires_grad(); });
  }

  void check() const {
    const auto& c = config_;
    TORCH_CHECK(c.hidden_size > 0 && c.heads > 0 && c.hidden_size % c.heads == 0, "hidden size ", c.hidden_size, " and ", c.heads, " heads");
    TORCH_CHECK(c.layers > 0 && c.layers < 256 && c.vocab_size > 0 && c.max_positions > 0 && c.intermediate_size > 0 && c.labels > 0, "empty model");
    TORCH_CHECK(c.heads < 256 && c.max_positions < 32768, "too many heads or positions for the dropout counter");
  }

  size_t declare(const std::string& name, at::IntArrayRef shape, bool decays) {
    const std::vector<int64_t> no_strides(shape.size(), 0);  // all elements in one place
    parameters_.push_back({name, in_memory_ ? at::empty(shape, at::kFloat) : at::empty_strided(shape, no_strides, at::kFloat), decays});
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

  /// In the order of LayerParameter: weights that one product takes together lie side by side in flat memory.
  void declare_layer(int64_t l) {
    const std::string name = "bert.encoder.layer." + std::to_string(l) + ".", self = name + "attention.self.";
    const int64_t d = config_.hidden_size, m = config_.intermediate_size;
    layers_.push_back(parameters_.size());
    for (const auto* part : {"query", "key", "value"}) declare(self + part + ".weight", {d, d}, true);
    for (const auto* part : {"query", "key", "value"}) declare(self + part + ".bias", {d}, false);
    declare_linear(name + "attention.output.dense", d, d);
    declare_norm(name + "attention.output.LayerNorm");
    declare_linear(name + "intermediate.dense", d, m);
    declare_linear(name + "output.dense", m, d);
    declare_norm(name + "output.LayerNorm");
    TORCH_INTERNAL_ASSERT(parameters_.size() - layers_.back() == kLayerParameters);
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
  LinearWeight weight(LinearIndex i) const { return {value(i.weight), value(i.bias), low_.empty() ? at::Tensor() : low_[i.weight]}; }

  /// One memory for the whole run; three neighbours that one product takes together are parts of one tensor.
  void make_low_copies() {
    low_.assign(parameters_.size(), {});
    const auto options = value(first_product_).options().dtype(product_type(config_.precision)).requires_grad(false);
    for (const size_t layer : layers_)
      for (const size_t first : {layer + kQueryWeight, layer + kQueryBias}) {
        const auto joined = at::empty({3, value(first).numel()}, options);
        for (size_t part = 0; part < 3; ++part)  // no views: these would keep the memory that an engine moves them from
          low_[first + part] = at::empty({0}, options).set_(joined.storage(), static_cast<int64_t>(part) * value(first).numel(), value(first).sizes());
      }
    for (size_t i = first_product_; i < parameters_.size(); ++i)
      if (!low_[i].defined() && parameters_[i].name.find("LayerNorm") == std::string::npos) low_[i] = at::empty(value(i).sizes(), options);
  }

  /// The parameter, or its copy, as products take it.
  at::Tensor for_products(size_t i) const { return low_.empty() ? value(i).detach() : low_[i]; }

  /// Parameters i, i + 1, i + 2 as one; a view where they are neighbours in memory.
  at::Tensor joined(size_t i) const {
    const at::Tensor parts[] = {for_products(i), for_products(i + 1), for_products(i + 2)};
    const auto view = as_one(parts[0], parts[1], parts[2]);
    return view.defined() ? view : at::cat({parts[0], parts[1], parts[2]});
  }

  EncoderLayer encoder_layer_of(size_t l) const {
    const size_t first = layers_[l];
    EncoderLayer layer;
    for (size_t i = 0; i < kLayerParameters; ++i) layer.parameters.push_back(value(first + i));
    const auto product = [&](size_t i) { return ProductWeight{for_products(first + i), for_products(first + i + 1)}; };
    layer.qkv = {joined(first + kQueryWeight), joined(first + kQueryBias)};
    layer.context = product(kContextWeight);
    layer.wide = product(kWideWeight);
    layer.output = product(kOutputWeight);
    layer.heads = config_.heads;
    layer.norm_eps = config_.layer_norm_eps;
    if (sink_) layer.sink = [this, first](size_t i, const at::Tensor& gradient) { sink_(first + i, gradient); };
    if (place_) layer.place = [this, first](size_t i) { return place_(first + i); };
    return layer;
  }

  at::Tensor norm(const at::Tensor& x, LayerNormIndex i) const {
    return at::layer_norm(x, {config_.hidden_size}, value(i.weight), value(i.bias), config_.layer_norm_eps, false);
  }

  static DropoutKey key(const Pass& pass, double p, int64_t layer, DropoutSite site) {
    return {pass.training ? p : 0.0, pass.seed, static_cast<uint32_t>(pass.step), static_cast<uint32_t>(layer), site};
  }

  static LayerPass rows_of(const Batch& batch) {
    const auto lengths = batch.offsets.slice(0, 1) - batch.offsets.slice(0, 0, -1);
    return {{batch.offsets, batch.sample_ids}, batch.positions, at::repeat_interleave(batch.sample_ids, lengths).to(batch.positions.device()), {}, {}, {}};
  }

  at::Tensor embed(const Batch& batch, const LayerPass& rows, const Pass& pass) const {
    constexpr bool kSparse = true;  // a leaf touches few of the rows, so their gradients come as a list
    // Backward runs last what was first here: with the largest gradient at the end, whoever reduces them holds a part of it at a time.
    const auto words = at::embedding(value(0), batch.tokens, -1, false, kSparse);
    const auto types = at::embedding(value(2), batch.types), positions = at::embedding(value(1), batch.positions);
    const auto sum = words + types + positions;
    return dropout(norm(sum, embedding_norm_), rows.positions, rows.samples, key(pass, config_.dropout.hidden, 0, DropoutSite::kEmbeddings));
  }

  at::Tensor layers_of(at::Tensor x, LayerPass pass_of_layer, const Pass& pass, int64_t first, int64_t last, bool one_operation) const {
    const auto outputs = std::exchange(pass_of_layer.outputs, {});
    pass_of_layer.packed = pass.packed;
    for (int64_t l = first; l < last; ++l) {
      if (l + 1 == config_.layers) pass_of_layer.outputs = outputs;
      const auto layer = encoder_layer_of(static_cast<size_t>(l));
      pass_of_layer.attention = key(pass, config_.dropout.attention, l, DropoutSite::kAttention);
      pass_of_layer.context = key(pass, config_.dropout.hidden, l, DropoutSite::kAttentionOutput);
      pass_of_layer.output = key(pass, config_.dropout.hidden, l, DropoutSite::kOutput);
      x = one_operation ? encoder_layer(x, layer, pass_of_layer) : encoder_layer_reference(x, layer, pass_of_layer, product_type(config_.precision));
    }
    return x;
  }

  /// [T, hidden_size] -> [S, hidden_size]
  static at::Tensor mean_of_samples(const at::Tensor& x, const Batch& batch) {
    const auto offsets = batch.offsets.to(x.device());
    const auto lengths = offsets.slice(0, 1) - offsets.slice(0, 0, -1);
    const auto sample = at::repeat_interleave(at::arange(batch.samples(), lengths.options()), lengths);
    return at::zeros({batch.samples(), x.size(1)}, x.options()).index_add(0, sample, x) / lengths.unsqueeze(1);
  }

  ModelConfig config_;
  std::vector<NamedParameter> parameters_;
  std::vector<at::Tensor> low_;  ///< 16-bit copies of what products take, beside parameters_; empty in fp32
  GradientSink sink_;
  GradientPlace place_;
  size_t first_product_ = 0;
  bool in_memory_ = true;  ///< of the parameters that are being declared
  LayerNormIndex embedding_norm_{};
  std::vector<size_t> layers_;   ///< first parameter of each
  LinearIndex pooler_{}, classifier_{};
};

}  // namespace

std::unique_ptr<TaskModel> make_bert(const ModelConfig& config, uint64_t seed, Initial initial) { return std::make_unique<Bert>(config, seed, initial); }

}  // namespace fmtrain

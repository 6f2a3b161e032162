#include "runtime/scaling/published.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/report/html.h"
#include "runtime/scaling/plain.h"

namespace fmtrain {
namespace {

/// Of a leaf that takes `seconds`; backward takes twice as long as forward (4 P and 2 P operations a token). The gradient of
/// `bytes` comes evenly over backward in `buckets`, or all at its end when there is one.
Timeline timeline(double seconds, int64_t leaves, double parameters, double parameter_bytes, int buckets, double optimizer) {
  Timeline t;
  t.ranks = 0;
  t.leaves = leaves;
  t.forward = seconds / 3;
  t.backward = seconds * 2 / 3;
  t.optimizer = optimizer;
  t.parameters = parameters;
  t.parameter_bytes = parameter_bytes;
  for (int i = 1; i <= buckets; ++i)
    t.buckets.push_back({parameters * parameter_bytes / buckets, static_cast<double>(i) / buckets});
  return t;
}

/// GB/s of one rank in one direction, nominal.
Network network(int per_node, double inside, double between, double latency) {
  return {{2e-6, inside * 1e9 * kReached}, {latency, between * 1e9 * kReached}, per_node, 40};
}

PublishedCase horovod(const char* name, double images_per_second, double parameters, double efficiency) {
  PublishedCase one;
  one.name = std::string("Horovod, ") + name + ", 512 Pascal GPUs";
  one.source = "Horovod docs/benchmarks: 128 servers of 4 Pascal GPUs, RoCE 25 Gbit/s, 64 images a GPU, fp32";
  one.assumed = fmt::format("{} images/s of one GPU; {} M parameters; fusion buffer 64 MB; PCIe 12 GB/s; 10 us",
                            images_per_second, parameters / 1e6);
  const int buckets = static_cast<int>(std::ceil(4 * parameters / 64e6));
  one.timeline = timeline(64 / images_per_second, 1, parameters, 4, buckets, 0);
  one.network = network(4, 12, 25.0 / 8 / 4, 10e-6);
  one.algorithm = Algorithm::kRing;
  one.ranks = 512;
  one.efficiency = efficiency;
  return one;
}

/// Gradients are all-reduced in fp16 after the last of the accumulated micro-batches, with nothing to hide behind; LAMB moves
/// 40 B a parameter in two passes.
PublishedCase dgx2(int ranks, double efficiency) {
  PublishedCase one;
  one.name = fmt::format("BERT-large, phase 1, {} V100", ranks);
  one.source =
      "NVIDIA DeepLearningExamples, PyTorch BERT, multiple DGX-2H: 65,536 sequences an update, 64 a GPU and micro-batch, "
      "3379.2 sequences/s on 16";
  one.assumed = "336 M parameters; NVSwitch 150 GB/s; 8 links of 100 Gbit/s a node; LAMB at 0.8 TB/s";
  one.timeline = timeline(64 * 16 / 3379.2, 1024, 336e6, 2, 1, 336e6 * 40 / 0.8e12);
  one.network = network(16, 150, 8 * 12.5 / 16, 5e-6);
  one.base = 16;
  one.ranks = ranks;
  one.weak = false;
  one.efficiency = efficiency;
  return one;
}

PublishedCase dgx_a100() {
  PublishedCase one;
  one.name = "BERT-large, 256 A100";
  one.source = "published: the efficiency only (strong scaling, 65,536 sequences an update)";
  one.assumed =
      "44 % of 312 TFLOP/s at 128 tokens (233 GFLOP a sequence); 64 sequences a micro-batch; NVSwitch 300 GB/s; 8 links of 200 "
      "Gbit/s a node; LAMB at 1.3 TB/s";
  one.timeline = timeline(64 * 233e9 / (0.44 * 312e12), 1024, 336e6, 2, 1, 336e6 * 40 / 1.3e12);
  one.network = network(8, 300, 25, 5e-6);
  one.base = 8;
  one.ranks = 256;
  one.weak = false;
  one.efficiency = 0.949;
  return one;
}

PublishedCase titan(const char* what, double small, double large) {
  PublishedCase one;
  one.name = fmt::format("torchtitan, Llama 3.1 8B, FSDP{}, 128 H100", what);
  one.source =
      fmt::format("torchtitan benchmarks 2024-12: {} tokens/s a GPU on 8, {} on 128; 2 x 8192 tokens a GPU; 400 Gbit/s a GPU",
                  small, large);
  one.assumed = "8.03 G parameters in bf16, 32 units; NVLink 450 GB/s";
  one.timeline = timeline(2 * 8192 / small, 1, 8.03e9, 2, 32, 0);
  one.network = network(8, 450, 50, 5e-6);
  one.stage = 3;
  one.base = 8;
  one.ranks = 128;
  one.efficiency = large / small;
  return one;
}

}  // namespace

std::vector<PublishedCase> published_cases() {
  auto vgg = horovod("VGG-16", 154, 138.4e6, 0.68);
  vgg.timeline.buckets.clear();
  for (int i = 0; i < 8; ++i) vgg.timeline.buckets.push_back({123.6e6 * 4 / 8, 0.05});  // the fully connected layers come first
  vgg.timeline.buckets.push_back({14.8e6 * 4, 1});
  vgg.assumed += "; 89 % of the gradient after 5 % of backward";
  vgg.why =
      "its 553 MB keep the network busy for as long as the update lasts, so the figure follows what is assumed of it: all of "
      "25 Gbit/s, or "
      "2 us of latency in place of 10, would give 68 %";
  auto four_nodes = dgx2(64, 12709.88 / 3379.2 / 4);
  four_nodes.why =
      "the published 64 GPUs are less efficient than the published 256: something other than communication, which the model "
      "does not have";
  return {horovod("Inception V3", 142, 23.9e6, 0.90),
          horovod("ResNet-101", 1656.82 / 16, 44.5e6, 0.90),
          vgg,
          four_nodes,
          dgx2(256, 51937.28 / 3379.2 / 16),
          dgx2(1024, 188088.32 / 3379.2 / 64),
          dgx_a100(),
          titan("", 5762, 5605),
          titan(" + compile + float8", 8532, 8380)};
}

double predicted_efficiency(const PublishedCase& one) {
  const auto rate = [&](int ranks) {
    const Scenario s{ranks,         one.stage,   one.weak ? one.timeline.leaves : leaves_of_rank(one.timeline, ranks),
                     one.algorithm, one.network, 0};
    return static_cast<double>(s.leaves) / predict(one.timeline, s).total();
  };
  return rate(one.ranks) / rate(one.base);
}

Json published_json() {
  Json rows = Json::array();
  for (const auto& one : published_cases()) {
    const double predicted = predicted_efficiency(one), points = 100 * (predicted - one.efficiency);
    const bool agrees = std::fabs(points) <= kPublishedPoints;
    rows.push_back({{"name", one.name},
                    {"ranks", one.ranks},
                    {"base", one.base},
                    {"mode", one.weak ? "weak" : "strong"},
                    {"published", one.efficiency},
                    {"predicted", predicted},
                    {"points", points},
                    {"agrees", agrees},
                    {"source", one.source},
                    {"assumed", one.assumed},
                    {"why", agrees ? "" : one.why}});
  }
  return rows;
}

std::string published_text(const Json& rows) {
  std::string text =
      fmt::format("Links reach {:.0f} % of their nominal rate in all cases. \"Fails\": off by more than {:.0f} points.\n\n",
                  100 * kReached, kPublishedPoints);
  text +=
      "| result | over | published, % | predicted, % | points | | parameters published | assumed "
      "|\n|---|---|---|---|---|---|---|---|\n";
  for (const Json& row : rows) {
    const auto percent = [&](const char* name, double factor) {
      return fmt::format("{:.1f}", factor * number(field(row, {name})).value_or(0));
    };
    text += fmt::format("| {} ({}) | {} | {} | {} | {} | {} | {} | {} |\n", plain(field(row, {"name"})),
                        plain(field(row, {"mode"})), plain(field(row, {"base"})), percent("published", 100),
                        percent("predicted", 100), percent("points", 1), field(row, {"agrees"}) == true ? "" : "fails",
                        plain(field(row, {"source"}), 400), plain(field(row, {"assumed"}), 400));
  }
  for (const Json& row : rows)
    if (field(row, {"agrees"}) != true) text += "\n- " + plain(field(row, {"name"})) + ": " + plain(field(row, {"why"}), 400);
  return text + "\n";
}

}  // namespace fmtrain

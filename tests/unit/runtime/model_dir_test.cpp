// Model directories: every tensor accounted for, and what is written is what is read.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <functional>
#include <limits>

#include "runtime/checkpoint/safetensors.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "tests/support/fail_files.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;
using Tensors = std::map<std::string, at::Tensor>;

const std::string kQuery = "bert.encoder.layer.1.attention.self.query.weight";

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

Tensors tensors_of(TaskModel& model) {
  Tensors result;
  for (const auto& p : model.parameters()) result[p.name] = p.value.detach().clone();
  return result;
}

std::string safetensors(const Tensors& tensors) {
  SafetensorsHeader header;
  for (const auto& [name, t] : tensors) header.tensors.push_back({name, "F32", t.sizes().vec(), 0, 0});
  std::string content = make_safetensors_header(header);
  for (const auto& [name, t] : tensors) content.append(static_cast<const char*>(t.contiguous().data_ptr()), t.nbytes());
  return content;
}

class ModelDir : public TinyModelFolder {
 protected:
  std::unique_ptr<TaskModel> model(uint64_t seed) const { return make_bert(tiny_shape(Task::kTokenClassification, 3), seed); }
  LoadedWeights load(TaskModel& model, const Tensors& tensors) const {
    write("base/model.safetensors", safetensors(tensors));
    return load_weights(model, path("base"));
  }
};

/// Of the encoder's pieces each reader writes its own; together they write all, and each knows the hash of the whole file.
TEST_F(ModelDir, ReadersOfOneMemoryWriteAPieceEach) {
  const auto source = model(1);
  write("base/model.safetensors", safetensors(tensors_of(*source)));
  const auto whole = model(2);
  const auto sha256 = load_weights(*whole, path("base")).sha256;
  const auto shared = model(3);
  for (auto& p : shared->parameters()) p.value.data().fill_(std::numeric_limits<float>::quiet_NaN());
  const auto missing = [&] {
    int64_t tensors = 0;
    for (const auto& p : shared->parameters()) tensors += p.value.isnan().any().item<bool>();
    return tensors;
  };
  const auto all = missing();
  EXPECT_EQ(load_share(*shared, path("base"), {}, {0, 2}).sha256, sha256);
  EXPECT_GT(missing(), all / 4);
  EXPECT_LT(missing(), all * 3 / 4);
  for (const auto& p : shared->parameters()) EXPECT_FALSE(p.name.starts_with("classifier") && p.value.isnan().any().item<bool>());
  EXPECT_EQ(load_share(*shared, path("base"), {}, {1, 2}).sha256, sha256);
  for (size_t i = 0; i < shared->parameters().size(); ++i) EXPECT_TRUE(at::equal(shared->parameters()[i].value, whole->parameters()[i].value));
}

TEST_F(ModelDir, EveryTensorIsAccountedFor) {
  const auto source = model(1);
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  const struct {
    std::function<void(Tensors&)> change;
    std::string says;
  } cases[] = {{[](Tensors& t) { t.erase(kQuery); }, "no tensor for " + kQuery},
               {[](Tensors& t) { t["bert.extra"] = at::zeros({2}); }, "\"bert.extra\" has no place"},
               {[](Tensors& t) { t["bert.encoder.layer.2.output.dense.bias"] = at::zeros({16}); }, "layer.2.output.dense.bias"},
               {[](Tensors& t) { t["query"] = t[kQuery], t.erase(kQuery); }, "\"query\" has no place"},
               {[](Tensors& t) {
                  t[kQuery] = at::zeros({8, 32});
                },
                kQuery + "\": its shape"},
               {[&](Tensors& t) { t[kQuery][3][4] = nan; }, kQuery + "\": holds a NaN"},
               {[](Tensors& t) { t[kQuery.substr(5)] = t[kQuery]; }, "two tensors are named"}};
  for (const auto& c : cases) {
    auto tensors = tensors_of(*source);
    c.change(tensors);
    const auto target = model(2);
    std::string says = message([&] { load(*target, tensors); });
    says.erase(std::remove(says.begin(), says.end(), '\''), says.end());
    std::string expected = c.says;
    for (auto* text : {&says, &expected}) text->erase(std::remove(text->begin(), text->end(), '"'), text->end());
    EXPECT_THAT(says, HasSubstr(expected));
  }
}

TEST_F(ModelDir, OldNamesAndOtherHeads) {
  const auto source = model(1);
  Tensors old;
  for (const auto& [parameter, value] : tensors_of(*source)) {
    if (parameter.starts_with("classifier.")) continue;
    std::string name = parameter.substr(5);
    if (const auto at = name.find("LayerNorm.weight"); at != std::string::npos) name = name.substr(0, at) + "LayerNorm.gamma";
    if (const auto at = name.find("LayerNorm.bias"); at != std::string::npos) name = name.substr(0, at) + "LayerNorm.beta";
    old[name] = value;
  }
  old["classifier.weight"] = at::zeros({7, 16});  // of a task with 7 labels
  old["cls.predictions.bias"] = at::zeros({60});
  old["pooler.dense.bias"] = at::zeros({16});
  const auto target = model(2);
  const auto loaded = load(*target, old);
  EXPECT_EQ(loaded.sha256, sha256_file(path("base/model.safetensors")));  // with what is not used
  EXPECT_THAT(loaded.notes,
              testing::UnorderedElementsAre("not used: classifier.weight", "not used: cls.predictions.bias",
                                            "not used: pooler.dense.bias", "new: classifier.weight", "new: classifier.bias"));
  const auto expected = tensors_of(*source), head = tensors_of(*model(2));
  for (const auto& [name, value] : tensors_of(*target))
    EXPECT_TRUE(at::equal(value, name.starts_with("classifier.") ? head.at(name) : expected.at(name))) << name;
}

TEST_F(ModelDir, HostileConfigs) {
  const struct {
    const char* key;
    Json value;
  } cases[] = {{"model_type", "roberta"},  {"model_type", 3},
               {"hidden_act", "relu"},     {"position_embedding_type", "relative_key"},
               {"hidden_size", -16},       {"hidden_size", 0},
               {"hidden_size", 17},        {"hidden_size", 16.5},
               {"hidden_size", "16"},      {"vocab_size", int64_t{1} << 62},
               {"vocab_size", nullptr},    {"num_hidden_layers", 256},
               {"num_attention_heads", 0}, {"max_position_embeddings", 32768},
               {"layer_norm_eps", 0},      {"layer_norm_eps", "1e-12"}};
  for (const auto& c : cases) {
    Json json = tiny_config_json();
    json[c.key] = c.value;
    write("base/config.json", json.dump());
    EXPECT_THAT(message([&] { read_model_config(path("base")); }), HasSubstr(c.key)) << c.value;
  }
  Json large = tiny_config_json();
  large["hidden_size"] = large["intermediate_size"] = 1 << 24;
  write("base/config.json", large.dump());
  EXPECT_THAT(message([&] { read_model_config(path("base")); }), HasSubstr("2^36"));
  write("base/config.json", "[]");
  EXPECT_THAT(message([&] { read_model_config(path("base")); }), HasSubstr("object"));
  EXPECT_THAT(message([&] { read_model_config(path("none")); }), HasSubstr("config.json"));
  EXPECT_THAT(message([&] { load_weights(*model(1), path("none")); }), HasSubstr("model.safetensors"));
}

TEST_F(ModelDir, WhatIsWrittenIsWhatIsRead) {
  bend("base/config.json", [](Json& j) {
    j["auto_map"] = {{"AutoModel", "code.Model"}}, j["custom_pipelines"] = Json::object();
  });
  write("base/tokenizer_config.json", R"({"do_lower_case": true, "auto_map": {"AutoTokenizer": "code.T"}})");
  const auto written = model(5);
  write_model(*written, kTags);
  const auto read = load_finetuned(path("model"), Precision::kFp32);
  EXPECT_EQ(read.labels, kTags);
  EXPECT_EQ(weights_sha256(*read.model), weights_sha256(*written));
  EXPECT_EQ(read.fmtrain.at("weights_sha256"), weights_sha256(*written));
  EXPECT_NE(weights_sha256(*model(6)), weights_sha256(*written));
  Batch b;
  b.tokens = at::tensor({2, 9, 33, 3}, at::kLong), b.types = at::zeros_like(b.tokens), b.positions = at::arange(4);
  b.offsets = at::tensor({0, 4}, at::kLong), b.sample_ids = at::zeros({1}, at::kLong);
  EXPECT_TRUE(at::equal(read.model->logits(b, {}), written->logits(b, {})));
  for (const char* name : {"model/config.json", "model/tokenizer_config.json"})
    EXPECT_THAT(content(name), testing::Not(HasSubstr("auto_map")));
  EXPECT_THAT(content("model/config.json"), testing::Not(HasSubstr("custom_pipelines")));
  EXPECT_EQ(content("model/tokenizer.json"), content("base/tokenizer.json"));
}

TEST_F(ModelDir, OthersCannotReadIt) {
  write_model(*model(5), kTags);
  const auto mode = [&](const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::stat(path(name).c_str(), &info), 0) << name;
    return info.st_mode & 0777;
  };
  EXPECT_EQ(mode("model"), 0700u);
  std::vector<std::string> names;
  posix_files().list(path("model"), &names);
  EXPECT_THAT(names, testing::ElementsAre("config.json", "fmtrain.json", "model.safetensors", "tokenizer.json"));
  for (const auto& name : names) EXPECT_EQ(mode("model/" + name), 0600u) << name;
}

/// The weights of model/, which must be whole; with the fallback, FailFiles has no exchange.
TEST_F(ModelDir, AFailedWriteKeepsTheOldModel) {
  const auto old = model(5), fresh = model(6);
  int64_t failures = 0;
  for (int64_t call = 1;; ++call) {
    remove_tree(posix_files(), path("model"));
    write_model(*old, kTags);
    FailFiles files;
    files.fail_at(call, EIO);
    bool thrown = false;
    try {
      write_model(*fresh, kTags, files);
    } catch (const StorageError&) {
      thrown = true;
      ++failures;
    }
    const auto sha256 = weights_sha256(*load_finetuned(path("model"), Precision::kFp32).model);
    EXPECT_TRUE(sha256 == weights_sha256(*fresh) || (thrown && sha256 == weights_sha256(*old))) << "call " << call;
    if (!files.failed()) break;
  }
  EXPECT_GT(failures, 20);
}

TEST_F(ModelDir, WithoutExchangeTheOldModelIsReplacedToo) {
  FailFiles files;  // has no exchange
  for (const uint64_t seed : {5, 6}) {
    write_model(*model(seed), kTags, files);
    EXPECT_EQ(weights_sha256(*load_finetuned(path("model"), Precision::kFp32).model), weights_sha256(*model(seed)));
  }
  EXPECT_FALSE(std::filesystem::exists(path("model.old")) || std::filesystem::exists(path("model.tmp")));
}

}  // namespace
}  // namespace fmtrain

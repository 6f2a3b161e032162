// tokenizer.json, vocab.txt and tokenizer_config.json: what they may hold, and the message for what they may not.
#include <gmock/gmock.h>

#include <functional>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

class TokenizerFiles : public TemporaryFolder {
 protected:
  /// The message of loading `content` as file `name`, without the file's path.
  std::string refusal(const std::string& name, const std::string& content) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    write(name, content);
    try {
      load_tokenizer(folder_.string());
    } catch (const ConfigError& error) {
      const std::string what = error.what(), prefix = path(name) + ": ";
      EXPECT_EQ(what.substr(0, prefix.size()), prefix);
      return what.substr(std::min(prefix.size(), what.size()));
    }
    return "accepted";
  }
};

struct BentFile {
  const char* message;
  std::function<void(Json&)> bend;
};

Json& vocab(Json& j) { return j["model"]["vocab"]; }

const std::vector<BentFile> kBent{
    {"accepted", [](Json&) {}},
    {"accepted", [](Json& j) { j["model"].erase("type"); }},
    {"accepted",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}, {"cls", {"[CLS]", 2}}, {"sep", {"[SEP]", 3}}};
     }},
    {"accepted",
     [](Json& j) {
       j["added_tokens"].push_back({{"id", 57}, {"content", "<new>"}});
     }},
    {"normalizer: missing", [](Json& j) { j.erase("normalizer"); }},
    {"normalizer: missing", [](Json& j) { j = 5; }},
    {"normalizer.type: \"NFC\" is not supported (BERT tokenizers have BertNormalizer)",
     [](Json& j) { j["normalizer"]["type"] = "NFC"; }},
    {"normalizer.type: missing", [](Json& j) { j["normalizer"] = Json::array(); }},
    {"lowercase: must be true or false", [](Json& j) { j["normalizer"]["lowercase"] = "yes"; }},
    {"pre_tokenizer: missing", [](Json& j) { j["pre_tokenizer"] = nullptr; }},
    {"pre_tokenizer.type: \"ByteLevel\" is not supported (BERT tokenizers have BertPreTokenizer)",
     [](Json& j) { j["pre_tokenizer"]["type"] = "ByteLevel"; }},
    {"post_processor.type: \"RobertaProcessing\" is not supported (BERT tokenizers have TemplateProcessing)",
     [](Json& j) { j["post_processor"]["type"] = "RobertaProcessing"; }},
    {"post_processor.single: expected one special token, the text, one special token",
     [](Json& j) { j["post_processor"]["single"].erase(0); }},
    {"post_processor.special_tokens.[CLS]: missing", [](Json& j) { j["post_processor"]["special_tokens"].erase("[CLS]"); }},
    {"post_processor: id 7 is not the id of \"[SEP]\" in the vocabulary",
     [](Json& j) { j["post_processor"]["special_tokens"]["[SEP]"]["ids"] = {7}; }},
    {"post_processor: \"[SEP]\" must have one id",
     [](Json& j) {
       j["post_processor"]["special_tokens"]["[SEP]"]["ids"] = {3, 3};
     }},
    {"post_processor.sep: missing",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}, {"cls", {"[CLS]", 2}}};
     }},
    {"post_processor.cls: expected [token, id]",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}, {"cls", "[CLS]"}};
     }},
    {"post_processor: id -2 is not the id of \"[CLS]\" in the vocabulary",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}, {"cls", {"[CLS]", -2}}};
     }},
    {"model: missing", [](Json& j) { j.erase("model"); }},
    {"model.type: \"BPE\" is not supported (BERT tokenizers have WordPiece)", [](Json& j) { j["model"]["type"] = "BPE"; }},
    {"model.type: 3 is not supported (BERT tokenizers have WordPiece)", [](Json& j) { j["model"]["type"] = 3; }},
    {"model.vocab: missing", [](Json& j) { j["model"].erase("vocab"); }},
    {"model.vocab: must be an object of token: id", [](Json& j) { vocab(j) = Json::array({"a"}); }},
    {"model.vocab: \"a\" and \"b\" share id 5", [](Json& j) { vocab(j)["b"] = 5; }},
    {"model.vocab: id 56 has no token", [](Json& j) { vocab(j)["##z"] = 57; }},
    {"model.vocab: id -1 of \"b\" is out of range", [](Json& j) { vocab(j)["b"] = -1; }},
    {"model.vocab: id 4000000 of \"b\" is out of range", [](Json& j) { vocab(j)["b"] = 4000000; }},
    {"model.vocab: the id of \"b\" is not an integer", [](Json& j) { vocab(j)["b"] = 6.0; }},
    {"model.vocab: a token of 0 bytes", [](Json& j) { vocab(j)[""] = 57; }},
    {"model.vocab: a token of 1025 bytes", [](Json& j) { vocab(j)[std::string(1025, 'x')] = 57; }},
    {"the unknown token \"<unk>\" is not in the vocabulary", [](Json& j) { j["model"]["unk_token"] = "<unk>"; }},
    {"model.unk_token: must be a string", [](Json& j) { j["model"]["unk_token"] = 1; }},
    {"model.continuing_subword_prefix: must be a string",
     [](Json& j) { j["model"]["continuing_subword_prefix"] = Json::array(); }},
    {"model.vocab: the tokens have 8388738 bytes, more than 6291456",
     [](Json& j) {
       for (int i = 0; i < 8192; ++i) vocab(j)[std::to_string(10000 + i) + std::string(1019, 'x')] = 57 + i;
     }},
    {"model.max_input_chars_per_word: must be 1 to 1000", [](Json& j) { j["model"]["max_input_chars_per_word"] = 0; }},
    {"model.max_input_chars_per_word: must be 1 to 1000",
     [](Json& j) { j["model"]["max_input_chars_per_word"] = uint64_t{1} << 63; }},
    {"model.max_input_chars_per_word: must be an integer", [](Json& j) { j["model"]["max_input_chars_per_word"] = 1e300; }},
    {"added_tokens: \"[MASK]\" has lstrip, which is not supported", [](Json& j) { j["added_tokens"][4]["lstrip"] = true; }},
    {"added_tokens: \"[MASK]\" has normalized, which is not supported",
     [](Json& j) { j["added_tokens"][4]["normalized"] = true; }},
    {"added_tokens.id: missing", [](Json& j) { j["added_tokens"][0].erase("id"); }},
    {"added_tokens.id: must be an integer", [](Json& j) { j["added_tokens"][0]["id"] = "0"; }},
    {"added_tokens.content: must be a string", [](Json& j) { j["added_tokens"][0]["content"] = 0; }},
    {"model.vocab: \"[PAD]\" and \"<pad>\" share id 0", [](Json& j) { j["added_tokens"][0]["content"] = "<pad>"; }},
    {"model.vocab: \"[PAD]\" has the ids 0 and 57", [](Json& j) { j["added_tokens"][0]["id"] = 57; }},
};

TEST_F(TokenizerFiles, EachFaultOfTokenizerJsonHasItsMessage) {
  for (size_t i = 0; i < kBent.size(); ++i) {
    Json json = small_tokenizer_json();
    kBent[i].bend(json);
    EXPECT_EQ(refusal("tokenizer.json", json.dump()), kBent[i].message) << "case " << i;
  }
}

TEST_F(TokenizerFiles, BrokenJsonIsRefusedBeforeItIsUsed) {
  const std::string good = small_tokenizer_json().dump();
  EXPECT_EQ(refusal("tokenizer.json", ""), "byte 1: not valid JSON");
  EXPECT_EQ(refusal("tokenizer.json", good + "x"), "byte " + std::to_string(good.size() + 1) + ": not valid JSON");
  EXPECT_EQ(refusal("tokenizer.json", "{\"model\":1,\"model\":2}"), "duplicate key \"model\"");
  EXPECT_EQ(refusal("tokenizer.json", "{\"a\":\"\xff\"}"), "byte 6: invalid UTF-8 or NUL");
  EXPECT_EQ(refusal("tokenizer.json", std::string(17, '[') + std::string(17, ']')), "nested deeper than 16 levels");
  EXPECT_EQ(refusal("tokenizer.json", std::string(1 << 20, '[')), "nested deeper than 16 levels");
}

std::string vocab_txt(const char* line_end) {
  std::string text;
  for (const auto& token : small_vocabulary()) text += token + line_end;
  return text;
}

TEST_F(TokenizerFiles, EachFaultOfVocabTxtHasItsMessage) {
  const std::string good = vocab_txt("\n");
  EXPECT_EQ(refusal("vocab.txt", good), "accepted");
  EXPECT_EQ(refusal("vocab.txt", "[UNK]\n\n[SEP]\n"), "line 2: empty token");
  EXPECT_EQ(refusal("vocab.txt", good + "a\n"), "model.vocab: \"a\" has the ids 5 and 57");
  EXPECT_EQ(refusal("vocab.txt", "[UNK]\n[CLS]\n"), "the token \"[SEP]\" is not in the vocabulary");
  EXPECT_EQ(refusal("vocab.txt", "[CLS]\n[SEP]\n"), "the unknown token \"[UNK]\" is not in the vocabulary");
  EXPECT_EQ(refusal("vocab.txt", "[UNK]\n\x80\n"), "byte 6: invalid UTF-8 or NUL");
  EXPECT_EQ(refusal("vocab.txt", ""), "the unknown token \"[UNK]\" is not in the vocabulary");
}

TEST_F(TokenizerFiles, NoFileAtAll) {
  const std::string folder = path("empty");
  std::filesystem::create_directories(folder);
  EXPECT_THROW(
      try { load_tokenizer(folder); } catch (const ConfigError& error) {
        EXPECT_EQ(error.what(), folder + ": has neither tokenizer.json nor vocab.txt");
        throw;
      },
      ConfigError);
}

/// vocab.txt with tokenizer_config.json means the same as tokenizer.json with the same flags.
TEST_F(TokenizerFiles, VocabTxtWithConfigEqualsTokenizerJson) {
  struct Flags {
    std::string config;
    Json normalizer;
  };
  const std::vector<Flags> cases{
      {"", {}},
      {"{}", {}},
      {R"({"do_lower_case": false})", {{"lowercase", false}}},
      {R"({"do_lower_case": true, "strip_accents": false})", {{"lowercase", true}, {"strip_accents", false}}},
      {R"({"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": false})",
       {{"lowercase", false}, {"strip_accents", true}, {"handle_chinese_chars", false}}},
      {R"({"strip_accents": null, "model_max_length": 512, "cls_token": "[CLS]"})", {{"strip_accents", nullptr}}}};
  for (const auto& flags : cases) {
    const auto lines = folder_ / "lines", tree = folder_ / "tree";
    std::filesystem::create_directories(lines);
    std::filesystem::create_directories(tree);
    write("lines/vocab.txt", vocab_txt(flags.config.size() % 2 ? "\r\n" : "\n"));
    if (!flags.config.empty()) write("lines/tokenizer_config.json", flags.config);
    Json json = small_tokenizer_json();
    for (const auto& [name, value] : flags.normalizer.items()) json["normalizer"][name] = value;
    write("tree/tokenizer.json", json.dump());
    const auto a = load_tokenizer(lines.string()), b = load_tokenizer(tree.string());
    for (const char* text : {"abc ABC", "d\u00e9j\u00e0 vu", "a\u4e2db", "x[MASK]y [SEP]", "\u0130\u00c9", ""}) {
      const Encoding x = a->encode(text), y = b->encode(text);
      EXPECT_TRUE(x.ids == y.ids && x.begin == y.begin && x.end == y.end && x.words == y.words) << flags.config << text;
    }
    std::filesystem::remove(lines / "tokenizer_config.json");
  }
}

}  // namespace
}  // namespace fmtrain

// Exact evaluation: the same figures on every number of ranks, and for every packing.
#include "runtime/evaluator.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "comm/thread_communicator.h"
#include "runtime/data/prepare.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

class Evaluator : public TinyModelFolder {
 protected:
  std::unique_ptr<Dataset> open(const std::string& name, const std::string& text, Task task, int64_t max_length = 8) const {
    write(name, text);
    PrepareOptions options;
    options.task = task;
    options.max_length = max_length;
    prepare_file(path(name), options, *tokenizer_, path(name + ".h5"));
    return open_dataset(path(name + ".h5"), tokenizer_->vocab_size());
  }
  /// Texts of 1 to 11 words, of which every fifth has no token; the longer ones become several samples.
  static std::string tagged(int texts) {
    std::string result;
    for (int t = 0; t < texts; ++t) {
      for (int w = 0; w <= (t * 7) % 11; ++w) {
        const int n = t + 3 * w;
        result += n % 5 == 4 ? "\u200b" : std::string(1 + static_cast<size_t>(n % 2), static_cast<char>('a' + n % 26));
        result += n % 3 ? "\tO\n" : "\tB-P\n";
      }
      result += "\n";
    }
    return result;
  }
  static std::string classes(int texts) {
    std::string result = "text,label\n";
    for (int t = 0; t < texts; ++t)
      result += std::string(1 + static_cast<size_t>(t % 5), static_cast<char>('a' + t % 26)) + (t % 3 ? ",x\n" : ",y\n");
    return result;
  }
};

Json timeless(Json json) {
  for (const char* key : {"seconds", "samples_per_s", "tokens_per_s"}) json.erase(key);
  return json;
}

Json evaluated(const Dataset& data, int ranks) {
  std::vector<Json> results(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    const auto model = make_bert(tiny_shape(data.info().task, static_cast<int64_t>(data.info().labels.size())), 11);
    results[static_cast<size_t>(comm.rank())] = timeless(evaluate(*model, data, comm, 20));
  });
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
  return results[0];
}

TEST_F(Evaluator, EveryNumberOfRanksGivesTheSameFigures) {
  for (const int texts : {1, 2, 3, 4, 127, 1009}) {  // 1009 make several batches; small sets leave ranks without any
    const auto name = std::to_string(texts);
    const auto tags = open(name + ".conll", tagged(texts), Task::kTokenClassification);
    EXPECT_TRUE(texts < 127 || tags->size() > tags->info().texts);                           // some were split
    const auto labels = open(name + ".csv", classes(texts), Task::kSequenceClassification);  // of 1 text: one class
    for (const auto* data : {tags.get(), labels.get()}) {
      const Json one = evaluated(*data, 1);
      EXPECT_EQ(one.at("texts"), texts);
      for (int ranks = 2; ranks <= 5; ++ranks) EXPECT_EQ(evaluated(*data, ranks), one) << texts << " texts on " << ranks;
    }
  }
}

TEST_F(Evaluator, BatchesHoldEverySampleOnceAndWholeTexts) {
  const auto data = open("in.conll", tagged(127), Task::kTokenClassification);
  for (const int64_t budget : {1, 20, 100, 1'000'000}) {
    std::map<int64_t, size_t> batch_of_text;
    std::vector<int64_t> seen;
    const auto batches = evaluation_batches(*data, budget);
    for (size_t b = 0; b < batches.size(); ++b) {
      int64_t tokens = 0;
      for (const auto id : batches[b]) {
        seen.push_back(id);
        tokens += data->lengths()[static_cast<size_t>(id)];
        EXPECT_EQ(batch_of_text.emplace(data->texts()[static_cast<size_t>(id)], b).first->second, b);
      }
      const auto text = data->texts()[static_cast<size_t>(batches[b][0])];
      const bool one_text = text == data->texts()[static_cast<size_t>(batches[b].back())];
      EXPECT_TRUE(tokens <= budget || one_text) << tokens;
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(static_cast<int64_t>(seen.size()), data->size());
    for (int64_t id = 0; id < data->size(); ++id) EXPECT_EQ(seen[static_cast<size_t>(id)], id);
  }
}

TEST_F(Evaluator, PackedTextsArePredictedAsAlone) {
  const auto data = open("in.conll", tagged(31), Task::kTokenClassification);
  const auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 11);
  const at::NoGradGuard no_grad;
  const auto predictions = [&](const std::vector<int64_t>& ids, size_t first, size_t last) {
    const Batch batch = data->get(ids);
    const auto best = model->logits(batch, Pass{}).argmax(1);
    const std::span rows(best.data_ptr<int64_t>(), static_cast<size_t>(best.numel()));
    return text_predictions(*data, std::span(ids).subspan(first, last - first), batch, static_cast<int64_t>(first), rows);
  };
  std::vector<int64_t> all;
  for (int64_t id = 0; id < data->size(); ++id) all.push_back(id);
  std::set<int32_t> labels;
  for (size_t id = 0; id < all.size(); ++id) {
    const auto alone = predictions({all[id]}, 0, 1);
    EXPECT_EQ(predictions(all, id, id + 1), alone);
    const auto words = data->words(all[id]);
    ASSERT_EQ(alone.size(), words.gold.size());
    for (size_t w = 0; w < alone.size(); ++w) EXPECT_TRUE(words.token[w] >= 0 || alone[w] == 0);
    labels.insert(alone.begin(), alone.end());
  }
  EXPECT_GT(labels.size(), 1u);  // the model says different things, so that equality says something
}

}  // namespace
}  // namespace fmtrain

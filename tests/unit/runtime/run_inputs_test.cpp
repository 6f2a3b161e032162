// All ranks start from the same data, or none goes on.
#include "runtime/run_inputs.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <atomic>

#include "comm/thread_communicator.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

class RunInputsTest : public TinyModelFolder {
 protected:
  Config config(const std::string& data) const {
    Config config;
    config.model.path = path("base");
    config.model.init = Init::kRandom;
    config.data.train = path(data);
    config.data.max_length = 16;
    return config;
  }
  void prepare(const std::string& name, const std::string& text) const {
    write("in.conll", text);
    PrepareOptions options;
    options.max_length = 16;
    prepare_file(path("in.conll"), options, *tokenizer_, path(name));
  }
};

TEST_F(RunInputsTest, AFileThatIsReplacedBetweenTwoRanksIsRefusedByAll) {
  prepare("one.h5", "ab\tB-P\nc\tO\n");
  prepare("two.h5", "ab\tB-P\nd\tO\n");
  std::filesystem::copy_file(path("one.h5"), path("same.h5"));
  std::atomic<int> loaded{0}, refused{0};
  for (const char* last : {"same.h5", "two.h5"})
    run_ranks(3, [&](Communicator& comm) {
      const Config mine = config(comm.rank() == 2 ? last : "one.h5");
      try {
        load_inputs(mine, comm, at::kCPU);
        ++loaded;
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("ranks read other data than rank 0"));
        ++refused;
      }
    });
  EXPECT_EQ(loaded, 3);
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace fmtrain

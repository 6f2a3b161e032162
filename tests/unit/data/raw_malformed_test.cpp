// Each malformed raw file: exit code 3, one exact message with the place, nothing written.
#include <gmock/gmock.h>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/data/malformed.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

class RawMalformed : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    tokenizer_ = small_tokenizer(folder_ / "model");
  }
  /// The message of preparing `file`, with "@" for its path.
  std::string refusal(const std::string& file, const PrepareOptions& options) {
    try {
      prepare_file(path(file), options, *tokenizer_, path("out.h5"));
    } catch (const DataError& error) {
      EXPECT_EQ(error.code(), ExitCode::kData);
      std::string what = error.what();
      for (size_t at; (at = what.find(path(file))) != std::string::npos;) what.replace(at, path(file).size(), "@");
      return what;
    }
    return "accepted";
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) names.push_back(entry.path().filename());
    return names;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(RawMalformed, EachHasItsMessageAndNothingIsWritten) {
  const auto all = malformed_files();
  ASSERT_GE(all.size(), 70u);
  for (const auto& file : all) {
    write(file.name, file.content);
    EXPECT_EQ(refusal(file.name, options_for(file)), file.message) << testing::PrintToString(file.content.substr(0, 200));
    EXPECT_THAT(files(), testing::UnorderedElementsAre("model", file.name));
    std::filesystem::remove(path(file.name));
  }
}

TEST_F(RawMalformed, WhatIsNoFile) {
  PrepareOptions options;
  EXPECT_EQ(refusal("missing.conll", options), "@: no such file");
  EXPECT_EQ(refusal("model", options), "@: no such file");
}

}  // namespace
}  // namespace fmtrain

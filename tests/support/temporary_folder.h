// A folder of its own for each test, gone afterwards.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "runtime/file_ops.h"

namespace fmtrain {

class TemporaryFolder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + "_" + test->name() + "_" + std::to_string(::getpid());
    std::replace(name.begin(), name.end(), '/', '_');  // of a parameterised test
    folder_ = std::filesystem::path(testing::TempDir()) / name;
    remove_tree(posix_files(), folder_.string());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { remove_tree(posix_files(), folder_.string()); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string content(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / name, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name, std::ios::binary) << text; }

  std::filesystem::path folder_;
};

}  // namespace fmtrain

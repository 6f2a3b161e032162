// Configs in a folder of their own, with the files they name.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/errors.h"
#include "runtime/model_path.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {

/// What a config needs at least; whatever follows it begins in line 3.
const std::string kLeastConfig = "model: {path: m}\ndata: {train: t.conll}\n";

/// The folder holds m/config.json, t.conll, v.conll, d.csv and the empty folder/; the model cache is home/, and empty.
class ConfigFolder : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    for (const char* name : {"m", "folder", "home"}) std::filesystem::create_directory(path(name));
    write("m/config.json", "{}");
    for (const char* name : {"t.conll", "v.conll", "d.csv"}) write(name, "a O\n");
    set_cache_dir(path("home"));
  }

  Config load(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    write("c.yaml", text);
    return load_config(path("c.yaml"), overrides);
  }

  /// The message for a config that must be refused with exit code 2; the folder's own path is taken out of it.
  std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    try {
      load(text, overrides);
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.code(), ExitCode::kConfig);
      return without_folder(error.what());
    }
    return "(accepted)";
  }

  std::string without_folder(std::string text) const {
    for (size_t at; (at = text.find(path(""))) != std::string::npos;) text.erase(at, path("").size());
    return text;
  }
};

}  // namespace fmtrain

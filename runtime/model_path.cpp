#include "runtime/model_path.h"

#include <filesystem>
#include <utility>

#include "runtime/errors.h"

namespace fmtrain {

namespace {

std::string cache = ".cache/fmtrain";

}  // namespace

const std::string& cache_dir() { return cache; }
void set_cache_dir(std::string folder) { cache = std::move(folder); }

std::string resolve_model(const std::string& model) {
  namespace fs = std::filesystem;
  const auto is_model = [](const std::string& dir) { return fs::exists(dir + "/config.json") || fs::exists(dir + "/tokenizer.json"); };
  if (is_model(model)) return model;
  const std::string cached = cache_dir() + "/" + model;
  if (model.find('/') == std::string::npos && is_model(cached)) return cached;
  throw ConfigError("model " + quoted(model) + " is neither a directory with a config.json nor a name in the model cache " + cache_dir() +
                    "; name the folder of its weights and tokenizer (launch/setup.sh of the sources fetches that of the example configs)");
}

}  // namespace fmtrain

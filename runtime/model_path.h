// Where a model lies: the names a user may write.
#pragma once
#include <string>

namespace fmtrain {

/// $FMTRAIN_HOME, else ~/.cache/fmtrain.
std::string cache_dir();

/// The directory meant by `model`: an existing directory, or a name in the model cache. Throws ConfigError that says where it
/// looked.
std::string resolve_model(const std::string& model);

}  // namespace fmtrain

// Where a model lies: the names a user may write.
#pragma once
#include <string>

namespace fmtrain {

/// Where models and prepared data are kept: what set_cache_dir() said last, before that ".cache/fmtrain".
const std::string& cache_dir();
void set_cache_dir(std::string folder);  ///< of the whole process, before anything is read

/// The directory meant by `model`: an existing directory, or a name in the model cache. Throws ConfigError that says where it
/// looked.
std::string resolve_model(const std::string& model);

}  // namespace fmtrain

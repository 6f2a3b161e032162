// Configs that must be refused, with the whole message.
#pragma once
#include <string>
#include <vector>

namespace fmtrain {

struct WrongConfig {
  std::string text;
  std::string message;  ///< all lines; "c.yaml:" before each is left out
  bool schema = true;   ///< the JSON Schema refuses it too
};

/// One thing wrong in each.
const std::vector<WrongConfig>& wrong_configs();

}  // namespace fmtrain

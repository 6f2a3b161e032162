// Raw files that are wrong, and what is said about them. "@" in a message stands for the path of the file.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "runtime/data/prepare.h"

namespace fmtrain {

struct Malformed {
  std::string name, content, message;
  std::function<void(PrepareOptions&)> set = [](PrepareOptions&) {};
};

/// Options for a file of that name: tagging for .conll, else classification; CLINC150's list "train".
PrepareOptions options_for(const Malformed& file);

std::vector<Malformed> malformed_files();

}  // namespace fmtrain

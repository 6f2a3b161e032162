// One letter changed in any key of the reference is found and the key is suggested (a mistyped key must never train with
// defaults).
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/unit/config/config_folder.h"

namespace fmtrain {
namespace {

std::string reference() {
  std::ostringstream text;
  text << std::ifstream(FMTRAIN_SOURCE_DIR "/configs/reference.yaml").rdbuf();
  return text.str();
}

/// A key of the reference, or a section.
struct Named {
  std::string name, parent;
  size_t begin = 0;  ///< byte of the name
  int line = 0, column = 0;
};

std::vector<Named> names_of(const std::string& yaml) {
  std::vector<Named> names;
  std::vector<std::string> open;
  std::istringstream lines(yaml);
  size_t begin = 0;
  int number = 0;
  for (std::string line; std::getline(lines, line); begin += line.size() + 1) {
    ++number;
    const auto indent = line.find_first_not_of(' ');
    if (indent == std::string::npos || line[indent] == '#') continue;
    open.resize(indent / 2);
    std::string parent;
    for (const auto& o : open) parent += (parent.empty() ? "" : ".") + o;
    names.push_back(
        {line.substr(indent, line.find(':') - indent), parent, begin + indent, number, static_cast<int>(indent) + 1});
    open.push_back(names.back().name);
  }
  return names;
}

/// A letter dropped, replaced, doubled, or swapped with its neighbour.
std::set<std::string> typos(const std::string& name) {
  std::set<std::string> all;
  for (size_t i = 0; i < name.size(); ++i) {
    const char other = name[i] == 'q' ? 'x' : 'q';
    all.insert(name.substr(0, i) + name.substr(i + 1));
    all.insert(name.substr(0, i) + other + name.substr(i + 1));
    all.insert(name.substr(0, i) + name[i] + name.substr(i));
    if (i > 0) all.insert(name.substr(0, i - 1) + name[i] + name[i - 1] + name.substr(i + 1));
  }
  all.erase(name);
  all.erase("");
  return all;
}

using ConfigTypos = ConfigFolder;

TEST_F(ConfigTypos, EveryKeyAndEveryLetter) {
  const std::string text = reference();
  const auto names = names_of(text);
  ASSERT_GT(names.size(), 60u);
  for (const auto& n : names)
    for (const auto& typo : typos(n.name)) {
      auto changed = text;
      changed.replace(n.begin, n.name.size(), typo);
      const auto path = (n.parent.empty() ? "" : n.parent + ".") + typo;
      const auto expected = "c.yaml:" + std::to_string(n.line) + ":" + std::to_string(n.column) + ": " + path +
                            ": unknown key (did you mean " + n.name + "?)";
      const auto message = refusal(changed) + "\n";
      EXPECT_NE(message.find(expected + "\n"), std::string::npos) << "expected " << expected << "\nin " << message;
    }
}

}  // namespace
}  // namespace fmtrain

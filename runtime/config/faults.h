// What is wrong with a config, and where: collected, then told at once.
#pragma once
#include <string>
#include <vector>

namespace fmtrain {

/// A place in a config file, or "--set" for an override.
struct Place {
  std::string source;
  int line = 0, column = 0;  ///< from 1; 0: no place inside the source
  std::string text() const;  ///< "file:line:column", or the source alone
  std::string row() const;   ///< "file:line", or the source alone
};

class Faults {
 public:
  /// `path` is the key concerned; empty: none.
  void add(const Place& place, const std::string& path, const std::string& what);
  bool empty() const { return list_.empty(); }
  /// Throws a ConfigError with one line a fault, in the order of the file, overrides last; at most 50 lines.
  [[noreturn]] void raise() const;

 private:
  struct Fault {
    Place place;
    std::string line;
  };
  std::vector<Fault> list_;
};

}  // namespace fmtrain

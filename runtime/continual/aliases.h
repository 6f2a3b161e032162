// Which versions are in use: aliases.json of a registry, always replaced whole.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// A change of aliases, as a line of audit.jsonl.
struct AuditRecord {
  int64_t number = 0;  ///< from 1, without gaps
  int64_t time = 0;    ///< seconds since 1970, UTC
  std::string action;  ///< promote, reject, challenge, rollback
  int64_t version = 0;
  int64_t fence = 0;
  std::string reason;
  bool operator==(const AuditRecord&) const = default;
};

struct Aliases {
  int64_t champion = 0, previous = 0, challenger = 0;  ///< versions; 0: none
  int64_t fence = 0;                                   ///< generation of the lock of who wrote it last; never becomes smaller
  std::vector<int64_t> promoted;                       ///< every version that was ever champion, in the order they became it
  AuditRecord last;  ///< the change that led here (number 0: none yet): a kill before its line of audit.jsonl loses nothing
};

/// ConfigError where parse_aliases would not take it.
std::string print_aliases(const Aliases& aliases);
/// Throws std::runtime_error that says what is wrong.
Aliases parse_aliases(const Json& record);

/// A line without its end; the record of one.
std::string print_audit(const AuditRecord& record);
AuditRecord parse_audit(const Json& record);

}  // namespace fmtrain

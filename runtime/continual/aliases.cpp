#include "runtime/continual/aliases.h"

#include <stdexcept>

#include "runtime/continual/lineage.h"
#include "runtime/continual/sealed_json.h"

namespace fmtrain {
namespace {

Json name_or_null(int64_t version) { return version ? Json(version_name(version)) : Json(nullptr); }

int64_t version_member(const Json& record, const char* name) {
  if (record.at(name).is_null()) return 0;
  const int64_t version = version_of(text_of(record, name));
  if (!version) throw std::runtime_error(std::string(name) + " is no version");
  return version;
}

Json audit_json(const AuditRecord& r) {
  return {{"number", r.number}, {"time", r.time},    {"action", r.action}, {"version", name_or_null(r.version)},
          {"fence", r.fence},   {"reason", r.reason}};
}

}  // namespace

std::string print_aliases(const Aliases& a) {
  Json promoted = Json::array();
  for (const int64_t version : a.promoted) promoted.push_back(version_name(version));
  return seal_readable({{"format", 1},
                        {"champion", name_or_null(a.champion)},
                        {"previous", name_or_null(a.previous)},
                        {"challenger", name_or_null(a.challenger)},
                        {"fence", a.fence},
                        {"promoted", promoted},
                        {"last", a.last.number ? audit_json(a.last) : Json(nullptr)}},
                       parse_aliases);
}

Aliases parse_aliases(const Json& record) {
  require_members(record, {"format", "champion", "previous", "challenger", "fence", "promoted", "last"});
  whole_of(record, "format", 1, 1);
  Aliases a{version_member(record, "champion"),
            version_member(record, "previous"),
            version_member(record, "challenger"),
            whole_of(record, "fence"),
            {},
            record.at("last").is_null() ? AuditRecord{} : parse_audit(record.at("last"))};
  if (!record.at("promoted").is_array()) throw std::runtime_error("promoted is not a list");
  for (const Json& name : record.at("promoted")) {
    a.promoted.push_back(name.is_string() ? version_of(name.get<std::string>()) : 0);
    if (!a.promoted.back()) throw std::runtime_error("promoted holds what is no version");
  }
  return a;
}

std::string print_audit(const AuditRecord& record) {
  return audit_json(record).dump(-1, ' ', false, Json::error_handler_t::replace);
}

AuditRecord parse_audit(const Json& record) {
  require_members(record, {"number", "time", "action", "version", "fence", "reason"});
  return {whole_of(record, "number", 1),     whole_of(record, "time"),  text_of(record, "action", 32),
          version_member(record, "version"), whole_of(record, "fence"), text_of(record, "reason")};
}

}  // namespace fmtrain

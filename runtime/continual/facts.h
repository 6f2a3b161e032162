// What a registry says of itself, read without a lock: for `fmtrain continual status | list | lineage` and the page.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/config/config.h"
#include "runtime/continual/cycle.h"
#include "runtime/continual/drift_history.h"

namespace fmtrain {

Brakes brakes_of(const ContinualSection& config);

/// page.h's facts, with "aliases" {champion, previous, challenger}, "unfinished" (number and stage of a cycle; null) and "versions"
/// (as version_facts). Times are seconds since 1970.
Json continual_facts(Registry& registry, const Config& config, int64_t now);

/// {"versions": [{"version", "parent", "alias", "verdict", "trigger", "has_weights", "serving_since"}]}, oldest first.
Json version_facts(Registry& registry);

/// {"version", "verified", "lineage": {...}, "ancestors": [{"version", "base_sha256", "dataset_sha256", ...}, ...]}: which data, base,
/// config and parent, back to the first version. Hashes the version's files where they are there: CheckpointError for a changed byte.
Json lineage_facts(Registry& registry, int64_t version);

std::string version_text(const Json& facts);  ///< of version_facts, a line each
std::string lineage_text(const Json& facts);
std::string status_text(const Json& facts);   ///< of continual_facts

}  // namespace fmtrain

// What a version of a model was made from: VERSION/lineage.json, and a copy in cards/ that outlives the weights.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

struct StoredFile {
  std::string name, sha256;
  int64_t bytes = 0;
  bool operator==(const StoredFile&) const = default;
};

struct Lineage {
  int64_t version = 0;
  int64_t parent = 0;          ///< version the training started from; 0: the base model
  std::string base_sha256;     ///< of the pretrained weights; "": random
  std::string dataset_sha256;  ///< of the manifest of the examples trained on
  std::string replay_sha256;   ///< of the manifest of those that were replayed; "": none
  std::string config_sha256;
  std::string code_version;
  uint64_t seed = 0;
  Json trigger, gate;             ///< the records of why it was trained and why it was promoted or not; null: none
  Json privacy;                   ///< privacy ledger; null: none
  std::vector<StoredFile> files;  ///< of the version's directory without lineage.json, by name
};

/// ConfigError where parse_lineage would not take it, or would find other files.
std::string print_lineage(const Lineage& lineage);
/// Throws std::runtime_error that says what is wrong: also where a file's name is no plain name, or stands there twice.
Lineage parse_lineage(const Json& record);

/// Not empty, at most 255 bytes, no '/', no control character, and no '.' in front: what a version's directory may hold.
bool is_plain_name(const std::string& name);
/// "000123", of 1..999999; 0 where a name is none.
std::string version_name(int64_t version);
int64_t version_of(const std::string& name);

}  // namespace fmtrain

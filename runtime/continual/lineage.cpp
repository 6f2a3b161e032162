#include "runtime/continual/lineage.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <stdexcept>

#include "runtime/continual/sealed_json.h"

namespace fmtrain {
namespace {

constexpr int64_t kLargestVersion = 999'999;
constexpr size_t kVersionDigits = 6;

/// As text: JSON readers may round numbers above 2^53.
uint64_t parse_seed(const std::string& text) {
  uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size()) throw std::runtime_error("seed is not a whole number");
  return seed;
}

StoredFile parse_file(const Json& record) {
  require_members(record, {"name", "bytes", "sha256"});
  StoredFile file{text_of(record, "name"), sha256_of(record, "sha256"), whole_of(record, "bytes")};
  if (!is_plain_name(file.name) || file.name == "lineage.json") throw std::runtime_error("files holds a name that cannot be");
  return file;
}

}  // namespace

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || c < 0x20 || c == 0x7F; });
}

std::string version_name(int64_t version) {
  char text[24];
  std::snprintf(text, sizeof text, "%06lld", static_cast<long long>(version));
  return text;
}

int64_t version_of(const std::string& name) {
  if (name.size() != kVersionDigits || name.find_first_not_of("0123456789") != std::string::npos) return 0;
  return std::stoll(name);
}

std::string print_lineage(const Lineage& l) {
  Json files = Json::array();
  for (const auto& file : l.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  const auto check = [&](const Json& record) {
    // A name that is no UTF-8 would come back as another one, and the version would lack its file for ever.
    if (parse_lineage(record).files != l.files) throw std::runtime_error("files holds a name that is not valid UTF-8");
  };
  return seal_readable({{"format", 1},
                        {"version", l.version},
                        {"parent", l.parent},
                        {"base_sha256", l.base_sha256},
                        {"dataset_sha256", l.dataset_sha256},
                        {"replay_sha256", l.replay_sha256},
                        {"config_sha256", l.config_sha256},
                        {"code_version", l.code_version},
                        {"seed", std::to_string(l.seed)},
                        {"trigger", l.trigger},
                        {"gate", l.gate},
                        {"privacy", l.privacy},
                        {"files", files}},
                       check);
}

Lineage parse_lineage(const Json& record) {
  require_members(record, {"format", "version", "parent", "base_sha256", "dataset_sha256", "replay_sha256", "config_sha256",
                           "code_version", "seed", "trigger", "gate", "privacy", "files"});
  whole_of(record, "format", 1, 1);
  Lineage l;
  l.version = whole_of(record, "version", 1, kLargestVersion);
  l.parent = whole_of(record, "parent", 0, kLargestVersion);
  l.base_sha256 = sha256_of(record, "base_sha256", true);
  l.dataset_sha256 = sha256_of(record, "dataset_sha256");
  l.replay_sha256 = sha256_of(record, "replay_sha256", true);
  l.config_sha256 = sha256_of(record, "config_sha256");
  l.code_version = text_of(record, "code_version");
  l.seed = parse_seed(text_of(record, "seed", 20));
  l.trigger = record.at("trigger");
  l.gate = record.at("gate");
  l.privacy = record.at("privacy");
  if (!record.at("files").is_array()) throw std::runtime_error("files is not a list");
  for (const Json& file : record.at("files")) l.files.push_back(parse_file(file));
  const auto not_sorted = [](const StoredFile& a, const StoredFile& b) { return a.name >= b.name; };
  if (std::adjacent_find(l.files.begin(), l.files.end(), not_sorted) != l.files.end())
    throw std::runtime_error("files is not sorted by name");
  return l;
}

}  // namespace fmtrain

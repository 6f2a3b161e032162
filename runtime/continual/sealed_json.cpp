#include "runtime/continual/sealed_json.h"

#include <algorithm>
#include <stdexcept>

#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kLimit = size_t{64} << 20;
constexpr std::string_view kMark = ",\"sha256\":\"", kEnd = "\"}\n";
constexpr size_t kHashDigits = 64;

[[noreturn]] void wrong(const char* name, const char* what) { throw std::runtime_error(std::string(name) + " " + what); }

const Json& member(const Json& record, const char* name) {
  if (!record.is_object() || !record.contains(name)) wrong(name, "is missing");
  return record.at(name);
}

}  // namespace

std::string seal(const Json& record) {
  std::string text = record.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.pop_back();  // the closing brace
  return text + std::string(kMark) + sha256_hex(text.data(), text.size()) + std::string(kEnd);
}

std::string seal_readable(const Json& record, const std::function<void(const Json&)>& parse) {
  std::string text = seal(record);
  try {
    parse(unseal(text));
  } catch (const std::exception& error) {
    throw ConfigError(std::string("a record that could not be read again is not written: ") + error.what());
  }
  return text;
}

Json unseal(std::string_view text) {
  constexpr size_t tail = kMark.size() + kHashDigits + kEnd.size();
  if (text.size() <= tail) throw std::runtime_error("too short");
  const auto content = text.substr(0, text.size() - tail), rest = text.substr(text.size() - tail);
  if (!rest.starts_with(kMark) || !rest.ends_with(kEnd)) throw std::runtime_error("does not end with its SHA-256");
  if (rest.substr(kMark.size(), kHashDigits) != sha256_hex(content.data(), content.size()))
    throw std::runtime_error("does not match its own SHA-256");
  // Only now: of what is parsed every byte is known to be what was written.
  Json record = parse_json(text, {kLimit, 16});
  record.erase("sha256");
  return record;
}

Json read_sealed(FileOps& files, const std::string& path) {
  const std::string text = read_file(files, path, kLimit, Links::kRefuse);
  try {
    return unseal(text);
  } catch (const std::exception& error) {
    throw CheckpointError(path + ": " + error.what() + "; it was damaged or changed by hand");
  }
}

void require_members(const Json& record, std::initializer_list<const char*> names) {
  for (const char* name : names) member(record, name);
  for (const auto& [name, value] : record.items())
    if (std::none_of(names.begin(), names.end(), [&](const char* known) { return name == known; }))
      throw std::runtime_error("unknown member " + quoted(std::string(name)));
}

std::string text_of(const Json& record, const char* name, size_t longest) {
  const Json& value = member(record, name);
  if (!value.is_string()) wrong(name, "is not a text");
  auto text = value.get<std::string>();
  if (text.size() > longest) wrong(name, "is too long");
  return text;
}

int64_t whole_of(const Json& record, const char* name, int64_t first, int64_t last) {
  const Json& value = member(record, name);
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}))
    wrong(name, "is not a whole number");
  const auto number = value.get<int64_t>();
  if (number < first || number > last) wrong(name, "is out of range");
  return number;
}

std::string sha256_of(const Json& record, const char* name, bool may_be_empty) {
  auto text = text_of(record, name);
  const bool digits = text.size() == kHashDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!digits && !(may_be_empty && text.empty())) wrong(name, "is not a SHA-256");
  return text;
}

}  // namespace fmtrain

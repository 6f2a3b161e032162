#include "runtime/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

constexpr int64_t kMaxTensors = 100'000, kMaxName = 512;

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

/// elements * size, or -1 when it overflows.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t size) {
  int64_t total = size;
  for (const auto n : shape)
    if (n < 0 || __builtin_mul_overflow(total, n, &total)) return -1;
  return total;
}

SafetensorsHeader& sorted(SafetensorsHeader& header) {
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  return header;
}

/// nlohmann-json would turn 1.5, true and 2^63 into some int64 without a word.
int64_t whole_number(const SortedJson& json) {
  if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX))
    refuse("not a whole number");
  const auto value = json.get<int64_t>();
  if (value < 0) refuse("a negative number");
  return value;
}

std::vector<int64_t> whole_numbers(const SortedJson& json) {
  if (!json.is_array()) refuse("not a list of numbers");
  std::vector<int64_t> values;
  for (const auto& value : json) values.push_back(whole_number(value));
  return values;
}

const SortedJson& member(const SortedJson& entry, const char* name) {
  const auto found = entry.find(name);
  if (found == entry.end()) refuse("expected dtype, shape and data_offsets");
  return *found;
}

Safetensor read_tensor(const std::string& name, const SortedJson& entry) {
  if (!entry.is_object() || entry.size() != 3) refuse("expected dtype, shape and data_offsets");
  const auto& dtype = member(entry, "dtype");
  if (!dtype.is_string()) refuse("dtype is not a string");
  const auto offsets = whole_numbers(member(entry, "data_offsets"));
  if (offsets.size() != 2) refuse("data_offsets are not two numbers");
  return {name, dtype.get<std::string>(), whole_numbers(member(entry, "shape")), offsets[0], offsets[1]};
}

void read_metadata(const SortedJson& entry, std::map<std::string, std::string>& metadata) {
  if (!entry.is_object()) refuse("__metadata__ is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) refuse("__metadata__ holds more than strings");
    metadata[key] = value.get<std::string>();
  }
}

SafetensorsHeader read_entries(const SortedJson& json) {
  SafetensorsHeader header;
  if (!json.is_object()) refuse("the header is not a JSON object");
  if (static_cast<int64_t>(json.size()) > kMaxTensors) refuse("more than 100,000 tensors");
  for (const auto& [name, entry] : json.items()) {
    if (static_cast<int64_t>(name.size()) > kMaxName) refuse("a tensor name of more than 512 bytes");
    try {
      if (name == "__metadata__") read_metadata(entry, header.metadata);
      else header.tensors.push_back(read_tensor(name, entry));
    } catch (const std::exception& error) {
      refuse((name == "__metadata__" ? "" : "tensor " + quoted(name) + ": ") + error.what());
    }
  }
  return header;
}

void check_tiling(const SafetensorsHeader& header, int64_t data_bytes) {
  int64_t at = 0;
  for (const auto& t : header.tensors) {
    const std::string name = "tensor " + quoted(t.name) + ": ";
    const int64_t size = dtype_bytes(t.dtype);
    if (size == 0) refuse(name + "unknown dtype " + quoted(t.dtype));
    if (t.begin != at)
      refuse(name + "starts at byte " + std::to_string(t.begin) + ", expected " + std::to_string(at) + " (gap or overlap)");
    if (t.end < t.begin || checked_bytes(t.shape, size) != t.end - t.begin)
      refuse(name + "its shape does not have the bytes it claims");
    at = t.end;
  }
  if (at != data_bytes)
    refuse("the tensors take " + std::to_string(at) + " bytes, the file holds " + std::to_string(data_bytes));
}

/// Zip archives and pickles of protocol 2 to 5. Asked only when the file cannot be safetensors: a header of 19,280 bytes
/// begins like a zip archive, one of 66,688 like a pickle.
bool looks_like_pickle(std::string_view prefix) {
  return prefix.substr(0, 2) == "PK" || (prefix[0] == '\x80' && prefix[1] >= 2 && prefix[1] <= 5);
}

[[noreturn]] void refuse_pickle() {
  refuse("is a pickle file, which may run code when it is read; convert it to safetensors in a sandbox first");
}

uint64_t header_length(std::string_view prefix) {
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), 8);
  return length;
}

/// The JSON text, without the blanks that may follow it.
std::string_view header_text(std::string_view prefix, int64_t file_size) {
  if (file_size < 8 || prefix.size() < 8) refuse("shorter than 8 bytes");
  const uint64_t length = header_length(prefix);
  const bool fits = length <= static_cast<uint64_t>(kMaxSafetensorsHeader) && static_cast<int64_t>(length) + 8 <= file_size;
  if (looks_like_pickle(prefix) && (!fits || prefix.size() < 9 || prefix[8] != '{')) refuse_pickle();
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeader))
    refuse("claims a header of " + std::to_string(length) + " bytes, more than 100,000,000");
  if (!fits) refuse("claims a header of " + std::to_string(length) + " bytes, the file has " + std::to_string(file_size));
  if (prefix.size() < 8 + length) refuse("the header is cut off");
  std::string_view text = prefix.substr(8, length);
  if (text.empty() || text[0] != '{') refuse("the header does not start with {");
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (text.back() != '}') refuse("the header does not end with } and blanks");
  return text;
}

}  // namespace

int64_t dtype_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes{{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                                                    {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1},
                                                    {"U16", 2}, {"U32", 4}, {"U64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::string_view prefix, int64_t file_size) {
  const auto text = header_text(prefix, file_size);
  SafetensorsHeader header = read_entries(parse_sorted_json(text, {static_cast<size_t>(kMaxSafetensorsHeader), 8}));
  header.data_start = 8 + static_cast<int64_t>(header_length(prefix));
  check_tiling(sorted(header), file_size - header.data_start);
  return header;
}

std::string make_safetensors_header(SafetensorsHeader& header) {
  Json json = Json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  int64_t at = 0;
  for (auto& t : header.tensors) {
    t.begin = at;
    t.end = at += checked_bytes(t.shape, dtype_bytes(t.dtype));
    json[t.name] = Json{{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {t.begin, t.end}}};
  }
  std::string text = json.dump();
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');
  const uint64_t length = text.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  header.data_start = static_cast<int64_t>(out.size() + text.size());
  return out + text;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  auto& files = posix_files();
  if (const int error = files.open(path, &fd_)) throw ConfigError(path + ": cannot open: " + std::strerror(error));
  try {
    int64_t bytes = 0;
    if (const int error = files.size(fd_, &bytes)) refuse(std::string("cannot be read: ") + std::strerror(error));
    start_.resize(8);
    if (bytes < 8) refuse("shorter than 8 bytes");
    if (const int error = files.read(fd_, start_.data(), 8, 0)) refuse(std::string("cannot be read: ") + std::strerror(error));
    if (const uint64_t length = header_length(start_);
        length <= static_cast<uint64_t>(std::min(kMaxSafetensorsHeader, bytes - 8))) {
      start_.resize(8 + length);
      if (const int error = files.read(fd_, start_.data(), start_.size(), 0))
        refuse(std::string("cannot be read: ") + std::strerror(error));
    }
    header_ = parse_safetensors_header(start_, bytes);
  } catch (const std::exception& error) {
    files.close(fd_);
    throw ConfigError(path + ": " + error.what());
  }
}

SafetensorsFile::~SafetensorsFile() { posix_files().close(fd_); }

void SafetensorsFile::read(size_t tensor, void* to) const {
  read(tensor, [at = static_cast<char*>(to)](std::string_view piece) mutable { at = std::copy(piece.begin(), piece.end(), at); });
}

void SafetensorsFile::read(size_t tensor, const std::function<void(std::string_view)>& use) const {
  constexpr int64_t kPiece = 256 << 10;  // stays in the second-level cache while it is used
  const auto& t = header_.tensors.at(tensor);
  std::string piece;
  for (int64_t at = t.begin; at < t.end; at += kPiece) {
    piece.resize(static_cast<size_t>(std::min(kPiece, t.end - at)));
    if (const int error = posix_files().read(fd_, piece.data(), piece.size(), header_.data_start + at))
      throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": cannot be read: " + std::strerror(error));
    use(piece);
  }
}

}  // namespace fmtrain

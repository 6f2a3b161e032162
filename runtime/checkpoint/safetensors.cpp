#include "runtime/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

constexpr int64_t kMaxHeader = 100'000'000, kMaxTensors = 100'000, kMaxName = 512;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

/// elements * size, or -1 when it overflows.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t size) {
  int64_t total = size;
  for (const auto n : shape)
    if (n < 0 || __builtin_mul_overflow(total, n, &total)) return -1;
  return total;
}

SafetensorsHeader& sorted(SafetensorsHeader& header) {
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  return header;
}

SafetensorsHeader read_entries(const Json& json) {
  SafetensorsHeader header;
  if (!json.is_object()) fail("the header is not a JSON object");
  if (static_cast<int64_t>(json.size()) > kMaxTensors) fail("more than 100,000 tensors");
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) fail("__metadata__ holds more than strings");
        header.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    if (static_cast<int64_t>(name.size()) > kMaxName) fail("a tensor name of more than 512 bytes");
    try {
      const auto& offsets = entry.at("data_offsets");
      if (entry.size() != 3 || offsets.size() != 2) fail("expected dtype, shape and data_offsets");
      SafetensorsHeader& h = header;
      h.tensors.push_back({name, entry.at("dtype").get<std::string>(), entry.at("shape").get<std::vector<int64_t>>(), offsets[0].get<int64_t>(), offsets[1].get<int64_t>()});
    } catch (const std::exception& error) {
      fail("tensor " + quoted(name) + ": " + error.what());
    }
  }
  return header;
}

void check_tiling(const SafetensorsHeader& header, int64_t data_bytes) {
  int64_t at = 0;
  for (const auto& t : header.tensors) {
    const int64_t size = dtype_bytes(t.dtype);
    if (size == 0) fail("tensor " + quoted(t.name) + ": unknown dtype " + quoted(t.dtype));
    if (t.begin != at) fail("tensor " + quoted(t.name) + ": starts at byte " + std::to_string(t.begin) + ", expected " + std::to_string(at) + " (gap or overlap)");
    if (t.end < t.begin || checked_bytes(t.shape, size) != t.end - t.begin) fail("tensor " + quoted(t.name) + ": its shape does not have the bytes it claims");
    at = t.end;
  }
  if (at != data_bytes) fail("the tensors take " + std::to_string(at) + " bytes, the file holds " + std::to_string(data_bytes));
}

}  // namespace

int64_t dtype_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes{{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1}, {"U8", 1}, {"BOOL", 1},
                                                    {"U16", 2}, {"U32", 4}, {"U64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::string_view prefix, int64_t file_size) {
  if (file_size < 8 || prefix.size() < 8) fail("shorter than 8 bytes");
  const bool protocol = static_cast<unsigned char>(prefix[0]) == 0x80 && prefix[1] >= 2 && prefix[1] <= 5 && (prefix[2] != 0 || prefix[3] != 0);
  if (prefix.substr(0, 2) == "PK" || protocol)  // a safetensors file begins with a length below 2^27
    fail("is a pickle file, which may run code when it is read; convert it to safetensors in a sandbox first");
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), 8);
  if (length > static_cast<uint64_t>(kMaxHeader)) fail("claims a header of " + std::to_string(length) + " bytes, more than 100,000,000");
  if (static_cast<int64_t>(length) + 8 > file_size) fail("claims a header of " + std::to_string(length) + " bytes, the file has " + std::to_string(file_size));
  if (prefix.size() < 8 + length) fail("the header is cut off");
  std::string_view text = prefix.substr(8, length);
  if (text.empty() || text[0] != '{') fail("the header does not start with {");
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  SafetensorsHeader header = read_entries(parse_json(text, {static_cast<size_t>(kMaxHeader), 8}));
  header.data_start = 8 + static_cast<int64_t>(length);
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
    files.size(fd_, &bytes);
    std::string prefix(8, '\0');
    if (bytes < 8 || files.read(fd_, prefix.data(), 8, 0) != 0) fail("shorter than 8 bytes");
    uint64_t length = 0;
    std::memcpy(&length, prefix.data(), 8);
    if (length <= static_cast<uint64_t>(std::min(kMaxHeader, bytes - 8))) {
      prefix.resize(8 + length);
      if (files.read(fd_, prefix.data(), prefix.size(), 0) != 0) fail("cannot be read");
    }
    header_ = parse_safetensors_header(prefix, bytes);
  } catch (const std::exception& error) {
    files.close(fd_);
    throw ConfigError(path + ": " + error.what());
  }
}

SafetensorsFile::~SafetensorsFile() { posix_files().close(fd_); }

void SafetensorsFile::read(size_t tensor, void* to) const {
  const auto& t = header_.tensors.at(tensor);
  const int error = posix_files().read(fd_, to, static_cast<size_t>(t.end - t.begin), header_.data_start + t.begin);
  if (error) throw ConfigError(path_ + ": tensor " + quoted(t.name) + ": cannot be read: " + std::strerror(error));
}

}  // namespace fmtrain

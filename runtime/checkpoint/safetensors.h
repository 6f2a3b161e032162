// The safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors without gaps.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fmtrain {

inline constexpr int64_t kMaxSafetensorsHeader = 100'000'000;  ///< bytes, a limit of the format

struct Safetensor {
  std::string name, dtype;  ///< dtype as written: F32, F16, BF16, I64, ...
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  ///< bytes after the header
};

struct SafetensorsHeader {
  std::vector<Safetensor> tensors;  ///< by offset
  std::map<std::string, std::string> metadata;
  int64_t data_start = 0;  ///< bytes before the first tensor
};

/// Bytes of one element, 0 for an unknown dtype.
int64_t dtype_bytes(const std::string& dtype);

/// Check everything (design: security, section 2) and return the header. `prefix` holds at least 8 bytes + the header.
/// Throws std::runtime_error that names the tensor.
SafetensorsHeader parse_safetensors_header(std::string_view prefix, int64_t file_size);

/// The 8 bytes and the header for `tensors` (begin and end are filled in their order), padded so that data start on 64 bytes.
std::string make_safetensors_header(SafetensorsHeader& header);

/// One file, opened once. Throws ConfigError "file: what".
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;
  const SafetensorsHeader& header() const { return header_; }
  /// The 8 bytes and the header as they stand in the file; the tensors follow in their order, without gaps.
  const std::string& start() const { return start_; }
  /// The bytes of one tensor.
  void read(size_t tensor, void* to) const;
  /// The same piece by piece; `use` gets the pieces in order, each a whole number of elements, which it may not keep.
  void read(size_t tensor, const std::function<void(std::string_view)>& use) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::string start_;
  SafetensorsHeader header_;
};

}  // namespace fmtrain

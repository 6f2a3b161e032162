// Hashes: SHA-256 speaks for an origin, XXH3 finds damage.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fmtrain {

/// Streaming SHA-256 (OpenSSL).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(const void* data, size_t bytes);
  std::string hex();  ///< 64 lower-case digits; call once
 private:
  void* context_;
};

/// Two lower-case digits a byte.
std::string hex_of(const void* data, size_t bytes);
std::string sha256_hex(const void* data, size_t bytes);
/// SHA-256 of a whole file; throws StorageError naming it.
std::string sha256_file(const std::string& path);
/// XXH3-128 as 32 hex digits.
std::string xxh3_hex(const void* data, size_t bytes);
/// Streaming XXH3-128.
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(const Xxh3&) = delete;
  Xxh3& operator=(const Xxh3&) = delete;
  void update(const void* data, size_t bytes);
  std::string hex() const;  ///< equals xxh3_hex of all bytes so far
 private:
  void* state_;
};
/// XXH3-64.
uint64_t xxh3_64(const void* data, size_t bytes);
/// CRC-32C (Castagnoli), as TensorBoard event files use it.
uint32_t crc32c(const void* data, size_t bytes);

}  // namespace fmtrain

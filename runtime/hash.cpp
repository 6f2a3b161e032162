#include "runtime/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

EVP_MD_CTX* context(void* p) { return static_cast<EVP_MD_CTX*>(p); }

std::array<uint32_t, 256> crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) ? 0x82F63B78u ^ (c >> 1) : c >> 1;  // reversed Castagnoli polynomial
    table[i] = c;
  }
  return table;
}

}  // namespace

std::string hex_of(const void* data, size_t bytes) {
  static const char* digits = "0123456789abcdef";
  const auto* at = static_cast<const unsigned char*>(data);
  std::string out;
  for (size_t i = 0; i < bytes; ++i) {
    out += digits[at[i] >> 4];
    out += digits[at[i] & 15];
  }
  return out;
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context(context_), EVP_sha256(), nullptr); }
Sha256::~Sha256() { EVP_MD_CTX_free(context(context_)); }
void Sha256::update(const void* data, size_t bytes) { EVP_DigestUpdate(context(context_), data, bytes); }

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  EVP_DigestFinal_ex(context(context_), digest, &n);
  return hex_of(digest, n);
}

std::string sha256_hex(const void* data, size_t bytes) {
  Sha256 hash;
  hash.update(data, bytes);
  return hash.hex();
}

std::string sha256_file(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) throw StorageError(path + ": cannot open: " + std::strerror(errno));
  Sha256 hash;
  std::vector<char> buffer(1u << 20);
  size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), file.get())) > 0) hash.update(buffer.data(), n);
  if (std::ferror(file.get())) throw StorageError(path + ": cannot read: " + std::strerror(errno));
  return hash.hex();
}

std::string xxh3_hex(const void* data, size_t bytes) {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(data, bytes));
  return hex_of(digest.digest, sizeof digest.digest);
}

Xxh3::Xxh3() : state_(XXH3_createState()) { XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_)); }

Xxh3::~Xxh3() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }

void Xxh3::update(const void* data, size_t bytes) { XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), data, bytes); }

std::string Xxh3::hex() const {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_)));
  return hex_of(digest.digest, sizeof digest.digest);
}

uint64_t xxh3_64(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

uint32_t crc32c(const void* data, size_t bytes) {
  static const std::array<uint32_t, 256> table = crc32c_table();
  uint32_t c = 0xFFFFFFFFu;
  for (size_t i = 0; i < bytes; ++i) c = table[(c ^ static_cast<const unsigned char*>(data)[i]) & 0xFF] ^ (c >> 8);
  return c ^ 0xFFFFFFFFu;
}

}  // namespace fmtrain

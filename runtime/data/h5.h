// The only door to HDF5: one-dimensional integer data sets under known names, written with checksums, read without trust.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fmtrain {

/// "1.10.8": the library that is loaded.
std::string hdf5_version();

/// Writes a new file, mode 0600; data sets are chunked and carry fletcher32 checksums. The same data give the same bytes.
/// Throws StorageError.
class H5Writer {
 public:
  explicit H5Writer(const std::string& path);
  ~H5Writer();
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;
  void write(const char* name, std::span<const int32_t> values);
  void write(const char* name, std::span<const int64_t> values);
  void write(const char* name, std::span<const uint8_t> values);
  void close();

 private:
  void write(const char* name, const void* values, size_t count, int64_t type);
  std::string path_;
  int64_t file_ = -1;
};

/// Reads a file that may be hostile: hard links, little-endian integers of the expected size, contiguous or chunked layout and no
/// filter but the checksum are accepted; everything else is refused before the first element is read. Memory is bounded by the
/// size of the file. Throws DataError "file: data set NAME: what"; of a damaged chunk it has the elements.
class H5Reader {
 public:
  explicit H5Reader(const std::string& path);
  ~H5Reader();
  H5Reader(const H5Reader&) = delete;
  H5Reader& operator=(const H5Reader&) = delete;
  std::vector<int32_t> read_int32(const char* name);
  std::vector<int64_t> read_int64(const char* name);
  std::vector<uint8_t> read_bytes(const char* name);

  /// A data set that is too large to be read at once.
  struct Extent {
    uint64_t count = 0;  ///< elements
    uint64_t chunk = 0;  ///< elements of a chunk; 0: contiguous
  };
  Extent extent_int32(const char* name);
  /// Elements [first, first + out.size()), checksums verified.
  void read_int32(const char* name, uint64_t first, std::span<int32_t> out);
  /// Byte of the file at which the chunk of element `first` begins (contiguous: all elements do); -1: nowhere. Takes time that grows
  /// with the number of chunks.
  int64_t place_int32(const char* name, uint64_t first);

 private:
  template <class T>
  std::vector<T> read(const char* name, int64_t type);
  template <class T>
  Extent check(const char* name, int64_t set, int64_t type) const;
  int64_t open(const char* name) const;
  [[noreturn]] void fail_damaged(const char* name, int64_t set, int64_t type, uint64_t count, uint64_t chunk) const;
  [[noreturn]] void fail(const char* name, const std::string& what) const;
  std::string path_;
  int64_t file_ = -1, file_bytes_ = 0;
};

}  // namespace fmtrain

#include "runtime/data/h5.h"

#include <hdf5.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/huge_pages.h"

namespace fmtrain {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian, and memory is written as it is");
constexpr hsize_t kChunk = 64 * 1024;

/// Closes an HDF5 handle of any kind.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// No plugins, no messages of its own, once per process.
void quiet_library() {
  static const bool done = [] {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);
    return true;
  }();
  static_cast<void>(done);
}

/// Access without file locks: shared file systems often have none.
hid_t unlocked_access() {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_file_locking(access, false, true);
  return access;
}

}  // namespace

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

H5Writer::H5Writer(const std::string& path) : path_(path) {
  quiet_library();
  int fd = -1;  // HDF5 would create it with the mode of the umask, and through a link
  if (const int error = posix_files().create_exclusive(path, &fd)) throw StorageError(path + ": cannot create: " + std::strerror(error));
  posix_files().close(fd);
  const Handle access(unlocked_access(), H5Pclose), create(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  // The format of 1.10 has checksums in all structures: in the older one a flipped bit can crash the library.
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_obj_track_times(create, false);  // here and below: the same data give the same bytes
  file_ = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create, access);
  if (file_ < 0) throw StorageError(path + ": cannot create");
}

H5Writer::~H5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

void H5Writer::close() {
  const bool failed = H5Fclose(file_) < 0;
  file_ = -1;
  if (failed) throw StorageError(path_ + ": cannot write (is the disk full?)");
}

void H5Writer::write(const char* name, const void* values, size_t count, int64_t type) {
  const hsize_t dims = count, chunk = std::max<hsize_t>(1, std::min<hsize_t>(count, kChunk));
  const Handle space(H5Screate_simple(1, &dims, nullptr), H5Sclose), create(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(create, false);
  if (count > 0) {
    H5Pset_chunk(create, 1, &chunk);
    H5Pset_fletcher32(create);
  }
  const Handle set(H5Dcreate2(file_, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT), H5Dclose);
  if (set < 0 || (count > 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0))
    throw StorageError(path_ + ": cannot write " + name + " (is the disk full?)");
}

void H5Writer::write(const char* name, std::span<const int32_t> values) { write(name, values.data(), values.size(), H5T_STD_I32LE); }
void H5Writer::write(const char* name, std::span<const int64_t> values) { write(name, values.data(), values.size(), H5T_STD_I64LE); }
void H5Writer::write(const char* name, std::span<const uint8_t> values) { write(name, values.data(), values.size(), H5T_STD_U8LE); }

H5Reader::H5Reader(const std::string& path) : path_(path) {
  quiet_library();
  std::error_code error;
  file_bytes_ = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) throw DataError(path + ": cannot open: " + error.message());
  const Handle access(unlocked_access(), H5Pclose);
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  if (file_ < 0) throw DataError(path + ": is not an HDF5 file, or is damaged");
}

H5Reader::~H5Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

void H5Reader::fail(const char* name, const std::string& what) const { throw DataError(path_ + ": data set " + name + ": " + what); }

/// After a read of the whole has failed: which chunk it was, by reading them one by one.
void H5Reader::fail_damaged(const char* name, int64_t set, int64_t type, uint64_t count, uint64_t chunk) const {
  const Handle file_space(H5Dget_space(set), H5Sclose);
  std::vector<uint8_t> bytes(chunk * H5Tget_size(type));
  for (hsize_t first = 0; chunk > 0 && first < count; first += chunk) {
    const hsize_t n = std::min<hsize_t>(chunk, count - first);
    const Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose);
    H5Sselect_hyperslab(file_space, H5S_SELECT_SET, &first, nullptr, &n, nullptr);
    if (H5Dread(set, type, space, file_space, H5P_DEFAULT, bytes.data()) < 0)
      fail(name, "is damaged (checksum) in the chunk of elements " + std::to_string(first) + " to " + std::to_string(first + n - 1));
  }
  fail(name, "is damaged (checksum or structure)");
}

int64_t H5Reader::open(const char* name) const {
  H5L_info_t link;
  if (H5Lget_info(file_, name, &link, H5P_DEFAULT) < 0) fail(name, "missing");
  if (link.type != H5L_TYPE_HARD) fail(name, "is a link, not a data set");
  const hid_t set = H5Dopen2(file_, name, H5P_DEFAULT);
  if (set < 0) fail(name, "cannot be opened");
  return set;
}

template <class T>
H5Reader::Extent H5Reader::check(const char* name, int64_t set, int64_t type) const {
  const Handle create(H5Dget_create_plist(set), H5Pclose), space(H5Dget_space(set), H5Sclose), stored(H5Dget_type(set), H5Tclose);
  if (H5Tequal(stored, type) <= 0)
    fail(name, "holds another type than little-endian " + std::string(std::is_signed_v<T> ? "int" : "uint") + std::to_string(8 * sizeof(T)));
  const auto layout = H5Pget_layout(create);
  if ((layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) || H5Pget_external_count(create) > 0) fail(name, "has a storage layout that is not accepted");
  hsize_t chunk = 0;  // the library takes memory for a whole chunk, and a chunk is whole in the file
  if (layout == H5D_CHUNKED && (H5Pget_chunk(create, 1, &chunk) != 1 || chunk > static_cast<hsize_t>(file_bytes_) / sizeof(T)))
    fail(name, "has chunks larger than the file");
  for (int i = 0; i < H5Pget_nfilters(create); ++i) {
    unsigned flags = 0;
    size_t parameters = 0;
    if (H5Pget_filter2(create, static_cast<unsigned>(i), &flags, &parameters, nullptr, 0, nullptr, nullptr) != H5Z_FILTER_FLETCHER32)
      fail(name, "uses a filter that is not accepted");
  }
  hsize_t count = 0;
  if (H5Sget_simple_extent_ndims(space) != 1 || H5Sget_simple_extent_dims(space, &count, nullptr) < 0) fail(name, "is not one-dimensional");
  if (count > static_cast<hsize_t>(file_bytes_) / sizeof(T)) fail(name, "claims " + std::to_string(count) + " elements, more than the file can hold");
  return {count, chunk};
}

template <class T>
std::vector<T> H5Reader::read(const char* name, int64_t type) {
  const Handle set(open(name), H5Dclose);
  const auto [count, chunk] = check<T>(name, set, type);
  std::vector<T> values;
  values.reserve(count);
  if (count * sizeof(T) >= kOwnMapping) prefer_huge_pages(values.data(), count * sizeof(T));  // samples are read from anywhere in it
  values.resize(count);
  if (count > 0 && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) fail_damaged(name, set, type, count, chunk);
  return values;
}

H5Reader::Extent H5Reader::extent_int32(const char* name) {
  const Handle set(open(name), H5Dclose);
  return check<int32_t>(name, set, H5T_STD_I32LE);
}

void H5Reader::read_int32(const char* name, uint64_t first, std::span<int32_t> out) {
  const Handle set(open(name), H5Dclose), file_space(H5Dget_space(set), H5Sclose);
  const hsize_t start = first, count = out.size();
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  if (H5Sselect_hyperslab(file_space, H5S_SELECT_SET, &start, nullptr, &count, nullptr) < 0 ||
      H5Dread(set, H5T_STD_I32LE, space, file_space, H5P_DEFAULT, out.data()) < 0)
    fail(name, "is damaged (checksum) in the chunk of elements " + std::to_string(first) + " to " + std::to_string(first + count - 1));
}

int64_t H5Reader::place_int32(const char* name, uint64_t first) {
  const Handle set(open(name), H5Dclose);
  const auto extent = check<int32_t>(name, set, H5T_STD_I32LE);
  haddr_t at = HADDR_UNDEF;
  hsize_t coordinate = first, bytes = 0;
  unsigned filters = 0;
  if (extent.chunk == 0) at = H5Dget_offset(set);
  else if (H5Dget_chunk_info_by_coord(set, &coordinate, &filters, &at, &bytes) < 0) at = HADDR_UNDEF;
  return at == HADDR_UNDEF ? -1 : static_cast<int64_t>(at);
}

std::vector<int32_t> H5Reader::read_int32(const char* name) { return read<int32_t>(name, H5T_STD_I32LE); }
std::vector<int64_t> H5Reader::read_int64(const char* name) { return read<int64_t>(name, H5T_STD_I64LE); }
std::vector<uint8_t> H5Reader::read_bytes(const char* name) { return read<uint8_t>(name, H5T_STD_U8LE); }

}  // namespace fmtrain

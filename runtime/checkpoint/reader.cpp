#include "runtime/checkpoint/reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

/// Offset and shape of a piece; only the one way to write them that place_of has.
void read_place(const std::string& place, StoredPiece& piece) {
  const char *at = place.data(), *end = at + place.size();
  at = std::from_chars(at, end, piece.offset).ptr;
  while (at < end && (*at == ':' || *at == ',')) {
    int64_t n = -1;
    const auto [next, error] = std::from_chars(++at, end, n);
    if (error != std::errc()) break;
    piece.shape.push_back(n);
    at = next;
  }
  if (place != place_of(piece.offset, piece.shape)) fail(quoted(piece.name) + ": " + quoted(place) + " is not OFFSET:SHAPE");
}

/// Elements of a shape, -1: negative or beyond 64 bits.
int64_t elements(const std::vector<int64_t>& shape) {
  int64_t all = 1;
  for (const auto n : shape)
    if (n < 0 || __builtin_mul_overflow(all, n, &all)) return -1;
  return all;
}

StoredPiece piece_of(const Safetensor& t, const SafetensorsHeader& header) {
  if (t.dtype != "F32") fail(quoted(t.name) + ": dtype " + quoted(t.dtype) + " is not F32");
  const auto place = header.metadata.find(t.name);
  if (place == header.metadata.end()) fail(quoted(t.name) + ": the metadata do not say where it belongs");
  StoredPiece piece{t.name.substr(0, t.name.find('#')), {}, 0, (t.end - t.begin) / 4, header.data_start + t.begin};
  read_place(place->second, piece);
  const int64_t all = elements(piece.shape);
  if (piece.offset < 0 || piece.count > all || piece.offset > all - piece.count)
    fail(quoted(piece.name) + ": reaches outside the tensor");
  return piece;
}

/// Takes the blocks of one shard in order; knows the pieces as soon as the header is complete.
class ShardScan {
 public:
  explicit ShardScan(int64_t size) : size_(size) {}
  bool knows_pieces() const { return known_; }
  std::vector<StoredPiece>& pieces() { return pieces_; }

  void take(std::string_view block, int64_t at, const UseElements& use) {
    if (!known_) add_to_header(block);
    if (known_ && use) use_elements(block, at, use);
  }
  /// Throws for a file that ended within its header.
  void finish() {
    if (!known_) read_header();
  }

 private:
  void add_to_header(std::string_view block) {
    if (start_.size() < 8) {
      start_.append(block.substr(0, 8));
      block.remove_prefix(start_.size());
      uint64_t length = 0;
      if (start_.size() == 8) std::memcpy(&length, start_.data(), 8);
      needed_ = std::min<uint64_t>(length, kMaxSafetensorsHeader + 1) + 8;
    }
    start_.append(block.substr(0, needed_ - start_.size()));
    if (start_.size() == needed_ || needed_ > kMaxSafetensorsHeader + 8) read_header();
  }
  void read_header() {
    pieces_ = pieces_of(parse_safetensors_header(start_, size_));
    known_ = true;
    start_ = {};
  }
  void use_elements(std::string_view block, int64_t at, const UseElements& use) {
    const int64_t end = at + static_cast<int64_t>(block.size());
    for (; next_ < pieces_.size(); ++next_) {
      const auto& piece = pieces_[next_];
      const int64_t piece_end = piece.begin + piece.count * 4;
      const int64_t from = std::max(at, piece.begin), to = std::min(end, piece_end);
      if (from < to)
        use(piece, (from - piece.begin) / 4, reinterpret_cast<const float*>(block.data() + (from - at)), (to - from) / 4);
      if (piece_end > end) return;  // the next block has the rest
    }
  }
  int64_t size_;
  std::string start_;
  uint64_t needed_ = 8;
  bool known_ = false;
  std::vector<StoredPiece> pieces_;
  size_t next_ = 0;
};

void read_exactly(FileOps& files, int fd, std::string& to) {
  if (const int error = files.read(fd, to.data(), to.size(), 0)) fail(std::string("cannot be read: ") + std::strerror(error));
}

/// What the header says; nothing where it is none: that is for the reading with hashes to say.
std::optional<std::vector<StoredPiece>> first_look(FileOps& files, int fd, const Json& entry) {
  int64_t size = 0;
  if (files.size(fd, &size) || size != entry.at("bytes").get<int64_t>() || size < 8) return {};
  std::string start(8, '\0');
  uint64_t length = 0;
  read_exactly(files, fd, start);
  std::memcpy(&length, start.data(), 8);
  if (length > static_cast<uint64_t>(std::min(kMaxSafetensorsHeader, size - 8))) return {};
  start.resize(8 + length);
  read_exactly(files, fd, start);
  try {
    return pieces_of(parse_safetensors_header(start, size));
  } catch (const std::runtime_error&) {
    return {};
  }
}

}  // namespace

std::string place_of(int64_t offset, const std::vector<int64_t>& shape) {
  std::string text = std::to_string(offset) + ":";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ',';
    text += std::to_string(shape[i]);
  }
  return text;
}

std::vector<StoredPiece> pieces_of(const SafetensorsHeader& header) {
  if (header.data_start % 4 != 0) fail("its data are not aligned");
  std::vector<StoredPiece> pieces;
  for (const auto& t : header.tensors) pieces.push_back(piece_of(t, header));
  return pieces;
}

bool may_hold(FileOps& files, const std::string& checkpoint, const Json& entry, const std::function<bool(const StoredPiece&)>& wants) {
  std::optional<std::vector<StoredPiece>> pieces;
  with_file(files, checkpoint, entry, [&](int fd) { pieces = first_look(files, fd, entry); });
  return !pieces || std::any_of(pieces->begin(), pieces->end(), wants);
}

void read_shard(FileOps& files, const std::string& checkpoint, const Json& entry, From from, const UseElements& use) {
  with_file(files, checkpoint, entry, [&](int fd) {
    ShardScan scan(entry.at("bytes").get<int64_t>());
    read_blocks(files, fd, entry, from, [&](std::string_view block, int64_t at) {
      scan.take(block, at, use);
      return true;
    });
    scan.finish();
  });
}

CheckpointReader::CheckpointReader(FileOps& files, std::string dir, Check check)
    : files_(files), dir_(std::move(dir)), manifest_(read_manifest(files, dir_)) {
  try {
    for (const auto& entry : manifest_.at("files")) open(entry, check);
    check_tensors();
  } catch (...) {
    close();
    throw;
  }
}

CheckpointReader::~CheckpointReader() { close(); }

void CheckpointReader::close() {
  for (const int fd : fds_) files_.close(fd);
}

void CheckpointReader::open(const Json& entry, Check check) {
  const std::string path = dir_ + "/" + entry.at("name").get<std::string>();
  int fd = -1;
  if (const int error = files_.open_plain(path, &fd)) throw CheckpointError(path + ": cannot be opened: " + std::strerror(error));
  fds_.push_back(fd);
  try {
    ShardScan scan(entry.at("bytes").get<int64_t>());
    read_blocks(files_, fd, entry, From::kCache, [&](std::string_view block, int64_t at) {
      scan.take(block, at, nullptr);
      return check == Check::kAll || !scan.knows_pieces();
    });
    scan.finish();
    for (auto& piece : scan.pieces()) {
      auto& tensor = tensors_[piece.name];
      if (tensor.parts.empty()) tensor.shape = piece.shape;
      if (tensor.shape != piece.shape) fail(quoted(piece.name) + ": has another shape than in another piece");
      tensor.parts.push_back({fds_.size() - 1, std::move(piece)});
    }
  } catch (const std::exception& error) {
    throw CheckpointError(path + ": " + error.what());
  }
}

void CheckpointReader::check_tensors() {
  for (auto& [name, tensor] : tensors_) {
    tensor.numel = elements(tensor.shape);
    auto& parts = tensor.parts;
    std::erase_if(parts, [](const auto& part) { return part.piece.count == 0; });
    std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.piece.offset < b.piece.offset; });
    int64_t at = 0;
    for (const auto& part : parts) {
      if (part.piece.offset != at) break;
      at += part.piece.count;
    }
    if (at != tensor.numel) throw CheckpointError(dir_ + ": does not hold every element of " + quoted(name) + " once");
  }
}

void CheckpointReader::read(const StoredTensor& tensor, int64_t first, int64_t count, float* to) const {
  for (const auto& [file, piece] : tensor.parts) {
    const int64_t from = std::max(first, piece.offset), end = std::min(first + count, piece.offset + piece.count);
    if (from >= end) continue;
    const int error = files_.read(fds_[file], to + (from - first), static_cast<size_t>(end - from) * 4,
                                  piece.begin + (from - piece.offset) * 4);
    if (error)
      throw CheckpointError(dir_ + "/" + manifest_["files"][file]["name"].get<std::string>() +
                            ": cannot be read: " + std::strerror(error));
  }
}

}  // namespace fmtrain

// What the shards of a checkpoint hold, read block by block: never a whole shard in memory (docs/checkpoint-format.md).
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"

namespace fmtrain {

/// A range of one global tensor as a shard holds it.
struct StoredPiece {
  std::string name;               ///< of the global tensor
  std::vector<int64_t> shape;     ///< of the global tensor
  int64_t offset = 0, count = 0;  ///< elements of the flattened global tensor
  int64_t begin = 0;              ///< first byte in the file
};

/// "offset:dim,dim", as the shard's metadata say where a piece belongs.
std::string place_of(int64_t offset, const std::vector<int64_t>& shape);

/// The pieces of a shard in the order of their bytes; each lies inside its tensor. Throws std::runtime_error.
std::vector<StoredPiece> pieces_of(const SafetensorsHeader& header);

/// `count` values from element `first` of the piece on; both are at most what one block holds.
using UseElements = std::function<void(const StoredPiece& piece, int64_t first, const float* values, int64_t count)>;

/// Whether a file of the manifest's list has pieces that `wants` says yes to, as its header says, whose hash is not checked; true where
/// that cannot be read. Throws CheckpointError "file: what".
bool may_hold(FileOps& files, const std::string& checkpoint, const Json& entry, const std::function<bool(const StoredPiece&)>& wants);

/// One pass over such a file: each block is checked, then used. Throws CheckpointError "file: what".
void read_shard(FileOps& files, const std::string& checkpoint, const Json& entry, From from, const UseElements& use);

struct StoredTensor {
  struct Part {
    size_t file;  ///< index in the manifest's list
    StoredPiece piece;
  };
  std::vector<int64_t> shape;
  int64_t numel = 0;
  std::vector<Part> parts;  ///< by offset; together every element once
};

/// A checkpoint opened for reading at any place. Every file is opened once and stays open.
class CheckpointReader {
 public:
  enum class Check { kHeaders, kAll };  ///< the blocks whose hashes are checked: those with the headers, or all
  /// Throws CheckpointError "file: what", also when the pieces do not make up whole tensors.
  CheckpointReader(FileOps& files, std::string dir, Check check);
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  const std::string& dir() const { return dir_; }
  const Json& manifest() const { return manifest_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  /// Elements first .. first + count of a flattened tensor of this checkpoint. Throws CheckpointError.
  void read(const StoredTensor& tensor, int64_t first, int64_t count, float* to) const;

 private:
  void open(const Json& entry, Check check);
  void check_tensors();
  void close();
  FileOps& files_;
  std::string dir_;
  Json manifest_;
  std::vector<int> fds_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace fmtrain

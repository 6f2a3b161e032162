// Every text that a registry has seen, so that a later cycle can replay it, test on it, or train on all of it again.
//
//   texts/000001.conll | .jsonl   the texts of one file, in its order (write_raw.h)
//   texts/000001.json             sealed record of them (StoredBatch); written last: a batch without it is not there
//
// Batches are numbered from 1 without gaps and never change. Whoever adds holds the lock of the registry's cycles; a kill while
// it adds leaves files that the next one replaces or removes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/examples.h"
#include "runtime/data/raw.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// What a text is for. Core texts are the frozen test set.
enum class TextRole { kTrain, kValidation, kCore, kIncoming };
const char* text_role_name(TextRole role);  ///< train, validation, core, incoming

struct StoredBatch {
  int64_t number = 0;
  TextRole role = TextRole::kIncoming;
  std::string file;            ///< where it came from: the name as it was found, without its folder
  std::string source_sha256;   ///< of that file's bytes
  std::string content_sha256;  ///< of texts/NUMBER.*
  int64_t time = 0;            ///< seconds since 1970 when it was taken
  int64_t texts = 0;
  bool labelled = true;  ///< false: tags are all "O", labels are ""
  bool operator==(const StoredBatch&) const = default;
};

struct StoredText {
  RawText raw;
  std::string hash;   ///< content_hash() of the text, or of the words with a space between each two
  int64_t batch = 0;  ///< its number; position in it follows from the order
};

/// The text, or the words with a space between each two.
std::string plain_text(const RawText& text, Task task);

class TextStore {
 public:
  /// `directory`: the registry's, which exists.
  TextStore(FileOps& files, std::string directory, Task task) : files_(files), directory_(std::move(directory)), task_(task) {}

  /// By number. CheckpointError where a record is damaged, is of another task, or is missing between others.
  std::vector<StoredBatch> batches() const;
  /// Its texts, after the file was compared with content_sha256. CheckpointError naming the file that differs.
  std::vector<StoredText> read(const StoredBatch& batch) const;

  /// Takes one file for a role, unless a batch of that role has the same source_sha256 (then that one is returned): so it can
  /// be repeated after a kill. DataError "file:line: ..." of the reader; a prepared file (HDF5) is refused, for it holds no
  /// texts.
  StoredBatch add(TextRole role, const std::string& file, Format format, const Columns& columns, const std::string& split,
                  int64_t now);

  struct Taken {
    std::vector<StoredBatch> batches;  ///< new ones
    std::vector<std::string>
        refused;  ///< a line for each file that could not be read: "file:line: what"; it is tried again next time
  };
  /// Takes the files of `incoming` in the order of their names, and of incoming/unlabelled/ after them (a text a line, or JSON
  /// lines with the text's member), each once, by the hash of its bytes; bytes that came without labels may come again with
  /// them. What is left out and what is refused is in incoming_files.h. The files stay where they are. StorageError when the
  /// folder cannot be listed, or the store not be written: what was taken until then is there.
  Taken take(const std::string& incoming, Format format, const Columns& columns, int64_t now);

  Task task() const { return task_; }

 private:
  struct Source {
    std::string name, sha256;
    bool labelled = true;
  };
  std::string content_file(int64_t number) const;
  StoredBatch store(const std::vector<StoredBatch>& known, TextRole role, const Source& source, std::vector<RawText> texts,
                    int64_t now);
  void make_folder() const;

  FileOps& files_;
  std::string directory_;
  Task task_;
};

}  // namespace fmtrain

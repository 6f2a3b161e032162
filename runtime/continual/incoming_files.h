// The folder that new texts are put into. Whoever writes there may be anybody: names, links, sizes and content are hostile.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/data/raw.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// A larger file must be divided: what is read of it takes up to 25 times its bytes in memory.
inline constexpr size_t kLargestIncoming = size_t{256} << 20;

struct IncomingFile {
  std::string folder, name;
  bool labelled = true;  ///< false: of unlabelled/
  std::string path() const { return folder + "/" + name; }
};

/// Files of `incoming` in the order of their names, then those of incoming/unlabelled/. Left out: names that start with '.',
/// and names that end with ".part", ".tmp" or "~" (not complete). Directories and links are among them: read_incoming() tells. A
/// line in *refused for each name that holds control characters or is not UTF-8, and where unlabelled is a link. StorageError when `incoming` cannot be listed.
std::vector<IncomingFile> incoming_files(FileOps& files, const std::string& incoming, std::vector<std::string>* refused);

/// Its bytes. Absent: it is gone, or a directory. DataError "file: ..." for a link, a pipe or a device, a file that cannot be
/// read, and one larger than kLargestIncoming.
std::optional<std::string> read_incoming(FileOps& files, const IncomingFile& file);

/// Texts without labels: of a name that ends with .jsonl the member columns.text of each line, else a text a line. Blank ones
/// are left out. For tagging the words are what stands between white space of ASCII, each tagged "O". DataError "file:line:
/// ...".
std::vector<RawText> read_unlabelled(const std::string& file, const std::string& content, Task task, const Columns& columns);

}  // namespace fmtrain

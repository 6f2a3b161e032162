// Raw text files as plain structs: no tokenizer, no HDF5. Every fault is a DataError "file:line: what".
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace fmtrain {

/// One text with its gold labels: words and IOB2 tags for tagging, else text and label.
struct RawText {
  int64_t line = 0;  ///< where it starts, from 1 (CLINC150: its number in its list)
  std::vector<std::string> words, tags;
  std::vector<int64_t> lines;  ///< of each word
  std::string text, label;
};

/// CoNLL columns separated by tabs or blanks, a blank line between sentences. CRLF, a byte order mark and -DOCSTART- lines are
/// accepted. The first row that does not start with '#' sets the number of columns; a line that starts with '#' and has another
/// number is a comment. A word may be empty. Tags in IOB1, IOB2 or BIOES
/// are recognised and converted to IOB2; *scheme says which.
std::vector<RawText> read_conll(const std::string& file, const std::string& content, const Columns& columns, std::string* scheme);

/// RFC 4180 table with a header line; fields may be quoted and hold line breaks. Blank lines are left out.
std::vector<RawText> read_table(const std::string& file, const std::string& content, const Columns& columns, char separator);

/// One JSON object a line.
std::vector<RawText> read_jsonl(const std::string& file, const std::string& content, const Columns& columns);

/// data_full.json of CLINC150: lists of [text, intent] under "train", "val", "test". The out-of-scope lists are left out.
std::vector<RawText> read_clinc150(const std::string& file, const std::string& content, const std::string& split);

/// Throws DataError "file:line: ..." where `content` is not UTF-8 or holds a NUL.
void check_utf8(const std::string& file, const std::string& content);

/// By format (kAuto: from task and the extension of `file`), of bytes that were read before. `split`: of CLINC150.
std::vector<RawText> parse_raw(const std::string& file, const std::string& content, Task task, Format format, const Columns& columns,
                               const std::string& split, std::string* scheme);

/// parse_raw() of a file. *sha256: of the very bytes that were read, for the file may change meanwhile.
std::vector<RawText> read_raw(const std::string& file, Task task, Format format, const Columns& columns, const std::string& split, std::string* scheme,
                              std::string* sha256 = nullptr);

}  // namespace fmtrain

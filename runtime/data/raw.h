// Raw text files as plain structs: no tokenizer, no HDF5. Every fault is a DataError "file:line: what".
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace fmtrain {

/// One text with its gold labels: words and IOB2 tags for tagging, else text and label.
struct RawText {
  int64_t line = 0;  ///< where it starts, from 1
  std::vector<std::string> words, tags;
  std::string text, label;
};

/// CoNLL columns separated by tabs or blanks, a blank line between sentences. CRLF, a byte order mark and -DOCSTART- lines are
/// accepted; a line that starts with '#' and has not the file's number of columns is a comment. Tags in IOB1, IOB2 or BIOES
/// are recognised and converted to IOB2; *scheme says which.
std::vector<RawText> read_conll(const std::string& file, const std::string& content, const Columns& columns, std::string* scheme);

/// RFC 4180 table with a header line; fields may be quoted and hold line breaks.
std::vector<RawText> read_table(const std::string& file, const std::string& content, const Columns& columns, char separator);

/// One JSON object a line.
std::vector<RawText> read_jsonl(const std::string& file, const std::string& content, const Columns& columns);

/// data_full.json of CLINC150: lists of [text, intent] under "train", "val", "test". The out-of-scope lists are left out.
std::vector<RawText> read_clinc150(const std::string& file, const std::string& content, const std::string& split);

/// By format (kAuto: from task and extension).
std::vector<RawText> read_raw(const std::string& file, Task task, Format format, const Columns& columns, const std::string& split, std::string* scheme);

}  // namespace fmtrain

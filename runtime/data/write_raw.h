// Raw texts in this program's own two forms, which read_raw() takes back without options: tagging as CoNLL columns "word TAB
// tag" (.conll), classification as {"text", "label"} a line (.jsonl).
#pragma once
#include <span>
#include <string>

#include "runtime/data/raw.h"

namespace fmtrain {

const char* raw_extension(Task task);  ///< ".conll" or ".jsonl"

/// The file's content; one content for one list of texts. read_raw() of it gives the same words, tags, texts and labels (lines
/// are those of the new file); where `task` is classification and a text has no label, read_raw() would not take it. DataError
/// naming the text (from 1) that cannot be written: of tagging a text without words, a word with a line break or a tab or that
/// begins with -DOCSTART-, tags that are not IOB2; of classification an empty label; of both what is not UTF-8 or makes a line
/// longer than 16 MiB.
std::string write_raw(std::span<const RawText> texts, Task task);

}  // namespace fmtrain

// Files with a word, its gold tag and a predicted tag on each line, as conlleval reads them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/metrics/tagging.h"

namespace fmtrain {

/// Score the content of a file: columns divided by tabs or spaces, the last two are gold and predicted tag; a blank line ends a
/// sentence; LF or CRLF. Throws DataError "name:line: ..." on a missing column or a tag that is not IOB2, and when no word is
/// there. `name` is the file's name for messages.
TaggingCounts score_tag_columns(std::string_view content, const std::string& name);

}  // namespace fmtrain

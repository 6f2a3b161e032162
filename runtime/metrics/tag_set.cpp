#include "runtime/metrics/tag_set.h"

#include <algorithm>
#include <set>

#include "runtime/errors.h"

namespace fmtrain {
namespace {
constexpr size_t kMaxTypes = 1000;  // bounds the confusion matrix to 32 MiB
}

bool is_iob2(const std::string& label) {
  return label == "O" || (label.size() > 2 && (label[0] == 'B' || label[0] == 'I') && label[1] == '-');
}

TagSet::TagSet(std::vector<std::string> labels) : labels_(std::move(labels)) {
  std::set<std::string> seen, types;
  for (const auto& label : labels_) {
    if (!is_iob2(label)) throw DataError("label " + quoted(label) + " is not an IOB2 tag; tags are O, B-TYPE and I-TYPE");
    if (!seen.insert(label).second) throw DataError("label " + quoted(label) + " is listed twice");
    if (label != "O") types.insert(label.substr(2));
  }
  if (types.size() > kMaxTypes)
    throw DataError("more than " + std::to_string(kMaxTypes) + " entity types; check that the tag column is the right one");
  types_.assign(types.begin(), types.end());
  for (size_t i = 0; i < labels_.size(); ++i) {
    if (labels_[i] == "O") {
      outside_ = static_cast<int32_t>(i);
      meaning_.push_back({});
    } else {
      const auto at = std::lower_bound(types_.begin(), types_.end(), labels_[i].substr(2));
      meaning_.push_back({labels_[i][0] == 'B', static_cast<int32_t>(at - types_.begin())});
    }
  }
}

std::vector<Entity> TagSet::entities(std::span<const int32_t> tags, EntityMode mode) const {
  std::vector<Entity> found;
  int32_t open = -1;  // type of the entity that the previous word belongs to
  for (size_t word = 0; word < tags.size(); ++word) {
    const Meaning& tag = meaning_.at(static_cast<size_t>(tags[word]));
    const bool continues = tag.type >= 0 && !tag.begins && tag.type == open;
    const bool starts = tag.type >= 0 && !continues && (tag.begins || mode == EntityMode::kLenient);
    const auto at = static_cast<int64_t>(word);
    if (starts) found.push_back({tag.type, at, at + 1});
    if (continues) found.back().end = at + 1;
    open = starts || continues ? tag.type : -1;
  }
  return found;
}

}  // namespace fmtrain

// IOB2 labels and the entities a sequence of them spells.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fmtrain {

/// kStrict: only B-X begins an entity, I-X continues one of the same type and is nothing elsewhere (seqeval mode="strict",
/// scheme=IOB2). kLenient: an I-X after O or after another type begins an entity too (conlleval, seqeval's default).
enum class EntityMode { kStrict, kLenient };

struct Entity {
  int32_t type = 0;
  int64_t begin = 0, end = 0;  ///< words [begin, end)
  auto operator<=>(const Entity&) const = default;
};

/// Meaning of label ids. Names are "O", "B-TYPE" or "I-TYPE", in any order; what follows the first '-' is the type.
class TagSet {
 public:
  /// Throws DataError on a name that is not IOB2, a repeated name, or more than 1,000 types.
  explicit TagSet(std::vector<std::string> labels);
  const std::vector<std::string>& labels() const { return labels_; }
  const std::vector<std::string>& types() const { return types_; }  ///< sorted by bytes
  int32_t outside() const { return outside_; }                       ///< id of "O", -1: there is none
  /// Entities of one text, by position. `tags` are label ids; ids out of range are a broken invariant (std::out_of_range).
  std::vector<Entity> entities(std::span<const int32_t> tags, EntityMode mode) const;

 private:
  struct Meaning {
    bool begins = false;
    int32_t type = -1;  ///< index in types_, -1: O
  };
  std::vector<std::string> labels_, types_;
  std::vector<Meaning> meaning_;
  int32_t outside_ = -1;
};

/// True when `label` is "O", "B-TYPE" or "I-TYPE".
bool is_iob2(const std::string& label);

}  // namespace fmtrain

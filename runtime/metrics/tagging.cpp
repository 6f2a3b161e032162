#include "runtime/metrics/tagging.h"

#include <algorithm>
#include <stdexcept>

namespace fmtrain {
namespace {

constexpr int64_t kRowLimit = int64_t{1} << 24;  // integers in the rows of all texts, 128 MiB

/// Entities of both lists are in order of position and do not overlap: equal ones meet in one pass.
template <class Each>
void for_each_common(const std::vector<Entity>& a, const std::vector<Entity>& b, Each each) {
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) each(a[i]);
    if (a[i].begin <= b[j].begin) ++i;
    else ++j;
  }
}

}  // namespace

TaggingCounts::TaggingCounts(std::vector<std::string> labels, int64_t texts) : tags_(std::move(labels)), texts_(texts) {
  const auto l = static_cast<int64_t>(tags_.labels().size()), types = static_cast<int64_t>(tags_.types().size());
  groups_ = types > 0 && texts <= kRowLimit / (3 * types + 2) ? types : 1;
  values_.resize(static_cast<size_t>(l * l + 6 * types + texts * (3 * groups_ + 2)));
}

size_t TaggingCounts::entity_offset(EntityMode mode) const {
  const size_t l = tags_.labels().size();
  return l * l + (mode == EntityMode::kStrict ? 0 : 3 * tags_.types().size());
}

size_t TaggingCounts::row_offset(int64_t text) const {
  const size_t l = tags_.labels().size();
  return l * l + 6 * tags_.types().size() + static_cast<size_t>(text) * row_width();
}

std::span<const int64_t> TaggingCounts::row(int64_t text) const { return {values_.data() + row_offset(text), row_width()}; }

void TaggingCounts::add_text(int64_t text, std::span<const int32_t> gold, std::span<const int32_t> predicted) {
  const auto l = static_cast<int32_t>(tags_.labels().size());
  const auto valid = [l](int32_t id) { return id >= 0 && id < l; };
  if (text < 0 || text >= texts_) throw std::logic_error("add_text: no such text");
  if (gold.size() != predicted.size()) throw std::logic_error("add_text: gold and predicted differ in length");
  if (!std::all_of(gold.begin(), gold.end(), valid) || !std::all_of(predicted.begin(), predicted.end(), valid))
    throw std::logic_error("add_text: label id out of range");
  const std::span<int64_t> row(values_.data() + row_offset(text), row_width());
  if (row.back() != 0) throw std::logic_error("add_text: text counted twice");
  row.back() = static_cast<int64_t>(gold.size());
  for (size_t i = 0; i < gold.size(); ++i) {
    ++values_[static_cast<size_t>(gold[i] * int64_t{l} + predicted[i])];
    row[row.size() - 2] += gold[i] == predicted[i];
  }
  add_entities(EntityMode::kStrict, gold, predicted, row);
  add_entities(EntityMode::kLenient, gold, predicted, {});
}

void TaggingCounts::add_entities(EntityMode mode, std::span<const int32_t> gold, std::span<const int32_t> predicted,
                                 std::span<int64_t> row) {
  const std::span<int64_t> total(values_.data() + entity_offset(mode), 3 * tags_.types().size());
  const auto add = [&](const Entity& entity, size_t column) {
    const auto type = static_cast<size_t>(entity.type);
    ++total[3 * type + column];
    if (!row.empty()) ++row[3 * (groups_ == 1 ? 0 : type) + column];
  };
  const auto truth = tags_.entities(gold, mode), found = tags_.entities(predicted, mode);
  for_each_common(truth, found, [&](const Entity& entity) { add(entity, 0); });
  for (const Entity& entity : found) add(entity, 1);
  for (const Entity& entity : truth) add(entity, 2);
}

int64_t TaggingCounts::confusion(int64_t gold, int64_t predicted) const {
  return values_[static_cast<size_t>(gold * static_cast<int64_t>(tags_.labels().size()) + predicted)];
}

std::vector<Tally> TaggingCounts::entities(EntityMode mode) const {
  const int64_t* at = values_.data() + entity_offset(mode);
  std::vector<Tally> tallies(tags_.types().size());
  for (Tally& tally : tallies) {
    tally = {at[0], at[1], at[2]};
    at += 3;
  }
  return tallies;
}

std::vector<Tally> TaggingCounts::words() const {
  const int64_t l = static_cast<int64_t>(tags_.labels().size());
  std::vector<Tally> tallies(static_cast<size_t>(l));
  for (int64_t gold = 0; gold < l; ++gold)
    for (int64_t predicted = 0; predicted < l; ++predicted) {
      const int64_t n = confusion(gold, predicted);
      tallies[static_cast<size_t>(gold)].truth += n;
      tallies[static_cast<size_t>(predicted)].predicted += n;
      if (gold == predicted) tallies[static_cast<size_t>(gold)].correct += n;
    }
  return tallies;
}

}  // namespace fmtrain

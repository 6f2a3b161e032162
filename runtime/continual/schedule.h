// When the next cycle is due: a function of two instants, without a clock. (Not runtime/engine/schedule.h, which is of the
// learning rate.) All times are seconds since 1970, UTC.
#pragma once
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>

namespace fmtrain {

/// "manual", "daily" (00:00), "weekly" (Sunday 00:00), or the five fields of crontab(5): minute hour day-of-month month
/// day-of-week, each `*`, numbers, ranges a-b, steps /n, lists with commas; months and days also by their first three letters,
/// Sunday is 0 and 7. As with cron, a day fits when day-of-month or day-of-week fits, where both are restricted.
class CycleSchedule {
 public:
  /// Throws ConfigError that says which field is wrong.
  explicit CycleSchedule(const std::string& text);

  /// The first due instant after `after`; nothing for manual, and for dates that never come (30 February).
  std::optional<int64_t> next(int64_t after) const;
  /// Whether an instant in (last, now] was due. Several missed ones are one.
  bool due(int64_t last, int64_t now) const;

 private:
  bool day_fits(int64_t day) const;
  bool manual_ = false, any_day_of_month_ = false, any_day_of_week_ = false;
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<8> weekdays_;
};

}  // namespace fmtrain

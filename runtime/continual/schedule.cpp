#include "runtime/continual/schedule.h"

#include <array>
#include <charconv>
#include <chrono>
#include <sstream>
#include <vector>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr int64_t kMinute = 60, kWholeDay = 24 * 60 * kMinute;
constexpr int64_t kHorizon = 8 * 366 + 1;  ///< days: 29 February may be eight years away

struct Field {
  const char* name;
  int first, last;
  std::vector<const char*> names;  ///< of first, first + 1, ...
};

const std::array<Field, 5> kFields{
    {{"minute", 0, 59, {}},
     {"hour", 0, 23, {}},
     {"day of month", 1, 31, {}},
     {"month", 1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
     {"day of week", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}}};

[[noreturn]] void fail(const Field& field, const std::string& text) {
  throw ConfigError("schedule: " + quoted(text) + " is no " + field.name + " (" + std::to_string(field.first) + ".." +
                    std::to_string(field.last) + "); write manual, daily, weekly, or five fields as in crontab: 30 2 * * 1-5");
}

int whole_number(const Field& field, const std::string& text, int first, int last) {
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (size_t i = 0; i < field.names.size(); ++i)
    if (lower == field.names[i]) return field.first + static_cast<int>(i);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < first || value > last) fail(field, text);
  return value;
}

/// One part of a list: *, a, a-b, each with /n.
template <size_t N>
void add_part(const Field& field, const std::string& part, std::bitset<N>& set) {
  const auto slash = part.find('/');
  const std::string range = part.substr(0, slash);
  const int step =
      slash == std::string::npos ? 1 : whole_number({field.name, 1, field.last, {}}, part.substr(slash + 1), 1, field.last);
  const auto dash = range.find('-');
  int first = field.first, last = field.last;
  if (range != "*") {
    first = whole_number(field, range.substr(0, dash), field.first, field.last);
    last = dash != std::string::npos    ? whole_number(field, range.substr(dash + 1), field.first, field.last)
           : slash != std::string::npos ? field.last
                                        : first;
    if (last < first) fail(field, part);
  }
  for (int value = first; value <= last; value += step) set.set(static_cast<size_t>(value));
}

template <size_t N>
void parse_field(const Field& field, const std::string& text, std::bitset<N>& set) {
  std::istringstream parts(text + ",");
  for (std::string part; std::getline(parts, part, ',');) add_part(field, part, set);
  if (set.none()) fail(field, text);
}

}  // namespace

CycleSchedule::CycleSchedule(const std::string& text) : manual_(text == "manual") {
  if (manual_) return;
  std::istringstream stream(text == "daily" ? "0 0 * * *" : text == "weekly" ? "0 0 * * 0" : text);
  std::vector<std::string> fields;
  for (std::string field; stream >> field;) fields.push_back(field);
  if (fields.size() != kFields.size())
    throw ConfigError("schedule: " + quoted(text) + " has " + std::to_string(fields.size()) +
                      " fields; write manual, daily, weekly, or five fields as in crontab: 30 2 * * 1-5");
  parse_field(kFields[0], fields[0], minutes_);
  parse_field(kFields[1], fields[1], hours_);
  parse_field(kFields[2], fields[2], days_);
  parse_field(kFields[3], fields[3], months_);
  parse_field(kFields[4], fields[4], weekdays_);
  if (weekdays_.test(7)) weekdays_.set(0);
  any_day_of_month_ = fields[2].starts_with("*");
  any_day_of_week_ = fields[4].starts_with("*");
}

/// `day`: days since 1970.
bool CycleSchedule::day_fits(int64_t day) const {
  using namespace std::chrono;
  const sys_days date{days{day}};
  const year_month_day calendar{date};
  if (!months_.test(unsigned{calendar.month()})) return false;
  const bool of_month = days_.test(unsigned{calendar.day()}), of_week = weekdays_.test(weekday{date}.c_encoding());
  return any_day_of_month_ || any_day_of_week_ ? of_month && of_week : of_month || of_week;
}

std::optional<int64_t> CycleSchedule::next(int64_t after) const {
  if (manual_) return std::nullopt;
  const int64_t first = after - (after % kMinute + kMinute) % kMinute + kMinute;  // whole minute after `after`
  const int64_t first_day = first / kWholeDay - (first % kWholeDay < 0);
  for (int64_t day = first_day; day < first_day + kHorizon; ++day) {
    if (!day_fits(day)) continue;
    for (int64_t minute = day == first_day ? (first - day * kWholeDay) / kMinute : 0; minute < kWholeDay / kMinute; ++minute)
      if (hours_.test(static_cast<size_t>(minute / 60)) && minutes_.test(static_cast<size_t>(minute % 60)))
        return day * kWholeDay + minute * kMinute;
  }
  return std::nullopt;
}

bool CycleSchedule::due(int64_t last, int64_t now) const {
  const auto instant = next(last);
  return instant && *instant <= now;
}

}  // namespace fmtrain

#include "runtime/report/html.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "runtime/report/svg.h"

namespace fmtrain {
namespace {

constexpr const char* kNothing = "–";

/// With the sign U+2212, as wide as a digit.
std::string with_minus(std::string text) {
  if (text.starts_with('-')) text.replace(0, 1, "−");
  return text;
}

}  // namespace

std::string clipped(const std::string& text, size_t most) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] & 0xC0) != 0x80 && ++characters > most) return text.substr(0, i) + "…";
  return text;
}

const Json& field(const Json& json, std::initializer_list<const char*> path) {
  static const Json kNull;
  const Json* at = &json;
  for (const char* name : path) {
    const auto member = at->is_object() ? at->find(name) : at->end();
    if (!at->is_object() || member == at->end()) return kNull;
    at = &*member;
  }
  return *at;
}

std::optional<double> number(const Json& json) {
  if (!json.is_number() || !std::isfinite(json.get<double>())) return std::nullopt;
  return json.get<double>();
}

std::string plain_text(const Json& json, size_t most) {
  if (json.is_string()) return xml_escaped(clipped(json.get_ref<const std::string&>(), most));
  return json.is_number() || json.is_boolean() ? json.dump() : "";
}

std::string percent_text(std::optional<double> fraction) { return fraction ? fixed_text(100 * *fraction, 2) : kNothing; }

std::string fixed_text(std::optional<double> value, int digits) {
  return value ? with_minus(fmt::format("{:.{}f}", *value, digits)) : kNothing;
}

std::string change_text(std::optional<double> value, int digits) {
  return value ? with_minus(fmt::format("{:+.{}f}", *value, digits)) : kNothing;
}

std::string whole_text(std::optional<double> value) {
  if (!value) return kNothing;
  std::string digits = fmt::format("{:.0f}", *value);
  const size_t start = digits.starts_with('-') ? 1 : 0;
  for (size_t at = digits.size(); at > start + 3;) digits.insert(at -= 3, ",");
  return with_minus(digits);
}

std::string duration_text(std::optional<double> seconds) {
  if (!seconds) return kNothing;
  if (*seconds < 59.95) return fixed_text(*seconds, 1) + " s";
  const auto s = static_cast<long long>(std::llround(std::min(*seconds, 1e15)));
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string bytes_text(std::optional<double> bytes) {
  if (!bytes || *bytes < 0) return kNothing;
  const double mib = *bytes / (1 << 20);
  return mib < 1023.5 ? fixed_text(mib, mib < 9.95 ? 1 : 0) + " MiB" : fixed_text(mib / 1024, 2) + " GiB";
}

std::string time_text(std::optional<double> seconds) {
  constexpr double kYear10000 = 253402300800;
  if (!seconds || !(*seconds >= 0 && *seconds < kYear10000)) return kNothing;
  const std::chrono::sys_seconds time(std::chrono::seconds(static_cast<int64_t>(*seconds)));
  const auto midnight = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day day(midnight);
  const auto minutes = (time - midnight).count() / 60;
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()), minutes / 60, minutes % 60);
}

void HtmlTable::row(const std::vector<std::string>& cells, const std::string& css) {
  rows_ += css.empty() ? "<tr>" : "<tr class=\"" + css + "\">";
  for (size_t i = 0; i < cells.size(); ++i)
    rows_ += i == 0 ? "<th scope=\"row\">" + cells[i] + "</th>" : "<td>" + cells[i] + "</td>";
  rows_ += "</tr>\n";
}

std::string HtmlTable::html() const {
  if (rows_.empty()) return "";
  std::string head;
  for (const std::string& name : heads_) head += "<th scope=\"col\">" + name + "</th>";
  return scroll_box(caption_, "<table>\n<thead><tr>" + head + "</tr></thead>\n<tbody>\n" + rows_ + "</tbody></table>");
}

std::string scroll_box(const std::string& caption, const std::string& table) {
  return "<div class=\"box\">\n<p class=\"caption\">" + caption + "</p>\n<div class=\"scroll\" role=\"region\" aria-label=\"" +
         caption + "\" tabindex=\"0\">" + table + "</div></div>\n";
}

std::string html_page(const std::string& title, const std::string& style, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n<title>" +
         title + "</title>\n<style>\n" + style + "</style>\n</head>\n<body>\n<main>\n" + body + "</main>\n</body>\n</html>\n";
}

std::string section(const std::string& heading, const std::string& content) {
  return content.empty() ? "" : "<section>\n<h2>" + heading + "</h2>\n" + content + "</section>\n";
}

std::string note(const std::string& text) { return text.empty() ? "" : "<p class=\"note\">" + text + "</p>\n"; }

}  // namespace fmtrain

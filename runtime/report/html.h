// What the sections of the HTML report share: reading JSON that may lack anything, numbers as people write them, tables.
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// The member at the end of `path`; null when one is missing or not an object.
const Json& field(const Json& json, std::initializer_list<const char*> path);
/// A finite number, else nothing.
std::optional<double> number(const Json& json);
/// The first `most` code points, and "…" when there are more.
std::string clipped(const std::string& text, size_t most);
/// A string, number or truth value as escaped text of at most `most` characters ("…" marks a cut); "" for anything else.
std::string plain_text(const Json& json, size_t most = 60);

// Texts of numbers; "–" for nothing.
std::string percent_text(std::optional<double> fraction);          ///< 41.86
std::string fixed_text(std::optional<double> value, int digits);   ///< 0.2335, with a true minus sign
std::string change_text(std::optional<double> value, int digits);  ///< +37.2, −0.1
std::string whole_text(std::optional<double> value);               ///< 23,394
std::string duration_text(std::optional<double> seconds);          ///< 9.7 s, 2 min 05 s, 3 h 07 min
std::string bytes_text(std::optional<double> bytes);               ///< 712 MiB, 1.53 GiB; negative: "–"
/// Seconds since 1970 as 2026-11-29 12:31, UTC; "–" before 1970 and after 9999.
std::string time_text(std::optional<double> seconds);

/// A table in a box of its own that scrolls when it is wider than the page. Cells are HTML; the first of a row names it.
class HtmlTable {
 public:
  HtmlTable(std::string caption, std::vector<std::string> heads) : caption_(std::move(caption)), heads_(std::move(heads)) {}
  /// `css`: class of the row.
  void row(const std::vector<std::string>& cells, const std::string& css = "");
  /// "" when there is no row.
  std::string html() const;

 private:
  std::string caption_;
  std::vector<std::string> heads_;
  std::string rows_;
};

/// A caption above `table` in a box that scrolls. The caption stands outside: it must not be as wide as the table.
std::string scroll_box(const std::string& caption, const std::string& table);
/// A whole page of well-formed XML: no script, and nothing is loaded. `title` and `body` are HTML, `style` is CSS without '<'
/// and '&'.
std::string html_page(const std::string& title, const std::string& style, const std::string& body);
/// <section> with a heading; "" when `content` is empty.
std::string section(const std::string& heading, const std::string& content);
/// <p class="note">; "" when `text` is empty.
std::string note(const std::string& text);

}  // namespace fmtrain

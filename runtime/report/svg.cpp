#include "runtime/report/svg.h"

#include <fmt/format.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace fmtrain {
namespace {

constexpr double kLargest = 1e30;
/// Quotients this close to a whole number are one: 0.3 / 0.1 is a hair below 3.
constexpr double kSlack = 1e-9;
constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

bool shown(const Point& point) { return std::isfinite(point.y) && std::fabs(point.y) <= kLargest; }

/// n * 10^exponent, rounded once for exponents from -22 to 22.
double scaled(int64_t n, int exponent) {
  const double power = std::pow(10.0, std::abs(exponent));
  return exponent < 0 ? static_cast<double>(n) / power : static_cast<double>(n) * power;
}

/// Digits of n with a comma before each group of three.
std::string grouped(int64_t n) {
  std::string digits = std::to_string(n);
  const int64_t start = n < 0 ? 1 : 0;
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > start; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

/// n * 10^exponent as "1.5e-4".
std::string scientific(int64_t n, int exponent) {
  for (; n % 10 == 0; n /= 10) ++exponent;
  const std::string sign = n < 0 ? "-" : "", digits = std::to_string(std::abs(n));
  const std::string rest = digits.substr(1);
  return sign + digits[0] + (rest.empty() ? "" : "." + rest) + "e" + std::to_string(exponent + static_cast<int>(rest.size()));
}

/// n * 10^exponent without an exponent.
std::string plain(int64_t n, int exponent) {
  for (; exponent > 0; --exponent) n *= 10;
  if (exponent == 0) return grouped(n);
  int64_t power = 1;
  for (int i = exponent; i < 0; ++i) power *= 10;
  const int64_t size = std::abs(n);
  return fmt::format("{}{}.{:0{}d}", n < 0 ? "-" : "", size / power, size % power, -exponent);
}

/// Text of one tick of an axis whose ticks are at most `largest` and have exponents of `exponent`.
std::string tick_text(int64_t n, int exponent, double largest) {
  if (n == 0) return "0";
  if (exponent < -3 || largest >= 1e9) return scientific(n, exponent);
  return largest >= 1e6 ? plain(n, exponent - 6) + "M" : plain(n, exponent);
}

struct Multiples {
  double first = 0, last = 0;
};

Multiples multiples(double low, double high, double step, bool around) {
  if (around) return {std::floor(low / step + kSlack), std::ceil(high / step - kSlack)};
  return {std::ceil(low / step - kSlack), std::floor(high / step + kSlack)};
}

Axis make_axis(double low, double high, int most, bool around, int exponent) {
  for (;; ++exponent)
    for (const int mantissa : {1, 2, 5}) {
      const Multiples m = multiples(low, high, scaled(mantissa, exponent), around);
      if (m.last - m.first + 1 > most) continue;
      const auto first = static_cast<int64_t>(m.first), last = static_cast<int64_t>(m.last);
      Axis axis{low, high, {}};
      if (around) axis = {scaled(first * mantissa, exponent), scaled(last * mantissa, exponent), {}};
      const double largest = scaled(std::max(std::abs(first), std::abs(last)) * mantissa, exponent);
      for (int64_t k = first; k <= last; ++k)
        axis.ticks.push_back({scaled(k * mantissa, exponent), tick_text(k * mantissa, exponent, largest)});
      return axis;
    }
}

int least_exponent(double span, int most) { return static_cast<int>(std::floor(std::log10(span / most))) - 1; }

/// Appends the lowest and the highest point of one run, in their order.
void keep_extremes(std::span<const Point> run, std::vector<Point>& kept) {
  const Point *low = nullptr, *high = nullptr;
  for (const Point& point : run) {
    if (!shown(point)) continue;
    if (!low || point.y < low->y) low = &point;
    if (!high || point.y > high->y) high = &point;
  }
  if (!low) return kept.push_back({run.front().x, kGap});
  kept.push_back(std::min(low, high)[0]);
  if (low != high) kept.push_back(std::max(low, high)[0]);
}

/// Where data lies in the drawing: x in percent of its width, y in pixels from its top.
struct Frame {
  Axis x, y;
  int height = 0;
  double left(double value) const { return 100 * (value - x.low) / (x.high - x.low); }
  double top(double value) const { return height * (y.high - value) / (y.high - y.low); }
};

Frame frame_of(const Plot& plot, bool& any) {
  double last = 1, low = kLargest, high = -kLargest;
  any = false;
  const auto see = [&](const Point& point) {
    last = std::max(last, point.x);
    if (!shown(point)) return;
    any = true;
    low = std::min(low, point.y);
    high = std::max(high, point.y);
  };
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) see(point);
    for (const Upright& upright : series.uprights) see({upright.x, upright.low}), see({upright.x, upright.high});
  }
  if (!any) return {};
  return {plot.x_axis ? *plot.x_axis : count_axis(0, last, plot.x_ticks),
          plot.y_axis ? *plot.y_axis : value_axis(low, high, std::max(3, plot.height / 40)), plot.height};
}

std::string axes(const Frame& frame, const std::string& x_name) {
  std::string out;
  for (const Tick& tick : frame.y.ticks)
    out += fmt::format(
        "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>"
        "<text class=\"y\" x=\"-8\" y=\"{0:.1f}\" dy=\".35em\">{1}</text>\n",
        frame.top(tick.value), tick.text);
  for (const Tick& tick : frame.x.ticks) {
    const double at = frame.left(tick.value);
    out += fmt::format("<text class=\"x{}\" x=\"{:.2f}%\" y=\"{}\">{}</text>\n", at > 98 ? " end" : "", at, frame.height + 18,
                       tick.text);
  }
  return out + fmt::format("<text class=\"x name\" x=\"50%\" y=\"{}\">{}</text>\n", frame.height + 34, xml_escaped(x_name));
}

/// One polyline for each stretch without gaps. A lone point is drawn twice: the round end of the line makes it a dot.
std::string polylines(const Frame& frame, const Series& series) {
  std::string out, stretch;
  int count = 0;
  const auto flush = [&] {
    if (count == 1) stretch += stretch;
    if (count > 0) out += fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", series.css, stretch);
    stretch.clear();
    count = 0;
  };
  for (const Point& point : series.points) {
    if (!shown(point)) flush();
    else ++count, stretch += fmt::format("{:.1f},{:.1f} ", 10 * frame.left(point.x), frame.top(point.y));
  }
  flush();
  return out;
}

std::string tip(const Series& series, size_t i, const std::string& x_name) {
  if (!series.tips.empty()) return xml_escaped(series.tips.at(i));
  const Point& point = series.points[i];
  return fmt::format("{} {}: {:.{}f}{}", xml_escaped(x_name), grouped(std::llround(point.x)), point.y, series.digits,
                     xml_escaped(series.unit));
}

std::string dots(const Frame& frame, const Series& series, const std::string& x_name) {
  std::string out;
  for (size_t i = 0; i < series.points.size(); ++i) {
    const Point& point = series.points[i];
    if (!shown(point)) continue;
    out += fmt::format("<circle class=\"{}\" cx=\"{:.2f}%\" cy=\"{:.1f}\" r=\"3.5\"><title>{}</title></circle>\n", series.css,
                       frame.left(point.x), frame.top(point.y), tip(series, i, x_name));
  }
  return out;
}

std::string uprights(const Frame& frame, const Series& series) {
  std::string out;
  for (const Upright& upright : series.uprights)
    if (shown({upright.x, upright.low}) && shown({upright.x, upright.high}))
      out += fmt::format(
          "<line class=\"upright {0}\" x1=\"{1:.2f}%\" x2=\"{1:.2f}%\" y1=\"{2:.1f}\" y2=\"{3:.1f}\"/>\n", series.css,
          frame.left(upright.x), frame.top(upright.low), frame.top(upright.high));
  return out;
}

}  // namespace

std::vector<Point> thinned(std::span<const Point> points, size_t limit) {
  if (points.size() <= limit) return {points.begin(), points.end()};
  std::vector<Point> kept;
  const size_t runs = limit / 2;
  for (size_t i = 0; i < runs; ++i) {
    const size_t begin = points.size() * i / runs, end = points.size() * (i + 1) / runs;
    keep_extremes(points.subspan(begin, end - begin), kept);
  }
  return kept;
}

std::vector<Point> smoothed(std::span<const Point> points, size_t window, size_t limit) {
  std::vector<Point> means;
  const size_t places = std::min(points.size(), limit);
  for (size_t k = 0; k < places; ++k) {
    const size_t i = places == 1 ? 0 : k * (points.size() - 1) / (places - 1);
    const size_t begin = i - std::min(i, window / 2), end = std::min(points.size(), i + window / 2 + 1);
    double sum = 0, count = 0;
    for (const Point& point : points.subspan(begin, end - begin))
      if (shown(point)) sum += point.y, ++count;
    means.push_back({points[i].x, count > 0 ? sum / count : kGap});
  }
  return means;
}

Axis count_axis(double low, double high, int most) {
  return make_axis(low, high, most, false, std::max(0, least_exponent(std::max(high - low, 1.0), most)));
}

Axis value_axis(double low, double high, int most) {
  if (low > 0 && low < high / 2) low = 0;
  const double size = std::max(std::fabs(low), std::fabs(high));
  if (high - low <= 1e-6 * size) {
    const double room = size > 0 ? size / 2 : 1;
    low -= low == 0 ? 0 : room;
    high += room;
  }
  return make_axis(low, high, most, true, least_exponent(high - low, most));
}

std::string svg_plot(const Plot& plot) {
  bool any = false;
  const Frame frame = frame_of(plot, any);
  if (!any) return "";
  std::string lines, marks;
  for (const Series& series : plot.series) {
    if (series.line) lines += polylines(frame, series);
    marks += uprights(frame, series);
    if (series.dots) marks += dots(frame, series, plot.x_name);
  }
  if (plot.mark >= 0 && plot.mark <= frame.x.high)
    lines += fmt::format("<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" y2=\"{1}\"/>\n",
                         10 * frame.left(plot.mark), frame.height);
  const std::string title = xml_escaped(plot.title);
  return fmt::format(
      "<svg class=\"plot\" role=\"img\" aria-label=\"{0}\" width=\"100%\" height=\"{1}\"><title>{0}</title>\n{2}"
      "<svg viewBox=\"0 0 1000 {1}\" preserveAspectRatio=\"none\" overflow=\"visible\" width=\"100%\" "
      "height=\"{1}\">\n{3}</svg>\n{4}</svg>\n",
      title, plot.height, axes(frame, plot.x_name), lines, marks);
}

std::string svg_bar(const std::string& title, const std::vector<Segment>& segments) {
  double total = 0, left = 0;
  for (const Segment& segment : segments) total += segment.value;
  if (!(total > 0) || !std::isfinite(total)) return "";
  std::string rects;
  for (const Segment& segment : segments) {
    const double width = 100 * segment.value / total;
    rects +=
        fmt::format("<rect class=\"{}\" x=\"{:.2f}%\" width=\"{:.2f}%\" height=\"28\"><title>{}: {:.1f} %</title></rect>\n",
                    segment.css, left, width, xml_escaped(segment.name), width);
    left += width;
  }
  const std::string name = xml_escaped(title);
  return fmt::format(
      "<svg class=\"bar\" role=\"img\" aria-label=\"{0}\" width=\"100%\" height=\"28\"><title>{0}</title>\n{1}</svg>\n", name,
      rects);
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  const auto length = static_cast<int64_t>(text.size());
  for (int64_t at = 0; at < length;) {
    const int64_t begin = at;
    UChar32 c = 0;
    U8_NEXT(reinterpret_cast<const uint8_t*>(text.data()), at, length, c);
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else if (c < 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c & 0xFFFE) == 0xFFFE) out += "\xEF\xBF\xBD";
    else out += text.substr(static_cast<size_t>(begin), static_cast<size_t>(at - begin));
  }
  return out;
}

}  // namespace fmtrain

#include "runtime/scaling/picture.h"

#include <fmt/format.h>

namespace fmtrain {
namespace {

/// The colours of the page, for a picture that stands by itself.
constexpr const char* kPictureStyle = R"(svg { overflow: visible; }
text { font: 12px system-ui, sans-serif; fill: #5a636e; }
.x, .mid { text-anchor: middle; } .y, .end { text-anchor: end; } .grid { stroke: #e1e4e8; }
polyline { fill: none; stroke-width: 1.75; } polyline.limit { stroke: #5a636e; stroke-width: 1; stroke-dasharray: 4 4; }
.mean { stroke: #2160a8; } .valid { stroke: #be5814; } .third { stroke: #268076; } .fourth { stroke: #80669e; }
circle.mean, text.mean { fill: #2160a8; } circle.valid, text.valid { fill: #be5814; }
circle.third, text.third { fill: #268076; } circle.fourth, text.fourth { fill: #80669e; }
text.mean, text.valid, text.third, text.fourth { stroke: none; }
circle { stroke: none; } .upright { stroke-width: 4; stroke-opacity: .35; })";

}  // namespace

std::string picture(const Plot& plot, const std::string& heading,
                    const std::vector<std::pair<std::string, std::string>>& keys) {
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  std::string legend;
  int left = 220;
  for (const auto& [css, text] : keys) {
    legend += fmt::format("<text class=\"{}\" x=\"{}\" y=\"18\">{}</text>", css, left, xml_escaped(text));
    left += 20 + 7 * static_cast<int>(text.size());
  }
  const int height = plot.height + 80;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"{0}\" viewBox=\"0 0 640 {0}\">\n<style>{1}</style>\n"
      "<rect width=\"640\" height=\"{0}\" fill=\"#fff\"/>\n<text x=\"60\" y=\"18\">{2}</text>{3}\n"
      "<svg x=\"60\" y=\"32\" width=\"560\">{4}</svg></svg>\n",
      height, kPictureStyle, xml_escaped(heading), legend, svg);
}

}  // namespace fmtrain

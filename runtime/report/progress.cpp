#include "runtime/report/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fmtrain {
namespace {

constexpr double kWindow = 60, kBarEvery = 0.1, kSampleEvery = 1;

/// "[=====>    ] 42 %"
std::string bar_text(int64_t step, int64_t total, int width) {
  const double share = total > 0 ? static_cast<double>(step) / static_cast<double>(total) : 1.0;
  const int full = std::clamp(static_cast<int>(share * width), 0, width);
  char percent[16];
  std::snprintf(percent, sizeof percent, "%3d %%", static_cast<int>(100 * share));
  return "[" + std::string(static_cast<size_t>(full), '=') + std::string(static_cast<size_t>(width - full), ' ') + "] " + percent;
}

}  // namespace

Progress progress_style(Progress mode, bool terminal, const std::string& term) {
  if (mode != Progress::kAuto) return mode;
  return terminal && !term.empty() && term != "dumb" ? Progress::kBar : Progress::kPlain;
}

std::string clock_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "-:--";
  const auto s = static_cast<long long>(std::llround(seconds));
  char text[32];
  if (s >= 3600) std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
  return text;
}

ProgressLine::ProgressLine(const ProgressOptions& options, int64_t total_steps, int64_t first_step, std::function<double()> clock,
                           std::ostream& out)
    : options_(options), total_(total_steps), clock_(std::move(clock)), out_(out), shown_(clock_()), step_(first_step) {
  window_.push_back({shown_, first_step, 0});
}

void ProgressLine::step(int64_t step, int64_t epoch, double loss, double lr, int64_t samples) {
  step_ = step;
  epoch_ = epoch;
  loss_ = loss;
  lr_ = lr;
  samples_ += samples;
  pending_ = true;
  const double now = clock_();
  if (window_.size() == 1 || now - window_.back().time >= kSampleEvery) window_.push_back({now, step, samples_});
  while (window_.size() > 2 && now - window_[1].time >= kWindow) window_.pop_front();
  if (now - shown_ >= (options_.style == Progress::kBar ? kBarEvery : options_.every) || step >= total_) show();
}

std::string ProgressLine::text() const {
  const Point& from = window_.front();
  const double seconds = clock_() - from.time;
  const auto steps = static_cast<double>(step_ - from.step);
  const double rate = seconds > 0 ? static_cast<double>(samples_ - from.samples) / seconds : 0;
  const double left = steps > 0 ? seconds / steps * static_cast<double>(total_ - step_) : -1;
  char text[200];
  std::snprintf(text, sizeof text, "step %lld/%lld  epoch %lld  loss %.4f  lr %.2e  %.1f samples/s  %s left",
                static_cast<long long>(step_), static_cast<long long>(total_), static_cast<long long>(epoch_ + 1), loss_, lr_, rate,
                clock_text(left).c_str());
  return text;
}

void ProgressLine::show() {
  shown_ = clock_();
  pending_ = false;
  if (options_.style == Progress::kPlain) out_ << text() << std::endl;
  if (options_.style == Progress::kBar) draw_bar();
}

void ProgressLine::draw_bar() {
  std::string line = text();
  const int room = options_.columns - 1 - static_cast<int>(line.size()) - 10;
  if (room >= 8) line = bar_text(step_, total_, std::min(room, 24)) + "  " + line;
  out_ << "\r" << line.substr(0, static_cast<size_t>(std::max(options_.columns - 1, 1))) << "\x1b[K" << std::flush;
  bar_drawn_ = true;
}

void ProgressLine::erase() {
  if (bar_drawn_) out_ << "\r\x1b[K";
  bar_drawn_ = false;
}

void ProgressLine::say(const std::string& line) {
  if (options_.style == Progress::kOff) return;
  const bool redraw = bar_drawn_;
  erase();
  out_ << line << std::endl;
  if (redraw) draw_bar();
}

void ProgressLine::finish() {
  if (pending_) show();
  if (bar_drawn_) out_ << std::endl;
  bar_drawn_ = false;
}

}  // namespace fmtrain

#include "runtime/report/console.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>

namespace fmtrain {
namespace {

/// %* in the pattern: what stands before the message.
class Prefix : public spdlog::custom_flag_formatter {
 public:
  explicit Prefix(std::string who) : who_(std::move(who)) {}
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const char* level = message.level >= spdlog::level::err ? "fmtrain: " : message.level == spdlog::level::warn ? "fmtrain: warning: " : "";
    const std::string text = who_ + level;
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Prefix>(who_); }

 private:
  std::string who_;
};

}  // namespace

std::shared_ptr<spdlog::logger> make_console(int rank, const std::string& host, bool over_bar, std::ostream& out) {
  const std::string who = (over_bar ? "\r\x1b[K" : "") + (rank == 0 ? "" : "[rank " + std::to_string(rank) + " @" + host + "] ");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Prefix>('*', who).set_pattern("%*%v");
  auto logger = std::make_shared<spdlog::logger>("fmtrain", std::make_shared<spdlog::sinks::ostream_sink_mt>(out, true));
  logger->set_formatter(std::move(formatter));
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  return logger;
}

void say_info(spdlog::logger& console, const std::string& text) { console.info(text); }
void say_warning(spdlog::logger& console, const std::string& text) { console.warn(text); }

}  // namespace fmtrain

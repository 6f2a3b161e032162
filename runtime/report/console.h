// Messages for people, on standard error. Rank 0 speaks plainly; the others only when something is wrong, and they say who
// they are: "[rank 3 @node07] fmtrain: warning: ...".
#pragma once
#include <memory>
#include <ostream>
#include <string>

namespace spdlog {
class logger;
}

namespace fmtrain {

/// A logger of its own, unknown to spdlog's registry. Rank 0: info and above; other ranks: warnings and errors. Info lines stand
/// alone, others begin with "fmtrain: warning: " or "fmtrain: ". Every line is flushed. `over_bar`: each line first erases the
/// terminal's current line, where a progress bar may stand. `out` must outlive the logger.
std::shared_ptr<spdlog::logger> make_console(int rank, const std::string& host, bool over_bar, std::ostream& out);

/// The same for units that see LibTorch's headers, which bring an fmt of their own that does not fit spdlog's.
void say_info(spdlog::logger& console, const std::string& text);
void say_warning(spdlog::logger& console, const std::string& text);

}  // namespace fmtrain

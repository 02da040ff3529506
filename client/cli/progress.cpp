#include "client/cli/progress.hpp"

#include <unistd.h>

#include <cstdio>

#include "common/base/units.hpp"

namespace baton::cli {

Progress::Progress(const GlobalOptions& global, const char* verb, std::uint64_t messages_total, bool is_wanted)
    : verb_{verb},
      messages_total_{messages_total},
      is_on_{is_wanted && !global.quiet && ::isatty(STDERR_FILENO) == 1} {}

Progress::~Progress() {
    clear();
}

void Progress::clear() {
    if (is_shown_) {
        std::fputs("\r\033[K", stderr);
        is_shown_ = false;
    }
}

void Progress::look(std::uint64_t messages, double fraction) {
    const auto now = Clock::now();
    if (now < next_) {
        return;
    }
    next_ = now + std::chrono::milliseconds{500};
    if (fraction < 0 && messages_total_ != 0) {
        fraction = static_cast<double>(messages) / static_cast<double>(messages_total_);
    }
    std::fprintf(stderr, "\r%s\033[K", progress_text(verb_, messages, fraction, now - started_).c_str());
    is_shown_ = true;
}

std::string progress_text(const char* verb, std::uint64_t messages, double fraction,
                          std::chrono::duration<double> elapsed) {
    const auto rate = static_cast<double>(messages) / elapsed.count();
    std::string text =
        std::to_string(messages) + " " + verb + ", " + std::to_string(static_cast<std::uint64_t>(rate)) + "/s";
    if (fraction > 0) {
        const auto left = std::chrono::seconds{static_cast<std::int64_t>(elapsed.count() * (1 - fraction) / fraction)};
        text += ", " + std::to_string(static_cast<int>(fraction * 100)) + "%, " + format_duration(left) + " left";
    }
    return text;
}

}  // namespace baton::cli

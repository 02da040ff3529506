// How far a long verb has come: a line on stderr that is written over and over, only on a terminal, after a second.
// Main thread.
#pragma once

#include <chrono>
#include <cstdint>

#include "client/cli/command.hpp"

namespace baton::cli {

class Progress {
public:
    /// `verb` in the past ("sent"). `messages_total` 0: unknown. Silent unless `is_wanted`.
    Progress(const GlobalOptions& global, const char* verb, std::uint64_t messages_total, bool is_wanted = true);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Somebody may see it.
    [[nodiscard]] bool is_on() const noexcept { return is_on_; }
    /// Cheap: looks at the clock now and then. `fraction` of the whole, if known better than by messages; else
    /// negative.
    void reached(std::uint64_t messages, double fraction = -1) {
        if (is_on_ && ++calls_ % calls_per_look == 0) {
            look(messages, fraction);
        }
    }
    /// For who calls rarely, or after what may have taken long: looks at the clock each time.
    void tick(std::uint64_t messages, double fraction = -1) {
        if (is_on_) {
            look(messages, fraction);
        }
    }
    /// Before another line goes to stderr: an empty line again.
    void clear();

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::uint64_t calls_per_look = 64;

    void look(std::uint64_t messages, double fraction);

    const char* verb_;
    std::uint64_t messages_total_;
    bool is_on_;
    bool is_shown_ = false;
    std::uint64_t calls_ = 0;
    Clock::time_point started_ = Clock::now();
    Clock::time_point next_ = started_ + std::chrono::seconds{1};
};

/// "1234 sent, 567/s, 40%, 12s left".
[[nodiscard]] std::string progress_text(const char* verb, std::uint64_t messages, double fraction,
                                        std::chrono::duration<double> elapsed);

}  // namespace baton::cli

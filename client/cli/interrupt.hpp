// SIGINT and SIGTERM as a stop token: the first asks the verb to end in order, the second ends the process.
#pragma once

#include <stop_token>
#include <thread>

namespace baton::cli {

class Interrupt {
public:
    /// Before any other thread is started: they inherit the blocked signals. Ignores SIGPIPE.
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }
    /// Waits until `descriptor` is readable. False: interrupted.
    [[nodiscard]] static bool wait_readable(int descriptor, const std::stop_token& stop);

private:
    std::stop_source source_;
    std::jthread thread_;
};

}  // namespace baton::cli

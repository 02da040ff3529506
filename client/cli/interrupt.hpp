// What ends a verb from outside: SIGINT, SIGTERM and SIGHUP (unless that is ignored, as by nohup), and a stdout that nobody
// reads any more. The first signal asks the verb to end in order, a second SIGINT or SIGTERM ends the process.
// Threads: the token and the questions from any thread; everything else from the main thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
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
    [[nodiscard]] bool is_requested() const noexcept { return source_.stop_requested(); }
    /// A signal came.
    [[nodiscard]] bool has_signal() const noexcept { return has_signal_.load(); }

    /// From now on it counts as an interruption, too, when the last reader of the pipe or socket on stdout leaves:
    /// a verb that waits for messages ends although it has nothing to write.
    void watch_stdout() noexcept;
    /// Until that is said again it does not: while somebody else writes there.
    void ignore_stdout() noexcept { is_watching_stdout_ = false; }

    /// Waits until `descriptor` is ready for `events` (of poll). False: interrupted.
    [[nodiscard]] bool wait_ready(int descriptor, short events) const noexcept;
    /// Waits so long, or until interrupted.
    void pause(std::chrono::milliseconds duration) const noexcept;

private:
    void watch() noexcept;
    void request_stop() noexcept;

    std::stop_source source_;
    std::atomic<bool> has_signal_ = false;
    std::atomic<bool> is_watching_stdout_ = false;
    std::atomic<bool> is_ending_ = false;
    int signals_ = -1;  // signalfd
    int wake_ = -1;     // eventfd: the thread shall look at the flags.
    int stopped_ = -1;  // eventfd: readable for ever once a stop is requested.
    std::thread thread_;
};

}  // namespace baton::cli

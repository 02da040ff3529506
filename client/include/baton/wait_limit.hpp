// How long a call may wait: every call of this library that can wait takes a WaitLimit.
// Any thread. Next file: client.hpp.
#pragma once

#include <chrono>
#include <stop_token>
#include <utility>

namespace baton {

// A point in time, and perhaps a stop token; made from a duration, a time point or a token, whichever is at hand:
//
//   receiver.receive(5s);                       until five seconds from now
//   receiver.receive(deadline);                 until that steady_clock::time_point
//   receiver.receive(stop_token);               until somebody requests a stop
//   receiver.receive({5s, stop_token});         whichever comes first
//   receiver.receive(WaitLimit::forever());     the default
//   sender.post(message, WaitLimit::no_wait());
//
// A duration counts from the construction of the WaitLimit. What a call does when its limit is reached is said there.
class WaitLimit {
public:
    using Clock = std::chrono::steady_clock;

    template <class Rep, class Period>
    WaitLimit(std::chrono::duration<Rep, Period> duration, std::stop_token stop = {}) noexcept
        : until_{after(duration)}, stop_{std::move(stop)} {}
    WaitLimit(Clock::time_point until, std::stop_token stop = {}) noexcept : until_{until}, stop_{std::move(stop)} {}
    WaitLimit(std::stop_token stop) noexcept : stop_{std::move(stop)} {}

    [[nodiscard]] static WaitLimit forever() noexcept { return WaitLimit{Clock::time_point::max()}; }
    [[nodiscard]] static WaitLimit no_wait() noexcept { return WaitLimit{Clock::time_point::min()}; }

    [[nodiscard]] Clock::time_point until() const noexcept { return until_; }
    [[nodiscard]] bool is_forever() const noexcept { return until_ == Clock::time_point::max(); }
    [[nodiscard]] const std::stop_token& stop() const noexcept { return stop_; }

private:
    template <class Rep, class Period>
    [[nodiscard]] static Clock::time_point after(std::chrono::duration<Rep, Period> duration) noexcept {
        using Seconds = std::chrono::duration<double>;
        const Clock::time_point now = Clock::now();
        if (Seconds{duration} >= Seconds{Clock::time_point::max() - now}) {
            return Clock::time_point::max();
        }
        if (Seconds{duration} <= -Seconds{now.time_since_epoch()}) {
            return Clock::time_point::min();
        }
        return now + std::chrono::duration_cast<Clock::duration>(duration);
    }

    Clock::time_point until_ = Clock::time_point::max();
    std::stop_token stop_;
};

}  // namespace baton

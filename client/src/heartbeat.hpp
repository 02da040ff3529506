// When to say something so that the other side knows we live, and when to give it up for dead.
// Pure arithmetic on times that are handed in. One thread. Next file: client_protocol.hpp.
#pragma once

#include <algorithm>

#include "common/base/clock.hpp"

namespace baton::client {

// Until start() only the time since begin() counts: the handshake has its own patience.
class Heartbeat {
public:
    static constexpr Duration handshake_timeout = std::chrono::seconds{10};

    void begin(MonotonicTime now) noexcept {
        last_sent_ = now;
        last_heard_ = now;
        interval_ = Duration::zero();
    }
    void start(MonotonicTime now, Duration interval) noexcept {
        interval_ = interval;
        last_heard_ = now;
    }

    void on_sent(MonotonicTime now) noexcept { last_sent_ = now; }
    void on_heard(MonotonicTime now) noexcept { last_heard_ = now; }

    // Half an interval of silence of ours: time for a PING, with as much again in reserve.
    [[nodiscard]] bool is_ping_due(MonotonicTime now) const noexcept { return is_started() && now >= ping_at(); }
    [[nodiscard]] bool is_peer_dead(MonotonicTime now) const noexcept { return now >= dead_at(); }

    [[nodiscard]] MonotonicTime next() const noexcept {
        return is_started() ? std::min(ping_at(), dead_at()) : dead_at();
    }

private:
    [[nodiscard]] bool is_started() const noexcept { return interval_ != Duration::zero(); }
    [[nodiscard]] MonotonicTime ping_at() const noexcept { return last_sent_ + interval_ / 2; }
    [[nodiscard]] MonotonicTime dead_at() const noexcept {
        return last_heard_ + (is_started() ? 2 * interval_ : handshake_timeout);
    }

    MonotonicTime last_sent_{};
    MonotonicTime last_heard_{};
    Duration interval_{};
};

}  // namespace baton::client

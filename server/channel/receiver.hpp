// One attached receiver: its credit, what it holds and why it waits. Plain state; the rules are in dispatcher.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "server/channel/in_flight.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

class Subscription;

/// Times of leases: steps of 16 ms on the monotonic clock, rounded up so that what is given within a thirty-second of a
/// lease ends together and stays one run.
inline constexpr Duration lease_step = std::chrono::milliseconds{16};
[[nodiscard]] inline std::uint32_t lease_time(MonotonicTime now) noexcept {
    return static_cast<std::uint32_t>(now.time_since_epoch() / lease_step);
}
[[nodiscard]] inline std::uint32_t lease_end(MonotonicTime now, Duration lease) noexcept {
    const auto grain = static_cast<std::uint32_t>(std::max<Duration::rep>(lease / lease_step / 32, 1));
    return (lease_time(now + lease) / grain + 1) * grain;
}

/// A settlement, or the rest of it, that comes later because it is of very many messages, or behind such a one.
struct LateSettlement {
    SettleRange range;
    std::shared_ptr<const std::string> note{};
    std::uint64_t receipt = 0;  ///< Instead of a range: it is answered.
};

struct Receiver {
    static constexpr std::size_t not_a_candidate = SIZE_MAX;

    LinkAddress address;
    Subscription* subscription = nullptr;
    std::string name;  ///< What the peer calls itself; kept with what it rejects.
    Duration lease = std::chrono::seconds{30};
    Duration lease_max = std::chrono::hours{12};
    bool is_exclusive = false;
    Credit limit;      ///< Absolute, as the receiver said.
    Credit delivered;  ///< Since it was attached. Bytes are those of message regions, lengths included.
    bool is_slow = false;
    InFlight in_flight;
    OnDemandRing<LateSettlement> late_settlements;  ///< In order. While there are some no lease of the receiver ends.
    std::optional<std::error_code> ending;  ///< Why it ends, when these are applied: it gets nothing more, and is asked nothing.
    Wait wait;

    // The dispatcher's own.
    bool is_passed_over = false;  ///< Since `passed_over_since` the next message does not fit its byte credit.
    MonotonicTime passed_over_since{};
    std::uint64_t last_served = 0;
    std::size_t heap_index = not_a_candidate;
};

/// Totals only grow, so a limit that was lowered below them is simply used up.
[[nodiscard]] inline Credit credit_left(Credit limit, Credit used) noexcept {
    return {limit.messages > used.messages ? limit.messages - used.messages : 0,
            limit.bytes > used.bytes ? limit.bytes - used.bytes : 0};
}

/// Changes the reason; `since` moves only if it is another reason.
inline void set_wait(Wait& wait, WaitReason reason, MonotonicTime now) noexcept {
    if (wait.reason != reason) {
        wait = {reason, now};
    }
}

}  // namespace baton::channel

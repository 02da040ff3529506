// How long to wait before the next attempt to connect: doubling, bounded, and with chance, so that a thousand clients
// do not come back in the same millisecond. One thread. Next file: connection.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/base/clock.hpp"
#include "common/base/prng.hpp"

namespace baton::client {

class Backoff {
public:
    // Both positive, first <= max.
    Backoff(Duration first, Duration max) noexcept : first_{first}, max_{max}, next_{first} {}

    // Of the attempts since the last reset: first, 2 * first, ... up to max; of each a random half is taken off.
    [[nodiscard]] Duration take(Prng& prng) noexcept {
        const Duration full = next_;
        next_ = std::min(2 * next_, max_);
        const auto half = static_cast<std::uint64_t>(full.count() / 2);
        const Duration wait = full - Duration{static_cast<Duration::rep>(prng.range(0, half))};
        const Duration least = std::exchange(at_least_, Duration::zero());
        return least == Duration::zero() ? wait : least + wait;
    }

    // The broker asked us to stay away for that long; our own wait comes on top of it.
    void stay_away(Duration least) noexcept { at_least_ = least; }
    void reset() noexcept { next_ = first_; }

private:
    Duration first_;
    Duration max_;
    Duration next_;
    Duration at_least_{};
};

}  // namespace baton::client

#include "common/base/clock.hpp"

#include <chrono>

#include "common/base/assert.hpp"

namespace baton {

MonotonicTime SystemClock::now() const noexcept {
    return MonotonicTime{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
}

WallTime SystemClock::wall_now() const noexcept {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    return WallTime{std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count()};
}

MonotonicTime ManualClock::now() const noexcept {
    return MonotonicTime{Duration{now_ns_.load(std::memory_order_acquire)}};
}

WallTime ManualClock::wall_now() const noexcept {
    return WallTime{wall_ns_.load(std::memory_order_acquire) / 1'000};
}

void ManualClock::advance(Duration by) noexcept {
    BATON_ASSERT(by >= Duration::zero());
    now_ns_.fetch_add(by.count(), std::memory_order_acq_rel);
    wall_ns_.fetch_add(by.count(), std::memory_order_acq_rel);
}

void ManualClock::set_wall(WallTime wall) noexcept {
    wall_ns_.store(wall.us * 1'000, std::memory_order_release);
}

}  // namespace baton

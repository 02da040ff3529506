// The clock port. Monotonic time for every timeout, lease and age; wall time only for absolute schedules, time stamps
// of messages and display. The core asks its Clock and never the operating system, so that tests and simulation own
// time. Clocks may be read from any thread; ManualClock is advanced by one thread at a time. Next file:
// deadline_wheel.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <compare>
#include <cstdint>

namespace baton {

using Duration = std::chrono::nanoseconds;

// Not a clock: it has no now(). It only keeps points of monotonic time apart from every other time_point.
class MonotonicClockTag {
public:
    using rep = Duration::rep;
    using period = Duration::period;
    using duration = Duration;
    static constexpr bool is_steady = true;
};

using MonotonicTime = std::chrono::time_point<MonotonicClockTag, Duration>;

// Microseconds since 1970-01-01 UTC. May jump in both directions.
struct WallTime {
    std::int64_t us = 0;

    friend constexpr auto operator<=>(WallTime, WallTime) noexcept = default;
};

class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    // Never decreases.
    [[nodiscard]] virtual MonotonicTime now() const noexcept = 0;
    [[nodiscard]] virtual WallTime wall_now() const noexcept = 0;
};

class SystemClock final : public Clock {
public:
    [[nodiscard]] MonotonicTime now() const noexcept override;
    [[nodiscard]] WallTime wall_now() const noexcept override;
};

// Stands still until told otherwise. Starts at one second of monotonic time (so that "one second ago" exists) and at
// 2001-09-09 01:46:40 UTC of wall time.
class ManualClock final : public Clock {
public:
    [[nodiscard]] MonotonicTime now() const noexcept override;
    [[nodiscard]] WallTime wall_now() const noexcept override;

    // Both times move. `by` is not negative.
    void advance(Duration by) noexcept;
    // The wall clock is set by somebody; monotonic time does not notice.
    void set_wall(WallTime wall) noexcept;

private:
    std::atomic<std::int64_t> now_ns_{1'000'000'000};
    std::atomic<std::int64_t> wall_ns_{1'000'000'000'000'000'000};
};

}  // namespace baton

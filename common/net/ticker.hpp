// The pulse of a thread: calls a function at a steady rate, for deadline wheels and statistics.
// Not responsible for single deadlines: common/base/deadline_wheel.hpp. On the thread of its executor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/clock.hpp"
#include "common/net/asio.hpp"

namespace baton::net {

class Ticker {
public:
    // `on_tick` is called from the event loop; it may call stop() and may destroy the ticker.
    Ticker(const Executor& executor, std::function<void()> on_tick) : timer_{executor}, on_tick_{std::move(on_tick)} {}
    Ticker(const Ticker&) = delete;
    Ticker& operator=(const Ticker&) = delete;

    // First tick after one period. Ticks that were missed because the thread was busy are not made up for.
    void start(Duration period) {
        BATON_ASSERT(period > Duration::zero());
        period_ = std::chrono::duration_cast<std::chrono::steady_clock::duration>(period);
        next_ = std::chrono::steady_clock::now() + period_;
        is_running_ = true;
        wait();
    }

    // No tick follows. A stopped ticker can be started again.
    void stop() noexcept {
        is_running_ = false;
        ++round_;
        timer_.cancel();
    }

    [[nodiscard]] bool is_running() const noexcept { return is_running_; }

private:
    void wait() {
        timer_.expires_at(next_);
        timer_.async_wait([this, watch = life_.watch(), round = ++round_](std::error_code) {
            if (!watch.is_gone() && round == round_) {
                tick();
            }
        });
    }

    void tick() {
        const auto watch = life_.watch();
        const auto round = round_;
        auto on_tick = std::move(on_tick_);  // It may destroy this ticker, but not itself while it runs.
        on_tick();
        if (watch.is_gone()) {
            return;
        }
        on_tick_ = std::move(on_tick);
        if (round != round_) {
            return;
        }
        next_ += period_;
        if (const auto now = std::chrono::steady_clock::now(); next_ <= now) {
            next_ = now + period_;
        }
        wait();
    }

    SteadyTimer timer_;
    std::function<void()> on_tick_;
    std::chrono::steady_clock::duration period_{};
    std::chrono::steady_clock::time_point next_;
    std::uint64_t round_ = 0;  // A completion of an earlier start() or wait() is ignored.
    bool is_running_ = false;
    LifeToken life_;  // Last: gone before anything that a handler would touch.
};

}  // namespace baton::net

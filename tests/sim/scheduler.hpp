// Virtual time: everything that happens in a simulation is an event at a time, carried out one after the other. Events
// of the same time come in an order that the seed decides. Not responsible for what happens. One thread. Next file:
// network.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/prng.hpp"

namespace baton::sim {

class Scheduler {
public:
    explicit Scheduler(std::uint64_t seed) : prng_{seed} {}

    [[nodiscard]] const ManualClock& clock() const noexcept { return clock_; }
    [[nodiscard]] MonotonicTime now() const noexcept { return clock_.now(); }

    void at(MonotonicTime when, std::function<void()> action) {
        events_.push({std::max(when, now()), prng_.next(), ++count_, std::move(action)});
    }
    void after(Duration delay, std::function<void()> action) { at(now() + delay, std::move(action)); }

    // Carries out the next event. False: there is none.
    bool run_one() {
        if (events_.empty()) {
            return false;
        }
        Event event = events_.top();
        events_.pop();
        clock_.advance(event.when - now());
        ++carried_out_;
        event.action();
        return true;
    }
    [[nodiscard]] std::uint64_t carried_out() const noexcept { return carried_out_; }

private:
    struct Event {
        MonotonicTime when;
        std::uint64_t tie = 0;
        std::uint64_t number = 0;
        std::function<void()> action;
        bool operator<(const Event& other) const noexcept {  // The largest is on top.
            return std::tie(other.when, other.tie, other.number) < std::tie(when, tie, number);
        }
    };

    ManualClock clock_;
    Prng prng_;
    std::uint64_t count_ = 0;
    std::uint64_t carried_out_ = 0;
    std::priority_queue<Event> events_;
};

}  // namespace baton::sim

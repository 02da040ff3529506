// The time of a turn: read once, when somebody first asks for it, and the same until the turn ends. A channel asks some ten times
// for each message that comes alone, and asking costs more than many of the things it does.
// Turns are short: what a step may take is limited (ADR 16). One thread, the shard's. Next file: shard_broker.hpp.
#pragma once

#include <optional>

#include "common/base/clock.hpp"

namespace baton::runtime {

class TurnClock final : public Clock {
public:
    /// `clock` outlives it.
    explicit TurnClock(const Clock& clock) noexcept : clock_{clock} {}

    [[nodiscard]] MonotonicTime now() const noexcept override {
        if (!now_) {
            now_ = clock_.now();
        }
        return *now_;
    }
    [[nodiscard]] WallTime wall_now() const noexcept override {
        if (!wall_now_) {
            wall_now_ = clock_.wall_now();
        }
        return *wall_now_;
    }
    void end_turn() noexcept {
        now_.reset();
        wall_now_.reset();
    }

private:
    const Clock& clock_;
    mutable std::optional<MonotonicTime> now_;
    mutable std::optional<WallTime> wall_now_;
};

}  // namespace baton::runtime

// How much of what is ready is done before the event loop is asked again what else is: clock pulses, other shards and the
// disk are behind all that one look has found, which may be 128 connections that begin at once. After `work_max` the rest waits
// in a line, and every round of the loop serves the first of them for as long. Who brings much stands in a line of its own: behind
// hundreds of senders that send all they can, a millisecond each, whoever asks little would wait for all of them.
// Not responsible for what a single piece may take (channel::StepBudget). No I/O: who owns it posts the rounds. One owner, the
// shard. Next file: shard.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "common/base/clock.hpp"

namespace baton::runtime {

class TurnLine {
public:
    using Work = std::move_only_function<void()>;

    /// How much its last turn has brought.
    enum class Load : std::uint8_t { light, heavy };

    /// Some thirty connections that attach, or ten that have sent a quarter of a MiB of small messages each.
    static constexpr Duration work_max = std::chrono::milliseconds{1};

    /// `clock` outlives it.
    explicit TurnLine(const Clock& clock) noexcept : clock_{clock} {}
    TurnLine(const TurnLine&) = delete;
    TurnLine& operator=(const TurnLine&) = delete;

    /// True: it can be done at once; then end() says that it is done. False: enough was done, or others wait: wait().
    /// Nobody says when a round of the loop begins, so work of earlier ones counts until `work_max` is full; then one round
    /// ends early, once a millisecond of work.
    [[nodiscard]] bool begin() noexcept {
        if (!is_empty() || worked_ >= work_max) {
            return false;
        }
        began_ = clock_.now();
        return true;
    }
    /// Without begin(): no change.
    void end() noexcept {
        if (began_) {
            worked_ += clock_.now() - *std::exchange(began_, std::nullopt);
        }
    }

    /// Its turn comes in serve(). True: the caller sees to it that serve() is called in the next round of the loop.
    [[nodiscard]] bool wait(Work work, Load load = Load::light) {
        const bool is_first = is_empty();
        (load == Load::light ? light_ : heavy_).push_back(std::move(work));
        return is_first && !is_serving_;
    }
    /// Does what waits, of each line the first of it first, and at least one. Where both wait, half of the time is for the light
    /// ones. True: the same as for wait().
    [[nodiscard]] bool serve() {
        is_serving_ = true;
        worked_ = Duration{};
        serve_first_of(light_);
        serve(light_, heavy_.empty() ? work_max : work_max / 2);
        serve_first_of(heavy_);
        serve(heavy_, work_max);
        serve(light_, work_max);
        is_serving_ = false;
        return !is_empty();
    }

private:
    [[nodiscard]] bool is_empty() const noexcept { return light_.empty() && heavy_.empty(); }
    void serve(std::deque<Work>& line, Duration until) {
        while (!line.empty() && worked_ < until) {
            serve_first_of(line);
        }
    }
    void serve_first_of(std::deque<Work>& line) {
        if (line.empty()) {
            return;
        }
        const auto began = clock_.now();
        auto work = std::move(line.front());
        line.pop_front();
        work();
        worked_ += clock_.now() - began;
    }

    const Clock& clock_;
    std::deque<Work> light_;
    std::deque<Work> heavy_;
    std::optional<MonotonicTime> began_;
    Duration worked_{};
    bool is_serving_ = false;
};

}  // namespace baton::runtime

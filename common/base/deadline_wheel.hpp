// Deadlines are data: things that wait for a time carry a Deadline, a wheel holds those of one shard, and tick(now)
// says which have come. No timer, no thread, no allocation; scheduling and cancelling are O(1). Not responsible for
// telling the time (clock.hpp) or for waking up (the shard's one timer asks next()). One thread. Next file: clock.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/clock.hpp"

namespace baton {

namespace detail {

// Node of a circular list. Not linked: both null.
struct DeadlineLink {
    DeadlineLink* previous = nullptr;
    DeadlineLink* next = nullptr;
};

}  // namespace detail

// Embedded in what waits; unlinks itself when that is destroyed. At one address for life.
class Deadline : private detail::DeadlineLink {
public:
    Deadline() noexcept = default;
    explicit Deadline(std::uint64_t key_value) noexcept : key{key_value} {}
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    ~Deadline() { unlink(); }

    [[nodiscard]] bool is_scheduled() const noexcept { return next != nullptr; }
    // The time it was last scheduled for.
    [[nodiscard]] MonotonicTime when() const noexcept { return when_; }

    std::uint64_t key = 0;  // The owner's: which thing, or which kind of timeout, this is.

private:
    friend class DeadlineWheel;

    void unlink() noexcept {
        if (next != nullptr) {
            previous->next = next;
            next->previous = previous;
            previous = nullptr;
            next = nullptr;
        }
    }

    MonotonicTime when_{};
};

// A hierarchical wheel: seven levels of 64 slots; a slot of level n is 64^n steps of 8.4 ms wide. An entry sits at the
// level of the highest digit in which its time differs from the present, and moves down when its slot comes.
//
// Exact all the same: tick(now) fires the entries with when <= now and no others, in no particular order.
class DeadlineWheel {
public:
    DeadlineWheel() noexcept;
    DeadlineWheel(const DeadlineWheel&) = delete;
    DeadlineWheel& operator=(const DeadlineWheel&) = delete;
    ~DeadlineWheel();  // Entries that are still scheduled are let go.

    // Schedules, or moves what is scheduled already. A time that is past fires at the next tick.
    void schedule(Deadline& deadline, MonotonicTime when) noexcept;

    // Does nothing if it is not scheduled.
    void cancel(Deadline& deadline) noexcept { deadline.unlink(); }

    // Calls `fire(Deadline&)` for everything whose time has come; the entry is no longer scheduled then. Meanwhile any
    // entry may be scheduled, cancelled or destroyed, also the one that fires and those that are about to: what is
    // scheduled during a tick fires in a later tick, whatever its time; what is cancelled does not fire.
    // `now` does not decrease from tick to tick. tick() is not called from `fire`.
    template <class Fire>
    void tick(MonotonicTime now, Fire&& fire) {
        BATON_ASSERT_MSG(!is_ticking_, "DeadlineWheel::tick called from its own callback");
        is_ticking_ = true;
        collect(now);
        while (Deadline* deadline = pop_due()) {
            fire(*deadline);
        }
        is_ticking_ = false;
    }

    // When tick() should be called next: never later than the earliest entry; earlier only after a cancellation.
    [[nodiscard]] std::optional<MonotonicTime> next() noexcept;

private:
    static constexpr unsigned step_bits = 23;  // A step is 2^23 ns.
    static constexpr unsigned level_bits = 6;
    static constexpr std::size_t slot_count = std::size_t{1} << level_bits;
    static constexpr std::size_t level_count = 7;  // 42 bits of steps: more than fit into a MonotonicTime.

    struct Slot {
        detail::DeadlineLink head;
        MonotonicTime earliest{};  // Not later than any entry of the slot. Stands still when entries are cancelled.
    };
    struct Level {
        std::uint64_t occupied = 0;  // Bit per slot: may have entries. A clear bit is certain.
        std::array<Slot, slot_count> slots;
    };

    [[nodiscard]] static std::uint64_t step_of(MonotonicTime time) noexcept;
    [[nodiscard]] static bool is_empty(const Slot& slot) noexcept { return slot.head.next == &slot.head; }
    static void link_before(detail::DeadlineLink& at, detail::DeadlineLink& link) noexcept;
    static void splice_to(detail::DeadlineLink& to, Slot& from) noexcept;

    void place(Deadline& deadline) noexcept;
    void collect(MonotonicTime now) noexcept;
    void open_slot(std::size_t level, std::size_t slot, MonotonicTime now) noexcept;
    [[nodiscard]] Deadline* pop_due() noexcept;
    // The first slot that has entries; it holds the earliest entry of all. Clears bits of slots that have run empty.
    [[nodiscard]] std::optional<std::pair<std::size_t, std::size_t>> first_slot() noexcept;

    std::uint64_t current_step_ = 0;
    std::array<Level, level_count> levels_;
    detail::DeadlineLink due_;  // Collected by the tick that is running, not yet fired.
    bool is_ticking_ = false;
};

}  // namespace baton

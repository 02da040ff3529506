// Messages that wait for their time: delayed ones and those that are to be tried again. They are in nobody's hands and
// use nobody's credit. One node and one heap entry a message, so that a million of them cost the others nothing.
// Relative times are monotonic; only an absolute schedule follows the wall clock.
// What is due later than in a moment *rests* (MessageLog::rest): its bytes need not be in memory. They are fetched ahead of its
// time, of so many blocks at once, the earliest first.
// One owner. Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "common/base/clock.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/waiting_heap.hpp"

namespace baton::channel {

class Schedule {
public:
    struct Due {
        MonotonicTime at{};
        std::optional<WallTime> wall;  ///< Instead, and it follows the wall clock.
    };
    struct Waiting {
        Run run;
        Due due;
        bool has_key = false;  ///< Ordered channels: the others with its key wait for it.
        bool rests = false;
    };
    struct Now {
        MonotonicTime time{};
        WallTime wall;
    };
    /// What is due within this time does not rest any more. Enough for a slow disk, and for the clock pulse of a shard that has
    /// much to do; what was read for it stays until it has been given.
    static constexpr Duration soon = std::chrono::seconds{2};

    /// `run` is one message that does not wait yet. `may_rest`: if it is not due soon, it rests. Returns when to look at it.
    MonotonicTime put(const Run& run, const Due& due, bool has_key, bool may_rest, const Now& now);
    [[nodiscard]] std::optional<Waiting> take(Offset offset);
    /// One message whose time has come; nothing if there is none.
    [[nodiscard]] std::optional<Waiting> take_due(const Now& now);
    [[nodiscard]] bool has_due(const Now& now) const noexcept;

    /// Before it nothing is due, no rest ends, no block's time is over; `now` if something follows the wall clock, which may jump.
    [[nodiscard]] MonotonicTime next_time(MonotonicTime now) const noexcept;
    [[nodiscard]] std::uint64_t messages() const noexcept { return waiting_.size(); }
    [[nodiscard]] const Waiting* find(Offset offset) const noexcept;
    [[nodiscard]] const std::map<Offset, Waiting>& waiting() const noexcept { return waiting_.map(); }
    /// Adds the runs of first .. end - 1, to be changed but for their offsets.
    void add(Offset first, Offset end, std::vector<Run*>& runs);
    /// Their batches have come into memory: what rests is counted there.
    void count_resting(Offset first, Offset end) const noexcept;
    /// When the wait ends, as wall time.
    [[nodiscard]] static WallTime wall_of(const Due& due, const Clock& clock) noexcept;

    // --- Ahead of its time -------------------------------------------------------------------------------------------------

    /// The rest of those that are due soon ends, up to so many of them, and their blocks are wanted. It stops at one whose block
    /// would be one too many: then that is the next one, or it is late. False: only because of `messages`.
    bool end_rests(const Now& now, std::uint64_t& messages);
    static constexpr std::size_t blocks_max = 16;
    /// Blocks that were not in memory when something in them was found to be due soon, until it is due: the earliest first.
    struct Wanted {
        commit::BlockRef ref;
        MonotonicTime until{};
    };
    [[nodiscard]] std::span<const Wanted> wanted() const noexcept { return resting_->wanted; }
    void forget_wanted() noexcept { wanted().empty() ? void() : resting_.edit().wanted.clear(); }

private:
    template <class Time>
    struct Entry {
        Time at;
        Offset offset;
        [[nodiscard]] bool operator<(const Entry& other) const noexcept {  // For a heap with the earliest first.
            return at != other.at ? at > other.at : offset > other.offset;
        }
    };
    template <class Time>
    [[nodiscard]] std::optional<Waiting> pop(WaitingHeap<Entry<Time>>& heap, Time now);
    template <class Time>
    [[nodiscard]] bool end_rests(WaitingHeap<Entry<Time>>& resting, WaitingHeap<Entry<Time>>& soon_due, Time end, const Now& now,
                                 std::uint64_t& messages);
    [[nodiscard]] bool want(const commit::BlockRef& ref, MonotonicTime until);
    /// The message for which the entry was made; null: it was taken meanwhile.
    template <class Time>
    [[nodiscard]] Waiting* current(const Entry<Time>& entry) noexcept;

    OnDemandMap<std::map<Offset, Waiting>> waiting_;
    // Entries of messages that were taken stay until their time comes.
    WaitingHeap<Entry<MonotonicTime>> by_time_;
    WaitingHeap<Entry<WallTime>> by_wall_;
    struct Resting {  // Instead, of those that rest.
        WaitingHeap<Entry<MonotonicTime>> by_time;
        WaitingHeap<Entry<WallTime>> by_wall;
        std::vector<Wanted> wanted;
    };
    OnDemand<Resting> resting_;
};

}  // namespace baton::channel

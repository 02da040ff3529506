// Messages that wait for their time: delayed ones and those that are to be tried again. They are in nobody's hands and
// use nobody's credit. One node and one heap entry a message, so that a million of them cost the others nothing.
// Relative times are monotonic; only an absolute schedule follows the wall clock. One owner. Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

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
    };

    /// `run` is one message that does not wait yet.
    void put(const Run& run, const Due& due, bool has_key);
    [[nodiscard]] std::optional<Waiting> take(Offset offset);
    /// One message whose time has come; nothing if there is none.
    [[nodiscard]] std::optional<Waiting> take_due(MonotonicTime now, WallTime wall);
    [[nodiscard]] bool has_due(MonotonicTime now, WallTime wall) const noexcept;

    /// Nothing is due before; `now` if something follows the wall clock, which may jump.
    [[nodiscard]] MonotonicTime next_time(MonotonicTime now) const noexcept {
        return !by_wall_.empty() ? now : !by_time_.empty() ? by_time_.front().at : MonotonicTime::max();
    }
    [[nodiscard]] std::uint64_t messages() const noexcept { return waiting_.size(); }
    [[nodiscard]] const Waiting* find(Offset offset) const noexcept;
    [[nodiscard]] const std::map<Offset, Waiting>& waiting() const noexcept { return waiting_.map(); }
    /// When the wait ends, as wall time.
    [[nodiscard]] static WallTime wall_of(const Due& due, const Clock& clock) noexcept;

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
    [[nodiscard]] bool is_current(const Entry<MonotonicTime>& entry) const noexcept;
    [[nodiscard]] bool is_current(const Entry<WallTime>& entry) const noexcept;

    OnDemandMap<std::map<Offset, Waiting>> waiting_;
    // Entries of messages that were taken stay until their time comes.
    WaitingHeap<Entry<MonotonicTime>> by_time_;
    WaitingHeap<Entry<WallTime>> by_wall_;
};

}  // namespace baton::channel

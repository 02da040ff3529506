// Waiting for settlements: the runs that one receiver holds, in the order of their offsets.
// Knows which settlement applies to what; what a settlement then means for the message is the channel's business.
// One owner, the channel. Next file: ready_set.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/channel/message_log.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

/// What a settlement found. Reused by its owner so that settling allocates nothing.
struct Settlement {
    /// The parts that the receiver held with this attempt number, cut out; of `start`, those that were not started.
    std::vector<Run> held;
    std::vector<SettleRange> lost;  ///< The parts that it did not hold.
    void clear() noexcept {
        held.clear();
        lost.clear();
    }
};

/// What is done of a range by one call: so many runs at most, or messages where something has to be done for each.
struct SettleLimit {
    std::uint64_t left = UINT64_MAX;
    bool is_by_message = false;
};

/// Run::is_keyless of all of them.
void set_keyless(Ring<Run>& runs) noexcept;

class InFlight {
public:
    /// The receiver holds this run from now on. Nobody holds any of its messages.
    void add(const Run& run) noexcept;

    /// A run that was taken: it is held again as it was.
    void put_back(const Run& run) noexcept;

    /// Adds to `out` what is held of the range with its attempt number and removes it; the rest is lost. Safe for any
    /// range: the work is bounded by the runs that are held, not by `count`. With a limit (of which a little more is used up where
    /// taking a few would cost as much) perhaps of its first messages only; here and below: how many.
    std::uint32_t take(const SettleRange& range, Settlement& out, SettleLimit& limit) noexcept;
    void take(const SettleRange& range, Settlement& out) noexcept {
        SettleLimit all;
        take(range, out, all);
    }
    /// Marks what is held of the range with its attempt number as started. Again: no change.
    std::uint32_t start(const SettleRange& range, Settlement& out, SettleLimit& limit) noexcept;
    /// The leases of what is held of the range with its attempt number end then; none beyond its cap.
    std::uint32_t extend(const SettleRange& range, std::uint32_t lease_end, Settlement& out, SettleLimit& limit) noexcept;
    /// Removes and adds to `out`, in their order, the runs whose leases end at `now` or before; looks at so many runs at most, and
    /// goes on there with the next call. Returns the earliest end of the others, UINT32_MAX if there are none; nothing if there
    /// are runs that were not looked at.
    std::optional<std::uint32_t> take_ended(std::uint32_t now, std::size_t& runs_max, Ring<Run>& out) noexcept;
    /// Removes and returns everything.
    [[nodiscard]] Ring<Run> take_all() noexcept;

    /// What is held counts for no key from now on.
    void set_keyless() noexcept { channel::set_keyless(runs_); }

    [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
    [[nodiscard]] const Ring<Run>& runs() const noexcept { return runs_; }
    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::uint64_t started() const noexcept { return started_; }

private:
    template <class Found>
    std::uint32_t visit(const SettleRange& range, Settlement& out, SettleLimit& limit, Found found) noexcept;
    [[nodiscard]] std::size_t isolate(std::size_t index, Offset first, Offset end) noexcept;
    void uncount(const Run& run) noexcept;
    void insert(std::size_t index, const Run& run) noexcept;
    void erase(std::size_t index, std::size_t count) noexcept;

    Ring<Run> runs_;
    std::size_t looked_at_ = 0;  // By take_ended(): the runs in front of it,
    std::uint32_t earliest_ = UINT32_MAX;  // and of those none ends before this.
    std::uint64_t messages_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t started_ = 0;
};

/// The index of the first run that reaches beyond `offset`; the number of runs if there is none.
[[nodiscard]] std::size_t find_run(const Ring<Run>& runs, Offset offset) noexcept;

}  // namespace baton::channel

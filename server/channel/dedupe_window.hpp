// Duplicates by message id: the ids of messages that were accepted within a window of time, for senders that begin anew. The
// sequence numbers of producers (producer_table.hpp) are another matter. One owner. Next file: intake.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "server/channel/channel_state.hpp"
#include "server/channel/ring.hpp"
#include "server/channel/steady_table.hpp"

namespace baton::channel {

class DedupeWindow {
public:
    /// Ids that are forgotten in one step at most: 2 microseconds each, if there are very many.
    static constexpr std::uint64_t forgotten_at_once = 1024;

    /// Zero: off; then nothing is remembered, and what was is given back in steps (forget_old).
    void set_window(Duration window);
    [[nodiscard]] bool is_on() const noexcept { return window_ > Duration{}; }

    /// It was accepted so short a time before `now`.
    [[nodiscard]] bool contains(std::string_view id, MonotonicTime now) const noexcept;
    void add(std::string_view id, MonotonicTime now, WallTime wall);
    /// With each tick: some of those that are too old, if there are very many of them.
    void forget_old(MonotonicTime now);
    /// When there is something to be forgotten; max(): nothing is remembered.
    [[nodiscard]] MonotonicTime next_end() const noexcept;
    /// Its channel is gone. Forgets ids, one for each of `items`, which it uses up. True: all of them.
    [[nodiscard]] bool dismantle(std::uint64_t& items) noexcept;

    /// Of those that are remembered.
    [[nodiscard]] std::size_t size() const noexcept { return ids_ ? ids_->by_age.size() : 0; }
    /// Each id that is remembered has a number, higher than those before it: the next one that comes will have this.
    [[nodiscard]] std::uint64_t next_number() const noexcept { return first_number_ + size(); }
    /// Adds to `ids` those from number `next` on and below `end`, at most `count`, oldest first. `next` is where to go on then.
    void append_ids(std::uint64_t& next, std::uint64_t end, std::uint64_t count, std::vector<ChannelState::KnownId>& ids) const;
    /// What was accepted that long ago is forgotten. Oldest first, in one call or in several.
    void restore(std::span<const ChannelState::KnownId> ids, const Clock& clock);

private:
    struct Known {
        const std::string* id = nullptr;  ///< In the table.
        MonotonicTime at{};
        WallTime wall{};
    };
    struct Ids {
        Ring<Known> by_age;
        TextTable<std::uint64_t> newest;  ///< Of each id: the number of the youngest that has it.
        std::unique_ptr<Ids> others;      ///< Of those that are given back.
    };

    void push(std::string_view id, MonotonicTime at, WallTime wall);
    void forget_oldest();
    [[nodiscard]] bool is_old(const Known& known, MonotonicTime now) const noexcept { return now - known.at >= window_; }

    Duration window_{};
    std::uint64_t first_number_ = 0;  // Of the oldest.
    std::unique_ptr<Ids> ids_;        // Null: none.
    std::unique_ptr<Ids> going_;      // From before it was switched off.
};

}  // namespace baton::channel

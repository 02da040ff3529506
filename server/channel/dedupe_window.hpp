// Duplicates by message id: the ids of messages that were accepted within a window of time, for senders that begin anew. The
// sequence numbers of producers (producer_table.hpp) are another matter. One owner. Next file: intake.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/clock.hpp"
#include "server/channel/channel_state.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

class DedupeWindow {
public:
    /// Zero: off; then nothing is remembered.
    void set_window(Duration window);
    [[nodiscard]] bool is_on() const noexcept { return window_ > Duration{}; }

    [[nodiscard]] bool contains(std::string_view id) const { return known_.contains(id); }
    void add(std::string_view id, MonotonicTime now, WallTime wall);
    void forget_old(MonotonicTime now);
    /// When the next one is to be forgotten; max(): nothing is remembered.
    [[nodiscard]] MonotonicTime next_end() const noexcept {
        return by_age_.empty() ? MonotonicTime::max() : by_age_.front().at + window_;
    }

    [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }
    /// Each id that is remembered has a number, higher than those before it: the next one that comes will have this.
    [[nodiscard]] std::uint64_t next_number() const noexcept { return first_number_ + by_age_.size(); }
    /// Adds to `ids` those from number `next` on and below `end`, at most `count`, oldest first. `next` is where to go on then.
    void append_ids(std::uint64_t& next, std::uint64_t end, std::uint64_t count, std::vector<ChannelState::KnownId>& ids) const;
    /// What was accepted that long ago is forgotten.
    void restore(const std::vector<ChannelState::KnownId>& ids, const Clock& clock);

private:
    struct Known {
        std::string id;
        MonotonicTime at{};
        WallTime wall{};
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view id) const noexcept { return std::hash<std::string_view>{}(id); }
    };

    Duration window_{};
    Ring<Known> by_age_;
    std::uint64_t first_number_ = 0;  // Of the oldest.
    using Counts = std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>>;
    OnDemandMap<Counts> known_;  // How often it is in by_age_.
};

}  // namespace baton::channel

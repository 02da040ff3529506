// Sender credit: how much each sender may still send, and the reason when it gets no more (full, memory, draining, disk
// full). Credit is the only brake: the broker never stops reading a socket because of a sender.
//
// Credit bytes are sizes of PUBLISH bodies, that is whole batches with their headers. A message that arrives in
// fragments costs one message and no bytes: a sender uses fragments for a message that is larger than the byte credit
// it has. What is outstanding (granted and not used) is reserved in the broker's memory budget.
//
// A window starts small and doubles each time half of it has been used, up to the channel's `sender_window`; it is
// topped up when less than half of it is outstanding, as far as the channel has room that is not promised to somebody
// else. A channel that is not full always gives a sender the minimum, whatever others were promised: what then does not
// fit is parked. One owner, the channel. Next file: channel.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/memory_budget.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/sender.hpp"

namespace baton::channel {

/// What the channel could store now, after what is parked.
struct Room {
    bool is_congested = false;  ///< Too much waits for the commit log.
    bool is_disk_full = false;  ///< Whatever comes is refused.
    bool is_full = false;
    bool is_draining = false;
    Credit free;
};

/// How many messages are ready. Asked only when somebody is told: with many readers it is not at hand. Refers to a function
/// object that lives as long as the call it is passed to.
class ReadyCount {
public:
    template <class Count>
    ReadyCount(const Count& count) noexcept  // NOLINT(google-explicit-constructor): a parameter, as std::function.
        : count_{&count}, call_{[](const void* of) -> std::uint64_t { return (*static_cast<const Count*>(of))(); }} {}
    [[nodiscard]] std::uint64_t operator()() const { return call_(count_); }

private:
    const void* count_;
    std::uint64_t (*call_)(const void* of);
};

class SenderGate {
public:
    static constexpr Credit window_start{1024, 64ULL * 1024};
    /// Less credit than this is not usable; a sender with less waits.
    static constexpr Credit grant_min{1, 4ULL * 1024};

    SenderGate(ChannelEvents& events, MemoryBudget& budget, Credit window_max) noexcept;

    /// Takes the cost of one publish from the sender's credit. False, and nothing is changed, if it does not suffice.
    [[nodiscard]] bool use(Sender& sender, Credit cost) noexcept;
    /// Tops the sender up if it is time, or says why not: that it waits for memory, too, if it does so for a large message. After
    /// attach, after each publish, and when that has changed.
    void examine(Sender& sender, const Room& room, const ReadyCount& ready, MonotonicTime now) noexcept;
    /// The same for all senders that wanted more than they got. After anything that may have made room.
    void examine_short(const Room& room, const ReadyCount& ready, MonotonicTime now) noexcept;
    /// Whether there are such senders.
    [[nodiscard]] bool has_short() const noexcept { return !short_.empty(); }
    /// The sender is going away: its promises are taken back.
    void remove(Sender& sender) noexcept;
    /// Credit that was granted is never taken back; a smaller window only delays the next grant.
    void set_window_max(Credit window_max) noexcept;

    /// Of all senders: granted and not used.
    [[nodiscard]] Credit outstanding() const noexcept { return outstanding_; }

private:
    [[nodiscard]] static bool wants_credit(const Sender& sender) noexcept;
    [[nodiscard]] Credit grant_for(const Sender& sender, const Room& room) const noexcept;
    [[nodiscard]] std::uint64_t reserve(std::uint64_t bytes) noexcept;
    void grow_window(Sender& sender) noexcept;
    void block(Sender& sender, WaitReason reason, const ReadyCount& ready, MonotonicTime now) noexcept;
    void unblock(Sender& sender, const ReadyCount& ready, MonotonicTime now) noexcept;
    void set_short(Sender& sender, bool is_short) noexcept;

    ChannelEvents& events_;
    MemoryBudget& budget_;
    Credit window_max_;
    Credit outstanding_;
    std::vector<Sender*> short_;     // In the order in which they began to wait.
    std::vector<Sender*> examined_;  // Used during examine_short only.
};

}  // namespace baton::channel

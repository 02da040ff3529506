// The port through which a channel answers: one implementation per shard (server/runtime/shard_broker) that hands each
// event to the session that owns the link, on this shard or by mailbox on another.
// An implementation must not call back into the channel: it only queues. Called on the channel's shard.
// Next file: channel.hpp.
#pragma once

#include <cstdint>
#include <system_error>

#include "server/channel/types.hpp"

namespace baton::channel {

/// What a link is told about its own waiting, and the numbers that `receive --until-empty` needs.
struct LinkState {
    Wait wait;
    std::uint64_t ready = 0;      ///< Messages that nobody holds; receivers: and those on their way to the disk.
    std::uint64_t in_flight = 0;  ///< Messages that this link holds (receivers).
    std::uint64_t delayed = 0;    ///< Messages that wait for their time.
};

class ChannelEvents {
public:
    ChannelEvents() = default;
    ChannelEvents(const ChannelEvents&) = delete;
    ChannelEvents& operator=(const ChannelEvents&) = delete;
    virtual ~ChannelEvents() = default;

    /// Every message of the sender up to and including `sequence` is decided: stored at `level`, dropped as a duplicate
    /// of a stored one, or refused before. Never sent earlier, never taken back. Cumulative, increasing.
    virtual void confirmed(const LinkAddress& sender, std::uint64_t sequence, ConfirmLevel level) noexcept = 0;

    /// Messages `first .. first + count - 1` of the sender were refused and are not stored (`channel::Errc`).
    /// Comes before the `confirmed` that covers them.
    virtual void refused(const LinkAddress& sender, std::uint64_t first, std::uint32_t count,
                         std::error_code reason) noexcept = 0;

    /// The sender may go on until these totals. Never lower than before.
    virtual void sender_credit(const LinkAddress& sender, Credit limit) noexcept = 0;

    /// Sender: blocked with a reason, or unblocked (`none`). Any link: the answer to `Channel::query`.
    virtual void state(const LinkAddress& link, const LinkState& state) noexcept = 0;

    /// Give these messages to the receiver. Within its credit.
    virtual void deliver(const LinkAddress& receiver, const Slice& slice) noexcept = 0;

    /// These messages were not this receiver's to settle (`Errc::lost_lease`, `Errc::unsupported_outcome`).
    virtual void settle_refused(const LinkAddress& receiver, const SettleRange& range,
                                std::error_code reason) noexcept = 0;

    /// All settlements of the receiver up to the one with this receipt number are applied.
    virtual void settled(const LinkAddress& receiver, std::uint64_t receipt) noexcept = 0;

    /// The link is gone and no further event follows for it. No error: the answer to a detach.
    virtual void closed(const LinkAddress& link, std::error_code reason) noexcept = 0;
};

}  // namespace baton::channel

// The port through which a shard answers a session, in the words of the session: link numbers instead of addresses.
// Implemented by server/session/session_protocol. Called on the session's shard; implementations only queue output and
// never call back into the shard. Next file: shard_broker.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <system_error>

#include "server/channel/channel_events.hpp"
#include "server/channel/channel_options.hpp"
#include "server/channel/types.hpp"

namespace baton::runtime {

struct ChannelIdTag;
/// A channel while it exists; unique in the broker's life, so that a deleted and recreated channel is another one.
using ChannelId = StrongId<ChannelIdTag, std::uint64_t>;

/// Where a link's channel lives.
struct ChannelRef {
    std::uint32_t shard = 0;
    ChannelId id{0};
};

struct Attachment {
    ChannelRef channel;
    std::uint64_t last_sequence = 0;     ///< Sender: last decided sequence of this producer.
    std::uint64_t message_size_max = 0;  ///< In bytes, of this channel.
    bool created = false;
    bool is_durable = false;
    channel::Kind kind = channel::Kind::queue;
    std::string subscription{};  ///< Receiver: name, if it has one.
    Duration lease{};            ///< Receiver: of a delivery,
    Duration lease_max{};        ///< and how long it can be extended.
    std::uint32_t attempts_max = 0;
};

/// A link's state with its waiting time made relative, since it may have crossed shards.
struct LinkStateReport {
    channel::WaitReason reason = channel::WaitReason::none;
    Duration waiting{};
    std::uint64_t ready = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t delayed = 0;
};

class SessionEvents {
public:
    SessionEvents() = default;
    SessionEvents(const SessionEvents&) = delete;
    SessionEvents& operator=(const SessionEvents&) = delete;
    virtual ~SessionEvents() = default;

    virtual void on_attached(std::uint16_t link, const Attachment& attachment) = 0;
    virtual void on_attach_failed(std::uint16_t link, std::error_code reason) = 0;
    virtual void on_confirmed(std::uint16_t link, std::uint64_t sequence, channel::ConfirmLevel level) noexcept = 0;
    virtual void on_refused(std::uint16_t link, std::uint64_t first, std::uint32_t count,
                            std::error_code reason) noexcept = 0;
    virtual void on_sender_credit(std::uint16_t link, channel::Credit limit) noexcept = 0;
    virtual void on_state(std::uint16_t link, const LinkStateReport& state) noexcept = 0;
    virtual void on_deliver(std::uint16_t link, const channel::Slice& slice) noexcept = 0;
    virtual void on_settle_refused(std::uint16_t link, const channel::SettleRange& range,
                                   std::error_code reason) noexcept = 0;
    virtual void on_settled(std::uint16_t link, std::uint64_t receipt) noexcept = 0;
    virtual void on_closed(std::uint16_t link, std::error_code reason) noexcept = 0;
    /// Memory for the large message that this link announced has been set aside in the budget.
    virtual void on_memory_granted(std::uint16_t link) = 0;
    virtual void on_admin_reply(std::uint64_t request, const std::string& json) = 0;
    /// The step is done; or nothing of it is, for this reason, which is that of its section with this number
    /// (UINT32_MAX: of none). `storage_failed`: it may be found done at the next start.
    virtual void on_step(std::uint64_t /*request*/, std::error_code /*reason*/, std::uint32_t /*section*/) {}
};

}  // namespace baton::runtime

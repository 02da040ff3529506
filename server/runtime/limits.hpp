// The broker's limits: every queue and table has one, each with a default, a configuration key ("limits.<name>") and a
// documented behaviour (docs/operations.md). Plain values. Next file: broker_state.hpp.
#pragma once

#include <cstdint>

#include "common/base/clock.hpp"
#include "server/channel/channel.hpp"

namespace baton::runtime {

struct Limits {
    std::uint64_t memory_max = 1ULL << 30;             ///< Bytes of messages and promised credit, whole broker.
    std::uint32_t connections_max = 20'000;            ///< More are refused with `too_many_connections`.
    std::uint32_t links_max = 1'024;                   ///< Per session; also the highest link number.
    std::uint32_t channels_max = 100'000;              ///< Whole broker; creating more is refused.
    std::uint32_t channel_name_size_max = 255;         ///< Bytes.
    std::uint64_t message_size_max = 64ULL << 20;      ///< Bytes of one message, properties and payload.
    std::uint32_t frame_size_max = 262'144;            ///< Bytes of one frame, header included.
    std::uint64_t outbox_high_water = 4ULL << 20;      ///< Bytes unsent: the connection's receivers count as slow.
    std::uint64_t outbox_low_water = 1ULL << 20;       ///< Bytes unsent: they no longer do.
    std::uint64_t outbox_max = 64ULL << 20;            ///< Bytes unsent: the connection is closed.
    Duration handshake_timeout = std::chrono::seconds{10};
    Duration heartbeat_interval = std::chrono::seconds{10};  ///< Largest interval that a client may have.
    Duration heartbeat_interval_min = std::chrono::milliseconds{100};
    channel::ChannelOptions channel_defaults;  ///< For memory channels that are created without settings.
    /// For durable ones; on a disk there is room for more. What both have in common is set in both (app::complete).
    channel::ChannelOptions durable_defaults{
        .messages_max = 10'000'000'000, .bytes_max = 1ULL << 40, .is_durable = true};
};

}  // namespace baton::runtime

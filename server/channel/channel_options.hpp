// Settings of one channel. Plain values. Next file: channel.hpp.
#pragma once

#include <chrono>
#include <cstdint>

#include "common/base/clock.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Limits are exact for what is stored: what arrives beyond them under credit that was already granted is parked
/// unconfirmed until there is room, and the sender is told `blocked: full`.
struct ChannelOptions {
    std::uint64_t messages_max = 10'000'000;                 ///< Stored messages (ready and in flight), at least 1.
    std::uint64_t bytes_max = 512ULL * 1024 * 1024;          ///< Stored bytes (message regions), at least 1.
    std::uint64_t message_size_max = 64ULL * 1024 * 1024;    ///< Properties and payload of one message, in bytes.
    std::uint32_t producers_max = 10'000;                    ///< Producers remembered for duplicate detection.
    Duration producer_retention = std::chrono::minutes{10};  ///< How long one is remembered after its last link closed.
    Credit sender_window{65'536, 4ULL * 1024 * 1024};        ///< Most credit that one sender can have outstanding.
    bool is_durable = false;  ///< Survives the broker; cannot change while the channel exists.
    friend bool operator==(const ChannelOptions&, const ChannelOptions&) = default;
};

}  // namespace baton::channel

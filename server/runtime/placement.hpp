// Which shard owns what: a channel by a hash of its name, a session by the number in its id.
#pragma once

#include <cstdint>
#include <string_view>

#include "server/channel/types.hpp"

namespace baton::runtime {

/// FNV-1a, 64 bits, with MurmurHash3's finisher: without it names that differ only at the end, "orders.1" and
/// "orders.2", crowd on a few shards. Stable: it is not seeded.
[[nodiscard]] inline std::uint32_t shard_of_channel(std::string_view name, std::uint32_t shards) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char character : name) {
        hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3ULL;
    }
    hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdULL;
    hash = (hash ^ (hash >> 33U)) * 0xc4ceb9fe1a85ec53ULL;
    hash ^= hash >> 33U;
    return static_cast<std::uint32_t>(((hash >> 32U) * shards) >> 32U);
}

inline constexpr unsigned session_shard_shift = 48;

[[nodiscard]] constexpr channel::SessionId make_session_id(std::uint32_t shard, std::uint64_t number) noexcept {
    return channel::SessionId{(static_cast<std::uint64_t>(shard) << session_shard_shift) | number};
}
[[nodiscard]] constexpr std::uint32_t shard_of_session(channel::SessionId session) noexcept {
    return static_cast<std::uint32_t>(session.value() >> session_shard_shift);
}

}  // namespace baton::runtime

// How the broker treats its disk: settings that an operator can make (docs/operations.md). Plain values.
// Not responsible for where the data directory is (app::Options) or for the limits of channels (limits.hpp).
// Next file: channel_policy.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/base/clock.hpp"

namespace baton::runtime {

struct StorageSettings {
    /// Settlements without a receipt wait at most so long, and a tick (20 ms), before they are handed to the disk.
    Duration settle_sync_interval = std::chrono::milliseconds{15};
    /// Free bytes of the file system below which durable channels take nothing. Nothing: disk_free_min_auto.
    std::optional<std::uint64_t> disk_free_min;
    std::uint64_t wal_file_size = 32ULL << 20;  ///< Bytes of one file of the write-ahead log; a multiple of 4096.
    std::uint64_t segment_size = 64ULL << 20;   ///< Bytes after which a channel's segment file is full.
    friend bool operator==(const StorageSettings&, const StorageSettings&) = default;
};

/// The smaller of 5 % of the file system and 1 GiB.
[[nodiscard]] constexpr std::uint64_t disk_free_min_auto(std::uint64_t file_system_bytes) noexcept {
    return std::min<std::uint64_t>(file_system_bytes / 20, 1ULL << 30);
}

/// On a small file system log files are smaller: their number must not depend on it, nor the log take most of it.
[[nodiscard]] constexpr std::uint64_t wal_file_size_on(std::uint64_t file_system_bytes, std::uint32_t shards,
                                                       std::uint64_t wanted) noexcept {
    constexpr std::uint64_t least = 64 * 1024;
    const std::uint64_t share = file_system_bytes / 32 / shards / least * least;
    return std::min(wanted, std::max(share, least));
}

[[nodiscard]] constexpr std::uint64_t disk_free_min(const StorageSettings& settings,
                                                    std::uint64_t file_system_bytes) noexcept {
    return settings.disk_free_min.value_or(disk_free_min_auto(file_system_bytes));
}

}  // namespace baton::runtime

// What has to be written when batches move from the log to a segment: blocks of neighbouring batches, as values, so that
// another thread can write them while the channel goes on. The plan keeps the messages in memory.
// Plain values. Next file: server/storage/segment.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/base/batch.hpp"
#include "common/base/payload.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Aimed at; one batch may be larger.
inline constexpr std::uint64_t block_size_wanted = 256ULL * 1024;

struct PlannedBlock {
    Offset first = 0;
    Offset end = 0;
    std::vector<std::array<std::byte, batch_header_size>> headers;  ///< One for each batch,
    std::vector<Payload> messages;                                  ///< and its messages.
};

/// What stays in memory because it will be given soon: so many bytes (about) in front of each reader.
struct KeepAhead {
    std::uint64_t bytes = 0;
    bool is_for_wanted_only = false;  ///< Memory is short: only where a receiver wants messages now.
};

struct RelocationPlan {
    std::vector<PlannedBlock> blocks;
    std::uint64_t bytes = 0;
};

}  // namespace baton::channel

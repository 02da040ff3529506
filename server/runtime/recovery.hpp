// What a data directory holds when a broker starts: the images of its channels, and what is wrong with them. Reads the
// newest checkpoint of each shard and the log files behind it; changes nothing.
// Not responsible for serving them (storage_start.hpp) or for bytes (server/storage). Blocking; at the start and in tools.
// Next file: storage_start.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/channel/channel_image.hpp"
#include "server/storage/data_directory.hpp"

namespace baton::runtime {

/// Numbers of segment files, by stream.
using SegmentNumbers = std::map<storage::StreamId, std::set<std::uint32_t>>;

struct Recovery {
    std::optional<storage::Manifest> manifest;  ///< None: the directory is new.
    std::vector<channel::ChannelImage> channels;  ///< In the order of their names. Damaged ones say so.
    std::vector<std::string> damage;              ///< For people, one line each; the generation must be kept.
    std::vector<std::string> torn;                ///< Unfinished tails that were cut off, one line each. Not damage.
    std::vector<storage::StreamId> pending;       ///< Of restores that were not finished: no channels, their files may go.
    SegmentNumbers checkpointed;                  ///< That the checkpoints name. The log names none.
    std::uint64_t log_bytes = 0;
    std::uint64_t log_records = 0;
};

/// Called now and then with how far the reading has got, from 0 to 1.
using RecoveryProgress = std::function<void(double)>;

/// Fails if nothing can be said about a whole shard: no usable checkpoint, files that cannot be read, a newer format.
[[nodiscard]] Result<Recovery> recover(storage::FileSystem& files, ChunkPool& pool, const RecoveryProgress& progress = {});
/// The same for one generation whose manifest is known.
[[nodiscard]] Result<Recovery> recover_generation(storage::FileSystem& files, const storage::Manifest& manifest,
                                                  ChunkPool& pool, const RecoveryProgress& progress = {});

}  // namespace baton::runtime

// The files of a restore: a backup as it comes in, below the data directory, and its channels as they are copied into
// segments of new streams. Blocks are copied as they are, batches of the log become blocks; so in the end a channel
// is its state and blocks, which one checkpoint makes durable.
// Not responsible for when they count (restores.hpp). Blocking: used inside I/O jobs. Next file: restores.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/memory_budget.hpp"
#include "common/base/payload.hpp"
#include "server/channel/channel_image.hpp"
#include "server/storage/segment.hpp"

namespace baton::runtime {

/// Bytes of a file that comes in; the first ones make it. Not durable: after a crash nobody wants it.
[[nodiscard]] Result<void> write_restore_piece(storage::FileSystem& files, const std::string& path,
                                               std::uint64_t position, Bytes bytes);

/// Which channels are wanted, and how they shall be called.
struct RestoreWishes {
    std::optional<std::vector<std::string>> only;
    std::map<std::string, std::string> renamed;
};

/// Why a restore is refused: a status name of docs/protocol.md, section 13, and what people are told.
struct RestoreTrouble {
    std::string code;  ///< Empty: none.
    std::string text;
};

/// A channel of a new stream, without anything in a log.
struct RestoredChannel {
    explicit RestoredChannel(channel::ChannelImage restored) : image{std::move(restored)} {}
    channel::ChannelImage image;
    /// Of the blocks that are not behind the cursor, by their first offset: they are needed at once.
    std::map<channel::Offset, std::vector<std::byte>> bodies;
};

class RestoreCopy {
public:
    /// `directory` holds the backup.
    RestoreCopy(std::string directory, std::uint64_t segment_size);
    ~RestoreCopy();
    RestoreCopy(const RestoreCopy&) = delete;
    RestoreCopy& operator=(const RestoreCopy&) = delete;

    /// Recovers what the backup holds and chooses from it. What is in its log is kept in memory, charged to `memory`,
    /// until it is copied.
    [[nodiscard]] RestoreTrouble open(storage::FileSystem& files, MemoryBudget& memory, const RestoreWishes& wishes);
    /// Behind open(), before step(): as the channels will be called.
    [[nodiscard]] std::vector<std::string> names() const;
    /// As many as there are names. Before step().
    void set_streams(std::vector<storage::StreamId> streams);
    [[nodiscard]] const std::vector<storage::StreamId>& streams() const noexcept { return streams_; }

    /// Copies a few MiB; what it has written is durable.
    [[nodiscard]] RestoreTrouble step(storage::FileSystem& files);
    [[nodiscard]] bool is_done() const noexcept { return next_ == sources_.size(); }
    [[nodiscard]] std::vector<RestoredChannel> take() { return std::move(restored_); }

private:
    struct Source;
    struct Block;

    [[nodiscard]] RestoreTrouble choose(std::vector<channel::ChannelImage> images, const RestoreWishes& wishes);
    [[nodiscard]] Result<void> make_writers(storage::FileSystem& files);
    [[nodiscard]] Result<Block> next_block(storage::FileSystem& backup);
    void finish_channel();

    const std::string directory_;
    const std::uint64_t segment_size_;
    std::uint64_t block_size_max_ = 0;
    std::unique_ptr<ChunkPool> pool_;  ///< Of open(). As long as its chunks are there they are charged.
    std::vector<std::unique_ptr<Source>> sources_;
    std::vector<storage::StreamId> streams_;
    std::size_t next_ = 0;  ///< Of sources_: the one that is being copied.
    std::vector<RestoredChannel> restored_;
};

/// What was copied goes, and what came in. `are_pending`: not the list of streams, which must stay until they are
/// known to be gone from the log.
[[nodiscard]] Result<void> remove_restore(storage::FileSystem& files, const std::string& directory,
                                          const std::vector<storage::StreamId>& streams, bool are_pending);

}  // namespace baton::runtime

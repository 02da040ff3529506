// The living messages of one channel, in the order of their offsets, wherever they are: in segments, in the log, and
// for a channel that is damaged also in what no channel refers to and in generations that were kept as damaged. What
// cannot be read is passed over and said. Not responsible for printing. Blocking, one thread. Next file:
// dump_channel.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/channel/channel_image.hpp"
#include "server/inspect/directory.hpp"
#include "server/inspect/record_json.hpp"

namespace baton::inspect {

class Rescue {
public:
    /// `pool` gets what is read from the logs of damaged generations. All outlive the rescue.
    Rescue(Directory& directory, const channel::ChannelImage& image, ChunkPool& pool);

    using Visitor = std::function<void(const Envelope& envelope)>;
    /// Each living message that can be read, once. False: some are missing; `complaints` says which.
    bool visit(const Visitor& visitor);
    [[nodiscard]] const std::vector<std::string>& complaints() const noexcept { return complaints_; }
    [[nodiscard]] std::uint64_t missing() const noexcept { return missing_; }

private:
    /// Consecutive messages: in a block, or in memory if `batch` is not null.
    struct Piece {
        channel::Offset first = 0;
        channel::Offset end = 0;
        storage::BlockRef block;
        const channel::ChannelImage::Batch* batch = nullptr;
    };

    void add_block(const storage::BlockRef& block);
    void add_contents(const channel::ChannelImage& image);
    void add_unnamed_blocks();
    void add_damaged_generations();
    /// The attempt that comes next; 0: it is settled.
    [[nodiscard]] std::uint32_t attempt_of(channel::Offset offset) const;
    void visit_block(const storage::BlockRef& block, const Visitor& visitor);
    void visit_batch(channel::Offset first, bool has_properties, WallTime time, Bytes messages, const Visitor& visitor);
    [[nodiscard]] std::uint64_t count_missing() const;
    /// Remembers it; false: it was there before.
    bool mark(channel::Offset offset);

    Directory& directory_;
    const channel::ChannelImage& image_;
    ChunkPool& pool_;
    std::vector<channel::ChannelImage> others_;  ///< Of the same stream, from damaged generations.
    std::vector<Piece> pieces_;
    std::set<std::pair<std::uint32_t, std::uint64_t>> blocks_;  ///< Of these: segment and position.
    std::map<channel::Offset, channel::Offset> visited_;        ///< first -> end, without neighbours.
    std::vector<std::string> complaints_;
    std::uint64_t missing_ = 0;
};

}  // namespace baton::inspect

// Gives back the space of what compaction has removed: copies the blocks of a segment, of which less than a half is alive, to a
// new one, without what was removed. Behind that nothing lives in the old one, and it goes like every other (checkpointer.hpp).
// One segment of one channel of the shard at a time, in pieces.
// Not responsible for what is removed (server/channel/compaction.hpp). Thread: its shard's. Next file: shard_store.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "server/runtime/shard_store.hpp"

namespace baton::runtime {

class SegmentCompactor {
public:
    explicit SegmentCompactor(ShardStore& store) noexcept : store_{store} {}
    SegmentCompactor(const SegmentCompactor&) = delete;
    SegmentCompactor& operator=(const SegmentCompactor&) = delete;

    /// Looks for something to do now and then.
    void tick();

private:
    struct Copy {
        storage::BlockRef ref;
        channel::OffsetSet removed;
        std::uint64_t dead_bytes = 0;
        std::vector<std::byte> body{};  ///< Without them.
        std::uint32_t entries = 0;
    };
    struct Copying;

    [[nodiscard]] std::optional<std::uint32_t> sparse_segment(const channel::Channel& channel) const;
    [[nodiscard]] bool begin(ChannelId id, channel::Channel& channel);
    void finish(ChannelId id, const Copying& copying);

    ShardStore& store_;
    ChannelId visited_{0};
    MonotonicTime looked_{};
    bool is_copying_ = false;
    std::set<std::pair<commit::StreamId, std::uint32_t>> unreadable_;  ///< Whoever wants these blocks finds out.
};

}  // namespace baton::runtime

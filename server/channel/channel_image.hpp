// A durable channel at rest: its state and its messages, changed by records and by nothing else. This is the state
// machine of the commit log: what a restart, a backup or another node makes of a saved state and the records behind it.
// Applying a record a second time, or one from before the saved state, changes nothing.
// Not responsible for serving anybody: Channel::install makes a living channel of it.
// No I/O. One thread at a time. Next files: journal.hpp, channel_restore.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "common/base/payload.hpp"
#include "server/channel/channel_state.hpp"
#include "server/channel/offset_set.hpp"
#include "server/channel/reader_image.hpp"

namespace baton::channel {

class ChannelImage {
public:
    /// Messages that are in a log file and not in a segment.
    struct Batch {
        std::uint32_t count = 0;
        std::uint16_t flags = 0;
        std::uint32_t crc32c = 0;
        WallTime time{};
        Payload messages;
    };
    using Readers = std::map<ReaderId, ReaderImage>;

    explicit ChannelImage(commit::StreamId stream) : stream_{stream} { readers_.try_emplace(queue_reader, SubscriptionSettings{}); }
    ChannelImage(commit::StreamId stream, const ChannelState& state);

    /// False: these are not a record of this version. Messages are copied into chunks of the pool.
    [[nodiscard]] bool apply(Bytes record, ChunkPool& pool);
    /// A record of a step that was decided and not done before the broker died (its messages get their offsets now). False as
    /// above.
    [[nodiscard]] bool apply_decided(Bytes record, ChunkPool& pool);
    /// Forgets contents in which nothing is alive; says what is missing, empty if all that is alive is there.
    [[nodiscard]] std::string settle_contents();
    /// Quarantines it; the first reason stays.
    void mark_damaged(const std::string& reason);

    [[nodiscard]] commit::StreamId stream() const noexcept { return stream_; }
    [[nodiscard]] const SettingsRecord& settings() const noexcept { return settings_; }
    /// False until a settings record was seen: then nothing is known of the channel but its stream.
    [[nodiscard]] bool exists() const noexcept { return exists_; }
    [[nodiscard]] bool is_deleted() const noexcept { return is_deleted_; }
    [[nodiscard]] Offset next_offset() const noexcept { return next_offset_; }
    /// The one reader of a queue, or the named subscriptions; a queue's is there in any case.
    [[nodiscard]] const Readers& readers() const noexcept { return readers_; }
    [[nodiscard]] const ReaderImage& queue() const noexcept { return readers_.at(queue_reader); }
    [[nodiscard]] bool is_queue() const noexcept { return settings_.options.kind == Kind::queue; }
    /// Stream: what is before it is given up.
    [[nodiscard]] Offset trimmed_end() const noexcept { return trimmed_end_; }
    /// Stream: what compaction has removed. After settle_contents() only behind the trimmed end, and no reader wants it.
    [[nodiscard]] const OffsetSet& removed() const noexcept { return removed_; }
    /// Message ids of the duplicate window, and when they were accepted; oldest first.
    [[nodiscard]] const std::vector<ChannelState::KnownId>& ids() const noexcept { return ids_; }
    /// Whether a channel that is made of this image can leave the block on the disk until somebody wants it: every reader has all
    /// of it in front of it, or what it wants of it is at rest, and nothing of it is given up. Of the others the batches have to be
    /// known one by one.
    [[nodiscard]] bool can_stay_on_disk(const commit::BlockRef& block) const { return can_stay_on_disk(block, is_ruled(block)); }
    /// Of a block that it does not know yet: whether it has rules.
    [[nodiscard]] bool can_stay_on_disk(const commit::BlockRef& block, bool has_rules) const;
    /// The same once somebody has told the readers the keys of those messages in it that wait to be tried again.
    [[nodiscard]] bool can_stay_with_keys(const commit::BlockRef& block) const;
    /// Entries of all readers.
    [[nodiscard]] std::size_t entries() const noexcept;
    [[nodiscard]] bool is_ruled(const commit::BlockRef& block) const noexcept {
        return std::ranges::binary_search(ruled_blocks_, block.first);
    }
    /// When the newest message of this block was accepted; zero if that is not known.
    [[nodiscard]] WallTime time_of(const commit::BlockRef& block) const {
        const auto found = block_times_.find(block.first);
        return found != block_times_.end() ? found->second : WallTime{};
    }
    [[nodiscard]] const std::map<ProducerId, std::uint64_t>& producers() const noexcept { return producers_; }
    [[nodiscard]] const std::map<Offset, Batch>& batches() const noexcept { return batches_; }
    [[nodiscard]] const std::map<Offset, commit::BlockRef>& blocks() const noexcept { return blocks_; }
    [[nodiscard]] std::uint64_t live_messages() const noexcept;
    /// The next attempt of this message; 0: nobody wants it. Of a topic or stream 1 or 0.
    [[nodiscard]] std::uint32_t attempt_of(Offset offset) const;
    /// Those of live_messages(): first -> end, in order.
    [[nodiscard]] OffsetSet live_ranges() const;
    /// Whether somebody still wants one of these messages. Of what the retention of a stream has given up: whether one of them is
    /// put aside (ReaderEntry::is_put_aside).
    [[nodiscard]] bool is_alive(Offset first, Offset end) const;
    /// Without the batches that are in log files.
    [[nodiscard]] ChannelState state() const;

private:
    [[nodiscard]] bool can_stay(const commit::BlockRef& block, bool has_rules, std::initializer_list<ReaderEntryKind> others) const;
    void on(const SettingsRecord& record);
    void on(const PublishRecord& record, ChunkPool& pool);
    void on(const SettledRecord& record);
    void on(const StartedRecord& record);
    void on(const ProgressRecord& record);
    void on(const SubscribedRecord& record);
    void on(const UnsubscribedRecord& record) { readers_.erase(record.reader); }
    void on(const TrimmedRecord& record) { trimmed_end_ = std::max(trimmed_end_, record.end); }
    void on(const CompactedRecord& record);
    void forget_removed();
    void on(const DeletedRecord&) { is_deleted_ = true; }
    void advance(ReaderImage& reader, Offset cursor);
    [[nodiscard]] const ReaderImage* fullest_reader() const noexcept;
    void append(const PublishRecord& record, ChunkPool& pool);
    void note_ids(const PublishRecord& record);
    void note_producer(const ProducerId& id, std::uint64_t last_sequence);
    [[nodiscard]] bool is_in_block(Offset first, Offset end) const;
    [[nodiscard]] bool is_put_aside(Offset first, Offset end) const;
    // Of a stream, behind its trimmed end.
    [[nodiscard]] bool is_kept(Offset first, Offset end) const noexcept {
        return first < end && overlap(removed_, first, end) < end - first;
    }

    commit::StreamId stream_;
    SettingsRecord settings_;
    bool exists_ = false;
    bool is_deleted_ = false;
    Offset next_offset_ = 1;
    Offset trimmed_end_ = 1;
    OffsetSet removed_;
    Readers readers_;
    std::vector<Offset> ruled_blocks_;
    std::map<Offset, WallTime> block_times_;
    std::vector<ChannelState::KnownId> ids_;
    std::map<ProducerId, std::uint64_t> producers_;
    std::map<Offset, Batch> batches_;
    std::map<Offset, commit::BlockRef> blocks_;
};

}  // namespace baton::channel

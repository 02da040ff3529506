// Order: the stored batches of a channel in the order of their offsets, and the cursor between messages that were never
// given to anybody (at and after it: *fresh*) and those that were (before it).
// Not here: who holds a message (in_flight.hpp), what came back (redelivery_set.hpp), limits (intake.hpp), when a batch
// moves to a segment or leaves memory (relocation.hpp).
// One owner, the channel. Next file: in_flight.hpp.
//
// A batch is forgotten as a whole as soon as nothing of it remains, wherever it is in the log: one old message that
// nobody settles pins its own batch and nothing else. Hence a linked list, whose nodes are recycled.
//
// In a durable channel a batch is appended when its record is submitted and becomes visible when that is committed. Of
// a long backlog only the beginning and the end are in memory; in between, blocks in segment files stand for it:
//
//     given | cursor -> resident ... | evicted blocks ... | resident ... | visible end | not committed
//                       readable
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "server/channel/stored_batch.hpp"

namespace baton::channel {

class MessageLog {
public:
    MessageLog() = default;
    MessageLog(const MessageLog&) = delete;
    MessageLog& operator=(const MessageLog&) = delete;
    ~MessageLog();

    /// Stores `count` (at least one) messages at the end. `messages` is the region without the batch header. They are
    /// visible at once.
    void append(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                Payload messages) noexcept;
    /// The same, not visible before commit(index) with the index that is given to the result by set_record().
    [[nodiscard]] StoredBatch& append_uncommitted(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c,
                                                  WallTime time, Payload messages) noexcept;
    /// The batch is in the record with this index, the newest of all.
    void set_record(StoredBatch& batch, commit::Index index) noexcept;
    /// What is in records up to this index is visible. Returns how many messages became so.
    std::uint64_t commit(commit::Index index) noexcept;

    /// Visible messages that were never given to anybody.
    [[nodiscard]] std::uint64_t fresh() const noexcept { return visible_end_ - cursor(); }
    /// Of those, the ones that come before the first that would have to be read from the disk.
    [[nodiscard]] std::uint64_t readable() const noexcept {
        return (evicted_.empty() ? visible_end_ : evicted_.begin()->first) - cursor();
    }
    [[nodiscard]] std::uint64_t uncommitted() const noexcept { return next_offset_ - visible_end_; }
    /// Offset of the first fresh message, or of the next one that comes.
    [[nodiscard]] Offset cursor() const noexcept {
        return cursor_ != nullptr ? cursor_->base + cursor_index_ : next_offset_;
    }
    /// What is left of the batch at the cursor. Only if there are fresh messages; may be evicted.
    [[nodiscard]] Run fresh_head() const noexcept;
    /// The fresh messages from the batch of `from` on, run by run: the one after `run`, or the first that reaches
    /// beyond `from` if `run` is null. Empty at the end. Moves nothing. May be evicted.
    [[nodiscard]] std::optional<Run> fresh_run(const Run* run, Offset from) const noexcept;
    /// Moves the cursor over the first messages of `fresh_head()`.
    [[nodiscard]] Run take_fresh(Cut cut) noexcept;

    /// These messages are settled or purged. The run is dead afterwards, its batch may be gone.
    void forget(const Run& run) noexcept;
    /// Forgets all fresh messages and returns how many.
    std::uint64_t purge_fresh() noexcept;

    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    /// Of those, bytes in memory. Wholly in memory or not is decided by batch, not by message.
    [[nodiscard]] std::uint64_t resident_bytes() const noexcept { return resident_bytes_; }
    [[nodiscard]] Offset next_offset() const noexcept { return next_offset_; }
    /// The oldest batch of which something remains, or null.
    [[nodiscard]] const StoredBatch* front() const noexcept { return front_; }
    [[nodiscard]] StoredBatch* front() noexcept { return front_; }

    // --- Durable channels: where batches are --------------------------------------------------------------------

    /// The oldest batch that is in the log only, by the order of records; null if there is none.
    [[nodiscard]] StoredBatch* oldest_in_log() const noexcept { return oldest_in_log_; }
    /// Whether the batch may leave memory: no message of it was given, none is gone, all are visible.
    [[nodiscard]] bool is_untouched(const StoredBatch& batch) const noexcept;
    /// Keeps the node alive until unpin(), which says whether anything of it remains.
    static void pin(StoredBatch& batch) noexcept { batch.is_pinned = true; }
    [[nodiscard]] bool unpin(StoredBatch& batch) noexcept;
    /// The batches, neighbours without gaps from `first` on up to offset `ref.end`, are in this block.
    void set_block(const std::vector<StoredBatch*>& batches, const commit::BlockRef& ref) noexcept;
    /// The block's batches leave memory; all must be untouched and neighbours. Returns the bytes.
    std::uint64_t evict(StoredBlock& block) noexcept;
    /// Blocks with all their batches untouched and in memory, highest offsets first, beyond `from`.
    [[nodiscard]] std::vector<StoredBlock*> evictable(Offset from, std::uint64_t bytes_max) const;
    /// Blocks that have to be read next, in order, as far as `bytes` reach from the cursor on. Not those under way.
    [[nodiscard]] std::vector<StoredBlock*> missing_ahead(std::uint64_t bytes) const;
    /// The block at this place has been read: batches with their headers, as it was written. False: it is not what it
    /// should be, and nothing was changed. No block there (it was purged meanwhile): true.
    [[nodiscard]] bool restore_block(const commit::BlockRef& ref, const Payload& body) noexcept;
    [[nodiscard]] StoredBlock* evicted_block(const commit::BlockRef& ref) const noexcept;

    /// Building a log from its image, in the order of offsets; the next batch has this offset.
    void begin_at(Offset next_offset) noexcept;
    StoredBatch& append_restored(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                                 Payload messages) noexcept;
    void append_evicted(const commit::BlockRef& ref, std::uint32_t region_bytes) noexcept;
    /// Gives the building up: the log is empty and new again, and nothing of its blocks is reported as dead.
    void clear() noexcept;
    /// Ends the building: where fresh messages begin, and where the next offset is.
    void finish_restore(Offset cursor, Offset next_offset) noexcept;
    /// The run of live messages first .. end - 1 of a batch that was restored.
    [[nodiscard]] static Run restored_run(StoredBatch& batch, Offset first, Offset end, std::uint32_t attempt) noexcept;

    /// Blocks that died since the last call: their space may be given back.
    [[nodiscard]] std::vector<commit::BlockRef> take_dead_blocks() noexcept { return std::exchange(dead_blocks_, {}); }
    /// Every living block, in order of offsets.
    [[nodiscard]] std::vector<commit::BlockRef> blocks() const;

private:
    [[nodiscard]] StoredBatch* new_batch() noexcept;
    StoredBatch& link_at_end(std::uint32_t count, std::uint32_t size) noexcept;
    void unlink(StoredBatch* batch) noexcept;
    void release(StoredBatch* batch) noexcept;
    void insert_before(StoredBatch* place, StoredBatch* batch) noexcept;
    void leave_log(StoredBatch& batch) noexcept;
    void leave_block(StoredBatch& batch) noexcept;

    StoredBatch* front_ = nullptr;
    StoredBatch* back_ = nullptr;
    StoredBatch* cursor_ = nullptr;      // Batch of the first message that was not given, or null.
    std::uint32_t cursor_index_ = 0;     // Messages of it before the cursor,
    std::uint32_t cursor_position_ = 0;  // and their bytes.
    Offset next_offset_ = 1;
    Offset visible_end_ = 1;
    StoredBatch* uncommitted_ = nullptr;  // The first batch at or after the visible end.
    std::uint64_t messages_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t resident_bytes_ = 0;
    std::vector<StoredBatch*> free_;  // Nodes to use again, so that a steady state allocates nothing.
    StoredBatch* oldest_in_log_ = nullptr;
    StoredBatch* newest_in_log_ = nullptr;
    std::map<Offset, StoredBatch*> evicted_;          // By base.
    std::map<Offset, StoredBlock*> resident_blocks_;  // By first offset: written and in memory.
    std::vector<commit::BlockRef> dead_blocks_;
};

}  // namespace baton::channel

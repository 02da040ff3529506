// Order: the stored batches of a channel in the order of their offsets, and cursors: a reader's place between messages
// that it was never given (at and after it: *fresh*) and those that it was (before it). A queue has one reader, a topic and
// a stream one for each subscription.
// Not here: who holds a message (in_flight.hpp), what came back (ready_set.hpp), limits (intake.hpp), when a batch
// moves to a segment or leaves memory (relocation.hpp).
// The implementation: message_log.cpp (order and cursors), message_places.cpp (on the disk and back), message_holes.cpp (what
// compaction removes), message_remnants.cpp (memory of what is left).
// One owner, the channel. Next file: in_flight.hpp.
//
// A batch is forgotten as a whole as soon as nobody wants anything of it, wherever it is in the log: one old message that
// nobody settles pins its own batch and nothing else. Hence a linked list, whose nodes are recycled. A stream wants its
// messages itself, until its retention gives them up.
//
// Messages that are sent one at a time would be a node each, which is larger than they are. While somebody has not come to
// the last batch, small ones are copied behind its messages (`join`).
//
// A reader may *pick* a message before its turn: the cursor later passes over it. So it does with what compaction has
// removed out of a stream (compaction.hpp): offsets never change, so there are holes, in batches and between them.
//
// In a durable channel a batch is appended when its record is submitted and becomes visible when that is committed. Of
// a long backlog only the beginning and the end are in memory; in between, blocks in segment files stand for it:
//
//     given | cursor -> resident ... | evicted blocks ... | resident ... | visible end | not committed
//                       readable
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/batch.hpp"
#include "server/channel/linked_list.hpp"
#include "server/channel/offset_set.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/stored_batch.hpp"

namespace baton::channel {

/// A reader's place in a log. Plain state; the log moves it. At one address while it is in a log.
class LogCursor {
public:
    LogCursor() = default;
    LogCursor(const LogCursor&) = delete;
    LogCursor& operator=(const LogCursor&) = delete;

    /// Of the first fresh message, or of the next one that comes.
    [[nodiscard]] Offset offset() const noexcept { return offset_; }
    /// Messages beyond it that were picked, or are not there.
    [[nodiscard]] const OffsetSet& skipped() const noexcept { return skipped_; }
    /// Messages that a stream's retention gave up before this reader came to them.
    [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
    /// What had been taken at this cursor, and was given up with the others.
    void add_missed(std::uint64_t messages) noexcept { missed_ += messages; }

private:
    friend class MessageLog;
    StoredBatch* batch_ = nullptr;  // Of the first fresh message; null: at the end.
    std::uint32_t index_ = 0;       // Messages of it before the cursor,
    std::uint32_t position_ = 0;    // and their bytes.
    Offset offset_ = 1;
    OffsetSet skipped_;
    std::uint64_t skipped_messages_ = 0;
    std::uint64_t removed_ahead_ = 0;  // Messages at and behind the cursor that compaction has removed; none is skipped.
    std::uint64_t missed_ = 0;
    bool is_leaving_ = false;
};

/// Where somebody has got to who goes through the batches that are in the log only, while the log goes on. Null: at the end.
struct LoggedPlace {
    StoredBatch* next = nullptr;
};

class MessageLog {
public:
    /// How long a message stays.
    enum class Keep : std::uint8_t { until_settled, until_trimmed };

    explicit MessageLog(Keep keep = Keep::until_settled) noexcept : keep_{keep} {}
    MessageLog(const MessageLog&) = delete;
    MessageLog& operator=(const MessageLog&) = delete;
    ~MessageLog();

    // --- Readers ---------------------------------------------------------------------------------------------------

    /// A reader of what will be appended from now on.
    void add_cursor(LogCursor& cursor) noexcept;
    /// A stream: a reader of everything from this offset on that is there. Linear in the batches before it if something was
    /// removed by compaction, else it looks at a thousand or so.
    void add_cursor_at(LogCursor& cursor, Offset from) noexcept;
    /// What was fresh for it is not wanted by it any more, nor what comes: it forgets so many batches of it. True: that were
    /// all, and it is gone; else it is to be called again.
    bool remove_cursor(LogCursor& cursor, std::uint64_t& batches) noexcept;
    void remove_cursor(LogCursor& cursor) noexcept {
        std::uint64_t all = UINT64_MAX;
        static_cast<void>(remove_cursor(cursor, all));
    }
    /// Whether what is appended will be wanted by anybody.
    [[nodiscard]] bool is_wanted() const noexcept { return keep_ == Keep::until_trimmed || cursors_.size() > leaving_; }
    [[nodiscard]] std::size_t cursors() const noexcept { return cursors_.size(); }

    // --- Messages --------------------------------------------------------------------------------------------------

    /// Stores `count` (at least one) messages at the end. `messages` is the region without the batch header. They are
    /// visible at once.
    StoredBatch& append(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                        Payload messages) noexcept;
    /// The same, not visible before commit(index) with the index that is given to the result by set_record().
    [[nodiscard]] StoredBatch& append_uncommitted(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c,
                                                  WallTime time, Payload messages) noexcept;
    /// Messages that were just accepted and do not wait for a commit, few and small ones: puts them behind those of the last
    /// batch, in the same node, which has at most `limit` messages and bytes then (joined_max at most). False, and nothing is
    /// changed: they need a node of their own.
    [[nodiscard]] bool join(const BatchHeader& header, MonotonicTime accepted, const Payload& messages, Cut limit) noexcept;
    static constexpr Cut joined_max{1024, 16 * 1024};
    /// Batches with so many bytes, and larger ones, are few for what they hold, and are never copied.
    static constexpr std::uint32_t joined_below = 2 * 1024;
    /// What comes from now on is in other batches than what is there: somebody will tell them apart by batch.
    void seal() noexcept { sealed_end_ = next_offset_; }
    /// So many messages came that nobody wants: only their offsets are used up.
    void pass(std::uint32_t count) noexcept;
    /// The batch is in the record with this index, the newest of all; several may be in one.
    void set_record(StoredBatch& batch, commit::Index index) noexcept;
    /// What is in records up to this index is visible. Returns how many messages became so.
    std::uint64_t commit(commit::Index index) noexcept;
    /// Whether the batch has rules, once.
    void note_rules(StoredBatch& batch, bool has_rules) noexcept {
        batch.has_rules = has_rules;
        ruled_batches_ += has_rules ? 1 : 0;
    }
    /// The batch, which is visible, has rules.
    void set_rules(StoredBatch& batch) {
        note_rules(batch, true);
        ruled_.push_back(&batch);
    }
    /// Batches with rules that became visible since the last call, in order, or of a stream came into memory again.
    [[nodiscard]] std::vector<StoredBatch*> take_ruled() noexcept { return std::exchange(ruled_, {}); }
    [[nodiscard]] bool has_ruled() const noexcept { return !ruled_.empty(); }
    /// Visible batches with rules of which something is fresh for this reader, in order. Linear in the batches behind it
    /// if any has rules.
    [[nodiscard]] std::vector<StoredBatch*> ruled_ahead(const LogCursor& cursor) const;

    /// Visible messages that this reader was never given.
    [[nodiscard]] std::uint64_t fresh(const LogCursor& cursor) const noexcept {
        return visible_end_ > cursor.offset_
                   ? visible_end_ - cursor.offset_ - cursor.skipped_messages_ - cursor.removed_ahead_
                   : 0;
    }
    /// Of those, the ones that come before the first that would have to be read from the disk: 0 exactly if there are none,
    /// otherwise perhaps more than there are.
    [[nodiscard]] std::uint64_t readable(const LogCursor& cursor) const noexcept;
    [[nodiscard]] std::uint64_t uncommitted() const noexcept { return next_offset_ - visible_end_; }
    /// The next messages that are fresh, from one batch. Only if there are some; may be evicted.
    [[nodiscard]] Run fresh_head(const LogCursor& cursor) const noexcept;
    /// The fresh messages run by run: the first that reach beyond `from`, not before the end of `previous` (null: from the
    /// cursor on). Empty at the end. Moves nothing. May be evicted.
    [[nodiscard]] std::optional<Run> fresh_run(const LogCursor& cursor, const Run* previous, Offset from) const noexcept;
    /// The last of the fresh messages, from one batch; empty if there are none. Looks at batches from the end on.
    [[nodiscard]] std::optional<Run> fresh_tail(const LogCursor& cursor) const noexcept;
    /// Moves the cursor over the first messages of `fresh_head()`.
    [[nodiscard]] Run take_fresh(LogCursor& cursor, Cut cut) noexcept;
    /// What is fresh for this reader of a batch that is in memory and visible, in order.
    [[nodiscard]] std::vector<Run> fresh_of(const LogCursor& cursor, StoredBatch& batch) const {
        std::vector<Run> fresh;
        add_fresh(cursor, batch, fresh);
        return fresh;
    }
    /// Takes fresh messages of this batch that are not at the cursor: `before` is what comes before them in the batch.
    [[nodiscard]] Run pick(LogCursor& cursor, StoredBatch& batch, Cut before, Cut cut) noexcept;

    /// The reader wants these messages no more. The run is dead afterwards, its batch may be gone.
    void forget(const Run& run) noexcept;
    /// What nobody wants any more of a visible batch that counts as a whole does not count from now on. `held`: what readers hold
    /// of it, in no order. True: that was something.
    bool recount(StoredBatch& batch, const std::vector<Run>& held);
    /// Forgets all that is fresh for this reader and returns how many.
    std::uint64_t purge_fresh(LogCursor& cursor) noexcept;

    // --- Streams: retention ------------------------------------------------------------------------------------------

    /// The oldest batch that is not given up; null if there is none.
    [[nodiscard]] const StoredBatch* oldest_kept() const noexcept { return kept_; }
    /// The oldest of those with messages that were accepted then or later; null if there is none.
    [[nodiscard]] const StoredBatch* first_since(WallTime time) const noexcept;
    /// A stream: a batch that is not behind the one with this offset, if that is kept, and less than `batches_per_mark` or so
    /// before it. Null only if there is none.
    [[nodiscard]] StoredBatch* near(Offset offset) const noexcept;
    /// Every so many batches of a stream one can be found by its offset.
    static constexpr std::size_t batches_per_mark = 512;
    /// Gives it up: it must be visible. Readers that had not come to it go on behind it.
    void trim_oldest() noexcept;

    // --- Streams: compaction -----------------------------------------------------------------------------------------

    /// The batch, which is visible, is found by its offset from now on. Again: no-op.
    void track(StoredBatch& batch);
    /// So many tracked batches are not any more. False: there are none left.
    [[nodiscard]] bool untrack(std::size_t count) noexcept;
    /// Removes a message of a tracked batch, which has so many bytes in the region: readers that have not come to it pass
    /// over it, who holds it keeps it. False: it is not there any more.
    bool remove(Offset offset, std::uint32_t bytes);
    /// What was removed behind the oldest message that is kept: of batches that are there, and the gaps between them.
    [[nodiscard]] const OffsetSet& removed() const noexcept { return removed_; }
    /// Only of a message that retention has not given up.
    [[nodiscard]] bool is_removed(Offset offset) const noexcept { return overlaps(removed_, offset, offset + 1); }
    /// Of a run of one message, which somebody holds.
    [[nodiscard]] bool is_removed(const Run& message) const noexcept {
        return message.batch->removed == message.batch->count || (message.batch->removed > 0 && is_removed(message.first));
    }
    /// The last visible message that is there; 0: there is none.
    [[nodiscard]] Offset last_kept() const noexcept;
    /// Null: not tracked, or given up.
    [[nodiscard]] StoredBatch* tracked_batch(Offset offset) const noexcept;
    /// What remains of a batch, run by run. Of a resident batch.
    [[nodiscard]] std::vector<Run> live_runs(StoredBatch& batch) const;
    /// While a log is restored, when its messages and readers are there: these messages were removed.
    void restore_removed(const OffsetSet& removed);

    /// Bytes in blocks of messages that were removed, as far as is known.
    [[nodiscard]] std::uint64_t dead_bytes() const noexcept { return dead_bytes_; }
    /// Every living block with its dead bytes, in no order.
    void visit_blocks(const std::function<void(const commit::BlockRef&, std::uint64_t dead_bytes)>& visitor) const;
    /// The block is at another place now, without messages that had been removed: `dead_bytes` as they were when it was copied.
    /// If it is not there any more, the copy is dead.
    void replace_block(const commit::BlockRef& old_ref, const commit::BlockRef& new_ref, std::uint64_t dead_bytes);

    // --- Memory of what is left --------------------------------------------------------------------------------------

    /// Whether a batch keeps more memory than this; then what is wanted of it is copied.
    struct RemnantLimits {
        std::uint64_t factor = 2;   ///< What is wanted of it, so many times,
        std::uint64_t slack = 256;  ///< and so many bytes.
        [[nodiscard]] bool is_exceeded(std::uint64_t kept, std::uint64_t wanted) const noexcept {
            return kept > factor * wanted + slack;
        }
    };
    /// Adds what readers hold of the batch.
    using Holders = std::function<void(const StoredBatch&, std::vector<Run>&)>;

    /// Something of the batch will stay for long, or half of what was left of it is gone. Again: no-op.
    void note_remnant(StoredBatch& batch) noexcept;
    /// Looks at batches that were noted, for as long as there is a budget: what is wanted of those that keep more memory than the
    /// limits allow is copied into a chunk of its own. A look costs one, each KiB that is copied one, and `holders` what it says.
    void pack_remnants(const RemnantLimits& limits, std::uint64_t& budget, const Holders& holders);
    /// Some were noted since they were looked at, or they are more than one call looks at.
    [[nodiscard]] bool has_remnants_to_pack() const noexcept { return new_remnants_ > 0 || remnants_ > remnants_per_step; }
    static constexpr std::size_t remnants_per_step = 1024;

    /// Stored; of batches with several readers all or none, or what was left when they were counted again.
    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    /// Of batches that are in memory, as far as they are.
    [[nodiscard]] std::uint64_t resident_bytes() const noexcept { return resident_bytes_; }
    [[nodiscard]] Offset next_offset() const noexcept { return next_offset_; }
    [[nodiscard]] Offset visible_end() const noexcept { return visible_end_; }
    /// The lowest offset at which some reader will go on; the next one without readers.
    [[nodiscard]] Offset lowest_cursor() const noexcept;
    /// When the newest batch was accepted; zero if it is not known.
    [[nodiscard]] WallTime newest_time() const noexcept { return batches_.last() != nullptr ? batches_.last()->time : WallTime{}; }
    /// The oldest batch of which something remains, or null.
    [[nodiscard]] const StoredBatch* front() const noexcept { return batches_.first(); }
    [[nodiscard]] StoredBatch* front() noexcept { return batches_.first(); }

    // --- Durable channels: where batches are --------------------------------------------------------------------

    /// The oldest batch that is in the log only, by the order of records; null if there is none.
    [[nodiscard]] StoredBatch* oldest_in_log() const noexcept { return in_log_.first(); }
    /// From there on; it moves on when its batch leaves, and counts for as long as somebody else has it too.
    [[nodiscard]] std::shared_ptr<LoggedPlace> begin_in_log();
    /// Whether the batch may leave memory: what somebody holds of it rests, all of it is visible, and each reader has either
    /// all of it before it or all of it behind it.
    [[nodiscard]] bool is_untouched(const StoredBatch& batch) const noexcept;
    /// Whether all that is left of the batch rests.
    [[nodiscard]] bool is_at_rest(const StoredBatch& batch) const noexcept {
        return keep_ == Keep::until_settled && batch.resting == batch.remaining;
    }
    /// Messages of the batch that somebody holds are in quarantine or wait for a time that is not near or behind a busy key, or not
    /// any more.
    static void rest(StoredBatch& batch, std::uint32_t count) noexcept { batch.resting += count; }
    static void end_rest(StoredBatch& batch, std::uint32_t count) noexcept { batch.resting -= count; }
    /// Messages that somebody holds are to be given when they are in memory again, or not any more.
    void await(std::int64_t count) noexcept { awaited_ += static_cast<std::uint64_t>(count); }
    [[nodiscard]] bool has_awaited() const noexcept { return awaited_ > 0; }
    /// Adds the runs with offsets first .. end - 1 of those who hold messages of batches that are at rest or not in memory: of
    /// one message each, to be changed. In no order.
    using RunsAtRest = std::function<void(Offset first, Offset end, std::vector<Run*>&)>;
    /// Keeps the node alive until unpin(), which says whether anything of it remains.
    static void pin(StoredBatch& batch) noexcept { ++batch.pins; }
    /// As often as it was called.
    bool unpin(StoredBatch& batch) noexcept;
    /// The batches, neighbours without gaps from `first` on up to offset `ref.end`, are in this block.
    void set_block(const std::vector<StoredBatch*>& batches, const commit::BlockRef& ref) noexcept;
    /// The block's batches leave memory; it is one of `evictable`. Returns the bytes.
    std::uint64_t evict(StoredBlock& block, const RunsAtRest& runs) noexcept;
    /// Blocks with all their batches untouched and in memory: such as are at rest, as far as a look at some of them finds any, and
    /// then, highest offsets first, those that do not begin among the `wanted`.
    [[nodiscard]] std::vector<StoredBlock*> evictable(const OffsetSet& wanted, std::uint64_t bytes_max);
    /// Some blocks that are not among those because of what readers hold of them, and do not begin among the `wanted`: by turns.
    [[nodiscard]] std::vector<commit::BlockRef> touched(const OffsetSet& wanted);
    /// Null: it is not in memory.
    [[nodiscard]] StoredBlock* resident_block(const commit::BlockRef& ref) const noexcept;
    /// Blocks that have to be read next for this reader, in order, as far as `bytes` reach from its cursor on. Not those under way.
    [[nodiscard]] std::vector<StoredBlock*> missing_ahead(const LogCursor& cursor, std::uint64_t bytes) const;
    /// The block at this place has been read: batches with their headers, as it was written. False: it is not what it
    /// should be, and nothing was changed. No block there (it was purged meanwhile): true.
    [[nodiscard]] bool restore_block(const commit::BlockRef& ref, const Payload& body, const RunsAtRest& runs) noexcept;
    /// Of a block that is not in memory something is fresh for a reader.
    [[nodiscard]] bool has_evicted_ahead() const noexcept {
        return !evicted_.empty() && evicted_.rbegin()->second->remaining > evicted_.rbegin()->second->held;
    }
    [[nodiscard]] StoredBlock* evicted_block(const commit::BlockRef& ref) const noexcept;
    /// What readers at these offsets will want within about so many bytes.
    [[nodiscard]] OffsetSet wanted_soon(std::vector<Offset> offsets, std::uint64_t keep_bytes) const;
    /// About so many bytes from `from` on end at this offset.
    [[nodiscard]] Offset offset_ahead(Offset from, std::uint64_t bytes) const noexcept;

    /// Building a log from its image, in the order of offsets, when all its readers are there; the next batch has this offset.
    void begin_at(Offset next_offset) noexcept;
    StoredBatch& append_restored(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                                 Payload messages) noexcept;
    /// `region_bytes`: about. `time`: of its newest message.
    StoredBatch& append_evicted(const commit::BlockRef& ref, std::uint32_t region_bytes, WallTime time, bool has_rules) noexcept;
    /// Gives the building up: the log is empty and new again, and nothing of its blocks is reported as dead.
    void clear() noexcept;
    /// Before it is destroyed: destroys so many batches. True: there are none left. Nothing else may be called any more.
    [[nodiscard]] bool dismantle(std::uint64_t& items) noexcept;
    /// Ends the building: the next offset.
    void finish_restore(Offset next_offset) noexcept;
    /// Then readers have taken what they hold: blocks of which nothing is fresh do not lie in anybody's way.
    void set_restored_at_rest();
    /// Where fresh messages begin for this reader, and what it has to pass over behind that.
    void place_restored(LogCursor& cursor, Offset offset, OffsetSet skipped) noexcept;
    /// The run of messages first .. end - 1 of a batch that was restored, held from now on.
    [[nodiscard]] Run restored_run(StoredBatch& batch, Offset first, Offset end, std::uint32_t attempt) noexcept;
    /// One reader does not want these messages of a restored batch. The batch may be gone.
    void drop_restored(StoredBatch& batch, Offset first, Offset end) noexcept;

    /// Blocks that died since the last call: their space may be given back.
    [[nodiscard]] std::vector<commit::BlockRef> take_dead_blocks() noexcept { return std::exchange(dead_blocks_, {}); }
    /// Living blocks that begin at `from` or behind it, in order of offsets, the first `limit` of them.
    [[nodiscard]] std::vector<const StoredBlock*> blocks(Offset from, std::uint64_t limit) const;

private:
    [[nodiscard]] StoredBatch* new_batch() noexcept;
    StoredBatch& link_at_end(std::uint32_t count, std::uint32_t size) noexcept;
    [[nodiscard]] bool can_join(const StoredBatch& tail, const BatchHeader& header, MonotonicTime accepted,
                                Cut limit) const noexcept;
    void count_appended(std::uint32_t count, std::uint32_t size) noexcept;
    void unlink(StoredBatch* batch) noexcept;
    void release(StoredBatch* batch) noexcept;
    void leave_block(StoredBatch& batch) noexcept;
    void leave_log(StoredBatch& batch) noexcept;
    void mark(StoredBatch& batch);
    void unmark(StoredBatch& batch, StoredBatch* heir);

    void move_to(LogCursor& cursor, StoredBatch* batch) noexcept;
    void advance_to(LogCursor& cursor, Offset offset) noexcept;
    void pass_holes(LogCursor& cursor) noexcept;
    [[nodiscard]] Offset end_of_removed(Offset at) const noexcept;
    [[nodiscard]] Offset next_removed(Offset from, Offset end) const noexcept;
    void count_passed(LogCursor& cursor, Offset from) noexcept;
    void give_up(StoredBatch& batch) noexcept;
    void restore_holes(StoredBatch& batch) noexcept;
    void cut_out_of(OffsetSet& skipped, Offset first, Offset end) const;
    [[nodiscard]] static Cut cut_of(const Run& run, Offset end) noexcept;
    void cover_block(StoredBatch& batch) noexcept;
    void leave_disk(StoredBatch& batch) noexcept;
    [[nodiscard]] bool is_hole(Offset first, Offset end) const noexcept { return overlap(removed_, first, end) == end - first; }
    void forget_removed_before_kept() noexcept;
    [[nodiscard]] std::uint32_t removed_bytes_in(const StoredBatch& batch) const noexcept;
    [[nodiscard]] static bool is_halved(std::uint64_t before, std::uint64_t now) noexcept { return (before ^ now) > now; }
    void unlink_remnant(StoredBatch& batch) noexcept;
    void link_remnant(StoredBatch& batch, StoredBatch* next) noexcept;
    [[nodiscard]] bool pack(StoredBatch& batch, const RemnantLimits& limits, std::uint64_t& budget, const Holders& holders);
    [[nodiscard]] std::vector<Run> wanted_of(StoredBatch& batch, const Holders& holders) const;
    void add_fresh(const LogCursor& cursor, StoredBatch& batch, std::vector<Run>& wanted) const;
    void keep_only(StoredBatch& batch, const std::vector<Run>& wanted) noexcept;
    void hold(StoredBatch& batch, std::uint32_t count) noexcept;
    [[nodiscard]] bool is_evictable(const StoredBlock& block) const noexcept;
    void add_at_rest(std::uint64_t bytes_max, std::uint64_t& bytes, std::vector<StoredBlock*>& found);
    [[nodiscard]] bool begins_at_rest(const StoredBlock& block) const noexcept {
        return keep_ == Keep::until_settled && block.first != nullptr && is_at_rest(*block.first);
    }
    [[nodiscard]] StoredBatch* stand_in(const commit::BlockRef& ref) const noexcept;
    void forget_stand_in(const StoredBatch& batch) noexcept {
        evicted_.erase(batch.base) == 0 ? static_cast<void>(at_rest_.erase(batch.base)) : void();
    }
    struct BlockEntry {
        BatchHeader header;
        Payload messages;
        std::size_t runs = 0;  // Of one message each, that somebody holds.
    };
    [[nodiscard]] std::optional<std::vector<BlockEntry>> entries_of(const commit::BlockRef& ref, const Payload& body) const;
    [[nodiscard]] static bool count_runs(std::vector<BlockEntry>& entries, const std::vector<Run*>& runs) noexcept;
    struct Begun {
        std::vector<Offset> offsets;  // Where they go on,
        Offset from = UINT64_MAX;     // and the first of them.
        std::uint64_t messages = 0;   // What each of them wants, together,
        std::uint64_t bytes = 0;      // about.
    };
    [[nodiscard]] Begun begun_of(const StoredBatch& stand_in) const;
    [[nodiscard]] static Cut add_begun(const Begun& begun, std::uint64_t wanted, StoredBatch& batch) noexcept;
    StoredBatch& add_restored(BlockEntry& entry, StoredBatch& stand_in, std::uint64_t wanted) noexcept;
    void enter_restored(StoredBatch& stand_in, StoredBatch& first) noexcept;

    const Keep keep_;
    std::vector<LogCursor*> cursors_;
    std::size_t leaving_ = 0;        // Of those, how many are being removed.
    std::vector<LogCursor*> ended_;  // Those at the end.
    LinkedList<StoredBatch, &StoredBatch::previous, &StoredBatch::next> batches_;
    StoredBatch* kept_ = nullptr;  // The first that is not given up.
    Offset next_offset_ = 1;
    Offset visible_end_ = 1;
    Offset sealed_end_ = 1;
    StoredBatch* uncommitted_ = nullptr;  // The first batch at or after the visible end.
    std::uint64_t messages_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t resident_bytes_ = 0;
    std::uint64_t awaited_ = 0;
    Offset rest_turn_ = 0;  // Where blocks are looked at next whether they are at rest,
    Offset touched_turn_ = UINT64_MAX;  // and before which, what readers hold of them.
    std::vector<StoredBatch*> ruled_;
    std::uint64_t ruled_batches_ = 0;         // All that are there.
    OnDemandMap<std::map<Offset, StoredBatch*>> marks_;    // Of a stream, by base.
    std::size_t unmarked_ = 0;                // Batches that came behind the last of them.
    std::vector<StoredBatch*> free_;  // Nodes to use again, so that a steady state allocates nothing.
    LinkedList<StoredBatch, &StoredBatch::older, &StoredBatch::newer> in_log_;  // Only there.
    std::vector<std::shared_ptr<LoggedPlace>> logged_places_;
    OnDemandMap<std::map<Offset, StoredBatch*>> evicted_;          // By base: not in memory, and perhaps fresh for somebody.
    OnDemandMap<std::map<Offset, StoredBatch*>> at_rest_;          // The others that are not in memory, also in front of cursors.
    OnDemandMap<std::map<Offset, StoredBlock*>> resident_blocks_;  // By first offset: written and in memory.
    std::vector<commit::BlockRef> dead_blocks_;
    OffsetSet removed_;
    OnDemandMap<std::map<Offset, StoredBatch*>> tracked_;  // By base.
    std::uint64_t dead_bytes_ = 0;
    // Those that were noted since they were looked at are the first ones.
    LinkedList<StoredBatch, &StoredBatch::previous_remnant, &StoredBatch::next_remnant> remnant_list_;
    std::size_t remnants_ = 0;
    std::size_t new_remnants_ = 0;
};

}  // namespace baton::channel

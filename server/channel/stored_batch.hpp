// One stored batch, and where its messages are: in memory, in a log file, in a block of a segment. And a Run: consecutive
// messages of one batch that share their state, the currency of this folder.
// Plain state; message_log.hpp owns it. One owner, the channel. Next file: message_log.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "server/channel/message_region.hpp"
#include "server/channel/types.hpp"
#include "server/commit/commit_log.hpp"

namespace baton::channel {

struct StoredBatch;

/// A block in a segment file that still has living messages. Shared by the batches in it; gone with the last of them.
struct StoredBlock {
    commit::BlockRef ref;
    std::uint32_t batches = 0;     ///< That refer to it.
    StoredBatch* first = nullptr;  ///< Of those that are left.
    bool is_loading = false;
    bool has_rules = false;  ///< One of its batches has.
    WallTime time{};         ///< Of the newest message that was written to it.
    std::uint64_t dead_bytes = 0;  ///< Of messages in it that compaction has removed, as far as is known.
};

/// Messages of a batch that are in memory, where others of it are not any more.
struct BatchPiece {
    std::uint32_t index = 0;     ///< Of the first one in the batch.
    std::uint32_t count = 0;
    std::uint32_t position = 0;  ///< In the batch's region, as it was published,
    std::uint32_t bytes = 0;
    std::uint32_t at = 0;        ///< and in `StoredBatch::messages`.
};

/// Whether a batch is among those of which it is to be looked at whether their memory is out of proportion.
enum class Remnant : std::uint8_t { no, noted, kept };

/// A batch as it was published, or what was left of it when it had to be cut. Or, without messages in memory, several
/// of them: everything that a block has (`is_resident` false). For each reader all of those are fresh, whole and without gaps,
/// but for the first ones if these were dropped; or none is: then what it wants of them is in its quarantine, waits for a time or
/// behind a busy key, or is to be given (`ReadyMessages`).
struct StoredBatch {
    Offset base = 0;
    std::uint32_t count = 0;
    std::uint32_t size = 0;       ///< Bytes of the messages region, in memory or not.
    /// For each message as many as still want it: readers that have not settled it, the retention of a stream. Never 0 in
    /// the log.
    std::uint64_t remaining = 0;
    std::uint64_t held = 0;       ///< Of those, the ones that are in somebody's Run: it refers to this node.
    /// Of those, the ones that are in quarantine, or wait for a time that is not near, or behind a busy key: their bytes need not
    /// be in memory.
    std::uint64_t resting = 0;
    std::uint32_t cursors = 0;    ///< Readers that will go on here.
    /// Of its messages, the ones that do not count any more: compaction has removed them; of a batch with several readers nobody
    /// wants them (MessageLog::recount); or gaps in a block at rest.
    std::uint32_t removed = 0;
    std::uint32_t removed_bytes = 0;  ///< Their bytes in the region, as far as is known.
    std::uint32_t crc32c = 0;     ///< Of `messages`, if the flag says so.
    std::uint16_t flags = 0;      ///< As in batch.hpp.
    bool is_resident = true;
    bool is_exact = true;     ///< One reader: a message is gone as soon as it is settled. Else the batch counts as a whole.
    bool is_trimmed = false;  ///< A stream has given up all of it; somebody still holds something of it.
    bool is_tracked = false;  ///< MessageLog finds it by its offset.
    bool is_picked = false;   ///< A reader took a message out of it before its turn.
    bool has_rules = false;   ///< Some of its messages have a priority or a time (message_rules.hpp).
    bool is_mark = false;     ///< Of a stream: it stands in the map of those that are found by their offsets.
    bool is_open = false;     ///< Its messages were joined in a chunk of its own, in which more may have room.
    Remnant remnant = Remnant::no;
    /// Being written to a segment, or to be looked at by so many readers: the node stays until that is done, even if it is dead.
    std::uint32_t pins = 0;
    WallTime time{};           ///< Of its newest message,
    MonotonicTime accepted{};  ///< and of its oldest, if it came in this life of the broker; else zero.
    Payload messages;  ///< Empty if not resident.
    /// Null: all of them are in `messages`. Else those that somebody wants are, in pieces (message_remnants.cpp), and positions
    /// are what they were. In order; none touches the next.
    std::unique_ptr<const std::vector<BatchPiece>> pieces;
    StoredBatch* previous = nullptr;
    StoredBatch* next = nullptr;
    StoredBatch* previous_remnant = nullptr;
    StoredBatch* next_remnant = nullptr;

    // Durable channels only.
    commit::Index index = 0;      ///< Of the record that holds it; its log file must stay while there is no block.
    StoredBlock* block = nullptr;  ///< Null: it is in the log only.
    StoredBatch* older = nullptr;  ///< Neighbours among those that are in the log only, in the order of their records.
    StoredBatch* newer = nullptr;

    [[nodiscard]] Offset end() const noexcept { return base + count; }
    [[nodiscard]] bool has_crc() const noexcept { return (flags & batch_has_crc) != 0; }
    /// Messages that a stream still has.
    [[nodiscard]] std::uint32_t live() const noexcept { return count - removed; }
    /// Resident: messages from this position on, which are in one piece.
    [[nodiscard]] Bytes region(std::uint32_t position, std::uint32_t bytes) const noexcept {
        return messages.bytes().subspan(pieces ? place_of(position) : position, bytes);
    }
    [[nodiscard]] Payload slice(std::uint32_t position, std::uint32_t bytes) const noexcept {
        return messages.slice(pieces ? place_of(position) : position, bytes);
    }
    /// Bytes of the region between the message at `position`, which is number `from` of the batch, and number `to`.
    /// Not in memory: an estimate.
    [[nodiscard]] std::uint32_t bytes_between(std::uint32_t from, std::uint32_t position, std::uint32_t to) const noexcept {
        if (!is_resident) {
            return (to - from) * (size / count);
        }
        return pieces ? position_of(to) - position
                      : cut_count(messages.bytes().subspan(position), to - from).bytes;
    }
    /// The first piece at or behind `done`: what is in front of it, and its messages. No messages: there is none.
    struct Part {
        Cut before;
        Bytes messages;
    };
    [[nodiscard]] Part part_from(Cut done) const noexcept;
    /// What is written, in a record and in a block. In the place of messages that nobody wants any more there are empty ones.
    struct Whole {
        BatchHeader header;
        Payload messages;
    };
    [[nodiscard]] Whole whole() const;
    /// As it is written in front of the messages, while all of them are there.
    [[nodiscard]] BatchHeader header() const noexcept {
        return {.count = count,
                .flags = flags,
                .base_offset = base,
                .time_us = time.us,
                .crc32c = crc32c,
                .messages_size = size};
    }

private:
    [[nodiscard]] std::uint32_t place_of(std::uint32_t position) const noexcept;
    [[nodiscard]] std::uint32_t position_of(std::uint32_t number) const noexcept;
};

/// Consecutive messages of one stored batch that share their state: what is given, held, settled and given back. Keeps
/// its batch alive in the log, because its messages are not settled.
struct Run {
    StoredBatch* batch = nullptr;
    Offset first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;   ///< Under way (held), or the next one (ready).
    std::uint32_t position = 0;  ///< Of the first message in the batch's region; without a meaning while that is not in memory.
    std::uint32_t bytes = 0;
    std::uint32_t lease_end = 0;   ///< While held: when it ends, in LeaseTime steps; 0: never.
    std::uint32_t lease_cap = 0;   ///< While held: until then it can be extended.
    bool is_started = false;  ///< Only while held.
    bool was_delivered = false;
    bool is_kept = false;  ///< However old it is, it is given until somebody starts it: an administrator wants it.
    bool is_unseen = false;  ///< It was ready before a restart, and has not been looked at since (`ReadyMessages`).
    bool is_placed = false;  ///< Ready, it rests in its place, and is admitted when its turn comes (`ReadyMessages`).
    bool is_keyless = false;  ///< Held, or to be tried again, since before the channel was ordered by key: it counts for no key.
    std::uint8_t priority = 0;  ///< While placed.

    [[nodiscard]] Offset end() const noexcept { return first + count; }
    /// Only of a resident batch.
    [[nodiscard]] Bytes region() const noexcept { return batch->region(position, bytes); }
    /// Cuts these messages off; this run keeps the rest.
    [[nodiscard]] Run take_front(Cut cut) noexcept;
    /// The same for the first `count` messages, of which there are more.
    [[nodiscard]] Run take_front(std::uint32_t front) noexcept {
        const std::uint32_t index = static_cast<std::uint32_t>(first - batch->base);
        return take_front(Cut{front, batch->bytes_between(index, position, index + front)});
    }
    /// Cuts the first message off; this run keeps the rest, which may be nothing.
    [[nodiscard]] Run take_one() noexcept { return count > 1 ? take_front(1U) : take_front(Cut{count, bytes}); }
    /// The message with this offset, which is one of the run's.
    [[nodiscard]] Run message_at(Offset offset) const noexcept {
        Run rest = *this;
        if (first < offset) {
            static_cast<void>(rest.take_front(static_cast<std::uint32_t>(offset - first)));
        }
        return rest.take_one();
    }
    /// While placed: when its time to live ends; zero: never. It is where the lease of a held run is.
    [[nodiscard]] WallTime expires() const noexcept {
        return {static_cast<std::int64_t>(std::uint64_t{lease_cap} << 32U | lease_end)};
    }
    void set_expires(WallTime time) noexcept {
        lease_end = static_cast<std::uint32_t>(time.us);
        lease_cap = static_cast<std::uint32_t>(static_cast<std::uint64_t>(time.us) >> 32U);
    }
    void end_placed() noexcept {
        is_placed = false;
        priority = 0;
        lease_end = lease_cap = 0;
    }
    /// Appends `next` if it is the direct continuation in the same state.
    [[nodiscard]] bool try_append(const Run& next) noexcept;
    /// What a receiver is given.
    [[nodiscard]] Slice slice() const noexcept;
};

}  // namespace baton::channel

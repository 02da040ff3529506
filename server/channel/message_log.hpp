// Order: the stored batches of a channel in the order of their offsets, and the cursor between messages that were never
// given to anybody (at and after it) and those that were (before it).
// Not here: who holds a message (in_flight.hpp), what came back (redelivery_set.hpp), limits (intake.hpp).
// One owner, the channel. Next file: in_flight.hpp.
//
// A batch is forgotten as a whole as soon as nothing of it remains, wherever it is in the log: one old message that
// nobody settles pins its own batch and nothing else. Hence a linked list, whose nodes are recycled.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/channel/message_region.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// A batch as it was published, or what was left of it when it had to be cut.
struct StoredBatch {
    Offset base = 0;
    std::uint32_t count = 0;
    std::uint32_t remaining = 0;  ///< Messages that are neither settled nor purged. Never 0 in the log.
    std::uint32_t crc32c = 0;     ///< Of `messages`, if the flag says so.
    std::uint16_t flags = 0;      ///< As in batch.hpp.
    WallTime time{};
    Payload messages;
    StoredBatch* previous = nullptr;
    StoredBatch* next = nullptr;

    [[nodiscard]] Offset end() const noexcept { return base + count; }
};

/// Consecutive messages of one stored batch that share their state. The currency of this folder: what is given, held,
/// settled and given back. Keeps its batch alive in the log, because its messages are not settled.
struct Run {
    StoredBatch* batch = nullptr;
    Offset first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;   ///< Under way (held), or the next one (ready).
    std::uint32_t position = 0;  ///< Of the first message in the batch's region.
    std::uint32_t bytes = 0;
    bool is_started = false;  ///< Only while held.
    bool was_delivered = false;

    [[nodiscard]] Offset end() const noexcept { return first + count; }
    [[nodiscard]] Bytes region() const noexcept { return batch->messages.bytes().subspan(position, bytes); }
    /// Cuts these messages off; this run keeps the rest.
    [[nodiscard]] Run take_front(Cut cut) noexcept;
    /// The same for the first `count` messages, of which there are more.
    [[nodiscard]] Run take_front(std::uint32_t front) noexcept { return take_front(cut_count(region(), front)); }
    /// Appends `next` if it is the direct continuation in the same state.
    [[nodiscard]] bool try_append(const Run& next) noexcept;
    /// What a receiver is given.
    [[nodiscard]] Slice slice() const noexcept;
};

class MessageLog {
public:
    MessageLog() = default;
    MessageLog(const MessageLog&) = delete;
    MessageLog& operator=(const MessageLog&) = delete;
    ~MessageLog();

    /// Stores `count` (at least one) messages at the end. `messages` is the region without the batch header.
    void append(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                Payload messages) noexcept;

    /// Messages that were never given to anybody.
    [[nodiscard]] std::uint64_t fresh() const noexcept { return fresh_; }
    /// What is left of the batch at the cursor. Only if there are fresh messages.
    [[nodiscard]] Run fresh_head() const noexcept;
    /// The fresh messages from the batch of `from` on, run by run: the one after `run`, or the first that reaches
    /// beyond `from` if `run` is null. Empty at the end. Moves nothing.
    [[nodiscard]] std::optional<Run> fresh_run(const Run* run, Offset from) const noexcept;
    /// Moves the cursor over the first messages of `fresh_head()`.
    [[nodiscard]] Run take_fresh(Cut cut) noexcept;

    /// These messages are settled or purged. The run is dead afterwards, its batch may be gone.
    void forget(const Run& run) noexcept;
    /// Forgets all fresh messages and returns how many.
    std::uint64_t purge_fresh() noexcept;

    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] Offset next_offset() const noexcept { return next_offset_; }
    /// The oldest batch of which something remains, or null.
    [[nodiscard]] const StoredBatch* front() const noexcept { return front_; }

private:
    [[nodiscard]] StoredBatch* new_batch() noexcept;
    void unlink(StoredBatch* batch) noexcept;

    StoredBatch* front_ = nullptr;
    StoredBatch* back_ = nullptr;
    StoredBatch* cursor_ = nullptr;      // Batch of the first fresh message, or null.
    std::uint32_t cursor_index_ = 0;     // Messages of it before the cursor,
    std::uint32_t cursor_position_ = 0;  // and their bytes.
    Offset next_offset_ = 1;
    std::uint64_t fresh_ = 0;
    std::uint64_t messages_ = 0;
    std::uint64_t bytes_ = 0;
    std::vector<StoredBatch*> free_;  // Nodes to use again, so that a steady state allocates nothing.
};

}  // namespace baton::channel

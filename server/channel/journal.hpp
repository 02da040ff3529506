// What a durable channel writes to the commit log, and who waits for it: confirms, refusals behind them and receipts
// are held back until what they speak of is committed, in order. Settlements are noted and written together, once a
// turn, without a commit of their own. Not responsible for what is decided (channel_messages.cpp, intake.cpp). One
// owner, the channel; memory channels have none. Next file: durable_records.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "server/channel/channel_events.hpp"
#include "server/channel/durable_records.hpp"
#include "server/channel/errc.hpp"
#include "server/channel/offset_set.hpp"
#include "server/channel/producer_table.hpp"
#include "server/channel/ring.hpp"
#include "server/channel/stored_batch.hpp"
#include "server/commit/commit_log.hpp"

namespace baton::channel {

/// What became of one reader's messages in this turn, and was not written yet. Owned by the reader.
struct ReaderNotes {
    ReaderId reader = queue_reader;
    std::vector<OffsetRange> settled;   ///< Written behind the others.
    std::vector<StartedRange> started;  ///< Written before the others.
    std::vector<ReaderEntry> entries;   ///< Waiting, quarantined, ready again.
    Offset written_cursor = 1;

    void note_settled(Offset first, std::uint64_t count);
    void note_started(Offset first, std::uint32_t count, std::uint32_t attempt);
    void note(ReaderEntry entry);
    [[nodiscard]] bool is_needed(Offset cursor) const noexcept {
        return !settled.empty() || !started.empty() || !entries.empty() || cursor != written_cursor;
    }
};

class Journal {
public:
    /// `log` outlives the journal.
    Journal(commit::CommitLog& log, commit::StreamId stream) noexcept : log_{log}, stream_{stream} {}

    // --- Records -------------------------------------------------------------------------------------------------

    void settings(const SettingsRecord& record);
    void deleted();
    commit::Index publish(const StoredBatch& batch, const ProducerId& producer, std::uint64_t last_sequence);
    /// The record of a batch that is written again, up to its messages. Appended to `out`.
    static void encode_moved(const BatchHeader& header, std::vector<std::byte>& out);
    /// The batch moves to the end of the log; nobody waits for that.
    commit::Index move(const StoredBatch& batch);

    void subscribed(const SubscriptionSettings& settings, Offset cursor);
    void unsubscribed(ReaderId reader);
    void trimmed(Offset end);
    /// Compaction has removed these.
    void compacted(const OffsetSet& removed);
    /// Writes what was noted, and the cursor if it has moved since the last time. Urgent if a receipt waits for it.
    void write_notes(ReaderNotes& notes, Offset cursor);
    /// When the notes of all readers are written: the receipts wait for what was submitted.
    void notes_written();
    [[nodiscard]] bool has_receipts() const noexcept { return !receipts_.empty(); }

    // --- Waiting for the commit ----------------------------------------------------------------------------------

    /// All that was submitted so far has to be committed before the sender hears of this.
    void confirm_later(const LinkAddress& sender, std::uint64_t sequence);
    void refuse_later(const LinkAddress& sender, std::uint64_t first, std::uint32_t count, Errc reason);
    /// The same for a receiver's receipt, and for the settlements that were noted before it.
    void answer_later(const LinkAddress& receiver, std::uint64_t receipt);
    /// The link ends: it hears nothing any more.
    void forget(const LinkAddress& link) noexcept;
    [[nodiscard]] bool is_anybody_waiting() const noexcept { return !waiting_.empty(); }
    /// Tells everybody whose time has come. After each of the three above, too: if nothing is on its way to the disk,
    /// no commit will come that could do it.
    void release(ChannelEvents& events) noexcept;

    [[nodiscard]] commit::StreamId stream() const noexcept { return stream_; }
    [[nodiscard]] const commit::CommitLog& log() const noexcept { return log_; }

private:
    enum class Answer : std::uint8_t { nobody, confirm, refusal, receipt };
    struct Waiting {
        commit::Index index = 0;
        LinkAddress link;
        std::uint64_t value = 0;  // Sequence, first sequence, receipt.
        std::uint32_t count = 0;
        Errc reason{};
        Answer answer{};
    };

    commit::Index submit(commit::Urgency urgency, const Payload& body = {});
    void write_queue_notes(ReaderNotes& notes, Offset cursor, commit::Urgency urgency);
    void write_progress(ReaderNotes& notes, Offset cursor, commit::Urgency urgency);

    commit::CommitLog& log_;
    const commit::StreamId stream_;
    std::vector<std::byte> encoded_;  // Reused.
    std::vector<Waiting> receipts_;  // Until the notes are written.
    Ring<Waiting> waiting_;          // In the order of their indexes.
};

}  // namespace baton::channel

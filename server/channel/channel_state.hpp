// Everything about a durable channel that is not in its messages: settings, how far it has got, producers, which of the
// older messages are alive, and where blocks of messages are. To bytes and back (docs/storage.md, section 6): the body
// of a section in a checkpoint. Plain values. Next file: channel_image.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/channel/durable_records.hpp"
#include "server/commit/commit_log.hpp"

namespace baton::channel {

struct ChannelState {
    struct KnownProducer {
        ProducerId id;
        std::uint64_t last_sequence = 0;
        friend bool operator==(const KnownProducer&, const KnownProducer&) = default;
    };
    /// Messages first .. end - 1 below the cursor that are not settled.
    struct LiveRange {
        Offset first = 0;
        Offset end = 0;
        std::uint32_t attempt = 1;  ///< The next one.
        friend bool operator==(const LiveRange&, const LiveRange&) = default;
    };
    struct KnownId {
        std::string id;
        WallTime time{};
        friend bool operator==(const KnownId&, const KnownId&) = default;
    };

    SettingsRecord settings;
    Offset next_offset = 1;
    Offset cursor = 1;  ///< Everything at or after it is alive and was never given to anybody.
    std::vector<KnownProducer> producers;
    std::vector<LiveRange> live;            ///< In order, without overlaps.
    std::vector<commit::BlockRef> blocks;  ///< In order of `first`.

    // What a plain queue does not have. A state without it is written in version 1.

    std::vector<ReaderEntry> special{};  ///< Of the queue's reader: what is not in `live` and different from fresh.
    Offset trimmed_end = 1;            ///< Stream: its messages before it are given up.
    std::vector<Offset> ruled_blocks{};  ///< First offsets of blocks that a reader has to look into at once. In order.
    /// Of each block when its newest message was accepted; zero where that is not known. Expiry and retention by age, positions by
    /// time and who asks how old the oldest message is need it. None: an older version wrote it.
    std::vector<WallTime> block_times{};
    std::vector<ReaderState> subscriptions{};  ///< Named ones, by id.
    std::vector<KnownId> ids{};                ///< Message ids in the duplicate window, oldest first.

    // What only streams have that were compacted. A state without it, and without entries that are placed, is written in
    // version 2 at most.

    std::vector<OffsetRange> removed{};  ///< In order, from the trimmed end on; the messages that were removed.

    /// In order: what version 1 can say goes to `live`, the rest to `special`.
    void add_queue_entries(const std::vector<ReaderEntry>& entries);
    [[nodiscard]] bool is_plain() const noexcept {
        return special.empty() && trimmed_end == 1 && ruled_blocks.empty() && block_times.empty() &&
               subscriptions.empty() && ids.empty() && removed.empty();
    }
    friend bool operator==(const ChannelState&, const ChannelState&) = default;
};

[[nodiscard]] std::vector<std::byte> encode(const ChannelState& state);
/// Nothing if the bytes are not a whole, sound state.
[[nodiscard]] std::optional<ChannelState> decode_state(Bytes bytes);

}  // namespace baton::channel

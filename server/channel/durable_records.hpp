// The records of a durable channel, to bytes and back (docs/storage.md, section 6). Every record can be applied twice
// without changing more than once. Pure functions; checked reading: the bytes may come from a damaged disk.
// Next file: channel_state.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/batch.hpp"
#include "server/channel/channel_options.hpp"
#include "server/channel/reader_state.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

enum class RecordType : std::uint8_t {
    settings = 1,
    publish = 2,
    settled = 3,
    started = 4,
    deleted = 5,
    progress = 6,
    subscribed = 7,
    unsubscribed = 8,
    trimmed = 9,
    compacted = 10,
};

/// Messages first .. first + count - 1.
struct OffsetRange {
    Offset first = 0;
    std::uint64_t count = 0;
    friend bool operator==(const OffsetRange&, const OffsetRange&) = default;
};

/// Messages that a receiver has begun to work on, in this attempt.
struct StartedRange {
    Offset first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;
    friend bool operator==(const StartedRange&, const StartedRange&) = default;
};

/// Makes the channel if it is not there; sets its options.
struct SettingsRecord {
    std::string name;
    ChannelOptions options;
    std::string damage;  ///< Not empty: the channel is quarantined, and why.
    friend bool operator==(const SettingsRecord&, const SettingsRecord&) = default;
};
/// A stored batch; its messages follow the head. Also written again when a live batch moves to a newer log file.
struct PublishRecord {
    BatchHeader header;            ///< With base offset and time.
    ProducerId producer;           ///< Anonymous: no duplicates to detect.
    std::uint64_t last_sequence = 0;  ///< Of its last message; 0 if it was moved.
    Bytes messages;                ///< After decoding: inside the record.
};
struct SettledRecord {
    Offset cursor = 1;  ///< All before it have been given to somebody.
    std::vector<OffsetRange> ranges;
};
struct StartedRecord {
    Offset cursor = 1;
    std::vector<StartedRange> ranges;
};
struct DeletedRecord {};
/// What became of messages of one reader. Settled and started ones of a queue have records of their own.
struct ProgressRecord {
    ReaderId reader = queue_reader;
    Offset cursor = 1;
    std::vector<StartedRange> started;  ///< Before the entries.
    std::vector<ReaderEntry> entries;   ///< One after the other.
};
/// A named subscription is there from now on, or has these settings now.
struct SubscribedRecord {
    SubscriptionSettings settings;
    Offset cursor = 1;  ///< Of a new one.
};
struct UnsubscribedRecord {
    ReaderId reader = queue_reader;
};
/// A stream has given up its messages before this offset.
struct TrimmedRecord {
    Offset end = 1;
};

/// Compaction of a stream has removed these messages.
struct CompactedRecord {
    std::vector<OffsetRange> ranges;
};

using DurableRecord = std::variant<SettingsRecord, PublishRecord, SettledRecord, StartedRecord, DeletedRecord,
                                   ProgressRecord, SubscribedRecord, UnsubscribedRecord, TrimmedRecord, CompactedRecord>;

/// Append to `out`. Of a PublishRecord only the head: the messages follow as they are.
void encode(const SettingsRecord& record, std::vector<std::byte>& out);
void encode(const PublishRecord& record, std::vector<std::byte>& out);
void encode(const SettledRecord& record, std::vector<std::byte>& out);
void encode(const StartedRecord& record, std::vector<std::byte>& out);
void encode(const DeletedRecord& record, std::vector<std::byte>& out);
void encode(const ProgressRecord& record, std::vector<std::byte>& out);
void encode(const SubscribedRecord& record, std::vector<std::byte>& out);
void encode(const UnsubscribedRecord& record, std::vector<std::byte>& out);
void encode(const TrimmedRecord& record, std::vector<std::byte>& out);
void encode(const CompactedRecord& record, std::vector<std::byte>& out);

/// Nothing if the bytes are not a whole, sound record. A batch in it has passed check_batch.
[[nodiscard]] std::optional<DurableRecord> decode_record(Bytes body);

/// The part of a settings record behind its type, which a channel's state holds as well.
void encode_settings(const SettingsRecord& settings, std::vector<std::byte>& out);
[[nodiscard]] std::optional<SettingsRecord> decode_settings(ByteReader& reader);
/// The parts of a subscription's records that a channel's state holds as well.
void encode_subscription(const SubscriptionSettings& settings, std::vector<std::byte>& out);
[[nodiscard]] bool read_subscription(ByteReader& reader, SubscriptionSettings& settings);
void encode_entry(const ReaderEntry& entry, std::vector<std::byte>& out);
[[nodiscard]] bool read_entry(ByteReader& reader, ReaderEntry& entry);
/// No entry is smaller.
inline constexpr std::size_t reader_entry_size_min = 21;

}  // namespace baton::channel

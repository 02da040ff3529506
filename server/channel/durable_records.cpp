#include "server/channel/durable_records.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "server/channel/message_rules.hpp"

namespace baton::channel {

namespace {

// Keys of settings. New ones are added at the end; a reader passes over those that it does not know.
enum class Key : std::uint16_t {
    messages_max = 1,
    bytes_max = 2,
    message_size_max = 3,
    producers_max = 4,
    producer_retention_us = 5,
    sender_window_messages = 6,
    sender_window_bytes = 7,
    // Written only if they are not the default.
    kind = 8,
    overflow = 9,
    age_max_us = 10,
    lease_us = 11,
    lease_max_us = 12,
    attempts_max = 13,
    retry_first_us = 14,
    retry_max_us = 15,
    retry_factor_percent = 16,
    retry_jitter_percent = 17,
    flags = 18,
    dedupe_window_us = 19,
    has_texts = 20,  // Behind the pairs: how fairness is meant.
    tombstone_age_us = 21,
};

enum Flag : std::uint64_t {
    flag_quarantines_expired = 1,
    flag_drops_late = 2,
    flag_is_ordered_by_key = 4,
    flag_is_exclusive = 8,
    flag_is_compacted = 16,
};

std::uint64_t flags_of(const ChannelOptions& options) {
    std::uint64_t flags = 0;
    if (options.quarantines_expired) {
        flags |= flag_quarantines_expired;
    }
    if (options.drops_late) {
        flags |= flag_drops_late;
    }
    if (options.is_ordered_by_key) {
        flags |= flag_is_ordered_by_key;
    }
    if (options.is_exclusive) {
        flags |= flag_is_exclusive;
    }
    if (options.is_compacted) {
        flags |= flag_is_compacted;
    }
    return flags;
}

constexpr std::size_t name_size_max = 65'535;

void put_type(std::vector<std::byte>& out, RecordType type) { ByteWriter{out}.u8(static_cast<std::uint8_t>(type)); }

bool read_producer(ByteReader& reader, ProducerId& producer) {
    Bytes id;
    if (!reader.read_bytes(producer.bytes.size(), id)) {
        return false;
    }
    std::ranges::copy(id, producer.bytes.begin());
    return true;
}

std::optional<std::string> read_text(ByteReader& reader) {
    std::uint16_t size = 0;
    Bytes text;
    if (!reader.read_u16(size) || !reader.read_bytes(size, text)) {
        return std::nullopt;
    }
    return std::string{as_text(text)};
}

void put_text(ByteWriter& writer, std::string_view text) {
    text = text.substr(0, name_size_max);
    writer.u16(static_cast<std::uint16_t>(text.size()));
    writer.bytes(as_bytes(text));
}

bool read_fairness(ByteReader& reader, ChannelOptions& options) {
    auto fair_by = read_text(reader);
    std::uint32_t count = 0;
    if (!fair_by || !reader.read_u32(count)) {
        return false;
    }
    options.fair_by = std::move(*fair_by);
    for (std::uint32_t i = 0; i < count; ++i) {
        auto tenant = read_text(reader);
        std::uint32_t weight = 0;
        if (!tenant || !reader.read_u32(weight)) {
            return false;
        }
        options.fair_weights[std::move(*tenant)] = weight;
    }
    return true;
}

std::uint64_t microseconds(Duration duration) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

Duration duration_of(std::uint64_t us) {
    constexpr std::uint64_t us_max = 1ULL << 50U;
    return std::chrono::microseconds{std::min(us, us_max)};
}

std::uint32_t small(std::uint64_t value) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

void set_flags(ChannelOptions& options, std::uint64_t flags) {
    options.quarantines_expired = (flags & flag_quarantines_expired) != 0;
    options.drops_late = (flags & flag_drops_late) != 0;
    options.is_ordered_by_key = (flags & flag_is_ordered_by_key) != 0;
    options.is_exclusive = (flags & flag_is_exclusive) != 0;
    options.is_compacted = (flags & flag_is_compacted) != 0;
}

// False: a value that this version does not know, on which depends what becomes of messages.
bool set_option(ChannelOptions& options, std::uint16_t key, std::uint64_t value) {
    constexpr std::uint64_t retention_us_max = 1ULL << 50U;
    switch (static_cast<Key>(key)) {
        case Key::messages_max:
            options.messages_max = value;
            break;
        case Key::bytes_max:
            options.bytes_max = value;
            break;
        case Key::message_size_max:
            options.message_size_max = value;
            break;
        case Key::producers_max:
            options.producers_max = static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
            break;
        case Key::producer_retention_us:
            options.producer_retention = std::chrono::microseconds{std::min(value, retention_us_max)};
            break;
        case Key::sender_window_messages:
            options.sender_window.messages = value;
            break;
        case Key::sender_window_bytes:
            options.sender_window.bytes = value;
            break;
        case Key::kind:
            options.kind = static_cast<Kind>(value);
            return value <= static_cast<std::uint64_t>(Kind::stream);
        case Key::overflow:
            options.overflow = static_cast<Overflow>(value);
            return value <= static_cast<std::uint64_t>(Overflow::drop_newest);
        case Key::age_max_us:
            options.age_max = duration_of(value);
            break;
        case Key::lease_us:
            options.lease = duration_of(value);
            break;
        case Key::lease_max_us:
            options.lease_max = duration_of(value);
            break;
        case Key::attempts_max:
            options.attempts_max = small(value);
            break;
        case Key::retry_first_us:
            options.retry_first = duration_of(value);
            break;
        case Key::retry_max_us:
            options.retry_max = duration_of(value);
            break;
        case Key::retry_factor_percent:
            options.retry_factor_percent = small(value);
            break;
        case Key::retry_jitter_percent:
            options.retry_jitter_percent = small(value);
            break;
        case Key::flags:
            set_flags(options, value);
            break;
        case Key::dedupe_window_us:
            options.dedupe_window = duration_of(value);
            break;
        case Key::has_texts:
            break;
        case Key::tombstone_age_us:
            options.tombstone_age = duration_of(value);
            break;
    }
    return true;
}

std::optional<DurableRecord> decode_publish(ByteReader& reader) {
    PublishRecord record;
    std::uint8_t flags = 0;
    if (!reader.read_u8(flags) || flags != 0 || !read_producer(reader, record.producer) ||
        !reader.read_u64(record.last_sequence)) {
        return std::nullopt;
    }
    const auto header = check_batch(reader.rest());
    if (!header || header->base_offset == 0 || header->base_offset > UINT64_MAX - header->count) {
        return std::nullopt;
    }
    record.header = *header;
    record.messages = messages_of(reader.rest());
    return record;
}

template <class Record, class ReadRange>
std::optional<DurableRecord> decode_ranges(ByteReader& reader, std::size_t range_size, ReadRange read_range) {
    Record record;
    std::uint32_t count = 0;
    if (!reader.read_u64(record.cursor) || !reader.read_u32(count) || reader.remaining() != count * range_size) {
        return std::nullopt;
    }
    record.ranges.resize(count);
    for (auto& range : record.ranges) {
        if (!read_range(range) || range.first > UINT64_MAX - range.count) {
            return std::nullopt;
        }
    }
    return record;
}

std::optional<DurableRecord> decode_compacted(ByteReader& reader) {
    CompactedRecord record;
    std::uint32_t count = 0;
    if (!reader.read_u32(count) || reader.remaining() != count * std::size_t{16}) {
        return std::nullopt;
    }
    record.ranges.resize(count);
    for (OffsetRange& range : record.ranges) {
        if (!reader.read_u64(range.first) || !reader.read_u64(range.count) || range.first == 0 || range.count == 0 ||
            range.first > UINT64_MAX - range.count) {
            return std::nullopt;
        }
    }
    return record;
}

std::optional<DurableRecord> decode_progress(ByteReader& reader) {
    ProgressRecord record;
    std::uint32_t started = 0;
    std::uint32_t entries = 0;
    if (!reader.read_u32(record.reader) || !reader.read_u64(record.cursor) || !reader.read_u32(started) ||
        !reader.read_u32(entries) || started > reader.remaining() / 16 ||
        entries > reader.remaining() / reader_entry_size_min) {
        return std::nullopt;
    }
    record.started.resize(started);
    for (StartedRange& range : record.started) {
        if (!reader.read_u64(range.first) || !reader.read_u32(range.count) || !reader.read_u32(range.attempt) ||
            range.first > UINT64_MAX - range.count) {
            return std::nullopt;
        }
    }
    record.entries.resize(entries);
    for (ReaderEntry& entry : record.entries) {
        if (!read_entry(reader, entry)) {
            return std::nullopt;
        }
    }
    return reader.remaining() == 0 ? std::optional<DurableRecord>{std::move(record)} : std::nullopt;
}

}  // namespace

void encode_settings(const SettingsRecord& settings, std::vector<std::byte>& out) {
    BATON_ASSERT(settings.name.size() <= name_size_max);
    ByteWriter writer{out};
    writer.u16(static_cast<std::uint16_t>(settings.name.size()));
    writer.bytes(as_bytes(settings.name));
    const std::string_view damage = std::string_view{settings.damage}.substr(0, name_size_max);
    writer.u16(static_cast<std::uint16_t>(damage.size()));
    writer.bytes(as_bytes(damage));
    const ChannelOptions& options = settings.options;
    std::vector<std::pair<Key, std::uint64_t>> pairs{
        {Key::messages_max, options.messages_max},
        {Key::bytes_max, options.bytes_max},
        {Key::message_size_max, options.message_size_max},
        {Key::producers_max, options.producers_max},
        {Key::producer_retention_us, microseconds(options.producer_retention)},
        {Key::sender_window_messages, options.sender_window.messages},
        {Key::sender_window_bytes, options.sender_window.bytes},
    };
    const ChannelOptions plain;
    const auto add = [&](Key key, std::uint64_t value, std::uint64_t default_value) {
        if (value != default_value) {
            pairs.emplace_back(key, value);
        }
    };
    add(Key::kind, static_cast<std::uint64_t>(options.kind), 0);
    add(Key::overflow, static_cast<std::uint64_t>(options.overflow), 0);
    add(Key::age_max_us, microseconds(options.age_max), 0);
    add(Key::lease_us, microseconds(options.lease), microseconds(plain.lease));
    add(Key::lease_max_us, microseconds(options.lease_max), microseconds(plain.lease_max));
    add(Key::attempts_max, options.attempts_max, plain.attempts_max);
    add(Key::retry_first_us, microseconds(options.retry_first), microseconds(plain.retry_first));
    add(Key::retry_max_us, microseconds(options.retry_max), microseconds(plain.retry_max));
    add(Key::retry_factor_percent, options.retry_factor_percent, plain.retry_factor_percent);
    add(Key::retry_jitter_percent, options.retry_jitter_percent, plain.retry_jitter_percent);
    add(Key::flags, flags_of(options), 0);
    add(Key::dedupe_window_us, microseconds(options.dedupe_window), 0);
    const bool has_texts = !options.fair_by.empty() || !options.fair_weights.empty();
    add(Key::has_texts, has_texts ? 1 : 0, 0);
    add(Key::tombstone_age_us, microseconds(options.tombstone_age), microseconds(plain.tombstone_age));
    writer.u16(static_cast<std::uint16_t>(pairs.size()));
    for (const auto& [key, value] : pairs) {
        writer.u16(static_cast<std::uint16_t>(key));
        writer.u64(value);
    }
    if (has_texts) {
        put_text(writer, options.fair_by);
        writer.u32(static_cast<std::uint32_t>(options.fair_weights.size()));
        for (const auto& [tenant, weight] : options.fair_weights) {
            put_text(writer, tenant);
            writer.u32(weight);
        }
    }
}

void encode_subscription(const SubscriptionSettings& settings, std::vector<std::byte>& out) {
    ByteWriter writer{out};
    writer.u32(settings.id);
    put_text(writer, settings.name);
    put_text(writer, settings.filter);
    writer.u8(static_cast<std::uint8_t>(settings.overflow));
    writer.u64(settings.backlog_max);
}

bool read_subscription(ByteReader& reader, SubscriptionSettings& settings) {
    std::uint8_t overflow = 0;
    if (!reader.read_u32(settings.id)) {
        return false;
    }
    auto name = read_text(reader);
    auto filter = read_text(reader);
    if (!name || !filter || !reader.read_u8(overflow) || !reader.read_u64(settings.backlog_max) ||
        overflow > static_cast<std::uint8_t>(Overflow::disconnect) || settings.id >= first_link_reader) {
        return false;
    }
    settings.name = std::move(*name);
    settings.filter = std::move(*filter);
    settings.overflow = static_cast<Overflow>(overflow);
    return true;
}

void encode_entry(const ReaderEntry& entry, std::vector<std::byte>& out) {
    ByteWriter writer{out};
    writer.u8(static_cast<std::uint8_t>(entry.kind));
    writer.u64(entry.first);
    writer.u64(entry.end);
    writer.u32(entry.attempt);
    if (entry.kind == ReaderEntryKind::waiting) {
        writer.u64(static_cast<std::uint64_t>(entry.due.us));
    } else if (entry.kind == ReaderEntryKind::placed) {
        writer.u64(static_cast<std::uint64_t>(entry.due.us));
        writer.u8(entry.priority);
        writer.u8(entry.is_new ? 1 : 0);
    } else if (entry.kind == ReaderEntryKind::quarantined) {
        writer.u8(static_cast<std::uint8_t>(entry.note->reason));
        writer.u64(static_cast<std::uint64_t>(entry.note->time.us));
        put_text(writer, entry.note->note);
        put_text(writer, entry.note->receiver);
    }
}

bool read_entry(ByteReader& reader, ReaderEntry& entry) {
    std::uint8_t kind = 0;
    if (!reader.read_u8(kind) || !reader.read_u64(entry.first) || !reader.read_u64(entry.end) ||
        !reader.read_u32(entry.attempt) || kind < 1 || kind > 6 || entry.first == 0 || entry.end <= entry.first) {
        return false;
    }
    entry.kind = static_cast<ReaderEntryKind>(kind);
    std::uint64_t time = 0;
    if (entry.kind == ReaderEntryKind::waiting) {
        if (!reader.read_u64(time)) {
            return false;
        }
        entry.due = {static_cast<std::int64_t>(time)};
    } else if (entry.kind == ReaderEntryKind::placed) {
        std::uint8_t is_new = 0;
        if (!reader.read_u64(time) || !reader.read_u8(entry.priority) || entry.priority > priority_max ||
            !reader.read_u8(is_new) || is_new > 1) {
            return false;
        }
        entry.due = {static_cast<std::int64_t>(time)};
        entry.is_new = is_new != 0;
    } else if (entry.kind == ReaderEntryKind::quarantined) {
        QuarantineNote note;
        std::uint8_t reason = 0;
        if (!reader.read_u8(reason) || reason < 1 || reason > 3 || !reader.read_u64(time)) {
            return false;
        }
        auto text = read_text(reader);
        auto receiver = read_text(reader);
        if (!text || !receiver) {
            return false;
        }
        entry.note = std::make_shared<const QuarantineNote>(
            QuarantineNote{.reason = static_cast<QuarantineReason>(reason),
                           .time = {static_cast<std::int64_t>(time)},
                           .note = std::move(*text),
                           .receiver = std::move(*receiver)});
    }
    return true;
}

std::optional<SettingsRecord> decode_settings(ByteReader& reader) {
    SettingsRecord settings;
    settings.options.is_durable = true;
    auto name = read_text(reader);
    auto damage = read_text(reader);
    std::uint16_t count = 0;
    if (!name || name->empty() || !damage || !reader.read_u16(count)) {
        return std::nullopt;
    }
    settings.name = std::move(*name);
    settings.damage = std::move(*damage);
    bool has_texts = false;
    for (std::uint16_t i = 0; i < count; ++i) {
        std::uint16_t key = 0;
        std::uint64_t value = 0;
        if (!reader.read_u16(key) || !reader.read_u64(value)) {
            return std::nullopt;
        }
        if (!set_option(settings.options, key, value)) {
            return std::nullopt;
        }
        has_texts = has_texts || static_cast<Key>(key) == Key::has_texts;
    }
    if (has_texts && !read_fairness(reader, settings.options)) {
        return std::nullopt;
    }
    return settings;
}

void encode(const SettingsRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::settings);
    encode_settings(record, out);
}

void encode(const PublishRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::publish);
    ByteWriter writer{out};
    writer.u8(0);
    writer.bytes(record.producer.bytes);
    writer.u64(record.last_sequence);
    std::array<std::byte, batch_header_size> header;
    baton::encode(record.header, header);
    writer.bytes(header);
}

void encode(const SettledRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::settled);
    ByteWriter writer{out};
    writer.u64(record.cursor);
    writer.u32(static_cast<std::uint32_t>(record.ranges.size()));
    for (const OffsetRange& range : record.ranges) {
        writer.u64(range.first);
        writer.u64(range.count);
    }
}

void encode(const StartedRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::started);
    ByteWriter writer{out};
    writer.u64(record.cursor);
    writer.u32(static_cast<std::uint32_t>(record.ranges.size()));
    for (const StartedRange& range : record.ranges) {
        writer.u64(range.first);
        writer.u32(range.count);
        writer.u32(range.attempt);
    }
}

void encode(const DeletedRecord&, std::vector<std::byte>& out) { put_type(out, RecordType::deleted); }

void encode(const ProgressRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::progress);
    ByteWriter writer{out};
    writer.u32(record.reader);
    writer.u64(record.cursor);
    writer.u32(static_cast<std::uint32_t>(record.started.size()));
    writer.u32(static_cast<std::uint32_t>(record.entries.size()));
    for (const StartedRange& range : record.started) {
        writer.u64(range.first);
        writer.u32(range.count);
        writer.u32(range.attempt);
    }
    for (const ReaderEntry& entry : record.entries) {
        encode_entry(entry, out);
    }
}

void encode(const SubscribedRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::subscribed);
    encode_subscription(record.settings, out);
    ByteWriter{out}.u64(record.cursor);
}

void encode(const UnsubscribedRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::unsubscribed);
    ByteWriter{out}.u32(record.reader);
}

void encode(const TrimmedRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::trimmed);
    ByteWriter{out}.u64(record.end);
}

void encode(const CompactedRecord& record, std::vector<std::byte>& out) {
    put_type(out, RecordType::compacted);
    ByteWriter writer{out};
    writer.u32(static_cast<std::uint32_t>(record.ranges.size()));
    for (const OffsetRange& range : record.ranges) {
        writer.u64(range.first);
        writer.u64(range.count);
    }
}

std::optional<DurableRecord> decode_record(Bytes body) {
    ByteReader reader{body};
    std::uint8_t type = 0;
    if (!reader.read_u8(type)) {
        return std::nullopt;
    }
    switch (static_cast<RecordType>(type)) {
        case RecordType::settings: {
            auto settings = decode_settings(reader);
            return settings && reader.remaining() == 0 ? std::optional<DurableRecord>{std::move(*settings)}
                                                       : std::nullopt;
        }
        case RecordType::publish:
            return decode_publish(reader);
        case RecordType::settled:
            return decode_ranges<SettledRecord>(reader, 16, [&](OffsetRange& range) {
                return reader.read_u64(range.first) && reader.read_u64(range.count);
            });
        case RecordType::started:
            return decode_ranges<StartedRecord>(reader, 16, [&](StartedRange& range) {
                return reader.read_u64(range.first) && reader.read_u32(range.count) && reader.read_u32(range.attempt);
            });
        case RecordType::progress:
            return decode_progress(reader);
        case RecordType::subscribed: {
            SubscribedRecord record;
            return read_subscription(reader, record.settings) && record.settings.id != queue_reader &&
                           reader.read_u64(record.cursor) && record.cursor > 0 && reader.remaining() == 0
                       ? std::optional<DurableRecord>{std::move(record)}
                       : std::nullopt;
        }
        case RecordType::unsubscribed: {
            UnsubscribedRecord record;
            return reader.read_u32(record.reader) && reader.remaining() == 0 ? std::optional<DurableRecord>{record}
                                                                            : std::nullopt;
        }
        case RecordType::trimmed: {
            TrimmedRecord record;
            return reader.read_u64(record.end) && reader.remaining() == 0 ? std::optional<DurableRecord>{record}
                                                                         : std::nullopt;
        }
        case RecordType::compacted:
            return decode_compacted(reader);
        case RecordType::deleted:
            return reader.remaining() == 0 ? std::optional<DurableRecord>{DeletedRecord{}} : std::nullopt;
    }
    return std::nullopt;
}

}  // namespace baton::channel

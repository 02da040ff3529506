#include "server/channel/durable_records.hpp"

#include <algorithm>
#include <array>

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
};

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

std::uint64_t microseconds(Duration duration) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

void set_option(ChannelOptions& options, std::uint16_t key, std::uint64_t value) {
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
    }
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
    const std::array<std::pair<Key, std::uint64_t>, 7> pairs{{
        {Key::messages_max, options.messages_max},
        {Key::bytes_max, options.bytes_max},
        {Key::message_size_max, options.message_size_max},
        {Key::producers_max, options.producers_max},
        {Key::producer_retention_us, microseconds(options.producer_retention)},
        {Key::sender_window_messages, options.sender_window.messages},
        {Key::sender_window_bytes, options.sender_window.bytes},
    }};
    writer.u16(static_cast<std::uint16_t>(pairs.size()));
    for (const auto& [key, value] : pairs) {
        writer.u16(static_cast<std::uint16_t>(key));
        writer.u64(value);
    }
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
    for (std::uint16_t i = 0; i < count; ++i) {
        std::uint16_t key = 0;
        std::uint64_t value = 0;
        if (!reader.read_u16(key) || !reader.read_u64(value)) {
            return std::nullopt;
        }
        set_option(settings.options, key, value);
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
        case RecordType::deleted:
            return reader.remaining() == 0 ? std::optional<DurableRecord>{DeletedRecord{}} : std::nullopt;
    }
    return std::nullopt;
}

}  // namespace baton::channel

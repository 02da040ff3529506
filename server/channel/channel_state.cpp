#include "server/channel/channel_state.hpp"

#include <algorithm>

namespace baton::channel {

namespace {

constexpr std::uint8_t plain_version = 1;
constexpr std::uint8_t special_version = 2;
constexpr std::uint8_t removed_version = 3;
constexpr std::uint8_t state_version = 4;
constexpr std::size_t producer_size = 24;
constexpr std::size_t live_range_size = 24;
constexpr std::size_t block_size = 32;
/// A message needs 4 bytes at least. Blocks of streams may have gaps.
constexpr std::uint64_t block_offsets_max = 1ULL << 31U;

// A count that the rest of the bytes can hold.
bool read_count(ByteReader& reader, std::size_t item_size, std::uint32_t& count) {
    return reader.read_u32(count) && count <= reader.remaining() / item_size;
}

bool read_producers(ByteReader& reader, ChannelState& state) {
    std::uint32_t count = 0;
    if (!read_count(reader, producer_size, count)) {
        return false;
    }
    state.producers.resize(count);
    for (auto& producer : state.producers) {
        Bytes id;
        if (!reader.read_bytes(producer.id.bytes.size(), id) || !reader.read_u64(producer.last_sequence)) {
            return false;
        }
        std::ranges::copy(id, producer.id.bytes.begin());
    }
    return true;
}

bool read_live(ByteReader& reader, ChannelState& state) {
    std::uint32_t count = 0;
    if (!read_count(reader, live_range_size, count)) {
        return false;
    }
    state.live.resize(count);
    Offset before = 1;
    for (auto& range : state.live) {
        std::uint32_t zero = 0;
        if (!reader.read_u64(range.first) || !reader.read_u64(range.end) || !reader.read_u32(range.attempt) ||
            !reader.read_u32(zero) || zero != 0 || range.first < before || range.end <= range.first ||
            range.end > state.cursor) {
            return false;
        }
        before = range.end;
    }
    return true;
}

bool read_blocks(ByteReader& reader, ChannelState& state) {
    std::uint32_t count = 0;
    if (!read_count(reader, block_size, count)) {
        return false;
    }
    state.blocks.resize(count);
    const bool is_stream = state.settings.options.kind == Kind::stream;
    Offset before = 1;
    for (auto& block : state.blocks) {
        if (!reader.read_u32(block.segment) || !reader.read_u32(block.size) || !reader.read_u64(block.position) ||
            !reader.read_u64(block.first) || !reader.read_u64(block.end) || block.first < before ||
            block.end <= block.first || block.end > state.next_offset ||
            block.end - block.first > (is_stream ? block_offsets_max : block.size / 4)) {
            return false;
        }
        before = block.end;
    }
    return true;
}


template <class Item, class Read>
bool read_list(ByteReader& reader, std::size_t item_size, std::vector<Item>& items, Read read) {
    std::uint32_t count = 0;
    if (!read_count(reader, item_size, count)) {
        return false;
    }
    items.resize(count);
    return std::ranges::all_of(items, read);
}

bool read_entries(ByteReader& reader, const ChannelState& state, std::vector<ReaderEntry>& entries) {
    Offset before = 1;
    return read_list(reader, reader_entry_size_min, entries, [&](ReaderEntry& entry) {
        const bool is_sound = read_entry(reader, entry) && entry.first >= before && entry.end <= state.next_offset;
        before = entry.end;
        return is_sound;
    });
}

bool read_time(ByteReader& reader, WallTime& time) {
    std::uint64_t us = 0;
    if (!reader.read_u64(us)) {
        return false;
    }
    time = {static_cast<std::int64_t>(us)};
    return true;
}

bool read_id(ByteReader& reader, ChannelState::KnownId& known) {
    std::uint16_t size = 0;
    Bytes id;
    if (!reader.read_u16(size) || !reader.read_bytes(size, id) || !read_time(reader, known.time)) {
        return false;
    }
    known.id = as_text(id);
    return true;
}

// What version 2 has behind version 1.
bool read_special(ByteReader& reader, ChannelState& state) {
    return read_entries(reader, state, state.special) && reader.read_u64(state.trimmed_end) && state.trimmed_end > 0 &&
           state.trimmed_end <= state.next_offset &&
           read_list(reader, 8, state.ruled_blocks, [&](Offset& first) { return reader.read_u64(first); }) &&
           read_list(reader, 8, state.block_times, [&](WallTime& time) { return read_time(reader, time); }) &&
           (state.block_times.empty() || state.block_times.size() == state.blocks.size()) &&
           read_list(reader, 29, state.subscriptions,
                     [&](ReaderState& subscription) {
                         return read_subscription(reader, subscription.settings) &&
                                reader.read_u64(subscription.cursor) && subscription.cursor > 0 &&
                                subscription.cursor <= state.next_offset && read_entries(reader, state, subscription.entries);
                     }) &&
           read_list(reader, 10, state.ids, [&](ChannelState::KnownId& known) { return read_id(reader, known); });
}

// What version 3 has behind version 2. Version 4 has the same, and its entries may be placed.
bool read_removed(ByteReader& reader, ChannelState& state) {
    Offset before = state.trimmed_end;
    return read_list(reader, 16, state.removed, [&](OffsetRange& range) {
        const bool is_sound = reader.read_u64(range.first) && reader.read_u64(range.count) && range.first >= before &&
                              range.count > 0 && range.first < state.next_offset &&
                              range.count <= state.next_offset - range.first;
        before = range.first + range.count + 1;
        return is_sound;
    });
}

void write_entries(const std::vector<ReaderEntry>& entries, std::vector<std::byte>& out) {
    ByteWriter{out}.u32(static_cast<std::uint32_t>(entries.size()));
    for (const ReaderEntry& entry : entries) {
        encode_entry(entry, out);
    }
}

// What version 4 has.
bool has_placed(const std::vector<ReaderEntry>& entries) {
    return std::ranges::any_of(entries, [](const ReaderEntry& entry) { return entry.kind == ReaderEntryKind::placed; });
}

// The lowest that can say it.
std::uint8_t version_of(const ChannelState& state) {
    if (has_placed(state.special) || std::ranges::any_of(state.subscriptions, has_placed, &ReaderState::entries)) {
        return state_version;
    }
    return state.is_plain() ? plain_version : state.removed.empty() ? special_version : removed_version;
}

void write_special(const ChannelState& state, std::uint8_t version, std::vector<std::byte>& out) {
    write_entries(state.special, out);
    ByteWriter writer{out};
    writer.u64(state.trimmed_end);
    writer.u32(static_cast<std::uint32_t>(state.ruled_blocks.size()));
    for (const Offset first : state.ruled_blocks) {
        writer.u64(first);
    }
    writer.u32(static_cast<std::uint32_t>(state.block_times.size()));
    for (const WallTime time : state.block_times) {
        writer.u64(static_cast<std::uint64_t>(time.us));
    }
    writer.u32(static_cast<std::uint32_t>(state.subscriptions.size()));
    for (const ReaderState& subscription : state.subscriptions) {
        encode_subscription(subscription.settings, out);
        writer.u64(subscription.cursor);
        write_entries(subscription.entries, out);
    }
    writer.u32(static_cast<std::uint32_t>(state.ids.size()));
    for (const auto& [id, time] : state.ids) {
        writer.u16(static_cast<std::uint16_t>(id.size()));
        writer.bytes(as_bytes(id));
        writer.u64(static_cast<std::uint64_t>(time.us));
    }
    if (version < removed_version) {
        return;
    }
    writer.u32(static_cast<std::uint32_t>(state.removed.size()));
    for (const OffsetRange& range : state.removed) {
        writer.u64(range.first);
        writer.u64(range.count);
    }
}

}  // namespace

void ChannelState::add_queue_entries(const std::vector<ReaderEntry>& entries) {
    for (const ReaderEntry& entry : entries) {
        if (entry.kind == ReaderEntryKind::ready && entry.end <= cursor) {
            live.push_back({entry.first, entry.end, entry.attempt});
        } else {
            special.push_back(entry);
        }
    }
}

std::vector<std::byte> encode(const ChannelState& state) {
    std::vector<std::byte> out;
    out.reserve(128 + state.producers.size() * producer_size + state.live.size() * live_range_size +
                state.blocks.size() * block_size + state.removed.size() * 16);
    ByteWriter writer{out};
    const std::uint8_t version = version_of(state);
    writer.u8(version);
    writer.u8(0);
    writer.u16(0);
    encode_settings(state.settings, out);
    writer.u64(state.next_offset);
    writer.u64(state.cursor);
    writer.u32(static_cast<std::uint32_t>(state.producers.size()));
    for (const auto& producer : state.producers) {
        writer.bytes(producer.id.bytes);
        writer.u64(producer.last_sequence);
    }
    writer.u32(static_cast<std::uint32_t>(state.live.size()));
    for (const auto& range : state.live) {
        writer.u64(range.first);
        writer.u64(range.end);
        writer.u32(range.attempt);
        writer.u32(0);
    }
    writer.u32(static_cast<std::uint32_t>(state.blocks.size()));
    for (const auto& block : state.blocks) {
        writer.u32(block.segment);
        writer.u32(block.size);
        writer.u64(block.position);
        writer.u64(block.first);
        writer.u64(block.end);
    }
    if (version > plain_version) {
        write_special(state, version, out);
    }
    return out;
}

std::optional<ChannelState> decode_state(Bytes bytes) {
    ByteReader reader{bytes};
    ChannelState state;
    std::uint8_t version = 0;
    std::uint8_t zero = 0;
    std::uint16_t zeros = 0;
    if (!reader.read_u8(version) || version < plain_version || version > state_version || !reader.read_u8(zero) || zero != 0 ||
        !reader.read_u16(zeros) || zeros != 0) {
        return std::nullopt;
    }
    auto settings = decode_settings(reader);
    if (!settings) {
        return std::nullopt;
    }
    state.settings = std::move(*settings);
    if (!reader.read_u64(state.next_offset) || !reader.read_u64(state.cursor) || state.cursor == 0 ||
        state.cursor > state.next_offset || !read_producers(reader, state) || !read_live(reader, state) ||
        !read_blocks(reader, state) || (version > plain_version && !read_special(reader, state)) ||
        (version >= removed_version && !read_removed(reader, state)) ||
        reader.remaining() != 0) {
        return std::nullopt;
    }
    return state;
}

}  // namespace baton::channel

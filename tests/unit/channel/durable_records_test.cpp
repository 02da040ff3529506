// Records and states of durable channels, to bytes and back; and bytes that are no such thing.
#include "server/channel/durable_records.hpp"

#include <gtest/gtest.h>

#include "server/channel/channel_state.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using Encoded = std::vector<std::byte>;

SettingsRecord some_settings() {
    SettingsRecord settings{.name = "orders", .options{}, .damage = "a block cannot be read"};
    settings.options = {.messages_max = 7,
                        .bytes_max = 1ULL << 40,
                        .message_size_max = 3,
                        .producers_max = 11,
                        .producer_retention = std::chrono::microseconds{123'456},
                        .sender_window = {13, 17},
                        .is_durable = true};
    return settings;
}

Encoded publish_record(Press& press, const ProducerId& producer, std::uint64_t last_sequence, Offset base) {
    const Payload batch = press.batch({"one", "", "three"});
    auto header = *decode_batch_header(batch.bytes());
    header.base_offset = base;
    header.time_us = 1'700'000'000'000'000;
    Encoded out;
    encode(PublishRecord{.header = header, .producer = producer, .last_sequence = last_sequence, .messages{}}, out);
    const Bytes messages = messages_of(batch.bytes());
    out.insert(out.end(), messages.begin(), messages.end());
    return out;
}

std::vector<Encoded> one_of_each() {
    Press press;
    std::vector<Encoded> all(4);
    encode(some_settings(), all[0]);
    encode(SettledRecord{.cursor = 9, .ranges = {{1, 3}, {8, 1}}}, all[1]);
    encode(StartedRecord{.cursor = 9, .ranges = {{5, 2, 3}}}, all[2]);
    encode(DeletedRecord{}, all[3]);
    all.push_back(publish_record(press, producer_of(5), 42, 100));
    return all;
}

// Whatever comes out is used as a broker would use it.
void use(const std::optional<DurableRecord>& record) {
    if (!record) {
        return;
    }
    if (const auto* publish = std::get_if<PublishRecord>(&*record)) {
        MessageCursor cursor{publish->messages, publish->header.has_properties()};
        MessageView message;
        std::uint32_t count = 0;
        while (cursor.next(message)) {
            ++count;
        }
        EXPECT_EQ(count, publish->header.count);
        EXPECT_EQ(cursor.remaining(), 0U);
    } else if (const auto* settled = std::get_if<SettledRecord>(&*record)) {
        EXPECT_LE(settled->ranges.size(), 100U);
    } else if (const auto* started = std::get_if<StartedRecord>(&*record)) {
        EXPECT_LE(started->ranges.size(), 100U);
    }
}

ChannelState some_state() {
    return {.settings = some_settings(),
            .next_offset = 50,
            .cursor = 40,
            .producers = {{producer_of(1), 8}, {producer_of(2), UINT64_MAX}},
            .live = {{3, 5, 1}, {5, 9, 4}, {39, 40, 1}},
            .blocks = {{.segment = 1, .size = 100, .position = 64, .first = 2, .end = 10},
                       {.segment = 2, .size = 200, .position = 192, .first = 41, .end = 50}}};
}

TEST(DurableRecords, EachComesBackAsItWas) {
    Press press;
    const auto settings = decode_record(one_of_each()[0]);
    ASSERT_TRUE(settings);
    EXPECT_EQ(std::get<SettingsRecord>(*settings), some_settings());
    const auto settled = decode_record(one_of_each()[1]);
    ASSERT_TRUE(settled);
    EXPECT_EQ(std::get<SettledRecord>(*settled).cursor, 9U);
    EXPECT_EQ(std::get<SettledRecord>(*settled).ranges, (std::vector<OffsetRange>{{1, 3}, {8, 1}}));
    const auto started = decode_record(one_of_each()[2]);
    ASSERT_TRUE(started);
    EXPECT_EQ(std::get<StartedRecord>(*started).cursor, 9U);
    EXPECT_EQ(std::get<StartedRecord>(*started).ranges, (std::vector<StartedRange>{{5, 2, 3}}));
    const auto deleted = decode_record(one_of_each()[3]);
    ASSERT_TRUE(deleted);
    EXPECT_TRUE(std::holds_alternative<DeletedRecord>(*deleted));
    const auto bytes = publish_record(press, producer_of(5), 42, 100);
    const auto publish = decode_record(bytes);
    ASSERT_TRUE(publish);
    const auto& record = std::get<PublishRecord>(*publish);
    EXPECT_EQ(record.header.base_offset, 100U);
    EXPECT_EQ(record.header.time_us, 1'700'000'000'000'000);
    EXPECT_EQ(record.producer, producer_of(5));
    EXPECT_EQ(record.last_sequence, 42U);
    EXPECT_EQ(words_of(record.messages), (Lines{"one", "", "three"}));
}

TEST(DurableRecords, APartIsRefused) {
    for (const Encoded& whole : one_of_each()) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            EXPECT_FALSE(decode_record(Bytes{whole}.first(size))) << "type " << int(whole[0]) << " size " << size;
        }
        Encoded longer = whole;
        longer.push_back(std::byte{0});
        EXPECT_FALSE(decode_record(longer)) << "type " << int(whole[0]);
    }
}

TEST(DurableRecords, AFlippedByteIsRefusedOrHarmless) {
    for (const Encoded& whole : one_of_each()) {
        for (std::size_t at = 0; at < whole.size(); ++at) {
            for (unsigned flip = 1; flip < 256; ++flip) {
                Encoded flipped = whole;
                flipped[at] ^= static_cast<std::byte>(flip);
                use(decode_record(flipped));
            }
        }
    }
}

TEST(DurableRecords, OffsetsThatOverflowAreRefused) {
    Press press;
    Encoded settled;
    encode(SettledRecord{.cursor = 1, .ranges = {{UINT64_MAX, 1}}}, settled);
    EXPECT_FALSE(decode_record(settled));
    EXPECT_FALSE(decode_record(publish_record(press, {}, 0, 0)));
    EXPECT_FALSE(decode_record(publish_record(press, {}, 0, UINT64_MAX - 1)));
}

TEST(DurableRecords, UnknownSettingsArePassedOver) {
    Encoded bytes;
    ByteWriter writer{bytes};
    writer.u8(1);
    writer.u16(1);
    writer.bytes(as_bytes("x"));
    writer.u16(0);
    writer.u16(2);
    writer.u16(999);
    writer.u64(5);
    writer.u16(1);
    writer.u64(6);
    const auto record = decode_record(bytes);
    ASSERT_TRUE(record);
    EXPECT_EQ(std::get<SettingsRecord>(*record).options.messages_max, 6U);
}

TEST(ChannelState, ComesBackAsItWas) {
    const auto decoded = decode_state(encode(some_state()));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, some_state());
}

TEST(ChannelState, APartIsRefusedAndAFlippedByteHarmless) {
    const Encoded whole = encode(some_state());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(decode_state(Bytes{whole}.first(size))) << size;
    }
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (unsigned flip = 1; flip < 256; ++flip) {
            Encoded flipped = whole;
            flipped[at] ^= static_cast<std::byte>(flip);
            if (const auto state = decode_state(flipped)) {
                EXPECT_LE(state->cursor, state->next_offset);
                EXPECT_LE(state->live.size() + state->blocks.size() + state->producers.size(), 7U);
            }
        }
    }
}

TEST(ChannelState, WhatContradictsItselfIsRefused) {
    const auto is_sound = [](auto change) {
        ChannelState state = some_state();
        change(state);
        return decode_state(encode(state)).has_value();
    };
    EXPECT_TRUE(is_sound([](ChannelState&) {}));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.cursor = 51; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.cursor = 0; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.live[1].first = 4; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.live[2].end = 41; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.live[0].end = 3; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.blocks[1].first = 9; }));
    EXPECT_FALSE(is_sound([](ChannelState& state) { state.blocks[1].end = 51; }));
    // Every message of a block has at least the four bytes of its length.
    EXPECT_FALSE(is_sound([](ChannelState& state) {
        state.next_offset = 1ULL << 33;
        state.blocks[1].end = 1ULL << 33;
    }));
}

}  // namespace
}  // namespace baton::channel::test

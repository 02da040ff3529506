// Records and states of durable channels, to bytes and back; and bytes that are no such thing.
#include "server/channel/durable_records.hpp"

#include <algorithm>
#include <iterator>
#include <memory>

#include <gtest/gtest.h>

#include "server/channel/channel_image.hpp"
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

SubscriptionSettings some_subscription() {
    return {.id = 7, .name = "billing", .filter = "eu.*", .overflow = Overflow::drop_newest, .backlog_max = 1'000};
}

std::vector<ReaderEntry> some_entries() {
    const auto note = std::make_shared<const QuarantineNote>(QuarantineNote{
        .reason = QuarantineReason::expired, .time = {1'700'000'000'000'000}, .note = "bad", .receiver = "worker"});
    return {{.first = 2, .end = 4, .kind = ReaderEntryKind::ready, .attempt = 2, .note{}},
            {.first = 4, .end = 5, .kind = ReaderEntryKind::waiting, .attempt = 3, .due = {1'700'000'001'000'000}, .note{}},
            {.first = 5, .end = 7, .kind = ReaderEntryKind::quarantined, .attempt = 4, .note = note},
            {.first = 9, .end = 10, .kind = ReaderEntryKind::kept, .note{}},
            {.first = 41, .end = 43, .kind = ReaderEntryKind::settled, .note{}}};
}

SettingsRecord all_settings() {
    SettingsRecord settings = some_settings();
    ChannelOptions& options = settings.options;
    options.kind = Kind::topic;
    options.overflow = Overflow::drop_oldest;
    options.age_max = std::chrono::seconds{1};
    options.lease = std::chrono::seconds{2};
    options.lease_max = std::chrono::seconds{3};
    options.attempts_max = 0;
    options.retry_first = std::chrono::seconds{4};
    options.retry_max = std::chrono::seconds{5};
    options.retry_factor_percent = 150;
    options.retry_jitter_percent = 0;
    options.quarantines_expired = options.drops_late = options.is_ordered_by_key = options.is_exclusive = true;
    options.is_compacted = true;
    options.tombstone_age = std::chrono::seconds{7};
    options.dedupe_window = std::chrono::seconds{6};
    options.fair_by = "header:tenant";
    options.fair_weights = {{"a", 2}, {"b", 3}};
    return settings;
}

std::vector<Encoded> one_of_the_later_ones() {
    std::vector<Encoded> all(6);
    encode(ProgressRecord{.reader = 7, .cursor = 9, .started = {{5, 2, 3}}, .entries = some_entries()}, all[0]);
    encode(SubscribedRecord{.settings = some_subscription(), .cursor = 9}, all[1]);
    encode(UnsubscribedRecord{.reader = 7}, all[2]);
    encode(TrimmedRecord{.end = 12}, all[3]);
    encode(all_settings(), all[4]);
    encode(CompactedRecord{.ranges = {{4, 2}, {8, 7}}}, all[5]);
    return all;
}

std::vector<Encoded> one_of_each() {
    Press press;
    std::vector<Encoded> all(4);
    encode(some_settings(), all[0]);
    encode(SettledRecord{.cursor = 9, .ranges = {{1, 3}, {8, 1}}}, all[1]);
    encode(StartedRecord{.cursor = 9, .ranges = {{5, 2, 3}}}, all[2]);
    encode(DeletedRecord{}, all[3]);
    all.push_back(publish_record(press, producer_of(5), 42, 100));
    std::ranges::move(one_of_the_later_ones(), std::back_inserter(all));
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

ChannelState some_state_of_version_2() {
    ChannelState state = some_state();
    state.settings.options.kind = Kind::stream;
    state.special = {{.first = 41, .end = 43, .kind = ReaderEntryKind::settled, .note{}}};
    state.trimmed_end = 2;
    state.ruled_blocks = {41};
    state.block_times = {{1'700'000'000'000'000}, {1'700'000'000'000'001}};
    state.subscriptions = {{.settings = some_subscription(), .cursor = 40, .entries = some_entries()}};
    state.ids = {{"first", {5}}, {"", {6}}};
    return state;
}

TEST(DurableRecords, TheLaterOnesComeBackAsTheyWere) {
    const auto all = one_of_the_later_ones();
    const auto progress = decode_record(all[0]);
    ASSERT_TRUE(progress);
    EXPECT_EQ(std::get<ProgressRecord>(*progress).reader, 7U);
    EXPECT_EQ(std::get<ProgressRecord>(*progress).cursor, 9U);
    EXPECT_EQ(std::get<ProgressRecord>(*progress).started, (std::vector<StartedRange>{{5, 2, 3}}));
    EXPECT_EQ(std::get<ProgressRecord>(*progress).entries, some_entries());
    const auto subscribed = decode_record(all[1]);
    ASSERT_TRUE(subscribed);
    EXPECT_EQ(std::get<SubscribedRecord>(*subscribed).settings, some_subscription());
    EXPECT_EQ(std::get<SubscribedRecord>(*subscribed).cursor, 9U);
    const auto unsubscribed = decode_record(all[2]);
    ASSERT_TRUE(unsubscribed);
    EXPECT_EQ(std::get<UnsubscribedRecord>(*unsubscribed).reader, 7U);
    const auto trimmed = decode_record(all[3]);
    ASSERT_TRUE(trimmed);
    EXPECT_EQ(std::get<TrimmedRecord>(*trimmed).end, 12U);
    const auto settings = decode_record(all[4]);
    ASSERT_TRUE(settings);
    EXPECT_EQ(std::get<SettingsRecord>(*settings), all_settings());
    const auto compacted = decode_record(all[5]);
    ASSERT_TRUE(compacted);
    EXPECT_EQ(std::get<CompactedRecord>(*compacted).ranges, (std::vector<OffsetRange>{{4, 2}, {8, 7}}));
}

TEST(ChannelState, OfVersion3ComesBackAsItWasAndItsRangesAreChecked) {
    ChannelState state = some_state_of_version_2();
    state.settings.options.kind = Kind::stream;
    state.removed = {{state.trimmed_end, 1}, {state.trimmed_end + 2, 1}};
    const Encoded whole = encode(state);
    EXPECT_EQ(whole[0], std::byte{3});
    EXPECT_EQ(decode_state(whole), state);
    for (const std::vector<OffsetRange>& wrong : std::vector<std::vector<OffsetRange>>{
             {{state.trimmed_end, 1}, {state.trimmed_end + 1, 1}},  // They touch.
             {{state.trimmed_end, 0}},
             {{state.next_offset, 1}},
             {{state.next_offset - 1, 2}},
             {{state.trimmed_end + 3, 1}, {state.trimmed_end, 1}}}) {
        state.removed = wrong;
        EXPECT_FALSE(decode_state(encode(state)));
    }
}

TEST(ChannelState, OfVersion2ComesBackAsItWas) {
    const Encoded whole = encode(some_state_of_version_2());
    EXPECT_EQ(whole[0], std::byte{2});
    const auto decoded = decode_state(whole);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, some_state_of_version_2());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(decode_state(Bytes{whole}.first(size))) << size;
    }
}

TEST(ChannelState, AnImageOfAFlippedOneDoesNotCrash) {
    const Encoded whole = encode(some_state_of_version_2());
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (unsigned flip = 1; flip < 256; flip += 3) {
            Encoded flipped = whole;
            flipped[at] ^= static_cast<std::byte>(flip);
            if (const auto state = decode_state(flipped)) {
                ChannelImage image{commit::StreamId{5}, *state};
                for (const Encoded& record : one_of_the_later_ones()) {
                    ChunkPool pool;
                    EXPECT_TRUE(image.apply(record, pool));
                }
                static_cast<void>(image.settle_contents());
                static_cast<void>(image.live_messages());
                static_cast<void>(image.live_ranges());
                static_cast<void>(image.state());
            }
        }
    }
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

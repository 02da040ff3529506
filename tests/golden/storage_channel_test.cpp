// Records and states of channels (docs/storage.md, section 6): encoding gives exactly the bytes of
// tests/golden/storage/channel-*.hex, decoding gives back the values.
// Files are added, never changed. One line of hex each; what follows `;` or `#` is for people.
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "server/channel/channel_state.hpp"
#include "server/channel/durable_records.hpp"
#include "server/commit/joint_record.hpp"

namespace baton::channel {
namespace {

using Encoded = std::vector<std::byte>;

std::vector<std::string> lines_of(const std::string& name) {
    std::ifstream file{BATON_GOLDEN_DIR "/storage/" + name};
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        std::string digits = line.substr(0, line.find_first_of(";#"));
        std::erase(digits, ' ');
        if (!digits.empty()) {
            lines.push_back(digits);
        }
    }
    return lines;
}

SettingsRecord settings() {
    SettingsRecord record{.name = "orders", .options{}, .damage{}};
    record.options = {.kind = Kind::stream,
                      .is_durable = true,
                      .overflow = Overflow::drop_oldest,
                      .age_max = std::chrono::seconds{1},
                      .lease = std::chrono::seconds{2},
                      .lease_max = std::chrono::seconds{3},
                      .attempts_max = 4,
                      .retry_first = std::chrono::seconds{5},
                      .retry_max = std::chrono::seconds{6},
                      .retry_factor_percent = 107,
                      .retry_jitter_percent = 8,
                      .quarantines_expired = true,
                      .drops_late = true,
                      .is_ordered_by_key = true,
                      .is_exclusive = true,
                      .is_compacted = true,
                      .dedupe_window = std::chrono::seconds{9},
                      .fair_by = "key",
                      .fair_weights = {{"acme", 3}}};
    return record;
}

SubscriptionSettings subscription() {
    return {.id = 7, .name = "billing", .filter = "eu.>", .overflow = Overflow::disconnect, .backlog_max = 1'000};
}

std::vector<ReaderEntry> entries() {
    const auto note = std::make_shared<const QuarantineNote>(QuarantineNote{
        .reason = QuarantineReason::rejected, .time = {1'700'000'000'000'000}, .note = "no address", .receiver = "worker-1"});
    return {{.first = 2, .end = 4, .kind = ReaderEntryKind::ready, .attempt = 2, .note{}},
            {.first = 4, .end = 5, .kind = ReaderEntryKind::waiting, .attempt = 3, .due = {1'700'000'001'000'000}, .note{}},
            {.first = 5, .end = 7, .kind = ReaderEntryKind::quarantined, .attempt = 4, .note = note},
            {.first = 7, .end = 8, .kind = ReaderEntryKind::kept, .note{}},
            {.first = 10, .end = 12, .kind = ReaderEntryKind::settled, .note{}}};
}

ChannelState state(bool is_plain) {
    ChannelState state{.settings = settings(),
                       .next_offset = 20,
                       .cursor = 20,
                       .producers = {{ProducerId{{std::byte{1}}}, 42}},
                       .live = {{3, 5, 2}},
                       .blocks = {{.segment = 1, .size = 100, .position = 64, .first = 3, .end = 12}}};
    if (!is_plain) {
        state.live.clear();
        state.trimmed_end = 3;
        state.ruled_blocks = {3};
        state.block_times = {{1'700'000'000'000'000}};
        state.subscriptions = {{.settings = subscription(), .cursor = 9, .entries = entries()}};
        state.ids = {{"order-1", {1'700'000'000'000'000}}};
    }
    return state;
}

ChannelState compacted_state() {
    ChannelState compacted = state(false);
    compacted.settings.options.tombstone_age = std::chrono::hours{1};
    compacted.blocks = {{.segment = 2, .size = 40, .position = 64, .first = 3, .end = 15}};
    compacted.removed = {{4, 2}, {8, 7}};
    return compacted;
}

ChannelState placed_state() {
    ChannelState placed = state(false);
    placed.subscriptions[0].entries.push_back({.first = 12,
                                               .end = 14,
                                               .kind = ReaderEntryKind::placed,
                                               .priority = 5,
                                               .is_new = true,
                                               .attempt = 2,
                                               .due = {1'700'000'002'000'000},
                                               .note{}});
    return placed;
}

std::vector<Encoded> records() {
    std::vector<Encoded> all(6);
    encode(settings(), all[0]);
    encode(ProgressRecord{.reader = 7, .cursor = 9, .started = {{5, 2, 3}}, .entries = entries()}, all[1]);
    encode(SubscribedRecord{.settings = subscription(), .cursor = 9}, all[2]);
    encode(UnsubscribedRecord{.reader = 7}, all[3]);
    encode(TrimmedRecord{.end = 12}, all[4]);
    encode(CompactedRecord{.ranges = {{4, 2}, {8, 7}}}, all[5]);
    return all;
}

void expect_lines(const std::string& file, const std::vector<Encoded>& values) {
    const auto lines = lines_of(file);
    for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_EQ(i < lines.size() ? lines[i] : "", hex_encode(values[i])) << file << ", line " << i + 1;
    }
    EXPECT_EQ(lines.size(), values.size());
}

TEST(GoldenChannel, records) {
    expect_lines("channel-records-v1.hex", records());
    const auto lines = lines_of("channel-records-v1.hex");
    ASSERT_EQ(lines.size(), 6U);
    EXPECT_EQ(std::get<SettingsRecord>(decode_record(hex_decode(lines[0]).value()).value()), settings());
    const auto progress = std::get<ProgressRecord>(decode_record(hex_decode(lines[1]).value()).value());
    EXPECT_EQ(progress.entries, entries());
    EXPECT_EQ(progress.started, (std::vector<StartedRange>{{5, 2, 3}}));
    EXPECT_EQ(std::get<SubscribedRecord>(decode_record(hex_decode(lines[2]).value()).value()).settings, subscription());
    EXPECT_EQ(std::get<UnsubscribedRecord>(decode_record(hex_decode(lines[3]).value()).value()).reader, 7U);
    EXPECT_EQ(std::get<TrimmedRecord>(decode_record(hex_decode(lines[4]).value()).value()).end, 12U);
    EXPECT_EQ(std::get<CompactedRecord>(decode_record(hex_decode(lines[5]).value()).value()).ranges,
              (std::vector<OffsetRange>{{4, 2}, {8, 7}}));
}

TEST(GoldenChannel, recordsOfTheShard) {
    using commit::ShardRecordType;
    std::vector<std::byte> trimmed;
    std::vector<std::byte> unsubscribed;
    encode(TrimmedRecord{12}, trimmed);
    encode(UnsubscribedRecord{7}, unsubscribed);
    constexpr std::uint64_t step = 0x1'0000'0000'0005;
    commit::RecordGatherer gatherer;
    gatherer.add({.stream = commit::StreamId{0x7'0000'0001}, .number = 9, .shard = 0, .body = trimmed});
    gatherer.add({.stream = commit::StreamId{0x7'0000'0002}, .number = 4, .shard = 0, .body = unsubscribed});
    const auto joint = gatherer.take(ShardRecordType::joint, 5);
    gatherer.add({.stream = commit::StreamId{0x7'0000'0001}, .number = 0, .shard = 0, .body = trimmed});
    gatherer.add({.stream = commit::StreamId{0x7'0040'0001}, .number = 0, .shard = 1, .body = unsubscribed});
    const auto intent = gatherer.take(ShardRecordType::intent, step);
    const auto finished = gatherer.take(ShardRecordType::finished, step);
    const auto state = encode(commit::StepsState{.applied = {5, 6}, .intents = {intent}});
    expect_lines("shard-records-v1.hex", {joint, intent, finished, state});
    const auto lines = lines_of("shard-records-v1.hex");
    ASSERT_EQ(lines.size(), 4U);
    const auto bytes = hex_decode(lines[1]).value();
    const auto decoded = commit::decode_shard_record(bytes).value();
    EXPECT_EQ(decoded.type, ShardRecordType::intent);
    EXPECT_EQ(decoded.step, step);
    ASSERT_EQ(decoded.parts.size(), 2U);
    EXPECT_EQ(decoded.parts[1].shard, 1U);
    EXPECT_EQ(std::get<UnsubscribedRecord>(decode_record(decoded.parts[1].body).value()).reader, 7U);
    EXPECT_EQ(commit::decode_steps_state(hex_decode(lines[3]).value()).value().intents.front(), intent);
}

TEST(GoldenChannel, states) {
    expect_lines("channel-state-v1.hex", {encode(state(true))});
    expect_lines("channel-state-v2.hex", {encode(state(false))});
    expect_lines("channel-state-v3.hex", {encode(compacted_state())});
    EXPECT_EQ(decode_state(hex_decode(lines_of("channel-state-v3.hex").at(0)).value()), compacted_state());
    expect_lines("channel-state-v4.hex", {encode(placed_state())});
    EXPECT_EQ(decode_state(hex_decode(lines_of("channel-state-v4.hex").at(0)).value()), placed_state());
    EXPECT_EQ(decode_state(hex_decode(lines_of("channel-state-v1.hex").at(0)).value()), state(true));
    EXPECT_EQ(decode_state(hex_decode(lines_of("channel-state-v2.hex").at(0)).value()), state(false));
}

}  // namespace
}  // namespace baton::channel

// The ordered log of stored batches: offsets, cuts, and when memory is let go.
#include "server/channel/message_log.hpp"

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct MessageLogTest : testing::Test {
    MessageLogTest() { log.add_cursor(cursor); }
    void append(std::uint32_t count, std::size_t size = 6, std::uint16_t flags = 0) {
        log.append(count, flags, 77, WallTime{5}, press.region_of(count, size));
    }
    channel::Run take(std::uint32_t count) { return log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), count)); }

    Press press;
    MessageLog log;
    LogCursor cursor;
};

TEST_F(MessageLogTest, OffsetsStartAtOneAndGoOnAcrossBatches) {
    append(3);
    append(2);
    EXPECT_EQ(log.next_offset(), 6U);
    EXPECT_EQ(log.messages(), 5U);
    EXPECT_EQ(log.bytes(), 50U);
    EXPECT_EQ(take(3).first, 1U);
    const channel::Run second = take(1);
    EXPECT_EQ(second.first, 4U);
    EXPECT_EQ(second.position, 0U);
    EXPECT_EQ(log.fresh(cursor), 1U);
    EXPECT_EQ(log.fresh_head(cursor).first, 5U);
    EXPECT_EQ(log.fresh_head(cursor).position, 10U);
}

TEST_F(MessageLogTest, ABatchInTheMiddleIsForgottenWhenNothingOfItRemains) {
    append(1);
    append(2);
    append(1);
    const channel::Run first = take(1);
    channel::Run second = take(2);
    const channel::Run third = take(1);
    const channel::Run part = second.take_front(1);
    log.forget(part);
    EXPECT_EQ(log.messages(), 3U);
    log.forget(second);
    EXPECT_EQ(log.bytes(), 20U);
    EXPECT_EQ(log.front()->base, 1U);
    log.forget(first);
    EXPECT_EQ(log.front()->base, 4U);
    log.forget(third);
    EXPECT_EQ(log.front(), nullptr);
    EXPECT_EQ(log.bytes(), 0U);
    append(1);  // In a node that is used again.
    EXPECT_EQ(take(1).first, 5U);
}

TEST_F(MessageLogTest, ForgettingABatchReleasesItsPayload) {
    ChunkPool pool{1024, 0};
    ChunkRef chunk = pool.allocate();
    store_u32(chunk.bytes(), 0);
    log.append(1, 0, 0, WallTime{}, Payload{chunk, 0, 4});
    EXPECT_FALSE(chunk.unique());
    log.forget(take(1));
    EXPECT_TRUE(chunk.unique());
}

TEST_F(MessageLogTest, OnlyAWholeBatchKeepsItsChecksum) {
    append(3, 6, batch_has_crc);
    const Slice whole = log.fresh_head(cursor).slice();
    EXPECT_EQ(whole.batch_flags, batch_has_crc);
    EXPECT_EQ(whole.crc32c, 77U);
    const Slice part = take(2).slice();
    EXPECT_EQ(part.batch_flags, 0);
    EXPECT_EQ(part.crc32c, 0U);
    EXPECT_EQ(part.time, WallTime{5});
    EXPECT_EQ(part.messages.size(), 20U);
}

TEST_F(MessageLogTest, PurgeForgetsWhatIsFreshAndKeepsTheRest) {
    append(3);
    append(4);
    const channel::Run held = take(1);
    EXPECT_EQ(log.purge_fresh(cursor), 6U);
    EXPECT_EQ(log.fresh(cursor), 0U);
    EXPECT_EQ(log.messages(), 1U);
    EXPECT_EQ(log.bytes(), 10U);
    append(1);
    EXPECT_EQ(log.fresh_head(cursor).first, 8U);
    log.forget(held);
    EXPECT_EQ(log.front()->base, 8U);
}

TEST_F(MessageLogTest, WalksOverFreshRunsWithoutMovingTheCursor) {
    append(2);
    append(2);
    append(2);
    (void)take(1);
    auto run = log.fresh_run(cursor, nullptr, 0);
    ASSERT_TRUE(run);
    EXPECT_EQ(run->first, 2U);
    EXPECT_EQ(run->count, 1U);
    run = log.fresh_run(cursor, &*run, 0);
    ASSERT_TRUE(run);
    EXPECT_EQ(run->first, 3U);
    run = log.fresh_run(cursor, nullptr, 6);
    ASSERT_TRUE(run);
    EXPECT_EQ(run->first, 5U);
    EXPECT_FALSE(log.fresh_run(cursor, &*run, 0));
    EXPECT_EQ(log.fresh(cursor), 5U);
}

TEST_F(MessageLogTest, RunsJoinOnlyWhenTheyContinueInTheSameState) {
    append(4);
    channel::Run run = take(2);
    channel::Run other = take(1);
    other.attempt = 2;
    EXPECT_FALSE(run.try_append(other));
    other.attempt = 1;
    EXPECT_TRUE(run.try_append(other));
    EXPECT_EQ(run.count, 3U);
    EXPECT_EQ(run.bytes, 30U);
    EXPECT_FALSE(run.try_append(other));
}

// --- Small messages that share a node ---

struct JoinedMessages : testing::Test {
    JoinedMessages() { log.add_cursor(cursor); }
    /// As the intake does it; whether it was joined.
    bool add(const std::string& word, MonotonicTime at = MonotonicTime{Duration{1}}, Cut limit = MessageLog::joined_max) {
        return add(press.batch({word}), at, limit);
    }
    bool add(const Payload& batch, MonotonicTime at, Cut limit) {
        BatchHeader header = *decode_batch_header(batch.bytes());
        header.time_us = ++time_us;
        const Payload messages = batch.slice(batch_header_size, header.messages_size);
        if (log.join(header, at, messages, limit)) {
            return true;
        }
        log.append(header.count, header.flags, header.crc32c, {header.time_us}, messages).accepted = at;
        return false;
    }
    channel::Run take(std::uint32_t count) { return log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), count)); }

    Press press;
    MessageLog log;
    LogCursor cursor;
    std::int64_t time_us = 0;
};

TEST_F(JoinedMessages, AreOneBatchWithItsOwnChecksum) {
    EXPECT_FALSE(add("one"));
    EXPECT_TRUE(add("three"));
    EXPECT_TRUE(add("two"));
    EXPECT_EQ(log.messages(), 3U);
    EXPECT_EQ(log.bytes(), 3U * 4 + 11);
    EXPECT_EQ(log.resident_bytes(), log.bytes());
    EXPECT_EQ(log.fresh(cursor), 3U);
    EXPECT_EQ(log.next_offset(), 4U);
    EXPECT_EQ(log.visible_end(), 4U);
    const Slice all = log.fresh_head(cursor).slice();
    EXPECT_EQ(words_of(all.messages.bytes()), (Lines{"one", "three", "two"}));
    EXPECT_EQ(all.batch_flags, batch_has_crc);
    EXPECT_EQ(all.crc32c, crc32c(all.messages.bytes()));
    EXPECT_EQ(all.time, WallTime{3});
}

TEST_F(JoinedMessages, WhatWasGivenStaysAsItIsWhileMoreIsJoined) {
    add("one");
    add("two");
    const channel::Run given = take(1);
    const Slice slice = given.slice();
    for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(add("more"));
    }
    EXPECT_EQ(words_of(slice.messages.bytes()), (Lines{"one"}));
    EXPECT_EQ(words_of(given.region()), (Lines{"one"}));
    EXPECT_EQ(log.fresh_head(cursor).count, 501U);
    log.forget(given);
    EXPECT_EQ(log.messages(), 501U);
    log.forget(take(501));
    EXPECT_EQ(log.front(), nullptr);
    EXPECT_EQ(log.bytes(), 0U);
    EXPECT_EQ(log.resident_bytes(), 0U);
}

TEST_F(JoinedMessages, BeginAnewWhenNobodyWantsTheLastOne) {
    add("one");
    const channel::Run given = take(1);
    EXPECT_FALSE(add("two"));
    log.forget(given);
    EXPECT_EQ(log.front()->base, 2U);
}

TEST_F(JoinedMessages, AreThereForTheReaderThatHadAllBefore) {
    LogCursor other;
    log.add_cursor(other);
    add("one");
    add("two");
    log.forget(log.take_fresh(other, {2, 14}));
    EXPECT_TRUE(add("three"));  // The first reader has not come to the batch.
    EXPECT_EQ(log.fresh(other), 1U);
    const channel::Run run = log.fresh_head(other);
    EXPECT_EQ(run.first, 3U);
    EXPECT_EQ(words_of(run.region()), (Lines{"three"}));
    log.forget(log.take_fresh(other, {1, run.bytes}));
    log.forget(take(3));
    EXPECT_EQ(log.front(), nullptr);
    EXPECT_EQ(log.messages(), 0U);
}

TEST_F(JoinedMessages, AreOfOneStreamWhoeverReadsIt) {
    MessageLog stream{MessageLog::Keep::until_trimmed};
    const Payload word = press.region_of(1, 6);
    const BatchHeader header{.count = 1, .messages_size = 10};
    stream.append(1, 0, 0, {}, word).accepted = MonotonicTime{Duration{1}};
    EXPECT_TRUE(stream.join(header, MonotonicTime{std::chrono::milliseconds{1}}, word, MessageLog::joined_max));
    EXPECT_FALSE(stream.join(header, MonotonicTime{std::chrono::milliseconds{2}}, word, MessageLog::joined_max));
    LogCursor late;
    stream.add_cursor_at(late, 2);
    EXPECT_EQ(stream.fresh(late), 1U);
    EXPECT_EQ(stream.fresh_head(late).position, 10U);
    stream.trim_oldest();
    EXPECT_EQ(stream.messages(), 0U);
    EXPECT_EQ(late.missed(), 1U);
}

TEST_F(JoinedMessages, AreNotThoseThatDiffer) {
    constexpr MonotonicTime now{Duration{1}};
    add("one");
    BatchBuilder builder;
    ChunkPool pool;
    builder.append(as_bytes("two"));
    EXPECT_FALSE(add(builder.take(pool, BatchBuilder::Crc::off), now, MessageLog::joined_max)) << "no checksum";
    EXPECT_FALSE(add("three")) << "a checksum again";
    EXPECT_FALSE(add(std::string(2048, 'x'))) << "large";
    EXPECT_FALSE(add("behind a large one"));
    EXPECT_TRUE(add("in time", now + std::chrono::milliseconds{20}));
    EXPECT_FALSE(add("late", now + std::chrono::milliseconds{21}));
    EXPECT_FALSE(add("one", now + std::chrono::milliseconds{21}, {1, 1000})) << "too many";
    EXPECT_FALSE(add("two", now + std::chrono::milliseconds{21}, {10, 13})) << "too many bytes";
    EXPECT_TRUE(add("three", now + std::chrono::milliseconds{21}, {10, 16}));
}

TEST_F(JoinedMessages, ADamagedOneKeepsItsOwnChecksum) {
    add("one");
    const Payload batch = press.batch({"two"});
    BatchHeader header = *decode_batch_header(batch.bytes());
    header.crc32c ^= 1U;
    EXPECT_FALSE(log.join(header, MonotonicTime{Duration{1}}, batch.slice(batch_header_size, header.messages_size),
                          MessageLog::joined_max));
    EXPECT_EQ(log.messages(), 1U);
}

TEST_F(JoinedMessages, NeedNoMoreMemoryThanTheirBytesAndALittle) {
    constexpr std::size_t count = 100'000;
    MemoryBudget budget{1ULL << 40U};
    ChunkPool pool{256 * 1024, 0, &budget};
    const Payload batch = press.batch({std::string(128, 'x')});
    std::size_t nodes = 0;
    for (std::size_t i = 0; i < count; ++i) {
        nodes += add(Payload::copy_of(pool, batch.bytes()), MonotonicTime{Duration{1}}, MessageLog::joined_max) ? 0 : 1;
    }
    EXPECT_LT(nodes * sizeof(StoredBatch) + pool.outstanding_bytes(), count * (128 + 8) + (1U << 20U));
}

TEST(MessageRegion, CutsAtTheFirstLimitThatIsReached) {
    Press press;
    const Payload region = press.region_of(10, 6);  // Ten bytes each.
    EXPECT_EQ(cut_front(region.bytes(), {}), (Cut{10, 100}));
    EXPECT_EQ(cut_front(region.bytes(), {.count = 3}), (Cut{3, 30}));
    EXPECT_EQ(cut_front(region.bytes(), {.bytes = 39}), (Cut{3, 30}));
    EXPECT_EQ(cut_front(region.bytes(), {.bytes = 9}), (Cut{0, 0}));
    EXPECT_EQ(cut_front(region.bytes(), {.message_bytes = 9}), (Cut{0, 0}));
    EXPECT_EQ(cut_front(region.bytes(), {.message_bytes = 10}), (Cut{10, 100}));
    EXPECT_EQ(cut_count(region.bytes(), 4), (Cut{4, 40}));
}

}  // namespace
}  // namespace baton::channel::test

// One log with several readers: who still wants what, messages that are picked, blocks that leave memory and come back, retention.
#include <gtest/gtest.h>

#include "server/channel/message_log.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct MessageLogReaders : testing::Test {
    StoredBatch& append(std::uint32_t count) { return log.append(count, 0, 0, WallTime{5}, press.region_of(count, 6)); }
    channel::Run take(LogCursor& cursor, std::uint32_t count) {
        return log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), count));
    }
    /// These batches, neighbours, are written to a block and leave memory.
    commit::BlockRef put_away(const std::vector<StoredBatch*>& batches) {
        body.clear();
        for (const StoredBatch* batch : batches) {
            std::array<std::byte, batch_header_size> header;
            baton::encode(batch->header(), header);
            body.insert(body.end(), header.begin(), header.end());
            body.insert(body.end(), batch->messages.bytes().begin(), batch->messages.bytes().end());
        }
        const commit::BlockRef ref{.segment = 1,
                                   .size = static_cast<std::uint32_t>(body.size()),
                                   .position = 64,
                                   .first = batches.front()->base,
                                   .end = batches.back()->end()};
        log.set_block(batches, ref);
        return ref;
    }

    Press press;
    ChunkPool pool;
    MessageLog log;
    LogCursor one, other;
    std::vector<std::byte> body;
};

TEST_F(MessageLogReaders, AMessageStaysUntilTheLastOfThemIsDoneWithIt) {
    log.add_cursor(one);
    log.add_cursor(other);
    append(2);
    log.forget(take(one, 2));
    EXPECT_EQ(log.messages(), 2U);
    EXPECT_EQ(log.fresh(other), 2U);
    log.forget(take(other, 1));
    EXPECT_EQ(log.messages(), 2U);
    log.forget(take(other, 1));
    EXPECT_EQ(log.messages(), 0U);
    EXPECT_EQ(log.front(), nullptr);
}

TEST_F(MessageLogReaders, AReaderThatGoesTakesWhatOnlyItWanted) {
    log.add_cursor(one);
    append(2);
    log.add_cursor(other);
    append(3);
    EXPECT_EQ(log.fresh(other), 3U);
    log.remove_cursor(one);
    EXPECT_EQ(log.messages(), 3U);
    EXPECT_EQ(log.front()->base, 3U);
    log.remove_cursor(other);
    EXPECT_FALSE(log.is_wanted());
    log.pass(4);
    EXPECT_EQ(log.next_offset(), 10U);
    log.add_cursor(one);
    append(1);
    EXPECT_EQ(log.fresh_head(one).first, 10U);
}

TEST_F(MessageLogReaders, WhatIsPickedIsPassedOverByOneReaderOnly) {
    log.add_cursor(one);
    log.add_cursor(other);
    StoredBatch& batch = append(4);
    const channel::Run picked = log.pick(one, batch, {2, 20}, {1, 10});
    EXPECT_EQ(picked.first, 3U);
    EXPECT_EQ(log.fresh(one), 3U);
    EXPECT_EQ(log.fresh(other), 4U);
    EXPECT_EQ(log.fresh_head(one).count, 2U);
    log.forget(take(one, 2));
    EXPECT_EQ(one.offset(), 4U);
    EXPECT_TRUE(one.skipped().empty());
    log.forget(picked);
    log.forget(take(one, 1));
    log.forget(take(other, 4));
    EXPECT_EQ(log.front(), nullptr);
}

TEST_F(MessageLogReaders, ABlockLeavesMemoryOnlyIfNobodyIsInTheMiddleOfItAndComesBackForAll) {
    log.add_cursor(one);
    log.add_cursor(other);
    const channel::Run held = [&] {
        append(1);
        return take(one, 1);
    }();
    StoredBatch& first = append(2);
    StoredBatch& second = append(3);
    const auto ref = put_away({&first, &second});
    const MessageLog::RunsAtRest nobody = [](Offset, Offset, std::vector<channel::Run*>&) {};
    ASSERT_EQ(log.evictable({}, UINT64_MAX).size(), 1U);
    EXPECT_EQ(log.evict(*log.evictable({}, UINT64_MAX).front(), nobody), 50U);
    EXPECT_EQ(log.resident_bytes(), 10U);
    EXPECT_EQ(log.readable(one), 0U);
    EXPECT_EQ(log.readable(other), 1U);
    EXPECT_EQ(log.fresh(one), 5U);
    EXPECT_EQ(log.missing_ahead(one, 1).size(), 1U);
    EXPECT_FALSE(log.restore_block(ref, Payload::copy_of(pool, Bytes{body}.first(body.size() - 1)), nobody));
    ASSERT_TRUE(log.restore_block(ref, Payload::copy_of(pool, body), nobody));
    EXPECT_EQ(log.readable(one), 5U);
    log.forget(take(one, 1));
    EXPECT_TRUE(log.evictable({}, UINT64_MAX).empty());
    log.forget(take(one, 1));
    log.forget(take(one, 3));
    log.forget(held);
    EXPECT_EQ(log.messages(), 6U);
    log.forget(take(other, 1));
    log.forget(take(other, 2));
    log.forget(take(other, 3));
    EXPECT_EQ(log.messages(), 0U);
    EXPECT_EQ(log.take_dead_blocks(), (std::vector{ref}));
}

struct StreamLogReaders : MessageLogReaders {
    StreamLogReaders() : stream{MessageLog::Keep::until_trimmed} {}
    StoredBatch& append(std::uint32_t count) { return stream.append(count, 0, 0, WallTime{5}, press.region_of(count, 6)); }
    MessageLog stream;
};

TEST_F(StreamLogReaders, RetentionGoesOnOverReadersAndWhatTheyHoldStaysWithThem) {
    append(2);
    append(2);
    append(2);
    stream.add_cursor_at(one, 2);
    stream.add_cursor_at(other, 5);
    EXPECT_EQ(one.offset(), 2U);
    const channel::Run held = stream.take_fresh(one, {1, 10});
    stream.trim_oldest();
    EXPECT_EQ(stream.messages(), 4U);
    EXPECT_EQ(stream.oldest_kept()->base, 3U);
    EXPECT_EQ(stream.front()->base, 1U);
    stream.trim_oldest();
    EXPECT_EQ(one.offset(), 5U);
    EXPECT_EQ(one.missed(), 2U);
    EXPECT_EQ(other.missed(), 0U);
    stream.forget(held);
    EXPECT_EQ(stream.front()->base, 5U);
    stream.trim_oldest();
    EXPECT_EQ(stream.oldest_kept(), nullptr);
    append(1);
    EXPECT_EQ(stream.oldest_kept()->base, 7U);
    EXPECT_EQ(stream.fresh(one), 1U);
    stream.remove_cursor(one);
    EXPECT_EQ(stream.messages(), 1U);
}

}  // namespace
}  // namespace baton::channel::test

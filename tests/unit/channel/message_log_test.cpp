// The ordered log of stored batches: offsets, cuts, and when memory is let go.
#include "server/channel/message_log.hpp"

#include <gtest/gtest.h>

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

// Messages that were given back: old places, attempts, order.
#include "server/channel/redelivery_set.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct RedeliverySetTest : testing::Test {
    RedeliverySetTest() { log.append(100, 0, 0, WallTime{}, press.region_of(100, 6)); }
    channel::Run run(std::uint32_t count) { return log.take_fresh(cut_count(log.fresh_head().region(), count)); }

    Press press;
    MessageLog log;
    RedeliverySet set;
};

TEST_F(RedeliverySetTest, GoesBackInOrderAndJoins) {
    const channel::Run first = run(2);
    const channel::Run second = run(2);
    const channel::Run third = run(2);
    set.put(third);
    set.put(first);
    EXPECT_EQ(set.head().first, 1U);
    EXPECT_TRUE(set.head().was_delivered);
    set.put(second);
    EXPECT_EQ(set.messages(), 6U);
    EXPECT_EQ(set.head().count, 4U);
    const channel::Run taken = set.take({3, 30});
    EXPECT_EQ(taken.first, 1U);
    EXPECT_EQ(taken.count, 3U);
    EXPECT_EQ(set.head().first, 4U);
}

TEST_F(RedeliverySetTest, OnlyAStartedRunHasUsedUpAnAttempt) {
    channel::Run started = run(1);
    started.is_started = true;
    channel::Run last = run(1);
    last.is_started = true;
    last.attempt = UINT32_MAX;
    const channel::Run untouched = run(1);
    set.put(started);
    set.put(last);
    set.put(untouched);
    EXPECT_EQ(set.take({1, 10}).attempt, 2U);
    EXPECT_EQ(set.take({1, 10}).attempt, UINT32_MAX);
    const channel::Run third = set.take({1, 10});
    EXPECT_EQ(third.attempt, 1U);
    EXPECT_FALSE(third.is_started);
}

TEST_F(RedeliverySetTest, ManyAreMergedIntoTheirOldPlaces) {
    Ring<channel::Run> mine;
    for (int i = 0; i < 20; ++i) {
        const channel::Run one = run(1);
        const channel::Run other = run(2);
        set.put(one);
        mine.push_back(other);
    }
    set.put_all(mine);
    EXPECT_EQ(set.messages(), 60U);
    for (Offset next = 1; !set.empty();) {
        const channel::Run head = set.take({set.head().count, set.head().bytes});
        EXPECT_EQ(head.first, next);
        next = head.end();
    }
    EXPECT_EQ(set.messages(), 0U);
}

TEST_F(RedeliverySetTest, PurgeForgetsTheMessages) {
    set.put(run(100));
    EXPECT_EQ(set.purge(log), 100U);
    EXPECT_TRUE(set.empty());
    EXPECT_EQ(log.messages(), 0U);
}

}  // namespace
}  // namespace baton::channel::test

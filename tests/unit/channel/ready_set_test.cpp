// Messages that are not in their place in the log any more: order, joining, taking out.
#include "server/channel/ready_set.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct ReadySetTest : testing::Test {
    ReadySetTest() {
        log.add_cursor(cursor);
        log.append(100, 0, 0, WallTime{}, press.region_of(100, 6));
    }
    channel::Run run(std::uint32_t count) {
        return log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), count));
    }

    Press press;
    MessageLog log;
    LogCursor cursor;
    ReadySet set;
};

TEST_F(ReadySetTest, KeepsTheOrderAndJoins) {
    const channel::Run first = run(2);
    const channel::Run second = run(2);
    const channel::Run third = run(2);
    set.put(third);
    set.put(first);
    EXPECT_EQ(set.runs().size(), 2U);
    set.put(second);
    EXPECT_EQ(set.runs().size(), 1U);
    EXPECT_EQ(set.messages(), 6U);
    EXPECT_EQ(set.head().count, 6U);
    const channel::Run taken = set.take({3, 30});
    EXPECT_EQ(taken.first, 1U);
    EXPECT_EQ(taken.count, 3U);
    EXPECT_EQ(set.head().first, 4U);
    EXPECT_EQ(set.head().position, 30U);
}

TEST_F(ReadySetTest, RunsInDifferentStatesStayApart) {
    const channel::Run first = run(1);
    channel::Run second = run(1);
    second.attempt = 2;
    set.put(second);
    set.put(first);
    EXPECT_EQ(set.runs().size(), 2U);
    EXPECT_EQ(set.head().attempt, 1U);
}

TEST_F(ReadySetTest, TakesAMessageOutOfTheMiddle) {
    set.put(run(10));
    const auto taken = set.take_at(4);
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->first, 4U);
    EXPECT_EQ(taken->count, 1U);
    EXPECT_EQ(taken->position, 30U);
    EXPECT_EQ(set.messages(), 9U);
    EXPECT_FALSE(set.take_at(4));
    EXPECT_FALSE(set.take_at(11));
    EXPECT_EQ(set.take({3, 30}).end(), 4U);
    EXPECT_EQ(set.head().first, 5U);
    set.put(*taken);
    EXPECT_EQ(set.head().first, 4U);
    EXPECT_EQ(set.head().count, 7U);
}

TEST_F(ReadySetTest, ShowsRunsFromAnOffsetOn) {
    set.put(run(2));
    static_cast<void>(run(1));
    set.put(run(2));
    std::vector<channel::Run> runs;
    set.append_runs(2, 10, runs);
    ASSERT_EQ(runs.size(), 2U);
    runs.clear();
    set.append_runs(3, 1, runs);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs.front().first, 4U);
}

}  // namespace
}  // namespace baton::channel::test

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
    RunMerge from_two{2};
    from_two.add(set.runs());
    EXPECT_EQ(from_two.take(10).size(), 2U);
    RunMerge from_three{3};
    from_three.add(set.runs());
    const auto runs = from_three.take(1);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs.front().first, 4U);
}

TEST_F(ReadySetTest, RunsOfManyPlacesComeInTheirOrder) {
    Ring<channel::Run> held;
    ReadySet other;
    for (int i = 0; i < 4; ++i) {
        set.put(run(2));
        held.push_back(run(1));
        other.put(run(3));
    }
    RunMerge merge{5};  // In the middle of the first of the other set.
    merge.add(held);
    merge.add(other.runs());
    merge.add(set.runs());
    merge.add(ReadySet{}.runs());
    std::vector<Offset> firsts;
    while (const channel::Run* next = merge.next()) {
        firsts.push_back(next->first);
    }
    EXPECT_EQ(firsts, (std::vector<Offset>{4, 7, 9, 10, 13, 15, 16, 19, 21, 22}));
}

}  // namespace
}  // namespace baton::channel::test

// The intervals that receivers hold: adding, settling in parts, splitting, fencing by attempt.
#include "server/channel/in_flight.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct InFlightTest : testing::Test {
    InFlightTest() {
        log.add_cursor(cursor);
        log.append(10, 0, 0, WallTime{}, press.region_of(10, 6));
        log.append(5'000, 0, 0, WallTime{}, press.region_of(5'000, 6));
    }
    channel::Run run(std::uint32_t count, std::uint32_t attempt = 1) {
        channel::Run taken = log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), count));
        taken.attempt = attempt;
        return taken;
    }
    // "1-3 5" for what is held; "lost 4" for what is not.
    std::string take(Offset first, std::uint32_t count, std::uint32_t attempt = 1) {
        settlement.clear();
        held.take({first, count, attempt, Outcome::done}, settlement);
        return text();
    }
    std::string start(Offset first, std::uint32_t count, std::uint32_t attempt = 1) {
        settlement.clear();
        SettleLimit all;
        held.start({first, count, attempt, Outcome::started}, settlement, all);
        return text();
    }
    std::string text() const {
        std::string out;
        for (const channel::Run& part : settlement.held) {
            EXPECT_EQ(part.bytes, part.count * 10);
            EXPECT_EQ(part.position, (part.first - part.batch->base) * 10);
            out += std::to_string(part.first) + "+" + std::to_string(part.count) + " ";
        }
        for (const SettleRange& part : settlement.lost) {
            out += "lost " + std::to_string(part.first) + "+" + std::to_string(part.count) + " ";
        }
        return out;
    }

    Press press;
    MessageLog log;
    LogCursor cursor;
    InFlight held;
    Settlement settlement;
};

TEST_F(InFlightTest, ConsecutiveDeliveriesOfABatchAreOneRun) {
    held.add(run(3));
    held.add(run(4));
    EXPECT_EQ(held.runs().size(), 1U);
    EXPECT_EQ(held.messages(), 7U);
    EXPECT_EQ(held.bytes(), 70U);
    EXPECT_EQ(take(1, 7), "1+7 ");
    EXPECT_TRUE(held.empty());
    EXPECT_EQ(held.bytes(), 0U);
}

TEST_F(InFlightTest, SettlesAtTheFrontTheBackAndInTheMiddle) {
    held.add(run(10));
    EXPECT_EQ(take(1, 2), "1+2 ");
    EXPECT_EQ(take(9, 2), "9+2 ");
    EXPECT_EQ(take(5, 1), "5+1 ");
    EXPECT_EQ(held.messages(), 5U);
    EXPECT_EQ(held.runs().size(), 2U);
    EXPECT_EQ(take(1, 10), "3+2 6+3 lost 1+2 lost 5+1 lost 9+2 ");
}

TEST_F(InFlightTest, AnotherAttemptIsLostExactlyForItsPart) {
    held.add(run(2));
    held.add(run(2, 2));
    held.add(run(2));
    EXPECT_EQ(take(1, 6), "1+2 5+2 lost 3+2 ");
    EXPECT_EQ(take(3, 2, 1), "lost 3+2 ");
    EXPECT_EQ(take(3, 2, 2), "3+2 ");
}

TEST_F(InFlightTest, RunsAreOrderedByOffsetHoweverTheyArrive) {
    const channel::Run first = run(2);
    const channel::Run second = run(2);
    const channel::Run third = run(2);
    held.add(third);
    held.add(first);
    held.add(second);
    EXPECT_EQ(held.runs()[0].first, 1U);
    EXPECT_EQ(held.runs()[1].first, 3U);
    EXPECT_EQ(held.runs()[2].first, 5U);
}

TEST_F(InFlightTest, StartedMarksOnceAndSplits) {
    held.add(run(6));
    EXPECT_EQ(start(3, 2), "3+2 ");
    EXPECT_EQ(held.started(), 2U);
    EXPECT_EQ(start(3, 2), "");
    EXPECT_EQ(start(2, 2), "2+1 ");
    EXPECT_EQ(held.started(), 3U);
    EXPECT_EQ(start(6, 2), "6+1 lost 7+1 ");
    EXPECT_EQ(held.started(), 4U);
    take(1, 6);
    EXPECT_EQ(held.started(), 0U);
    EXPECT_EQ(held.messages(), 0U);
}

TEST_F(InFlightTest, AnyRangeFromTheNetworkIsSafe) {
    EXPECT_EQ(take(1, 5), "lost 1+5 ");
    held.add(run(4));
    EXPECT_EQ(take(2, 0), "");
    EXPECT_EQ(take(0, 0), "");
    EXPECT_EQ(take(UINT64_MAX, 1), "lost 18446744073709551615+1 ");
    EXPECT_EQ(take(UINT64_MAX - 5, UINT32_MAX), "lost 18446744073709551610+4294967295 ");
    EXPECT_EQ(take(0, UINT32_MAX, 9), "lost 0+4294967295 ");
    EXPECT_EQ(take(0, UINT32_MAX), "1+4 lost 0+1 lost 5+4294967290 ");
}

TEST_F(InFlightTest, ALongRunSettledFromItsFarEndIsNotWalkedEachTime) {
    (void)run(10);
    held.add(run(5'000));
    EXPECT_EQ(take(5'010, 1), "5010+1 ");
    EXPECT_GT(held.runs().size(), 3U);
    for (Offset offset = 5'009; offset > 10; --offset) {
        ASSERT_EQ(take(offset, 1), std::to_string(offset) + "+1 ");
    }
    EXPECT_TRUE(held.empty());
}

TEST_F(InFlightTest, TakeAllLeavesNothing) {
    held.add(run(4));
    start(1, 1);
    const Ring<channel::Run> all = held.take_all();
    EXPECT_EQ(all.size(), 2U);
    EXPECT_TRUE(all[0].is_started);
    EXPECT_TRUE(held.empty());
    EXPECT_EQ(held.messages() + held.bytes() + held.started(), 0U);
}

TEST_F(InFlightTest, OfARangeNoMoreIsTakenThanTheLimitAllows) {
    for (int i = 0; i < 6; ++i) {
        held.add(run(1, 1U + static_cast<std::uint32_t>(i % 2)));  // Six runs of one message.
    }
    static_cast<void>(run(4));
    held.add(run(1'000, 1));
    const SettleRange range{1, 2'000, 1, Outcome::done};
    SettleLimit limit{.left = 3};
    settlement.clear();
    EXPECT_EQ(held.take(range, settlement, limit), 3U);
    EXPECT_EQ(text(), "1+1 3+1 lost 2+1 ");
    EXPECT_EQ(limit.left, 0U);
    limit.left = 5;
    settlement.clear();
    EXPECT_EQ(held.take({4, 1'997, 1, Outcome::done}, settlement, limit), 1'997U);
    EXPECT_EQ(text(), "5+1 11+1000 lost 4+1 lost 6+5 lost 1011+990 ") << "one run of many messages is one thing";
    EXPECT_EQ(limit.left, 0U);
}

TEST_F(InFlightTest, WhereEachMessageCountsARunIsCut) {
    static_cast<void>(run(10));
    held.add(run(100));
    SettleLimit limit{.left = 30, .is_by_message = true};
    EXPECT_EQ(held.take({11, 100, 1, Outcome::reject}, settlement, limit), 30U);
    EXPECT_EQ(text(), "11+30 ");
    EXPECT_EQ(held.messages(), 70U);
    EXPECT_EQ(held.take({41, 70, 1, Outcome::reject}, settlement, limit), 0U) << "nothing is left of it";
}

TEST_F(InFlightTest, OutOfTheMiddleOfVeryManyRunsAsManyAreTakenAsAreWorthTheMoves) {
    static_cast<void>(run(10));
    for (std::uint32_t i = 0; i < 3'200; ++i) {
        held.add(run(1, 1 + i % 2));
    }
    const auto take_one = [&](Offset first) {
        SettleLimit limit{.left = 1};
        settlement.clear();
        const auto count = held.take({first, 1'000, 1, Outcome::done}, settlement, limit);
        EXPECT_EQ(limit.left, 0U);
        return count;
    };
    EXPECT_EQ(take_one(11), 1U) << "at the front nothing has to be moved";
    EXPECT_EQ(take_one(11 + 1'600), 600U / 16);
}

}  // namespace
}  // namespace baton::channel::test

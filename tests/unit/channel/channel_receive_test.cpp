// What happens to messages on their way out, seen from outside the channel.
#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct ChannelReceive : testing::Test {
    ChannelReceive() {
        world.attach_sender(1);
        world.publish(1, 1, {"a", "b", "c", "d"});
        world.happened();
    }
    ChannelWorld world;
};

TEST_F(ChannelReceive, DoneForgets) {
    world.attach_receiver(2);
    EXPECT_EQ(world.happened(), (Lines{"deliver 2 1-4 attempt 1"}));
    world.settle(2, 2, 2);
    EXPECT_EQ(world.stored(), (Lines{"1/1 in flight a", "4/1 in flight d"}));
    const ChannelStats stats = world.channel.stats();
    EXPECT_EQ(stats.settled, 2U);
    EXPECT_EQ(stats.bytes, 10U);
    EXPECT_EQ(stats.oldest_offset, 1U);
}

TEST_F(ChannelReceive, GiveBackReturnsToTheOldPlace) {
    world.attach_receiver(2, {3, 1'000});
    EXPECT_EQ(world.happened(), (Lines{"deliver 2 1-3 attempt 1"}));
    world.settle(2, 2, 1, Outcome::give_back);
    EXPECT_EQ(world.stored(), (Lines{"1/1 in flight a", "2/1 ready b", "3/1 in flight c", "4/1 ready d"}));
    world.attach_receiver(3);
    EXPECT_EQ(world.happened(), (Lines{"deliver 3 2 attempt 1 again", "deliver 3 4 attempt 1"}));
}

TEST_F(ChannelReceive, ADisappearedReceiverGivesBackAndOnlyStartedMessagesCount) {
    world.attach_receiver(2);
    world.happened();
    world.settle(2, 2, 1, Outcome::started);
    world.settle(2, 2, 1, Outcome::started);
    world.attach_receiver(3);
    world.channel.detach(link_of(2));
    EXPECT_EQ(world.happened(), (Lines{"closed 2", "deliver 3 1 attempt 1 again", "deliver 3 2 attempt 2 again",
                                       "deliver 3 3-4 attempt 1 again"}));
    EXPECT_EQ(world.channel.stats().redelivered, 4U);
}

TEST_F(ChannelReceive, AStaleSettlementIsRefusedAndTheHeldPartIsApplied) {
    world.attach_receiver(2);
    world.happened();
    world.settle(2, 1, 2, Outcome::started);
    world.settle(2, 1, 1, Outcome::give_back);
    EXPECT_EQ(world.happened(), (Lines{"deliver 2 1 attempt 2 again"}));
    world.settle(2, 1, 3);
    EXPECT_EQ(world.happened(),
              (Lines{"settle_refused 2 1: the receiver does not hold the message with this attempt number"}));
    EXPECT_EQ(world.stored(), (Lines{"1/2 in flight a", "4/1 in flight d"}));
    world.settle(2, 1, 1, Outcome::done, 2);
    EXPECT_TRUE(world.happened().empty());
    world.attach_receiver(3);
    world.settle(3, 4, 1);  // Somebody else's.
    EXPECT_EQ(world.happened().size(), 1U);
}

TEST_F(ChannelReceive, UnknownOutcomesAreRefused) {
    world.attach_receiver(2);
    world.happened();
    for (const int outcome : {7, 0, 77}) {
        world.settle(2, 1, 2, static_cast<Outcome>(outcome));
        EXPECT_EQ(world.happened(), (Lines{"settle_refused 2 1-2: the channel does not support this outcome"}));
    }
    world.settle(2, 1, 0);
    EXPECT_TRUE(world.happened().empty());
    EXPECT_EQ(world.stored().size(), 4U);
}

TEST_F(ChannelReceive, AReceiptComesAfterTheRefusals) {
    world.attach_receiver(2);
    world.happened();
    const SettleRange ranges[] = {{1, 2, 1, Outcome::done}, {9, 1, 1, Outcome::done}};
    world.channel.settle(link_of(2), ranges, 31);
    EXPECT_EQ(
        world.happened(),
        (Lines{"settle_refused 2 9: the receiver does not hold the message with this attempt number", "settled 2 31"}));
    world.channel.settle(link_of(2), {}, 32);
    EXPECT_EQ(world.happened(), (Lines{"settled 2 32"}));
}

TEST_F(ChannelReceive, DispatchIsDueOnlyWhenItCanDoSomething) {
    EXPECT_FALSE(world.channel.needs_dispatch());
    world.attach_receiver(2, {1, 1'000});
    EXPECT_TRUE(world.channel.needs_dispatch());
    world.channel.dispatch();
    EXPECT_FALSE(world.channel.needs_dispatch());
    world.attach_receiver(3, {100, 1});
    world.channel.dispatch();  // The first one alone, because nothing is in flight there.
    EXPECT_FALSE(world.channel.needs_dispatch());
    EXPECT_EQ(world.happened(), (Lines{"deliver 2 1 attempt 1", "deliver 3 2 attempt 1"}));
}

TEST_F(ChannelReceive, QueryAnswersAfterTheDeliveriesBeforeIt) {
    world.attach_receiver(2, {3, 1'000});
    world.channel.query(link_of(2));
    const auto events = world.events.take();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(to_line(events[0]), "deliver 2 1-3 attempt 1");
    EXPECT_EQ(to_line(events[1]), "state 2 no message credit ready 1 held 3");
    world.channel.query(link_of(1));
    EXPECT_EQ(world.credit_happened(), (Lines{"state 1 none ready 1 held 0"}));
}

TEST_F(ChannelReceive, ASlowReaderGetsNothingUntilItReadsAgain) {
    world.attach_receiver(2);
    world.channel.set_slow(link_of(2), true);
    EXPECT_TRUE(world.happened().empty());
    EXPECT_EQ(world.channel.stats().links.back().wait.reason, WaitReason::slow_reader);
    world.channel.set_slow(link_of(2), false);
    EXPECT_EQ(world.happened(), (Lines{"deliver 2 1-4 attempt 1"}));
}

}  // namespace
}  // namespace baton::channel::test

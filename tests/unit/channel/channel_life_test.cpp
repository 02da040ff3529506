// Links, drain, close, purge, new settings.
#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

TEST(ChannelLife, DrainRefusesNewMessagesAndLetsSettlementsGoOn) {
    ChannelWorld world{{.messages_max = 3}};
    world.attach_sender(1);
    world.attach_sender(2);
    world.attach_receiver(9, {1, 1'000});
    world.publish(1, 1, {"a", "b", "c"});
    world.publish(2, 1, {"x"});
    world.happened();
    world.channel.begin_drain();
    EXPECT_EQ(world.happened(),
              (Lines{"refused 2 1: the broker is going down and takes no new messages", "confirmed 2 1"}));
    world.channel.set_credit(link_of(9), plenty);
    world.settle(9, 1, 1);
    EXPECT_FALSE(world.channel.needs_dispatch());
    EXPECT_TRUE(world.happened().empty());
    EXPECT_EQ(world.stored().size(), 2U);
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::draining);
    for (const LinkReport& link : world.channel.stats().links) {
        EXPECT_EQ(link.wait.reason, WaitReason::draining);
    }
}

TEST(ChannelLife, MessagesPublishedInADrainAreRefusedThenConfirmed) {
    ChannelWorld world;
    world.attach_sender(1, 5);
    world.publish(1, 1, {"a"});
    world.channel.begin_drain();
    EXPECT_EQ(world.credit_happened().back(), "state 1 draining ready 1 held 0");
    world.publish(1, 1, {"a", "b", "c"});
    EXPECT_EQ(world.happened(),
              (Lines{"refused 1 2-3: the broker is going down and takes no new messages", "confirmed 1 3"}));
    EXPECT_EQ(world.stored(), (Lines{"1/1 ready a"}));
    world.attach_sender(2);
    EXPECT_EQ(world.credit_happened(), (Lines{"state 2 draining ready 1 held 0"}));
}

TEST(ChannelLife, CloseEndsEveryLinkWithTheReason) {
    ChannelWorld world;
    world.attach_sender(3);
    world.attach_sender(1, 4);
    world.attach_receiver(2);
    world.publish(3, 1, {"a"});
    world.happened();
    world.channel.close(Errc::channel_deleted);
    EXPECT_EQ(world.happened(), Lines{});
    std::uint64_t all = UINT64_MAX;
    EXPECT_TRUE(world.channel.dismantle(all));
    EXPECT_EQ(world.happened(), (Lines{"closed 1: the channel was deleted", "closed 3: the channel was deleted",
                                       "closed 2: the channel was deleted"}));
    EXPECT_EQ(world.budget.used(), 0U);
}

TEST(ChannelLife, DestructionTakesPromisesBack) {
    MemoryBudget budget{1 << 20};
    RecordingEvents events;
    const ManualClock clock;
    {
        Channel channel{"c", ChannelOptions{}, events, clock, budget};
        (void)channel.attach_sender(link_of(1), {});
        channel.announce_credit(link_of(1));
        EXPECT_GT(budget.used(), 0U);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(ChannelLife, PurgeForgetsReadyMessagesOnly) {
    ChannelWorld world;
    world.attach_sender(1);
    world.attach_receiver(2, {3, 1'000});
    world.publish(1, 1, {"a", "b", "c", "d", "e"});
    world.happened();
    world.settle(2, 1, 1, Outcome::give_back);
    EXPECT_EQ(test::purge(world.channel), 3U);
    EXPECT_EQ(world.stored(), (Lines{"2/1 in flight b", "3/1 in flight c"}));
    EXPECT_EQ(world.channel.stats().purged, 3U);
    world.publish(1, 6, {"f"});
    EXPECT_EQ(world.stored().back(), "6/1 ready f");
}

TEST(ChannelLife, LowerLimitsDropNothingAndBlock) {
    ChannelWorld world;
    world.attach_sender(1);
    world.publish(1, 1, {"a", "b", "c"});
    (void)world.events.take();
    ChannelOptions options;
    options.messages_max = 2;
    options.sender_window = {4, 100};
    world.channel.reconfigure(options);
    EXPECT_EQ(world.stored().size(), 3U);
    EXPECT_TRUE(world.credit_happened().empty()) << "it has credit enough for now";
    world.publish(1, 4, {"d"});
    EXPECT_EQ(world.channel.stats().parked, 1U);
    EXPECT_EQ(world.credit_happened(), (Lines{"state 1 full ready 3 held 0"}));
    options.messages_max = 0;  // Not usable: at least one.
    world.channel.reconfigure(options);
    EXPECT_EQ(world.channel.options().messages_max, 1U);
    options.messages_max = 10;
    world.channel.reconfigure(options);
    EXPECT_EQ(world.channel.stats().parked, 0U);
    EXPECT_EQ(world.credit_happened(), (Lines{"state 1 none ready 4 held 0"}));
}

TEST(ChannelLife, DetachingASenderForgetsWhatItParkedAndMakesRoom) {
    ChannelWorld world{{.messages_max = 1}};
    world.attach_sender(1);
    world.attach_sender(2, 5);
    world.attach_sender(3);
    world.publish(1, 1, {"a"});
    world.publish(2, 1, {"b"});
    world.publish(3, 1, {"c"});
    world.happened();
    world.channel.detach(link_of(2));
    EXPECT_EQ(world.happened(), (Lines{"closed 2"}));
    test::purge(world.channel);
    EXPECT_EQ(world.happened(), (Lines{"confirmed 3 1"}));
    EXPECT_EQ(world.attach_sender(4, 5), 0U) << "what was parked was never decided";
}

}  // namespace
}  // namespace baton::channel::test

// What happens to messages on their way in, seen from outside the channel.
#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

TEST(ChannelPublish, StoresThenConfirms) {
    ChannelWorld world;
    EXPECT_EQ(world.attach_sender(1), 0U);
    world.publish(1, 1, {"a", "b"});
    world.publish(1, 3, {"c"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 2", "confirmed 1 3"}));
    EXPECT_EQ(world.stored(), (Lines{"1/1 ready a", "2/1 ready b", "3/1 ready c"}));
}

TEST(ChannelPublish, KeepsThePayloadAsPublished) {
    ChannelWorld world;
    world.attach_sender(1);
    world.attach_receiver(2);
    const Payload batch = world.press.batch({"a", "b"});
    world.channel.publish(link_of(1), 1, batch);
    world.channel.dispatch();
    for (const Event& event : world.events.take()) {
        if (event.kind == Event::Kind::deliver) {
            EXPECT_EQ(event.slice.messages.data(), batch.data() + batch_header_size);
            EXPECT_EQ(event.slice.batch_flags, batch_has_crc);
            EXPECT_EQ(event.slice.time, world.clock.wall_now());
        }
    }
}

TEST(ChannelPublish, DropsDuplicatesWholeAndInPart) {
    ChannelWorld world;
    world.attach_sender(1, 5);
    world.publish(1, 1, {"a", "b", "c"});
    world.publish(1, 2, {"b", "c"});
    world.publish(1, 3, {"c", "d"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 3", "confirmed 1 3", "confirmed 1 4"}));
    EXPECT_EQ(world.stored().size(), 4U);
    EXPECT_EQ(world.channel.stats().duplicates, 3U);
}

TEST(ChannelPublish, AResendAfterAReconnectIsNotADuplicate) {
    ChannelWorld world;
    world.attach_sender(1, 5);
    world.publish(1, 1, {"a", "b"});
    world.channel.detach(link_of(1));
    EXPECT_EQ(world.attach_sender(2, 5), 2U);
    world.publish(2, 1, {"a", "b", "c"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 2", "closed 1", "confirmed 2 3"}));
    EXPECT_EQ(world.stored().size(), 3U);
}

TEST(ChannelPublish, AnUnknownProducerMayStartAnywhere) {
    ChannelWorld world;
    EXPECT_EQ(world.attach_sender(1, 5), 0U);
    world.publish(1, 100, {"a"});
    world.publish(1, 101, {"b"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 100", "confirmed 1 101"}));
}

TEST(ChannelPublish, GapsCloseTheLink) {
    ChannelWorld world;
    world.attach_sender(1, 5);
    world.publish(1, 1, {"a"});
    world.publish(1, 3, {"c"});
    world.publish(1, 2, {"b"});  // Gone.
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 1", "closed 1: the sender skipped sequence numbers"}));
    world.attach_sender(2);  // Anonymous: from 1.
    world.publish(2, 2, {"x"});
    EXPECT_EQ(world.happened(), (Lines{"closed 2: the sender skipped sequence numbers"}));
}

TEST(ChannelPublish, ImpossibleNumbersCloseTheLink) {
    for (const std::uint64_t first : {std::uint64_t{0}, UINT64_MAX, UINT64_MAX - 1}) {
        ChannelWorld world;
        world.attach_sender(1, 5);
        world.publish(1, first, {"a", "b"});
        EXPECT_EQ(world.happened(), (Lines{"closed 1: the sender skipped sequence numbers"}));
        EXPECT_EQ(world.channel.stats().published, 0U);
    }
}

TEST(ChannelPublish, BadBatchesCloseTheLink) {
    ChannelWorld world;
    world.attach_sender(1);
    world.channel.publish(link_of(1), 1, Payload{});
    EXPECT_EQ(world.happened(), (Lines{"closed 1: the batch is not well formed"}));
    world.attach_sender(2);
    world.channel.publish(link_of(2), 1, world.press.batch({"a", "b"}), true);  // More than one, in fragments.
    EXPECT_EQ(world.happened(), (Lines{"closed 2: the batch is not well formed"}));
    world.attach_sender(3);
    const Payload batch = world.press.batch({"a"});
    world.channel.publish(link_of(3), 1, batch.slice(0, batch.size() - 1));
    EXPECT_EQ(world.happened(), (Lines{"closed 3: the batch is not well formed"}));
}

TEST(ChannelPublish, BeyondCreditClosesTheLinkExceptInFragments) {
    ChannelWorld world;
    world.attach_sender(1);
    world.channel.publish(link_of(1), 1, world.press.batch_of(1, 100 * 1024), true);
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 1"}));
    world.channel.publish(link_of(1), 2, world.press.batch_of(1, 100 * 1024));
    EXPECT_EQ(world.happened(), (Lines{"closed 1: the sender went on without credit"}));
    EXPECT_EQ(world.budget.used(), 0U);
}

TEST(ChannelPublish, AFullChannelParksAndConfirmsLater) {
    ChannelWorld world{{.messages_max = 3}};
    world.attach_sender(1);
    world.attach_sender(2);
    world.attach_receiver(9, {});
    EXPECT_EQ(world.credit_happened(), (Lines{"credit 1 3 65536", "credit 2 1 65536"}));
    world.publish(2, 1, {"x"});
    world.publish(1, 1, {"a", "b", "c"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 2 1", "confirmed 1 2"}));
    EXPECT_EQ(world.stored().size(), 3U);
    EXPECT_EQ(world.channel.stats().parked, 1U);
    world.channel.set_credit(link_of(9), plenty);
    EXPECT_EQ(world.happened(), (Lines{"deliver 9 1 attempt 1", "deliver 9 2-3 attempt 1"}));
    world.settle(9, 1, 1);
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 3", "deliver 9 4 attempt 1"}));
    EXPECT_EQ(world.channel.stats().parked, 0U);
}

TEST(ChannelPublish, AFullChannelSaysSoAndUnblocks) {
    ChannelWorld world{{.messages_max = 2}};
    world.attach_sender(1);
    EXPECT_EQ(world.credit_happened(), (Lines{"credit 1 2 65536"}));
    world.publish(1, 1, {"a", "b"});
    EXPECT_EQ(world.credit_happened(), (Lines{"state 1 full ready 2 held 0"}));
    EXPECT_EQ(test::purge(world.channel), 2U);
    EXPECT_EQ(world.credit_happened(), (Lines{"state 1 none ready 0 held 0", "credit 1 4 65536"}));
}

TEST(ChannelPublish, ParkedMessagesOfASupersededLinkAreNotStoredTwice) {
    ChannelWorld world{{.messages_max = 2}};
    world.attach_sender(1, 5);
    world.attach_sender(2, 6);
    world.publish(2, 1, {"x"});
    world.publish(1, 1, {"a", "b"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 2 1", "confirmed 1 1"}));
    EXPECT_EQ(world.attach_sender(3, 5), 1U);
    EXPECT_EQ(world.happened(), (Lines{"closed 1: another link attached with the same producer id"}));
    EXPECT_EQ(world.channel.stats().parked, 0U);
    test::purge(world.channel);
    world.publish(3, 2, {"b"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 3 2"}));
    EXPECT_EQ(world.stored(), (Lines{"3/1 ready b"}));
}

TEST(ChannelPublish, ADuplicateOfAParkedMessageIsConfirmedWithIt) {
    ChannelWorld world{{.messages_max = 2}};
    world.attach_sender(2);
    world.attach_sender(1, 5);
    EXPECT_EQ(world.credit_happened(), (Lines{"credit 2 2 65536", "credit 1 1 65536"}));
    world.publish(2, 1, {"x", "y"});
    world.publish(1, 1, {"a"});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 2 2"}));
    world.channel.reconfigure(ChannelOptions{.messages_max = 3});
    EXPECT_EQ(world.happened(), (Lines{"confirmed 1 1"}));
}

TEST(ChannelPublish, TooManyProducersCloseTheNewLinkAfterItsAttachment) {
    ChannelWorld world{{.producers_max = 1}};
    world.attach_sender(1, 5);
    EXPECT_EQ(world.channel.attach_sender(link_of(2), producer_of(6)), 0U);
    EXPECT_TRUE(world.happened().empty());
    world.channel.announce_credit(link_of(2));
    EXPECT_EQ(world.happened(), (Lines{"closed 2: too many producers are attached to the channel"}));
    world.channel.detach(link_of(1));
    world.attach_sender(3, 6);
    EXPECT_EQ(world.happened(), (Lines{"closed 1"}));
    EXPECT_EQ(world.channel.stats().producers, 1U);
}

TEST(ChannelPublish, OldProducersAreForgotten) {
    ChannelWorld world{{.producer_retention = std::chrono::minutes{10}}};
    world.attach_sender(1, 5);
    world.publish(1, 1, {"a"});
    world.channel.detach(link_of(1));
    world.clock.advance(std::chrono::minutes{10});
    world.channel.tick();
    EXPECT_EQ(world.channel.stats().producers, 1U);
    world.clock.advance(std::chrono::seconds{1});
    world.channel.tick();
    EXPECT_EQ(world.channel.stats().producers, 0U);
    EXPECT_EQ(world.attach_sender(2, 5), 0U);
}

TEST(ChannelPublish, SendersBlockedOnMemoryGoOnWithTheTick) {
    ChannelWorld world{{}, 64 * 1024};
    world.attach_sender(1);
    world.budget.charge(64 * 1024);  // Others have stored something.
    world.attach_sender(2);
    EXPECT_EQ(world.credit_happened(), (Lines{"credit 1 1024 65536", "state 2 memory ready 0 held 0"}));
    world.channel.tick();
    EXPECT_TRUE(world.credit_happened().empty());
    world.budget.discharge(64 * 1024);
    world.channel.tick();
    EXPECT_EQ(world.credit_happened(), (Lines{"state 2 none ready 0 held 0", "credit 2 1024 4096"}))
        << "though the first one does not use its credit";
    world.budget.release(40 * 1024);  // Now it needs less.
    world.channel.tick();
    EXPECT_EQ(world.credit_happened(), (Lines{"credit 2 1024 34816"}));
}

TEST(ChannelPublish, UnknownLinksAreIgnored) {
    ChannelWorld world;
    world.attach_receiver(2);
    world.publish(1, 1, {"a"});
    world.publish(2, 1, {"a"});
    world.settle(3, 1, 1);
    world.channel.set_credit(link_of(3), plenty);
    world.channel.set_slow(link_of(3), true);
    world.channel.query(link_of(3));
    world.channel.announce_credit(link_of(3));
    world.channel.detach(link_of(3));
    EXPECT_TRUE(world.events.take().empty());
}

}  // namespace
}  // namespace baton::channel::test

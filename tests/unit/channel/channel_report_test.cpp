// Statistics, waits and peek.
#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;

TEST(ChannelReport, EveryErrorAndReasonHasAText) {
    for (int code = 1; code <= static_cast<int>(Errc::damaged); ++code) {
        EXPECT_NE(make_error_code(static_cast<Errc>(code)).message(), "unknown channel error");
    }
    EXPECT_EQ(make_error_code(static_cast<Errc>(99)).message(), "unknown channel error");
    EXPECT_STREQ(channel_category().name(), "baton.channel");
    for (int reason = 0; reason <= static_cast<int>(WaitReason::damaged); ++reason) {
        EXPECT_NE(to_string(static_cast<WaitReason>(reason)), "unknown");
    }
}

TEST(ChannelReport, TheHeadSaysWhyItWaitsAndSinceWhen) {
    ChannelWorld world;
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::none);
    world.attach_sender(1);
    world.clock.advance(seconds{1});
    const MonotonicTime published = world.clock.now();
    world.publish(1, 1, {"a"});
    world.clock.advance(seconds{1});
    world.publish(1, 2, {"b"});
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::no_receiver);
    EXPECT_EQ(world.channel.stats().wait.since, published);
    world.attach_receiver(2, {1, 100});
    world.channel.dispatch();
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::receivers_busy);
    world.channel.set_credit(link_of(2), plenty);
    world.channel.dispatch();
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::in_flight);
    const MonotonicTime given = world.channel.stats().wait.since;
    world.clock.advance(seconds{1});
    world.publish(1, 3, {"c"});
    world.channel.dispatch();
    EXPECT_EQ(world.channel.stats().wait.since, given) << "the same wait";
    world.settle(2, 1, 3);
    EXPECT_EQ(world.channel.stats().wait.reason, WaitReason::none);
}

TEST(ChannelReport, LinksAreReportedInOrder) {
    ChannelWorld world;
    world.attach_receiver(3, {10, 1'000});
    world.attach_sender(1);
    world.publish(1, 1, {"abcdef", "abcdef", "abcdef"});
    world.happened();
    world.settle(3, 1, 1);
    world.settle(3, 2, 1, Outcome::started);
    const ChannelStats stats = world.channel.stats();
    ASSERT_EQ(stats.links.size(), 2U);
    EXPECT_TRUE(stats.links[0].is_sender);
    EXPECT_EQ(stats.links[0].total, 3U);
    EXPECT_EQ(stats.links[0].credit_left, (Credit{1021, 65'536 - 62}));
    const LinkReport& receiver = stats.links[1];
    EXPECT_EQ(receiver.address, link_of(3));
    EXPECT_EQ(receiver.in_flight, 2U);
    EXPECT_EQ(receiver.in_flight_bytes, 20U);
    EXPECT_EQ(receiver.started, 1U);
    EXPECT_EQ(receiver.total, 3U);
    EXPECT_EQ(receiver.credit_left, (Credit{7, 970}));
    EXPECT_EQ(receiver.wait.reason, WaitReason::empty);
    EXPECT_EQ(stats.delivered, 3U);
    EXPECT_EQ(stats.in_flight, 2U);
    EXPECT_EQ(stats.oldest_offset, 2U);
    EXPECT_EQ(stats.next_offset, 4U);
    EXPECT_EQ(stats.oldest_time, world.clock.wall_now());
}

TEST(ChannelReport, PeekStartsAnywhereAndStopsWhenTold) {
    ChannelWorld world;
    world.attach_sender(1);
    world.publish(1, 1, {"a", "b", "c"});
    world.publish(1, 4, {"d", "e", "f"});
    world.attach_receiver(2, {1, 100});
    world.attach_receiver(3, {1, 100});
    world.happened();
    world.settle(2, 1, 1, Outcome::give_back);
    EXPECT_EQ(world.stored(),
              (Lines{"1/1 ready a", "2/1 in flight b", "3/1 ready c", "4/1 ready d", "5/1 ready e", "6/1 ready f"}));
    std::string seen;
    world.channel.peek(2, [&](const PeekedMessage& peeked) {
        seen += as_text(peeked.message.payload);
        return peeked.offset < 5;
    });
    EXPECT_EQ(seen, "bcde");
    world.channel.peek(7, [](const PeekedMessage&) { return ADD_FAILURE(), true; });
    EXPECT_EQ(world.stored().size(), 6U) << "peek changes nothing";
}

TEST(ChannelReport, PeekShowsProperties) {
    ChannelWorld world;
    world.attach_sender(1);
    BatchBuilder builder;
    ChunkPool pool;
    const std::vector<std::byte> properties{std::byte{2}, std::byte{1}, std::byte{0}, std::byte{9}};
    builder.append(as_bytes("a"), properties);
    builder.append(as_bytes("b"));
    world.channel.publish(link_of(1), 1, builder.take(pool));
    std::vector<std::size_t> sizes;
    world.channel.peek(0, [&](const PeekedMessage& peeked) {
        sizes.push_back(peeked.message.properties.size());
        return true;
    });
    EXPECT_EQ(sizes, (std::vector<std::size_t>{4, 0}));
}

}  // namespace
}  // namespace baton::channel::test

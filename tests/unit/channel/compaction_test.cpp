// Compaction of streams in memory: what goes, what stays, what readers see of it. Restarts: recovery_model_test.cpp.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;

struct CompactionTest : testing::Test {
    void begin(ChannelOptions options = {}) {
        options.kind = Kind::stream;
        options.is_compacted = true;
        world = std::make_unique<ChannelWorld>(options);
        world->attach_sender(1);
        static_cast<void>(world->happened());
    }
    /// "key=body", without '=': no key.
    void publish(std::initializer_list<std::string> messages) {
        for (const std::string& message : messages) {
            const auto equals = message.find('=');
            if (equals == std::string::npos) {
                builder.append(as_bytes(message));
            } else {
                builder.append(as_bytes(message.substr(equals + 1)),
                               encode_properties({.key = message.substr(0, equals)}).value());
            }
        }
        const auto count = messages.size();
        world->channel.publish(link_of(1), sequence + 1, builder.take(pool));
        sequence += count;
        while (world->channel.needs_dispatch()) {
            world->channel.dispatch();
        }
    }
    std::vector<Offset> kept() {
        std::vector<Offset> offsets;
        world->channel.peek(0, [&](const PeekedMessage& peeked) {
            offsets.push_back(peeked.offset);
            return true;
        });
        EXPECT_EQ(offsets.size(), world->channel.stats().stored);
        return offsets;
    }
    std::vector<Offset> read(std::uint16_t link, const std::string& subscription = {}, StartPosition from = {},
                             Credit credit = {100, 10'000}) {
        static_cast<void>(world->events.take());
        world->attach_reader(link, {.subscription = subscription, .from = from, .filter{}, .name{}}, credit);
        return given(link);
    }
    std::vector<Offset> given(std::uint16_t link = 2) {
        world->channel.dispatch();
        std::vector<Offset> offsets;
        for (const Event& event : world->events.take()) {
            const bool is_delivery = event.kind == Event::Kind::deliver && event.link == link_of(link);
            for (Offset at = 0; is_delivery && at < event.slice.count; ++at) {
                offsets.push_back(event.slice.first + at);
            }
        }
        return offsets;
    }
    void reconfigure(bool is_compacted) {
        ChannelOptions options = world->channel.options();
        options.is_compacted = is_compacted;
        world->channel.reconfigure(options);
    }
    using Offsets = std::vector<Offset>;

    std::unique_ptr<ChannelWorld> world;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

TEST_F(CompactionTest, OfEachKeyTheNewestStaysAndWhatHasNoKey) {
    begin();
    publish({"a=1", "b=1", "plain", "a=2"});
    publish({"a=3", "c=1", "b=2", "plain"});
    EXPECT_EQ(kept(), (Offsets{3, 5, 6, 7, 8}));
    EXPECT_EQ(world->channel.stats().compacted, 3U);
    EXPECT_EQ(world->channel.stats().keys, 3U);
    EXPECT_EQ(world->channel.stats().next_offset, 9U);
    EXPECT_EQ(read(2), (Offsets{3, 5, 6, 7, 8}));
    EXPECT_EQ(read(3, "", {.kind = StartPosition::Kind::offset, .offset = 4}), (Offsets{5, 6, 7, 8}));
    publish({"plain", "c=2", "c=3"});
    EXPECT_EQ(read(4, "", {.kind = StartPosition::Kind::last}), (Offsets{11}));
}

TEST_F(CompactionTest, AReaderPassesOverWhatWentBeforeItCame) {
    begin();
    publish({"a=1", "b=1", "c=1", "d=1"});
    EXPECT_EQ(read(2, "slow", {}, {1, 10'000}), (Offsets{1}));
    EXPECT_EQ(world->channel.find_subscription("slow")->ready(), 3U);
    publish({"b=2", "d=2"});
    EXPECT_EQ(world->channel.find_subscription("slow")->ready(), 3U);
    world->settle(2, 1, 1);
    world->channel.set_credit(link_of(2), {100, 10'000});
    EXPECT_EQ(given(), (Offsets{3, 5, 6}));
    EXPECT_EQ(world->channel.find_subscription("slow")->cursor().missed(), 0U);
}

TEST_F(CompactionTest, WhatAReceiverHoldsStaysValidAndIsForgottenWhenItIsSettled) {
    begin();
    publish({"a=1", "b=1"});
    EXPECT_EQ(read(2, "s"), (Offsets{1, 2}));
    publish({"a=2", "b=2"});
    EXPECT_EQ(given(), (Offsets{3, 4}));
    EXPECT_EQ(kept(), (Offsets{3, 4}));
    world->settle(2, 1, 2);
    for (const Event& event : world->events.take()) {
        EXPECT_NE(event.kind, Event::Kind::settle_refused);
    }
    EXPECT_EQ(world->channel.stats().in_flight, 2U);
}

TEST_F(CompactionTest, WhatWaitsToBeGivenAgainGoes) {
    begin();
    publish({"a=1", "b=1"});
    EXPECT_EQ(read(2, "s"), (Offsets{1, 2}));
    world->channel.detach(link_of(2));
    EXPECT_EQ(world->channel.find_subscription("s")->ready(), 2U);
    publish({"a=2"});
    EXPECT_EQ(world->channel.find_subscription("s")->ready(), 2U);
    EXPECT_EQ(read(3, "s"), (Offsets{2, 3}));
}

TEST_F(CompactionTest, AnOrderedSubscriptionForgetsWhatWaitsBehindItsKey) {
    begin({.is_ordered_by_key = true});
    EXPECT_EQ(read(2, "s"), (Offsets{}));
    publish({"a=1"});
    EXPECT_EQ(given(), (Offsets{1}));
    publish({"a=2"});
    publish({"a=3"});
    EXPECT_EQ(world->channel.find_subscription("s")->ready(), 1U);
    world->settle(2, 1, 1);
    EXPECT_EQ(given(), (Offsets{3}));
}

TEST_F(CompactionTest, ATombstoneGoesWhenItIsOldEnough) {
    begin({.tombstone_age = seconds{10}});
    publish({"a=1", "b=1", "a="});
    EXPECT_EQ(kept(), (Offsets{2, 3}));
    world->clock.advance(seconds{9});
    world->channel.tick();
    EXPECT_EQ(kept(), (Offsets{2, 3}));
    EXPECT_EQ(read(2, "s"), (Offsets{2, 3}));
    world->clock.advance(seconds{1});
    world->channel.tick();
    EXPECT_EQ(kept(), (Offsets{2}));
    EXPECT_EQ(world->channel.stats().keys, 1U);
    publish({"a=2"});
    world->clock.advance(seconds{100});
    world->channel.tick();
    EXPECT_EQ(kept(), (Offsets{2, 4}));
}

TEST_F(CompactionTest, ItIsSwitchedOffAndOnWhileMessagesAreThere) {
    begin();
    publish({"a=1", "a=2"});
    reconfigure(false);
    publish({"a=3", "b=1", "a=4"});
    EXPECT_EQ(kept(), (Offsets{2, 3, 4, 5}));
    EXPECT_EQ(world->channel.stats().keys, 0U);
    reconfigure(true);
    world->channel.tick();  // What it knew before has to be forgotten first.
    world->channel.dispatch();
    EXPECT_EQ(kept(), (Offsets{4, 5}));
    reconfigure(false);
    world->channel.tick();
    reconfigure(true);
    world->channel.dispatch();
    EXPECT_EQ(world->channel.stats().keys, 2U);
}

TEST_F(CompactionTest, RetentionTakesTheNewestOfAKeyToo) {
    begin({.messages_max = 3});
    publish({"a=1", "b=1", "c=1"});
    publish({"a=2"});
    EXPECT_EQ(kept(), (Offsets{2, 3, 4}));  // Not more than three.
    publish({"d=1"});
    world->channel.tick();
    EXPECT_EQ(kept(), (Offsets{3, 4, 5}));  // That b has no newer message does not keep it.
    EXPECT_EQ(world->channel.stats().trimmed, 1U);
    EXPECT_EQ(world->channel.stats().keys, 3U);
    publish({"b=2"});
    EXPECT_EQ(kept(), (Offsets{4, 5, 6}));
}

TEST_F(CompactionTest, APurgeCountsWhatIsLeft) {
    begin();
    publish({"a=1", "b=1", "a=2"});
    EXPECT_EQ(kept(), (Offsets{2, 3}));
    EXPECT_EQ(test::purge(world->channel), 2U);
    EXPECT_EQ(kept(), Offsets{});
}

TEST_F(CompactionTest, OneStepIsBoundedAndTheRestFollows) {
    begin();
    reconfigure(false);
    world->channel.tick();
    for (int i = 0; i < 5'000; ++i) {
        publish({"k" + std::to_string(i % 10) + "=body"});
    }
    reconfigure(true);
    EXPECT_LT(world->channel.stats().compacted, 1'100U);
    EXPECT_TRUE(world->channel.needs_dispatch());
    int turns = 0;
    for (; world->channel.needs_dispatch() && turns < 100; ++turns) {
        world->channel.dispatch();
    }
    EXPECT_GE(turns, 4);
    EXPECT_EQ(world->channel.stats().stored, 10U);
}

TEST_F(CompactionTest, TheMemoryOfBatchesOfWhichLittleRemainsComesBack) {
    begin();
    const std::string body(1'000, 'x');
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 100; ++i) {
            const std::string key = i == 0 ? "once" + std::to_string(round) : "k" + std::to_string(i);
            builder.append(as_bytes(body), encode_properties({.key = key}).value());
            if (i % 20 == 19) {
                world->channel.publish(link_of(1), sequence + 1, builder.take(pool));
                sequence += 20;
                world->channel.dispatch();
            }
        }
    }
    world->channel.tick();
    const ChannelStats stats = world->channel.stats();
    EXPECT_EQ(stats.stored, 149U);
    EXPECT_LT(stats.resident_bytes, 2 * stats.bytes);
    EXPECT_EQ(kept().size(), 149U);
    EXPECT_EQ(read(2, "", {}, {1'000, 1'000'000}).size(), 149U);
}

}  // namespace
}  // namespace baton::channel::test

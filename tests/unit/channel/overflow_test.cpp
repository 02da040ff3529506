// A channel that drops its oldest messages, and backlog limits of subscriptions: which messages go, how many, and what is told.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct OverflowInMemory : testing::Test {
    void begin(const ChannelOptions& options) {
        world = std::make_unique<ChannelWorld>(options);
        world->attach_sender(1);
        static_cast<void>(world->happened());
    }
    void subscribe(const SubscriptionSettings& settings) { ASSERT_FALSE(world->channel.subscribe(settings, {})); }
    void limit(const std::string& name, Overflow overflow, std::uint64_t backlog_max, const std::string& filter = {}) {
        subscribe({.name = name, .filter = filter, .overflow = overflow, .backlog_max = backlog_max});
    }
    /// In one batch.
    void publish(const Lines& words, const MessageProperties& properties = {}) {
        for (const std::string& word : words) {
            properties.empty() ? builder.append(as_bytes(word))
                               : builder.append(as_bytes(word), encode_properties(properties).value());
        }
        world->channel.publish(link_of(1), sequence + 1, builder.take(pool));
        world->channel.announce_credit(link_of(1));
        sequence += words.size();
    }
    /// In batches of their own, of one message each.
    void publish_apart(int count, const MessageProperties& properties = {}) {
        for (int i = 0; i < count; ++i) {
            publish({std::to_string(sequence + 1)}, properties);
            world->clock.advance(milliseconds{30});
        }
    }
    void pass(Duration time) {
        world->clock.advance(time);
        world->channel.tick();
    }
    [[nodiscard]] Subscription& reader(const std::string& name = "") { return *world->channel.find_subscription(name); }
    [[nodiscard]] std::vector<Offset> ready(const std::string& name = "") {
        std::vector<Offset> offsets;
        world->channel.peek(&reader(name), MessageState::ready, 0, [&](const PeekedMessage& message) {
            offsets.push_back(message.offset);
            return true;
        });
        return offsets;
    }
    [[nodiscard]] ChannelStats stats() { return world->channel.stats(); }
    [[nodiscard]] bool has_ended(const std::string& name) {
        std::size_t ended = 0;
        for (const std::string& line : world->happened()) {
            ended += line.starts_with("closed " + name) ? 1 : 0;
        }
        return ended > 0;
    }

    std::unique_ptr<ChannelWorld> world;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

Lines words(int count) {
    Lines all;
    for (int i = 1; i <= count; ++i) {
        all.push_back("word " + std::to_string(i));
    }
    return all;
}

std::vector<Offset> range(Offset first, Offset last) {
    std::vector<Offset> offsets;
    for (; first <= last; ++first) {
        offsets.push_back(first);
    }
    return offsets;
}

// --- A topic with several subscriptions ------------------------------------------------------------------------------------

TEST_F(OverflowInMemory, OneMessageTakesOneOutOfABatchOfAThousandThatTwoWant) {
    begin({.kind = Kind::topic, .messages_max = 1'000, .overflow = Overflow::drop_oldest});
    subscribe({.name = "a", .filter{}});
    subscribe({.name = "b", .filter{}});
    publish(words(1'000));
    const std::uint64_t bytes = stats().bytes;
    publish({"word 1"});
    for (const std::string name : {"a", "b"}) {
        EXPECT_EQ(ready(name), range(2, 1'001)) << name;
        EXPECT_EQ(reader(name).counters().dropped, 1U) << name;
        EXPECT_EQ(reader(name).counters().last_dropped_first, 1U) << name;
        EXPECT_EQ(reader(name).counters().last_dropped_count, 1U) << name;
    }
    EXPECT_EQ(stats().stored, 1'000U);
    EXPECT_EQ(stats().bytes, bytes);
    publish(words(10));
    EXPECT_EQ(ready("a"), range(12, 1'011));
    EXPECT_EQ(reader("b").counters().last_dropped_first, 1U);
    EXPECT_EQ(reader("b").counters().last_dropped_count, 11U);
    // Nothing is lost of what is counted.
    world->attach_reader(2, {.subscription = "a", .from{}, .filter{}, .name{}});
    world->attach_reader(3, {.subscription = "b", .from{}, .filter{}, .name{}});
    static_cast<void>(world->happened());
    world->settle(2, 12, 1'000);
    world->settle(3, 12, 1'000);
    EXPECT_EQ(stats().stored, 0U);
    EXPECT_EQ(stats().bytes, 0U);
}

TEST_F(OverflowInMemory, BytesAreCountedLikeMessages) {
    begin({.kind = Kind::topic, .bytes_max = 1'000, .overflow = Overflow::drop_oldest});
    subscribe({.name = "a", .filter{}});
    subscribe({.name = "b", .filter{}});
    publish(Lines(10, std::string(96, 'x')));
    EXPECT_EQ(stats().bytes, 1'000U);
    publish({std::string(196, 'y')});
    EXPECT_EQ(ready("a"), range(3, 11));
    EXPECT_EQ(ready("b"), range(3, 11));
    EXPECT_EQ(stats().bytes, 1'000U);
}

TEST_F(OverflowInMemory, AFastSubscriptionLosesNothingBecauseOfASlowOne) {
    begin({.kind = Kind::topic, .messages_max = 10, .overflow = Overflow::drop_oldest});
    subscribe({.name = "fast", .filter{}});
    subscribe({.name = "slow", .filter{}});
    publish_apart(10);
    world->attach_reader(2, {.subscription = "fast", .from{}, .filter{}, .name{}});
    static_cast<void>(world->happened());
    world->settle(2, 1, 8);
    world->settle(2, 9, 2, Outcome::give_back);
    world->channel.detach(link_of(2));
    publish_apart(1);
    EXPECT_EQ(ready("fast"), range(9, 11));
    EXPECT_EQ(ready("slow"), range(2, 11));
    EXPECT_EQ(reader("fast").counters().dropped, 0U);
    EXPECT_EQ(reader("slow").counters().dropped, 1U);
    EXPECT_EQ(stats().stored, 10U);
}

TEST_F(OverflowInMemory, WhatAllHaveSettledOfABatchIsRoom) {
    begin({.kind = Kind::topic, .messages_max = 10, .overflow = Overflow::drop_oldest});
    for (const std::uint16_t link : {std::uint16_t{2}, std::uint16_t{3}}) {
        world->attach_reader(link, {.subscription = "s" + std::to_string(link), .from{}, .filter{}, .name{}});
    }
    publish(words(10));
    static_cast<void>(world->happened());
    for (const std::uint16_t link : {std::uint16_t{2}, std::uint16_t{3}}) {
        world->settle(link, 1, 9);
    }
    publish(words(9));
    EXPECT_EQ(stats().dropped, 0U);
    EXPECT_EQ(stats().parked, 0U);
    EXPECT_EQ(stats().stored, 10U);
}

TEST_F(OverflowInMemory, WhereAReceiverHasAllOfItTheOthersKeepTheirs) {
    begin({.kind = Kind::topic, .messages_max = 5, .overflow = Overflow::drop_oldest});
    subscribe({.name = "other", .filter{}});
    world->attach_reader(2, {.subscription = "busy", .from{}, .filter{}, .name{}});
    publish_apart(5);
    static_cast<void>(world->happened());
    publish_apart(1);
    EXPECT_EQ(stats().parked, 1U);
    EXPECT_EQ(ready("other"), range(1, 5));
    world->settle(2, 1, 1);
    EXPECT_EQ(ready("other"), range(2, 6)) << "the first one makes room now";
    EXPECT_EQ(stats().parked, 0U);
}

TEST_F(OverflowInMemory, ManyBatchesAndReadersNeverExceedTheLimitNorLoseMoreThanTheyHaveTo) {
    begin({.kind = Kind::topic, .messages_max = 50, .overflow = Overflow::drop_oldest});
    Prng prng{7};
    subscribe({.name = "slow", .filter{}});
    world->attach_reader(2, {.subscription = "fast", .from{}, .filter{}, .name{}});
    for (int i = 0; i < 500; ++i) {
        publish(words(static_cast<int>(prng.range(1, 12))));
        world->clock.advance(milliseconds{prng.below(40)});
        for (const Event& event : (world->channel.dispatch(), world->events.take())) {
            if (event.kind == Event::Kind::deliver) {
                world->settle(2, event.slice.first, event.slice.count);
            }
        }
        const std::uint64_t sent = sequence;
        ASSERT_EQ(ready("slow"), range(sent > 50 ? sent - 49 : 1, sent));
        ASSERT_LE(stats().stored, 50U);
        ASSERT_EQ(reader("slow").counters().dropped, sent > 50 ? sent - 50 : 0);
        ASSERT_EQ(reader("fast").counters().dropped, 0U);
        ASSERT_EQ(stats().parked, 0U);
    }
}

// --- Filters ---------------------------------------------------------------------------------------------------------------

TEST_F(OverflowInMemory, ABacklogLimitCountsOnlyWhatTheSubscriptionWants) {
    begin({.kind = Kind::topic});
    limit("oldest", Overflow::drop_oldest, 5, "want");
    limit("newest", Overflow::drop_newest, 5, "want");
    limit("ended", Overflow::disconnect, 5, "want");
    world->attach_reader(2, {.subscription = "ended", .from{}, .filter{}, .name{}}, {0, 0});
    publish(words(4), {.key = "want"});
    publish_apart(50, {.key = "other"});
    for (const std::string name : {"oldest", "newest"}) {
        EXPECT_EQ(ready(name), range(1, 4)) << name;
        EXPECT_EQ(reader(name).counters().dropped, 0U) << name;
    }
    EXPECT_FALSE(has_ended("2"));
    publish(words(3), {.key = "want"});
    EXPECT_EQ(ready("oldest"), (std::vector<Offset>{3, 4, 55, 56, 57}));
    EXPECT_EQ(ready("newest"), (std::vector<Offset>{1, 2, 3, 4, 55}));
    EXPECT_TRUE(has_ended("2"));
    EXPECT_EQ(reader("oldest").counters().dropped, 2U);
    EXPECT_EQ(reader("newest").counters().dropped, 2U);
}

TEST_F(OverflowInMemory, AFullChannelForgetsWhatFiltersDoNotWantBeforeItDrops) {
    begin({.kind = Kind::topic, .messages_max = 10, .overflow = Overflow::drop_oldest});
    subscribe({.name = "s", .filter = "want"});
    publish_apart(1, {.key = "want"});
    publish_apart(100, {.key = "other"});
    EXPECT_EQ(reader("s").counters().dropped, 0U);
    EXPECT_EQ(ready("s").front(), 1U);
    publish_apart(10, {.key = "want"});
    EXPECT_EQ(reader("s").counters().dropped, 1U);
    EXPECT_EQ(reader("s").counters().last_dropped_first, 1U);
    EXPECT_EQ(ready("s"), range(102, 111));
}

// --- Order by key ------------------------------------------------------------------------------------------------------------

TEST_F(OverflowInMemory, WhatWaitsBehindABusyKeyIsDroppedByItsAge) {
    begin({.messages_max = 6, .overflow = Overflow::drop_oldest, .is_ordered_by_key = true});
    world->attach_receiver(2, {1, 1'000'000});
    publish(words(6), {.key = "k"});
    EXPECT_EQ(world->happened(), (Lines{"confirmed 1 6", "deliver 2 1 attempt 1"}));
    publish({"7"}, {.key = "k"});
    EXPECT_EQ(world->happened(), (Lines{"confirmed 1 7"}));
    EXPECT_EQ(ready(), range(3, 7));
    EXPECT_EQ(stats().dropped, 1U);
    world->settle(2, 1, 1);
    world->channel.set_credit(link_of(2), plenty);
    EXPECT_EQ(world->happened(), (Lines{"deliver 2 3 attempt 1"}));
}

TEST_F(OverflowInMemory, ABacklogLimitTakesTheOldestBehindABusyKeyToo) {
    begin({.kind = Kind::topic, .is_ordered_by_key = true});
    limit("oldest", Overflow::drop_oldest, 5);
    limit("newest", Overflow::drop_newest, 5);
    for (const std::uint16_t link : {std::uint16_t{2}, std::uint16_t{3}}) {
        world->attach_reader(link, {.subscription = link == 2 ? "oldest" : "newest", .from{}, .filter{}, .name{}},
                             {2, 1'000'000});
    }
    for (int i = 0; i < 51; ++i) {
        publish_apart(1, {.key = "k"});
        static_cast<void>(world->happened());
    }
    EXPECT_EQ(ready("oldest"), range(47, 51));
    EXPECT_EQ(reader("oldest").counters().last_dropped_first, 2U);
    EXPECT_EQ(reader("oldest").counters().last_dropped_count, 45U);
    EXPECT_EQ(ready("newest"), range(2, 6));
    world->settle(2, 1, 1);
    world->settle(3, 1, 1);
    EXPECT_EQ(world->happened(), (Lines{"deliver 2 47 attempt 1", "deliver 3 2 attempt 1"}));
}

// --- Messages that do not take their turn ------------------------------------------------------------------------------------

TEST_F(OverflowInMemory, TheNewestOfThoseWithRulesGoToo) {
    begin({.kind = Kind::topic});
    limit("s", Overflow::drop_newest, 5);
    MessageProperties lives;
    lives.ttl = seconds{3'600};
    publish_apart(10, lives);
    MessageProperties urgent;
    urgent.priority = 7;
    publish_apart(10, urgent);
    publish_apart(3);
    EXPECT_EQ(ready("s"), range(1, 5));
    EXPECT_EQ(reader("s").counters().dropped, 18U);
}

TEST_F(OverflowInMemory, WhatComesDueIsLimited) {
    begin({.kind = Kind::topic});
    limit("oldest", Overflow::drop_oldest, 5);
    limit("newest", Overflow::drop_newest, 5);
    limit("ended", Overflow::disconnect, 5);
    world->attach_reader(2, {.subscription = "ended", .from{}, .filter{}, .name{}}, {0, 0});
    MessageProperties later;
    later.delay = milliseconds{300};
    publish(words(20), later);
    EXPECT_EQ(reader("oldest").delayed(), 20U);
    EXPECT_FALSE(has_ended("2"));
    pass(seconds{1});
    EXPECT_EQ(ready("oldest"), range(16, 20));
    EXPECT_EQ(ready("newest"), range(1, 5));
    EXPECT_TRUE(has_ended("2"));
    EXPECT_EQ(reader("newest").counters().dropped, 15U);
    EXPECT_EQ(reader("oldest").counters().dropped, 15U);
}

TEST_F(OverflowInMemory, WhatWaitsForItsTimeIsNotDropped) {
    begin({.messages_max = 5, .overflow = Overflow::drop_oldest});
    MessageProperties later;
    later.delay = seconds{3'600};
    publish(words(5), later);
    publish({"now"});
    EXPECT_EQ(stats().delayed, 5U);
    EXPECT_EQ(stats().parked, 1U);
    EXPECT_EQ(stats().dropped, 0U);
}

// --- On the disk -------------------------------------------------------------------------------------------------------------

struct OverflowOnDisk : AtRest {
    [[nodiscard]] Subscription& reader(const std::string& name) { return *durable->channel().find_subscription(name); }
    [[nodiscard]] std::vector<Offset> ready(const std::string& name = "") {
        std::vector<Offset> offsets;
        const auto visit = [&](const PeekedMessage& message) {
            offsets.push_back(message.offset);
            return true;
        };
        durable->channel().peek(&reader(name), MessageState::ready, 0, visit, durable->store.reader());
        return offsets;
    }
    /// A receiver of it gets and settles everything. The offsets of what it got.
    [[nodiscard]] std::vector<Offset> receive_all(const std::string& name) {
        std::vector<Offset> offsets;
        durable->world->attach_reader(8, {.subscription = name, .from{}, .filter{}, .name{}});
        for (int i = 0; i < 100; ++i) {
            durable->channel().dispatch();
            for (const Event& event : durable->world->events.take()) {
                if (event.kind == Event::Kind::deliver) {
                    for (Offset at = event.slice.first; at < event.slice.first + event.slice.count; ++at) {
                        offsets.push_back(at);
                    }
                    durable->world->settle(8, event.slice.first, event.slice.count);
                }
            }
            static_cast<void>(durable->commit());
            static_cast<void>(read());
        }
        durable->channel().detach(link_of(8));
        return offsets;
    }
};

TEST_F(OverflowOnDisk, AQueueDropsItsOldestWhereverTheyAre) {
    for (const bool restarts : {false, true}) {
        begin({.messages_max = 30, .overflow = Overflow::drop_oldest});
        for (int i = 0; i < 3; ++i) {
            publish(words(10));
        }
        EXPECT_EQ(put_away(), 1U);
        EXPECT_EQ(resident(), 0U);
        restarts ? restart() : void();
        EXPECT_EQ(resident(), 0U);
        for (int i = 1; i <= 17; ++i) {
            publish({"word"});
            ASSERT_EQ(ready(), range(static_cast<Offset>(i) + 1, static_cast<Offset>(i) + 30)) << i;
            ASSERT_EQ(durable->channel().stats().stored, 30U);
        }
        const ChannelStats stats = durable->channel().stats();
        EXPECT_EQ(stats.dropped, 17U);
        EXPECT_EQ(stats.last_dropped_first, 1U);
        EXPECT_EQ(stats.last_dropped_count, 17U);
        EXPECT_EQ(stats.parked, 0U);
        // A restart knows it,
        restart();
        EXPECT_EQ(ready(), range(18, 47));
        // and nobody gets what was dropped when the block is read.
        publish({"word"});
        EXPECT_EQ(receive_all(""), range(19, 48));
        EXPECT_EQ(durable->channel().stats().stored, 0U);
        EXPECT_EQ(durable->channel().stats().bytes, 0U);
    }
}

TEST_F(OverflowOnDisk, ABlockOfWhichTheFirstWereDroppedIsReadBackAsItIs) {
    begin({.messages_max = 30, .overflow = Overflow::drop_oldest});
    publish(words(10));
    publish(words(20));
    EXPECT_EQ(put_away(), 1U);
    publish(words(14));
    const std::uint64_t bytes = durable->channel().stats().bytes;
    EXPECT_EQ(durable->channel().stats().stored, 30U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(read(), 1U) << "also if the reader is in the middle of it";
    EXPECT_EQ(delivered().size(), 30U);
    EXPECT_NEAR(static_cast<double>(durable->channel().stats().bytes), static_cast<double>(bytes), 30.0);
    EXPECT_EQ(durable->channel().stats().stored, 30U);
    settle(15, 30, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
}

TEST_F(OverflowOnDisk, AWholeBlockIsDroppedOneByOne) {
    begin({.messages_max = 10, .overflow = Overflow::drop_oldest});
    publish(words(10));
    EXPECT_EQ(put_away(), 1U);
    for (int i = 0; i < 10; ++i) {
        publish({"word"});
    }
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
    EXPECT_EQ(ready(), range(11, 20));
    EXPECT_EQ(durable->channel().stats().stored, 10U);
}

TEST_F(OverflowOnDisk, ATopicDropsOutOfABlockThatSeveralWant) {
    for (const bool restarts : {false, true}) {
        begin({.kind = Kind::topic, .messages_max = 30, .overflow = Overflow::drop_oldest});
        subscribe({"a", "b"});
        publish(words(30));
        receive_from("b");
        settle(1, 4, Outcome::done);
        durable->channel().detach(link_of(9));
        static_cast<void>(durable->turn());
        EXPECT_EQ(receive_all("b"), range(5, 30));
        EXPECT_EQ(put_away(), 1U);
        EXPECT_EQ(resident(), 0U);
        restarts ? restart() : void();
        publish(words(7));
        EXPECT_EQ(ready("a"), range(8, 37));
        EXPECT_EQ(ready("b"), range(31, 37));
        EXPECT_EQ(reader("b").counters().dropped, 0U);
        EXPECT_EQ(durable->channel().stats().stored, 30U);
        EXPECT_EQ(receive_all("a"), range(8, 37));
        EXPECT_EQ(receive_all("b"), range(31, 37));
        EXPECT_EQ(durable->channel().stats().stored, 0U);
        EXPECT_EQ(durable->channel().stats().bytes, 0U);
    }
}

TEST_F(OverflowOnDisk, ABlockThatBothWantAndOneHasInQuarantineInPart) {
    begin({.kind = Kind::topic, .messages_max = 30, .overflow = Overflow::drop_oldest});
    subscribe({"a", "b"});
    publish(words(30));
    receive_from("b");
    settle(1, 30, Outcome::reject);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    const std::vector<Offset> all = range(1, 20);
    EXPECT_EQ(drop_these(reader("b"), MessageState::quarantined, all), 20U);
    publish(words(5));
    EXPECT_EQ(ready("a"), range(6, 35));
    EXPECT_EQ(reader("b").quarantined(), 10U);
    EXPECT_EQ(durable->channel().stats().stored, 30U);
    EXPECT_EQ(receive_all("a"), range(6, 35));
    EXPECT_EQ(retry_all(reader("b")), 10U);
    std::vector<Offset> retried = receive_all("b");
    EXPECT_EQ(retried, range(21, 35));
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(OverflowOnDisk, ABacklogLimitHoldsWhereverTheMessagesAre) {
    for (const bool restarts : {false, true}) {
        begin({.kind = Kind::topic});
        ASSERT_FALSE(durable->channel().subscribe(
            {.name = "s", .filter{}, .overflow = Overflow::drop_oldest, .backlog_max = 20}, {}));
        publish(words(20));
        EXPECT_EQ(put_away(), 1U);
        restarts ? restart() : void();
        EXPECT_EQ(resident(), 0U);
        publish(words(3));
        EXPECT_EQ(ready("s"), range(4, 23));
        EXPECT_EQ(reader("s").counters().dropped, 3U);
        EXPECT_EQ(receive_all("s"), range(4, 23));
        EXPECT_EQ(durable->channel().stats().stored, 0U);
    }
}

TEST_F(OverflowOnDisk, AFilterIsAskedAboutWhatIsOnTheDiskBeforeTheLimitCountsIt) {
    begin({.kind = Kind::topic});
    ASSERT_FALSE(durable->channel().subscribe(
        {.name = "s", .filter = "want", .overflow = Overflow::drop_oldest, .backlog_max = 50}, {}));
    for (int i = 0; i < 10; ++i) {
        publish({"yes"}, {.key = "want"});
        publish(words(4), {.key = "other"});
    }
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "it has no more than it may";
    publish(words(1), {.key = "other"});
    EXPECT_TRUE(durable->channel().wants_blocks(UINT64_MAX));
    EXPECT_EQ(read(), 1U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    EXPECT_EQ(reader("s").ready(), 10U);
    EXPECT_EQ(reader("s").counters().dropped, 0U);
    EXPECT_EQ(durable->channel().stats().ready, 10U);
}

}  // namespace
}  // namespace baton::channel::test

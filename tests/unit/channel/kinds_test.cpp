// Topics and streams: who gets a message, from where, and when it is forgotten.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;

struct Kinds : testing::Test {
    void begin(const ChannelOptions& options) {
        world = std::make_unique<ChannelWorld>(options);
        world->attach_sender(1);
        static_cast<void>(world->happened());
    }
    void publish(const std::string& word, const std::string& key = {}) {
        if (key.empty()) {
            builder.append(as_bytes(word));
        } else {
            builder.append(as_bytes(word), encode_properties({.key = key}).value());
        }
        world->channel.publish(link_of(1), ++sequence, builder.take(pool));
    }
    void attach(std::uint16_t link, const std::string& subscription, StartPosition from = {},
                const std::string& filter = {}) {
        world->attach_reader(link, {.subscription = subscription, .from = from, .filter = filter, .name{}});
    }
    Lines delivered() {
        Lines lines;
        for (const std::string& line : world->happened()) {
            if (line.starts_with("deliver")) {
                lines.push_back(line);
            }
        }
        std::ranges::sort(lines);
        return lines;
    }
    std::error_code refusal(const ReceiverRequest& request) { return world->channel.attach_receiver(link_of(99), request); }

    std::unique_ptr<ChannelWorld> world;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

TEST_F(Kinds, ATopicGivesAMessageToEachSubscriptionAndForgetsItBehindTheLast) {
    begin({.kind = Kind::topic});
    publish("nobody hears this");
    EXPECT_EQ(world->channel.stats().stored, 0U);
    attach(2, "billing");
    attach(3, "");
    publish("a");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 1", "deliver 3 2 attempt 1"}));
    world->settle(2, 2, 1);
    EXPECT_EQ(world->channel.stats().stored, 1U);
    world->settle(3, 2, 1);
    EXPECT_EQ(world->channel.stats().stored, 0U);
    EXPECT_EQ(world->channel.stats().bytes, 0U);
}

TEST_F(Kinds, ANamedSubscriptionOutlivesItsReceiversAndIsShared) {
    begin({.kind = Kind::topic});
    attach(2, "work");
    attach(3, "work");
    publish("a");
    publish("b");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1", "deliver 3 2 attempt 1"}));
    world->channel.detach(link_of(2));
    world->channel.detach(link_of(3));
    publish("c");
    EXPECT_EQ(world->channel.stats().ready, 3U);
    attach(4, "work");
    EXPECT_EQ(delivered(), (Lines{"deliver 4 1-2 attempt 1 again", "deliver 4 3 attempt 1"}));
    world->settle(4, 1, 3);
    EXPECT_EQ(world->channel.unsubscribe(*world->channel.find_subscription("work")), 0U);
    publish("d");
    EXPECT_EQ(world->channel.stats().stored, 0U);
}

TEST_F(Kinds, TheSubscriptionOfALinkGoesWithIt) {
    begin({.kind = Kind::topic});
    attach(2, "");
    publish("a");
    EXPECT_EQ(delivered().size(), 1U);
    publish("b");
    world->channel.detach(link_of(2));
    EXPECT_EQ(world->channel.stats().stored, 0U);
}

TEST_F(Kinds, AStreamKeepsItsMessagesAndIsReadFromAnyPosition) {
    begin({.kind = Kind::stream});
    for (const char* word : {"a", "b", "c", "d"}) {
        publish(word);
    }
    attach(2, "");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1-4 attempt 1"}));
    world->settle(2, 1, 4);
    EXPECT_EQ(world->channel.stats().stored, 4U);
    attach(3, "", {.kind = StartPosition::Kind::last});
    EXPECT_EQ(delivered(), (Lines{"deliver 3 4 attempt 1"}));
    attach(4, "", {.kind = StartPosition::Kind::offset, .offset = 3});
    EXPECT_EQ(delivered(), (Lines{"deliver 4 3-4 attempt 1"}));
    attach(5, "", {.kind = StartPosition::Kind::next});
    EXPECT_TRUE(delivered().empty());
    publish("e");
    EXPECT_EQ(delivered().size(), 4U);
}

TEST_F(Kinds, RetentionKeepsTheNewestAlsoOfWhatIsSentTogether) {
    const auto publish_together = [&](int first, int end) {
        for (int word = first; word < end; ++word) {
            builder.append(as_bytes(std::to_string(word)));
            ++sequence;
        }
        world->channel.publish(link_of(1), sequence + 1 - static_cast<std::uint64_t>(end - first), builder.take(pool));
    };
    const auto kept = [&] {
        Lines lines;
        world->channel.peek(nullptr, std::nullopt, 0, [&](const PeekedMessage& peeked) {
            lines.emplace_back(as_text(peeked.message.payload));
            return true;
        });
        return lines;
    };
    begin({.kind = Kind::stream, .messages_max = 3});
    publish_together(1, 4);
    publish_together(4, 6);
    EXPECT_EQ(kept(), (Lines{"3", "4", "5"}));
    sequence = 0;
    begin({.kind = Kind::stream, .bytes_max = 20});
    publish_together(1, 101);
    EXPECT_EQ(kept(), (Lines{"98", "99", "100"}));  // 6, 6 and 7 bytes.
    sequence = 0;
    begin({.kind = Kind::stream, .messages_max = 320});
    for (int i = 0; i < 5; ++i) {
        publish_together(1, 101);
    }
    EXPECT_EQ(kept().size(), 320U);
    world->channel.reconfigure(ChannelOptions{.kind = Kind::stream, .messages_max = 1});
    EXPECT_EQ(kept(), (Lines{"91", "92", "93", "94", "95", "96", "97", "98", "99", "100"})) << "never nothing at all";
}

TEST_F(Kinds, AStreamIsTrimmedByCountBytesAndAge) {
    begin({.kind = Kind::stream, .messages_max = 3, .age_max = seconds{10}});
    for (const char* word : {"a", "b", "c", "d", "e"}) {
        publish(word);
    }
    EXPECT_EQ(world->channel.stats().stored, 3U);
    EXPECT_EQ(world->channel.stats().oldest_offset, 3U);
    EXPECT_EQ(world->channel.stats().trimmed, 2U);
    attach(2, "slow");
    world->channel.set_credit(link_of(2), {1, 1000});
    static_cast<void>(delivered());
    world->clock.advance(seconds{10});
    world->channel.tick();
    EXPECT_EQ(world->channel.stats().stored, 0U);
    EXPECT_EQ(world->channel.find_subscription("slow")->cursor().missed() +
                  world->channel.find_subscription("slow")->in_flight(), 3U);
}

TEST_F(Kinds, RetentionTakesAlongWhatSubscriptionsHaveLookedAt) {
    for (const bool is_ordered : {false, true}) {
        sequence = 0;
        begin({.kind = Kind::stream, .messages_max = 3, .is_ordered_by_key = is_ordered});
        attach(2, "slow");
        world->channel.set_credit(link_of(2), {1, 1000});
        for (int i = 0; i < 100; ++i) {
            builder.append(as_bytes("x"), encode_properties({.key = "k", .priority = is_ordered ? 0U : 3U}).value());
            world->channel.publish(link_of(1), ++sequence, builder.take(pool));
            static_cast<void>(delivered());
        }
        Subscription& slow = *world->channel.find_subscription("slow");
        EXPECT_EQ(slow.in_flight(), 1U);
        EXPECT_LE(slow.ready(), 3U) << is_ordered;
        EXPECT_EQ(slow.cursor().missed() + slow.ready() + slow.in_flight(), 100U);
        EXPECT_LT(world->channel.resident_bytes(), 1'000U);
        const std::uint64_t missed = slow.cursor().missed();
        world->channel.detach(link_of(2));
        static_cast<void>(delivered());
        EXPECT_EQ(slow.in_flight(), 0U);
        EXPECT_LE(slow.ready(), 3U) << "what a receiver had is given to nobody when the stream has given it up";
        EXPECT_EQ(slow.cursor().missed(), missed + 1);
        attach(3, "slow");
        EXPECT_FALSE(delivered().empty());
    }
}

TEST_F(Kinds, AStreamInMemoryGivesWayWhenItFillsAllOfIt) {
    world = std::make_unique<ChannelWorld>(ChannelOptions{.kind = Kind::stream}, 8U << 20U);
    world->attach_sender(1);
    ChunkPool counted{256 * 1024, 0, &world->budget};
    const std::string word(10'000, 'x');
    for (int i = 0; i < 1'000; ++i) {
        builder.append(as_bytes(word));
        world->channel.publish(link_of(1), ++sequence, builder.take(counted));
        static_cast<void>(delivered());
    }
    EXPECT_EQ(world->channel.stats().published, 1'000U);
    EXPECT_GT(world->channel.stats().trimmed, 200U);
    EXPECT_GT(world->channel.stats().bytes, world->budget.limit() / 16) << "as much as there is room for stays";
    EXPECT_LE(world->budget.used(), world->budget.limit());
}

TEST_F(Kinds, AFilterMatchesWordsOfTheKey) {
    begin({.kind = Kind::topic});
    attach(2, "", {}, "eu.*.created");
    attach(3, "", {}, "eu.>");
    attach(4, "");
    publish("1", "eu.order.created");
    publish("2", "eu.order.deleted");
    publish("3", "us.order.created");
    publish("4");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1", "deliver 3 1-2 attempt 1", "deliver 4 1-3 attempt 1",
                                  "deliver 4 4 attempt 1"}));
    EXPECT_EQ(world->channel.stats().stored, 4U);
    world->channel.detach(link_of(4));
    world->settle(3, 1, 2);
    world->settle(2, 1, 1);
    EXPECT_EQ(world->channel.stats().stored, 0U);
}

TEST_F(Kinds, WhatAKindDoesNotHaveIsRefused) {
    begin({});
    EXPECT_EQ(refusal({.subscription = "x", .from{}, .filter{}, .name{}}), Errc::not_supported);
    EXPECT_EQ(refusal({.subscription{}, .from = {.kind = StartPosition::Kind::first}, .filter{}, .name{}}), Errc::not_supported);
    EXPECT_EQ(refusal({.subscription{}, .from{}, .filter = "a", .name{}}), Errc::not_supported);
    begin({.kind = Kind::topic});
    EXPECT_EQ(refusal({.subscription{}, .from = {.kind = StartPosition::Kind::first}, .filter{}, .name{}}), Errc::not_supported);
    for (const char* filter : {"a..b", ">.a", ".", "a."}) {
        EXPECT_EQ(refusal({.subscription{}, .from{}, .filter = filter, .name{}}), Errc::bad_filter) << filter;
    }
    attach(2, "s", {}, "a.*");
    attach(3, "s");  // As it is.
    EXPECT_EQ(refusal({.subscription = "s", .from{}, .filter = "b.*", .name{}}), Errc::incompatible_options);
}

TEST_F(Kinds, ASlowSubscriptionFollowsItsOwnPolicy) {
    begin({.kind = Kind::topic});
    SubscriptionSettings settings;
    settings.backlog_max = 2;
    settings.name = "oldest";
    settings.overflow = Overflow::drop_oldest;
    EXPECT_FALSE(world->channel.subscribe(settings, {}));
    settings.name = "newest";
    settings.overflow = Overflow::drop_newest;
    EXPECT_FALSE(world->channel.subscribe(settings, {}));
    settings.name = "gone";
    settings.overflow = Overflow::disconnect;
    EXPECT_FALSE(world->channel.subscribe(settings, {}));
    world->attach_reader(5, {.subscription = "gone", .from{}, .filter{}, .name{}}, {0, 0});
    for (const char* word : {"a", "b", "c", "d"}) {
        publish(word);
    }
    const Lines happened = world->happened();
    EXPECT_NE(std::ranges::find_if(happened, [](const auto& line) { return line.starts_with("closed 5"); }), happened.end());
    attach(2, "oldest");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3-4 attempt 1"}));
    attach(3, "newest");
    EXPECT_EQ(delivered(), (Lines{"deliver 3 1-2 attempt 1"}));
    EXPECT_EQ(world->channel.find_subscription("oldest")->counters().dropped, 2U);
    EXPECT_EQ(world->channel.find_subscription("newest")->counters().dropped, 2U);
}

}  // namespace
}  // namespace baton::channel::test

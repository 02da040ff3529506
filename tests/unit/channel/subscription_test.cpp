// The life of a message for one reader, in virtual time: leases, retries, attempts, quarantine, delay, expiry, priority, keys,
// tenants, exclusive receivers.
#include "server/channel/subscription.hpp"

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Life : testing::Test {
    void begin(const ChannelOptions& options) {
        world = std::make_unique<ChannelWorld>(options);
        world->attach_sender(1);
        static_cast<void>(world->happened());
    }
    void publish(const std::string& word, const MessageProperties& properties = {}) {
        builder.append(as_bytes(word), encode_properties(properties).value());
        world->channel.publish(link_of(1), ++sequence, builder.take(pool));
    }
    void pass(Duration time) {
        world->clock.advance(time);
        world->channel.tick();
    }
    void settle(std::uint16_t link, Offset first, Outcome outcome, std::uint32_t attempt = 1, std::uint32_t argument = 0,
                std::string_view note = {}) {
        const SettleRange range{first, 1, attempt, outcome, argument};
        world->channel.settle(link_of(link), {&range, 1}, 0, note);
    }
    Lines delivered() {
        Lines lines;
        for (const std::string& line : world->happened()) {
            if (line.starts_with("deliver") || line.starts_with("settle_refused")) {
                lines.push_back(line);
            }
        }
        return lines;
    }
    Subscription& queue() { return *world->channel.find_subscription(""); }
    ChannelStats stats() { return world->channel.stats(); }

    std::unique_ptr<ChannelWorld> world;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

TEST_F(Life, ALeaseEndsForOneMessageAndTheLateReceiverIsTold) {
    begin({.lease = seconds{1}});
    world->attach_receiver(2, {2, 1000});
    publish("a");
    publish("b");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1-2 attempt 1"}));
    settle(2, 1, Outcome::started);
    settle(2, 2, Outcome::extend, 1, 60'000);
    pass(milliseconds{900});
    EXPECT_EQ(stats().in_flight, 2U);
    world->attach_receiver(3);
    pass(milliseconds{200});
    EXPECT_EQ(delivered(), (Lines{"deliver 3 1 attempt 2 again"}));
    EXPECT_EQ(stats().leases_ended, 1U);
    settle(2, 1, Outcome::done);
    EXPECT_EQ(delivered(),
              (Lines{"settle_refused 2 1: the receiver does not hold the message with this attempt number"}));
    settle(2, 2, Outcome::done);
    settle(3, 1, Outcome::done, 2);
    EXPECT_EQ(stats().stored, 0U);
}

TEST_F(Life, WhatHasExpiredIsNotGivenToWhoComesBeforeTheNextPulse) {
    begin({});
    publish("a", {.ttl = seconds{1}});
    publish("b");
    static_cast<void>(delivered());
    world->clock.advance(seconds{2});
    world->attach_receiver(2);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 1"}));
    EXPECT_EQ(stats().expired, 1U);
}

TEST_F(Life, BehindAMessageThatExpiresTheNextOneGoesToWhomTheFirstDidNotFit) {
    for (const bool has_age : {false, true}) {
        begin({.age_max = has_age ? Duration{seconds{3}} : Duration{}});
        sequence = 0;
        publish("held");
        world->attach_receiver(2, {10, 40});
        EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
        publish(std::string(60, 'x'), has_age ? MessageProperties{} : MessageProperties{.ttl = seconds{3}});
        world->clock.advance(seconds{2});
        publish("small");
        EXPECT_EQ(delivered(), Lines{});
        pass(seconds{2});
        EXPECT_TRUE(world->channel.needs_dispatch());
        EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1"}));
    }
}

TEST_F(Life, ALeaseIsNotExtendedBeyondItsCap) {
    begin({.lease = seconds{1}, .lease_max = seconds{3}});
    world->attach_receiver(2, {1, 1000});
    publish("a");
    EXPECT_EQ(delivered().size(), 1U);
    for (int i = 0; i < 5; ++i) {
        pass(milliseconds{700});
        settle(2, 1, Outcome::extend);
    }
    EXPECT_EQ(stats().leases_ended, 1U);
}

TEST_F(Life, RetriesWaitLongerEachTimeAndDoNotUseCredit) {
    begin({.attempts_max = 3, .retry_first = seconds{1}, .retry_factor_percent = 300, .retry_jitter_percent = 0});
    world->attach_receiver(2, {1, 1000});
    publish("bad");
    publish("good");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    settle(2, 1, Outcome::retry, 1, retry_by_back_off);
    world->channel.set_credit(link_of(2), {2, 1000});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 1"}));  // What waits is nobody's.
    settle(2, 2, Outcome::done);
    world->channel.set_credit(link_of(2), plenty);
    pass(milliseconds{999});
    EXPECT_TRUE(delivered().empty());
    pass(milliseconds{1});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 2 again"}));
    settle(2, 1, Outcome::retry, 2, retry_by_back_off);
    pass(milliseconds{2'999});
    EXPECT_TRUE(delivered().empty());
    pass(milliseconds{1});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 3 again"}));
    settle(2, 1, Outcome::retry, 3, retry_by_back_off, "still broken");
    const auto entry = queue().find(1);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->state, MessageState::quarantined);
    EXPECT_EQ(entry->note->reason, QuarantineReason::attempts);
    EXPECT_EQ(entry->note->note, "still broken");
}

TEST_F(Life, OnlyTheStartedMessageIsBlamedForACrash) {
    begin({.attempts_max = 1});
    world->attach_receiver(2);
    publish("poison");
    publish("innocent");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1-2 attempt 1"}));
    settle(2, 1, Outcome::started);
    world->channel.detach(link_of(2));
    EXPECT_EQ(stats().quarantined, 1U);
    world->attach_receiver(3);
    EXPECT_EQ(delivered(), (Lines{"deliver 3 2 attempt 1 again"}));
}

TEST_F(Life, RejectedMessagesComeBackWhenAnAdministratorWantsIt) {
    begin({});
    world->attach_reader(2, {.subscription{}, .from{}, .filter{}, .name = "worker"});
    publish("a");
    EXPECT_EQ(delivered().size(), 1U);
    settle(2, 1, Outcome::reject, 1, 0, "no such customer");
    const auto entry = queue().find(1);
    ASSERT_TRUE(entry && entry->note);
    EXPECT_EQ(entry->note->receiver, "worker");
    EXPECT_EQ(entry->note->note, "no such customer");
    EXPECT_TRUE(delivered().empty());
    EXPECT_EQ(retry_all(queue()), 1U);
    world->channel.subscription_changed();
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1 again"}));
    settle(2, 1, Outcome::reject);
    const Offset offset = 1;
    EXPECT_EQ(drop_these(queue(), MessageState::quarantined, {&offset, 1}), 1U);
    EXPECT_EQ(stats().stored, 0U);
}

TEST_F(Life, DelaysFollowTheMonotonicClockAndSchedulesTheWallClock) {
    begin({});
    world->attach_receiver(2);
    publish("relative", {.delay = seconds{10}});
    const std::int64_t noon = world->clock.wall_now().us + 3'600'000'000;
    publish("absolute", {.not_before = std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{noon}}});
    publish("now");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1"}));
    EXPECT_EQ(stats().delayed, 2U);
    world->clock.set_wall({world->clock.wall_now().us + 86'400'000'000});  // A day forward: only the schedule notices.
    pass(milliseconds{10});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 1"}));
    world->clock.set_wall({world->clock.wall_now().us - 2 * 86'400'000'000});
    pass(milliseconds{9'980});
    EXPECT_TRUE(delivered().empty());
    pass(milliseconds{10});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
}

TEST_F(Life, ExpiredMessagesAreCountedAndThoseInHandAreFinished) {
    begin({});
    world->attach_receiver(2, {1, 1000});
    publish("held", {.ttl = seconds{1}});
    publish("old", {.ttl = seconds{1}});
    publish("young");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    world->clock.set_wall({world->clock.wall_now().us + 86'400'000'000});
    pass(milliseconds{999});
    EXPECT_EQ(stats().expired, 0U);
    pass(milliseconds{1});
    EXPECT_EQ(stats().expired, 1U);
    settle(2, 1, Outcome::done);
    EXPECT_TRUE(delivered().empty());
    world->channel.set_credit(link_of(2), plenty);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1"}));
}

TEST_F(Life, WhatWasDelayedAndIsDueWaitsForAReceiver) {
    begin({});
    publish("a", {.delay = seconds{1}});
    world->channel.dispatch();
    EXPECT_EQ(stats().wait.reason, WaitReason::delayed);
    pass(seconds{1});
    EXPECT_EQ(stats().ready, 1U);
    EXPECT_EQ(stats().wait.reason, WaitReason::no_receiver);
}

TEST_F(Life, AttemptsMaxThatIsLoweredIsTheLimitOfWhatWaits) {
    begin({});
    publish("a");
    world->attach_receiver(2);
    for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
        EXPECT_EQ(delivered(), Lines{"deliver 2 1 attempt " + std::to_string(attempt) + (attempt > 1 ? " again" : "")});
        settle(2, 1, Outcome::retry, attempt, 10);
        attempt < 3 ? pass(milliseconds{10}) : void();
    }
    world->channel.reconfigure(ChannelOptions{.attempts_max = 2});
    pass(milliseconds{10});
    EXPECT_TRUE(delivered().empty());
    ASSERT_EQ(stats().quarantined, 1U);
    EXPECT_EQ(queue().find(1)->note->reason, QuarantineReason::attempts);
}

TEST_F(Life, AChannelsAgeLimitConcernsEveryMessage) {
    begin({.age_max = seconds{5}, .quarantines_expired = true});
    publish("a");
    pass(seconds{3});
    publish("b");
    pass(seconds{2});
    EXPECT_EQ(stats().ready, 1U);
    EXPECT_EQ(stats().quarantined, 1U);
    EXPECT_EQ(queue().find(1)->note->reason, QuarantineReason::expired);
}

TEST_F(Life, APriorityOvertakesWhatWasSentBefore) {
    begin({});
    publish("low 1");
    publish("low 2");
    publish("high", {.priority = std::uint8_t{9}});
    publish("middle", {.priority = std::uint8_t{5}});
    world->attach_receiver(2);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1", "deliver 2 4 attempt 1", "deliver 2 1-2 attempt 1"}));
}

TEST_F(Life, OneMessageOfAKeyAtATimeAndNoKeyHoldsUpAnother) {
    begin({.is_ordered_by_key = true});
    publish("a1", {.key = "a"});
    publish("a2", {.key = "a"});
    publish("b1", {.key = "b"});
    publish("a3", {.key = "a"});
    publish("none");
    world->attach_receiver(2);
    world->attach_receiver(3);
    Lines lines = delivered();
    std::ranges::sort(lines);
    ASSERT_EQ(lines.size(), 3U);
    for (const auto& line : lines) {
        EXPECT_EQ(line.find(" 2 attempt"), std::string::npos);
        EXPECT_EQ(line.find(" 4 attempt"), std::string::npos);
    }
    const std::uint16_t holder = lines[0].find("deliver 2 1 ") == 0 || lines[1].find("deliver 2 1 ") == 0 ? 2 : 3;
    settle(holder, 1, Outcome::retry, 1, 1'000);
    EXPECT_TRUE(delivered().empty());  // The key is not free while its first message waits to be tried again.
    pass(seconds{1});
    lines = delivered();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find(" 1 attempt 2"), std::string::npos);
    settle(static_cast<std::uint16_t>(lines[0][8] - '0'), 1, Outcome::reject, 2);  // It is out of the way.
    lines = delivered();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find(" 2 attempt 1"), std::string::npos);
    EXPECT_EQ(stats().ready, 1U);
}

TEST_F(Life, ATenantWithManyMessagesDoesNotStarveOneWithFew) {
    begin({.fair_by = "key", .fair_weights = {{"big", 2}}});
    for (int i = 0; i < 6; ++i) {
        publish("x", {.key = "big." + std::to_string(i)});
    }
    publish("y", {.key = "small.0"});
    publish("y", {.key = "small.1"});
    world->attach_receiver(2);
    EXPECT_EQ(delivered(),
              (Lines{"deliver 2 1-2 attempt 1", "deliver 2 7 attempt 1", "deliver 2 3-4 attempt 1", "deliver 2 8 attempt 1",
                     "deliver 2 5-6 attempt 1"}));
}

TEST_F(Life, AnExclusiveReceiverIsFollowedByTheNext) {
    begin({});
    world->attach_reader(2, {.subscription{}, .from{}, .filter{}, .is_exclusive = true, .name{}});
    world->attach_reader(3, {.subscription{}, .from{}, .filter{}, .is_exclusive = true, .name{}});
    publish("a");
    publish("b");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1-2 attempt 1"}));
    settle(2, 1, Outcome::done);
    world->channel.detach(link_of(2));
    EXPECT_EQ(delivered(), (Lines{"deliver 3 2 attempt 1 again"}));
}

TEST_F(Life, AnExclusiveReceiverFollowsOneThatWasNot) {
    begin({});
    world->attach_receiver(2);
    world->attach_reader(3, {.subscription{}, .from{}, .filter{}, .is_exclusive = true, .name{}});
    publish("a");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    world->channel.detach(link_of(2));
    EXPECT_EQ(delivered(), (Lines{"deliver 3 1 attempt 1 again"}));
}

TEST_F(Life, ATenantWithVeryManyMessagesDoesNotStarveOneThatCameBehindThem) {
    begin({.messages_max = 1'000'000, .bytes_max = 1ULL << 40U, .fair_by = "key"});
    constexpr int many = 10 * StepBudget::messages_max;
    for (int i = 0; i < many; ++i) {
        publish("x", {.key = "big"});
    }
    publish("y", {.key = "small"});
    world->attach_receiver(2, {2, 1ULL << 40U});
    Lines lines;
    for (int step = 0; step < 100 && lines.size() < 2; ++step) {
        StepBudget budget;
        world->channel.dispatch(budget);
        for (const Event& event : world->events.take()) {
            event.kind == Event::Kind::deliver ? lines.push_back(to_line(event)) : void();
        }
    }
    EXPECT_EQ(lines, (Lines{"deliver 2 1 attempt 1", "deliver 2 " + std::to_string(many + 1) + " attempt 1"}));
}

TEST_F(Life, NoReceiverHasALeaseThatIsLongerThanOneCanBeExtended) {
    begin({.lease = seconds{1}, .lease_max = seconds{2}});
    world->attach_reader(2, {.subscription{}, .from{}, .filter{}, .lease = std::chrono::hours{1}, .name{}});
    publish("a");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    pass(seconds{1});
    EXPECT_EQ(delivered(), Lines{});
    pass(seconds{2});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1 again"}));
}

TEST_F(Life, AMillionDelayedMessagesDoNotHoldUpTheOthers) {
    begin({.messages_max = 1'000'000, .bytes_max = 1ULL << 40U});
    constexpr int count = 20'000;
    for (int i = 0; i < count; ++i) {
        publish("later", {.delay = seconds{1 + i % 7}});
    }
    world->attach_receiver(2);
    publish("now");
    EXPECT_EQ(delivered(), (Lines{"deliver 2 20001 attempt 1"}));
    std::uint64_t given = 0;
    for (int step = 0; step < 120; ++step) {
        pass(milliseconds{100});
        given += delivered().size();
    }
    EXPECT_EQ(stats().delayed, 0U);
    EXPECT_EQ(stats().in_flight, count + 1U);
}

// --- Overflow ------------------------------------------------------------------------------------------------------------

TEST_F(Life, AFullChannelRefusesOrDropsAsItIsToldAndCountsIt) {
    begin({.messages_max = 2, .overflow = Overflow::reject});
    for (const char* word : {"a", "b", "c"}) {
        publish(word);
    }
    EXPECT_EQ(world->happened(),
              (Lines{"confirmed 1 1", "confirmed 1 2",
                     "refused 1 3: the channel is full, and its overflow is \"reject\"", "confirmed 1 3"}));
    ChannelOptions options = world->channel.options();
    options.overflow = Overflow::drop_oldest;
    world->channel.reconfigure(options);
    publish("d");
    EXPECT_EQ(world->stored(), (Lines{"2/1 ready b", "3/1 ready d"}));
    EXPECT_EQ(stats().dropped, 1U);
    EXPECT_EQ(stats().last_dropped_first, 1U);
    EXPECT_EQ(stats().last_dropped_count, 1U);
    options.overflow = Overflow::drop_newest;
    world->channel.reconfigure(options);
    publish("e");
    EXPECT_EQ(world->stored(), (Lines{"2/1 ready b", "3/1 ready d"}));
    EXPECT_EQ(stats().dropped, 2U);
    EXPECT_EQ(world->happened(), (Lines{"confirmed 1 4", "confirmed 1 5"}));
}

TEST_F(Life, DroppingTheOldestNeverTakesWhatAReceiverHolds) {
    begin({.messages_max = 2, .overflow = Overflow::drop_oldest});
    world->attach_receiver(2);
    publish("a");
    publish("b");
    EXPECT_EQ(delivered().size(), 2U);
    publish("c");  // Nothing can be dropped: it waits.
    EXPECT_EQ(stats().parked, 1U);
    settle(2, 1, Outcome::done);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1"}));
}

TEST_F(Life, AMessageIdIsTakenOnceWithinTheWindow) {
    begin({.dedupe_window = seconds{60}});
    publish("a", {.message_id = "7"});
    publish("b", {.message_id = "7"});
    publish("c", {.message_id = "8"});
    EXPECT_EQ(world->stored(), (Lines{"1/1 ready a", "2/1 ready c"}));
    EXPECT_EQ(stats().duplicates, 1U);
    EXPECT_EQ(world->happened().back(), "confirmed 1 3");
    static_cast<void>(world->channel.attach_sender(link_of(5), {}, ConfirmLevel::durable, true));
    world->channel.announce_credit(link_of(5));
    builder.append(as_bytes("moved"), encode_properties(MessageProperties{.message_id = "8"}).value());
    world->channel.publish(link_of(5), 1, builder.take(pool));
    EXPECT_EQ(world->stored().back(), "3/1 ready moved") << "what an administrator moves here would be gone";
    world->channel.detach(link_of(5));
    static_cast<void>(world->happened());
    pass(seconds{60});
    publish("d", {.message_id = "7"});
    EXPECT_EQ(stats().ready, 4U);
}

// --- Options that change while messages are under way

TEST_F(Life, OrderThatBeginsHoldsForAllThatIsGivenFromThenOn) {
    ChannelOptions options{.retry_first = seconds{1}, .retry_jitter_percent = 0};
    begin(options);
    world->attach_receiver(2, {3, 1000});
    for (const char* word : {"a", "b", "c"}) {
        publish(word, {.key = "k"});
    }
    publish("urgent", {.key = "k", .priority = 5});
    publish("also", {.key = "k", .priority = 5});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 4 attempt 1", "deliver 2 5 attempt 1", "deliver 2 1 attempt 1"}));
    publish("more", {.key = "k", .priority = 5});  // It is ready, out of its place.
    options.is_ordered_by_key = true;
    world->channel.reconfigure(options);
    publish("d", {.key = "k"});
    world->attach_receiver(3);
    EXPECT_EQ(delivered(), (Lines{"deliver 3 2 attempt 1"})) << "those that are with somebody do not count";
    settle(2, 4, Outcome::done);
    settle(2, 5, Outcome::reject);
    EXPECT_TRUE(delivered().empty()) << "they had no key";
    settle(2, 1, Outcome::give_back);
    EXPECT_TRUE(delivered().empty()) << "it comes back behind the one that is under way";
    settle(3, 2, Outcome::done);
    EXPECT_EQ(delivered(), (Lines{"deliver 3 1 attempt 1 again"}));
    world->channel.detach(link_of(3));
    world->attach_receiver(4);
    EXPECT_EQ(delivered(), (Lines{"deliver 4 1 attempt 1 again"}));
    for (const Offset offset : {1, 3, 6}) {
        settle(4, offset, Outcome::done);
        const Offset next = offset == 1 ? 3 : offset == 3 ? 6 : 7;
        EXPECT_EQ(delivered(), (Lines{"deliver 4 " + std::to_string(next) + " attempt 1"}));
    }
}

TEST_F(Life, WhatWaitedToBeTriedAgainWhenOrderBeganWaitsForItsKeyThen) {
    ChannelOptions options{.retry_first = seconds{1}, .retry_jitter_percent = 0};
    begin(options);
    world->attach_receiver(2);
    for (const char* word : {"a", "b", "c"}) {
        publish(word, {.key = "k"});
    }
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1-3 attempt 1"}));
    settle(2, 1, Outcome::retry, 1, 1'000);
    options.is_ordered_by_key = true;
    world->channel.reconfigure(options);
    settle(2, 2, Outcome::retry, 1, 1'000);
    publish("d", {.key = "k"});
    EXPECT_EQ(delivered(), (Lines{"deliver 2 4 attempt 1"}));
    pass(seconds{1});
    EXPECT_TRUE(delivered().empty());
    settle(2, 4, Outcome::done);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 2 again"}));
    settle(2, 3, Outcome::done);
    EXPECT_TRUE(delivered().empty());
    settle(2, 1, Outcome::done, 2);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 2 again"}));
}

TEST_F(Life, OrderThatEndsAndBeginsAgainKnowsWhoIsBehindWhom) {
    ChannelOptions options{.is_ordered_by_key = true};
    begin(options);
    world->attach_receiver(2, {3, 1000});
    for (const char* word : {"a", "b", "c"}) {
        publish(word, {.key = "k"});
    }
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    world->channel.set_credit(link_of(2), {1, 1000});
    options.is_ordered_by_key = false;
    world->channel.reconfigure(options);
    options.is_ordered_by_key = true;
    world->channel.reconfigure(options);
    world->channel.set_credit(link_of(2), plenty);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 2 attempt 1"})) << "one, whoever had the key before";
    settle(2, 1, Outcome::done);
    EXPECT_TRUE(delivered().empty());
    settle(2, 2, Outcome::done);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 3 attempt 1"}));
}

TEST_F(Life, AGreaterAgeHelpsWhatHasATimeToLive) {
    for (const Duration age : {Duration{}, Duration{seconds{5}}}) {
        sequence = 0;
        begin({.age_max = seconds{1}});
        publish("ready", {.ttl = seconds{60}});
        publish("delayed", {.ttl = seconds{60}, .delay = seconds{30}});
        world->channel.reconfigure(ChannelOptions{.age_max = age});
        pass(seconds{3});
        EXPECT_EQ(stats().stored, 2U);
        pass(seconds{3});
        EXPECT_EQ(stats().stored, age > Duration{} ? 0U : 2U);
        pass(seconds{60});
        EXPECT_EQ(stats().stored, 0U);
        EXPECT_EQ(stats().expired, 2U);
    }
}

TEST_F(Life, WhatIsBehindABusyKeyIsNotOlderThanTheChannelAllows) {
    begin({.age_max = seconds{5}, .is_ordered_by_key = true});
    world->attach_receiver(2);
    for (const char* word : {"a", "b", "c"}) {
        publish(word, {.key = "k"});
    }
    EXPECT_EQ(delivered(), (Lines{"deliver 2 1 attempt 1"}));
    pass(seconds{3});
    publish("d", {.key = "k"});
    EXPECT_TRUE(delivered().empty());
    pass(seconds{3});
    EXPECT_EQ(stats().expired, 2U);
    EXPECT_EQ(stats().stored, 2U);
    settle(2, 1, Outcome::done);
    EXPECT_EQ(delivered(), (Lines{"deliver 2 4 attempt 1"}));
}

}  // namespace
}  // namespace baton::channel::test

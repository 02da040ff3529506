// Messages that wait for a time, out of memory and back: in time where memory allows, late otherwise, and never early.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct DelayedAtRest : AtRest {
    const std::string large = std::string(60'000, 'x');  ///< Four of them fill a block.
    /// Offset, body, and how long it still waits, in milliseconds.
    [[nodiscard]] Lines waiting(const std::string& name = "") {
        return peeked(MessageState::delayed, name, [&](const PeekedMessage& message, const std::string& body) {
            return std::to_string(message.offset) + " " + body + " " +
                   std::to_string((message.due.us - durable->world->clock.wall_now().us) / 1'000);
        });
    }
    [[nodiscard]] MessageProperties at(Duration from_now) const {
        MessageProperties properties;
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(from_now).count();
        properties.not_before.emplace(std::chrono::microseconds{durable->world->clock.wall_now().us + us});
        return properties;
    }
};

TEST_F(DelayedAtRest, TheyLeaveMemoryAndAreReadAheadOfTheirTime) {
    begin();
    publish({"a", "b"}, {.delay = seconds{10}});
    publish({"c"}, at(seconds{20}));
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(queue().delayed(), 3U);
    EXPECT_EQ(durable->channel().stats().stored, 3U);
    EXPECT_EQ(waiting(), (Lines{"1 a 10000", "2 b 10000", "3 c 20000"}));
    EXPECT_EQ(resident(), 0U) << "a look keeps nothing";
    durable->world->attach_receiver(9);
    pass(milliseconds{7'900});
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nothing is due soon";
    pass(milliseconds{200});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(durable->channel().evict(UINT64_MAX, {}), 0U) << "it was read for what comes in a moment";
    EXPECT_EQ(delivered(), Lines{});
    pass(milliseconds{1'900});
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1"}));
    settle(1, 2, Outcome::done);
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U) << "the third one waits for long";
    EXPECT_EQ(waiting(), Lines{"3 c 10000"});
    pass(milliseconds{8'500});
    EXPECT_EQ(read(), 1U);
    pass(milliseconds{1'500});
    EXPECT_EQ(delivered(), Lines{"c attempt 1"});
    settle(3, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
}

TEST_F(DelayedAtRest, WhatIsNotInMemoryInTimeIsLateAndHoldsUpNobody) {
    begin();
    publish({"a"}, {.delay = seconds{10}});
    publish({"b"}, {.delay = seconds{11}});
    static_cast<void>(put_away());
    pass(seconds{12});
    EXPECT_EQ(queue().ready(), 2U);
    EXPECT_EQ(queue().delayed(), 0U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nobody wants them";
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b"}));
    publish({"now"});
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{"now attempt 1"});
    EXPECT_TRUE(durable->channel().wants_blocks(0)) << "one block at least";
    EXPECT_EQ(read(0), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1"}));
    settle(1, 3, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(DelayedAtRest, WhatIsDueWhileNobodyWantsItLeavesMemory) {
    begin();
    publish({"a", "b"}, {.delay = seconds{1}});
    publish({"c"}, {.delay = milliseconds{1'500}});
    pass(seconds{2});
    EXPECT_EQ(queue().ready(), 3U);
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b", "3/1 c"}));
    restart();
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(queue().ready(), 3U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(read(0), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1", "c attempt 1"}));
    settle(1, 3, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(DelayedAtRest, WhatIsStillInMemoryComesInItsPlaceWhenSomebodyWantsIt) {
    begin();
    publish({"a", "b"}, {.delay = seconds{1}});
    publish({"first"}, {.priority = 3, .delay = seconds{1}});
    publish({"gone"}, {.ttl = seconds{2}, .delay = seconds{1}});
    publish({"dropped"}, {.delay = seconds{1}});
    pass(milliseconds{1'100});
    publish({"later"});
    durable->channel().pack_remnants({.factor = 0, .slack = 0});
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b", "3/1 first", "4/1 gone", "5/1 dropped", "6/1 later"}));
    const Offset one[] = {5};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, one), 1U);
    pass(seconds{1});
    EXPECT_EQ(queue().ready(), 4U);
    durable->world->attach_receiver(9, {3, 1'000'000});
    EXPECT_EQ(delivered(), (Lines{"first attempt 1", "a attempt 1", "b attempt 1"}));
    publish({"x"}, {.delay = milliseconds{10}});
    pass(milliseconds{20});
    durable->channel().set_credit(link_of(9), {9, 1'000'000});
    EXPECT_EQ(delivered(), (Lines{"later attempt 1", "x attempt 1"}));
    settle(1, 7, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(DelayedAtRest, VeryManyComeBackInStepsAndNothingOvertakes) {
    begin();
    constexpr std::size_t count = 5'000;
    for (int i = 0; i < 10; ++i) {
        publish(Lines(count / 10, "a"), {.delay = seconds{1}});
    }
    for (int i = 0; i < 20; ++i) {
        pass(seconds{1});
    }
    publish({"later"});
    ASSERT_EQ(queue().ready(), count + 1);
    durable->world->attach_receiver(9, {10'000, 1'000'000'000});
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_TRUE(durable->channel().needs_dispatch());
    Lines all;
    for (int i = 0; i < 20; ++i) {
        const Lines some = delivered();
        all.insert(all.end(), some.begin(), some.end());
    }
    ASSERT_EQ(all.size(), count + 1);
    EXPECT_EQ(all.back(), "later attempt 1");
}

TEST_F(DelayedAtRest, InAMemoryChannelNothingWaitsForADisk) {
    ChannelWorld world;
    world.attach_sender(1);
    builder.append(as_bytes("a"), encode_properties({.delay = seconds{1}}).value());
    world.channel.publish(link_of(1), 1, builder.take(pool));
    world.clock.advance(seconds{2});
    world.channel.tick();
    EXPECT_GT(world.channel.next_pulse(), MonotonicTime{});
    EXPECT_EQ(world.channel.stats().ready, 1U);
}

TEST_F(DelayedAtRest, WhereMemoryIsShortOnlyWhatIsLateIsReadAndLittleOfIt) {
    begin();
    for (int i = 0; i < 40; ++i) {
        publish({large}, {.delay = milliseconds{10'000 + i}});
        for (int others = 0; others < 3; ++others) {
            publish({large}, {.delay = seconds{1'000}});
        }
    }
    EXPECT_EQ(put_away(), 40U);
    EXPECT_EQ(resident(), 0U);
    durable->world->attach_receiver(9);
    pass(seconds{9});
    EXPECT_TRUE(durable->channel().wants_blocks(4'000'000, false));
    EXPECT_FALSE(durable->channel().wants_blocks(250'000, true)) << "they have time";
    pass(seconds{2});
    std::size_t given = 0;
    for (int i = 0; i < 100; ++i) {
        for (const auto& ref : durable->channel().take_wanted_blocks(1, true)) {
            durable->channel().on_block_read(ref, durable->store.read(ref));
        }
        given += delivered().size();
        durable->channel().evict(UINT64_MAX, {});
    }
    EXPECT_EQ(given, 16U) << "each keeps a block";
    settle(1, 1, Outcome::done);
    EXPECT_TRUE(durable->channel().wants_blocks(1, true));
}

TEST_F(DelayedAtRest, WhatIsLateDoesNotPileUpBehindWhatIsReadInItsPlace) {
    begin();
    for (int i = 0; i < 4; ++i) {
        publish({large});
    }
    reject(1, 4);
    for (int i = 0; i < 40; ++i) {
        publish({large}, {.delay = seconds{10}});
    }
    EXPECT_EQ(put_away(), 11U);
    const Offset one[] = {1};
    EXPECT_EQ(queue().retry(one), 1U);
    pass(seconds{11});
    durable->world->attach_receiver(9);
    const auto wanted = durable->channel().take_wanted_blocks(1);
    ASSERT_EQ(wanted.size(), 2U);
    EXPECT_EQ(wanted[0].first, 1U);
    EXPECT_EQ(wanted[1].first, 5U);
    durable->channel().on_block_read(wanted[1], durable->store.read(wanted[1]));
    EXPECT_EQ(delivered(), Lines{}) << "the one in front of it was retried by an administrator";
    EXPECT_FALSE(durable->channel().wants_blocks(1));
    durable->channel().on_block_read(wanted[0], durable->store.read(wanted[0]));
    EXPECT_EQ(delivered().size(), 5U);
    EXPECT_EQ(read(1), 1U);
}

TEST_F(DelayedAtRest, TheEarliestAreReadFirstAndSoManyBlocks) {
    begin();
    for (int i = 0; i < 80; ++i) {  // The last ones are due first.
        publish({large}, {.delay = milliseconds{11'000 - 10 * (i / 4)}});
    }
    EXPECT_EQ(put_away(), 20U);
    durable->world->attach_receiver(9);
    pass(milliseconds{9'500});
    const auto wanted = durable->channel().take_wanted_blocks(UINT64_MAX);
    ASSERT_EQ(wanted.size(), Schedule::blocks_max);
    EXPECT_EQ(wanted.front().first, 77U);
    EXPECT_EQ(wanted.back().first, 17U);
    for (const auto& ref : wanted) {
        durable->channel().on_block_read(ref, durable->store.read(ref));
    }
    pass(milliseconds{1'440});
    EXPECT_EQ(delivered().size(), 56U);
    const auto more = durable->channel().take_wanted_blocks(UINT64_MAX);
    ASSERT_EQ(more.size(), 4U);
    EXPECT_EQ(more.front().first, 13U);
}

TEST_F(DelayedAtRest, ARestartReadsNoneOfThemAndKnowsTheirTimes) {
    begin();
    publish({"a"}, {.delay = seconds{10}});
    publish({"b"}, at(seconds{20}));
    publish({"late"}, {.delay = milliseconds{2'500}});
    publish({"again"});
    durable->world->attach_receiver(9);
    static_cast<void>(delivered());
    const SettleRange range{4, 1, 1, Outcome::retry, 30'000};
    durable->channel().settle(link_of(9), {&range, 1}, 0);
    durable->channel().detach(link_of(9));
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    pass(seconds{3});
    const Lines before{"1 a 7000", "2 b 17000", "4 again 27000"};
    EXPECT_EQ(waiting(), before);
    EXPECT_EQ(peeked(MessageState::ready), Lines{"3/1 late"});
    restart_after({});
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(waiting(), before);
    EXPECT_EQ(peeked(MessageState::ready), Lines{"3/1 late"});
    durable->world->attach_receiver(9);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"late attempt 1"});
    for (const std::string line : {"a attempt 1", "b attempt 1", "again attempt 2"}) {
        EXPECT_EQ(delivered(), Lines{});
        pass(seconds{line[0] == 'a' && line[1] == ' ' ? 7 : 10});
        EXPECT_EQ(delivered(), Lines{line});
    }
}

TEST_F(DelayedAtRest, WhatIsDueSoonAfterARestartIsReadAheadToo) {
    begin();
    publish({"a"}, {.delay = seconds{10}});
    static_cast<void>(put_away());
    restart_after(seconds{9});
    durable->world->attach_receiver(9);
    pass(milliseconds{10});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{});
    pass(milliseconds{990});
    EXPECT_EQ(delivered(), Lines{"a attempt 1"});
}

TEST_F(DelayedAtRest, AfterADowntimeTheyAreGivenLateOrDropped) {
    for (const bool drops_late : {false, true}) {
        begin({.drops_late = drops_late});
        publish({"a"}, {.delay = seconds{10}});
        publish({"b"}, {.delay = seconds{100}});
        static_cast<void>(put_away());
        restart_after(seconds{50});
        durable->channel().tick();
        EXPECT_EQ(resident(), 0U);
        EXPECT_EQ(queue().ready(), drops_late ? 0U : 1U);
        EXPECT_EQ(waiting(), Lines{"2 b 50000"});
    }
}

TEST_F(DelayedAtRest, OneThatIsThereAndMustNotBeDroppedWasDueBeforeTheRestart) {
    begin({.drops_late = true});
    publish({"a"}, {.delay = seconds{10}});
    static_cast<void>(put_away());
    pass(seconds{11});
    publish({"newest"});
    restart_after(seconds{50});
    EXPECT_EQ(queue().ready(), 2U);
}

TEST_F(DelayedAtRest, WhatCameDueWhileTheBrokerWasThereIsNotLateAfterARestart) {
    for (const bool is_given : {false, true}) {
        for (const bool is_saved : {false, true}) {
            begin({.drops_late = true});
            durable->save();
            publish({"a"}, {.delay = seconds{10}});
            publish({"b"}, {.delay = seconds{30}});
            pass(seconds{11});
            if (is_given) {
                durable->world->attach_receiver(9);
                EXPECT_EQ(delivered(), Lines{"a attempt 1"});
            }
            static_cast<void>(durable->turn());
            static_cast<void>(durable->commit());
            is_saved ? durable->save() : void();
            restart_from_saved_after(seconds{50});
            durable->channel().tick();
            EXPECT_EQ(queue().ready(), 1U) << is_given << is_saved;
            EXPECT_EQ(queue().delayed(), 0U) << "b came due while nobody was there";
            durable->world->attach_receiver(9);
            EXPECT_EQ(delivered(), Lines{"a attempt 1"});
        }
    }
}

TEST_F(DelayedAtRest, WhatIsTriedAgainAndDueHasItsPlaceAtOnceAfterARestart) {
    begin();
    publish({"a"});
    publish({"b"});
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1"}));
    settle(1, 1, Outcome::started);
    settle(1, 1, Outcome::retry);
    EXPECT_EQ(queue().delayed(), 1U);
    restart_after(seconds{3'600});
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"a attempt 2", "b attempt 1"}));
}

TEST_F(DelayedAtRest, WhatIsTooOldAfterADowntimeIsNotGiven) {
    begin({.age_max = seconds{10}});
    publish({"a"});
    restart_after(seconds{11});
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{}) << "before the first pulse of the clock, too";
    EXPECT_EQ(queue().counters().expired, 1U);
}

TEST_F(DelayedAtRest, ScheduledOnesFollowTheWallClockAlsoOnTheDisk) {
    begin();
    publish({"a"}, at(seconds{1'000}));
    static_cast<void>(put_away());
    restart_after({});
    durable->world->attach_receiver(9);
    durable->world->clock.set_wall({durable->world->clock.wall_now().us + 2'000'000'000});
    durable->channel().tick();
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"a attempt 1"});
}

TEST_F(DelayedAtRest, InFrontOfAReaderTheyAreInNobodysWay) {
    begin();
    publish({"first"});
    publish({"a", "b"}, {.delay = seconds{10}});
    publish({"c"}, {.delay = seconds{12}});
    publish({"last"});
    static_cast<void>(durable->turn());
    static_cast<void>(durable->relocate(KeepAhead{.bytes = 1'000'000}));
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {.bytes = 1'000'000}), 0U);
    EXPECT_EQ(resident(), 17U) << "what is ready";
    const Lines held{"2 a 10000", "3 b 10000", "4 c 12000"};
    EXPECT_EQ(waiting(), held);
    restart();
    EXPECT_EQ(resident(), 17U);
    EXPECT_EQ(waiting(), held);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 first", "5/1 last"}));
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"first attempt 1", "last attempt 1"}));
    pass(seconds{9});
    EXPECT_EQ(read(), 1U);
    pass(seconds{3});
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1", "c attempt 1"}));
    settle(1, 5, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(DelayedAtRest, TheyCanBeDroppedMovedAndExpire) {
    begin({.quarantines_expired = true});
    publish({"a"}, {.delay = seconds{10}});
    publish({"b"}, {.delay = seconds{10}});
    publish({"c"}, {.ttl = seconds{5}, .delay = seconds{10}});
    publish({"d"}, {.delay = seconds{10}});
    static_cast<void>(put_away());
    const Offset one[] = {1};
    EXPECT_EQ(drop_these(queue(), MessageState::delayed, one), 1U);
    const Offset two[] = {2};
    const MoveWish wish{.state = MessageState::delayed, .offsets = two, .messages_max = 10, .bytes_max = 1'000};
    const MoveStep before = queue().begin_move(wish);
    ASSERT_TRUE(before.wanted);
    durable->channel().on_block_read(*before.wanted, durable->store.read(*before.wanted));
    const MoveStep step = queue().begin_move(wish);
    ASSERT_EQ(step.parts.size(), 1U);
    EXPECT_EQ(step.parts[0].due.us - durable->world->clock.wall_now().us, 10'000'000);
    queue().finish_move(2, false);
    EXPECT_EQ(waiting(), (Lines{"2 b 10000", "3 c 10000", "4 d 10000"}));
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U);
    pass(seconds{6});
    EXPECT_EQ(resident(), 0U) << "it expires without being read";
    EXPECT_EQ(peeked(MessageState::quarantined), Lines{"3/1 c "});
    EXPECT_EQ(drop_all(queue(), MessageState::delayed), 2U);
    EXPECT_EQ(drop_all(queue(), MessageState::quarantined), 1U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
}

TEST_F(DelayedAtRest, AfterARestartATimeToLiveIsLookedAtWhenItIsRead) {
    begin();
    publish({"a"}, {.ttl = seconds{5}, .delay = seconds{10}});
    publish({"b"}, {.ttl = seconds{15}, .delay = seconds{10}});
    static_cast<void>(put_away());
    restart();
    pass(seconds{11});
    durable->world->attach_receiver(9);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(queue().ready(), 1U);
    EXPECT_EQ(peeked(MessageState::ready), Lines{"2/1 b"});
    durable->channel().set_credit(link_of(9), {0, 0});
    pass(seconds{5});
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(DelayedAtRest, OrderByKeyRemembersTheKeyOfARetriedMessageAndAdmitsWhatIsLate) {
    begin({.is_ordered_by_key = true});
    publish({"a"}, {.key = "k"});
    durable->world->attach_receiver(9);
    static_cast<void>(delivered());
    const SettleRange range{1, 1, 1, Outcome::retry, 30'000};
    durable->channel().settle(link_of(9), {&range, 1}, 0);
    static_cast<void>(durable->turn());
    durable->channel().detach(link_of(9));
    publish({"b"}, {.key = "k", .delay = seconds{10}});
    static_cast<void>(durable->turn());
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    pass(seconds{11});
    durable->world->attach_receiver(9);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{}) << "it waits for the other one";
    pass(seconds{20});
    static_cast<void>(read());
    EXPECT_EQ(delivered(), Lines{"a attempt 2"});
    settle(1, 1, Outcome::done, 2);
    EXPECT_EQ(queue().in_flight(), 1U);
}

TEST_F(DelayedAtRest, ASubscriptionThatGoesTakesThemAlong) {
    begin({.kind = Kind::topic});
    subscribe({"stays", "goes"});
    publish({"a"}, {.delay = seconds{10}});
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    restart();
    EXPECT_EQ(resident(), 0U);
    pass(milliseconds{8'500});  // Wanted, and nobody has it read.
    static_cast<void>(durable->channel().unsubscribe(*durable->channel().find_subscription("goes")));
    EXPECT_EQ(waiting("stays"), Lines{"1 a 1500"});
    static_cast<void>(durable->channel().unsubscribe(*durable->channel().find_subscription("stays")));
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().next_pulse(), MonotonicTime::max()) << "nothing is left to be done";
}

TEST_F(DelayedAtRest, TimesAreTheSameForEachSubscriptionOfATopic) {
    begin({.kind = Kind::topic});
    subscribe({"one", "two"});
    publish({"a"}, {.delay = seconds{10}});
    static_cast<void>(put_away());
    pass(seconds{9});
    receive_from("one");
    EXPECT_EQ(read(), 1U);
    pass(seconds{1});
    EXPECT_EQ(delivered(), Lines{"a attempt 1"});
    settle(1, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 1U);
    durable->channel().detach(link_of(9));
    receive_from("two");
    EXPECT_EQ(delivered(), Lines{}) << "it has been given within the turn";
    settle(1, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

}  // namespace
}  // namespace baton::channel::test

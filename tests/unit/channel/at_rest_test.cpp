// Quarantined messages of durable channels out of memory and back: what can be done with them there, what is read for it, and
// in which order they come back.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

TEST_F(AtRest, QuarantinedMessagesLeaveMemoryAndCanBeLookedAt) {
    begin();
    publish({"a", "b"});
    publish({"c"});
    reject(1, 3);
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    const ChannelStats stats = durable->channel().stats();
    EXPECT_EQ(stats.stored, 3U);
    EXPECT_EQ(stats.bytes, 15U);
    EXPECT_EQ(stats.quarantined, 3U);
    EXPECT_EQ(peeked(MessageState::quarantined), (Lines{"1/1 a no", "2/1 b no", "3/1 c no"}));
    EXPECT_EQ(resident(), 0U) << "a look keeps nothing";
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    EXPECT_GT(durable->channel().next_pulse(), MonotonicTime{}) << "nothing is to be done for it with every pulse";
}

TEST_F(AtRest, WhatIsRetriedIsReadAndComesBackInOrderInFrontOfWhatCameLater) {
    begin();
    publish({"a", "b"});
    publish({"c"});
    reject(1, 3);
    static_cast<void>(put_away());
    publish({"later"});
    EXPECT_EQ(retry_all(queue()), 3U);
    EXPECT_EQ(queue().ready(), 4U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nobody wants it";
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{}) << "the later one would overtake";
    EXPECT_EQ(durable->channel().stats().wait.reason, WaitReason::loading);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b", "3/1 c", "4/1 later"}));
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1", "c attempt 1", "later attempt 1"}));
    settle(1, 4, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
}

TEST_F(AtRest, ARetryOfVeryManyReadsAheadByBudgetInOrder) {
    begin();
    const std::string large(30'000, 'x');
    for (int i = 0; i < 40; ++i) {
        publish({large, large});
    }
    ASSERT_EQ(durable->channel().stats().stored, 80U);
    reject(1, 80);
    EXPECT_EQ(put_away(), 10U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(retry_all(queue()), 80U);
    durable->world->attach_receiver(9, {8, 1'000'000'000});
    EXPECT_EQ(delivered(), Lines{});
    const auto wanted = durable->channel().take_wanted_blocks(500'000);
    ASSERT_EQ(wanted.size(), 3U);
    EXPECT_EQ(wanted[0].first, 1U);
    EXPECT_EQ(wanted[1].first, 9U);
    EXPECT_EQ(wanted[2].first, 17U);
    EXPECT_FALSE(durable->channel().wants_blocks(500'000)) << "they are under way";
    durable->channel().on_block_read(wanted[1], durable->store.read(wanted[1]));
    EXPECT_EQ(delivered(), Lines{}) << "the first one is not there yet";
    durable->channel().on_block_read(wanted[0], durable->store.read(wanted[0]));
    EXPECT_EQ(delivered().size(), 8U);
    durable->channel().on_block_read(wanted[2], durable->store.read(wanted[2]));
    EXPECT_FALSE(durable->channel().wants_blocks(480'000)) << "no credit is left";
    for (Offset at = 1; at <= 80; ++at) {
        settle(at, 1, Outcome::done);
        durable->channel().set_credit(link_of(9), {8 + at, 1'000'000'000});
        static_cast<void>(read(500'000));
        static_cast<void>(durable->turn());
        EXPECT_LE(resident(), 1'000'000U);
    }
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(AtRest, AFewAmongManyThatAreSettledShareABlock) {
    begin();
    for (int i = 1; i <= 100; ++i) {
        publish({"word " + std::to_string(i)});
    }
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    for (Offset offset = 1; offset <= 100; ++offset) {
        settle(offset, 1, offset % 10 == 0 ? Outcome::reject : Outcome::done);
    }
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    const Lines all = peeked(MessageState::quarantined);
    ASSERT_EQ(all.size(), 10U);
    EXPECT_EQ(all[3], "40/1 word 40 no");
    restart();
    EXPECT_EQ(resident(), 0U) << "a restart reads none of them";
    EXPECT_EQ(peeked(MessageState::quarantined), all);
    EXPECT_EQ(durable->channel().stats().stored, 10U);
    const Offset one[] = {40};
    EXPECT_EQ(queue().retry(one), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"word 40 attempt 1"});
    settle(40, 1, Outcome::done);
    // The others go again, and without a look at them.
    durable->channel().evict(UINT64_MAX, {});
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(drop_all(queue(), MessageState::quarantined), 9U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
}

TEST_F(AtRest, BatchesOfWhichOnlyAPartIsInQuarantineAreReadBackAsTheyAre) {
    begin();
    publish({"a", "b", "c", "d"});
    publish({"e", "f"});
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(1, 1, Outcome::done);
    settle(2, 2, Outcome::reject);
    settle(5, 1, Outcome::reject);
    settle(6, 1, Outcome::done);
    const auto blocks = durable->relocate();  // The fourth one is with its receiver,
    EXPECT_EQ(blocks.size(), 2U);
    EXPECT_EQ(durable->channel().evict(UINT64_MAX, {}), 10U) << "so the other batch goes alone";
    settle(4, 1, Outcome::reject);            // and now nothing is.
    durable->channel().pack_remnants({.factor = 0, .slack = 0});
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U);
    EXPECT_EQ(peeked(MessageState::quarantined), (Lines{"2/1 b no", "3/1 c no", "4/1 d no", "5/1 e no"}));
    EXPECT_EQ(durable->channel().stats().bytes, 20U);
    EXPECT_EQ(retry_all(queue()), 4U);
    EXPECT_EQ(read(), 2U);
    EXPECT_EQ(durable->channel().stats().bytes, 20U);
    EXPECT_EQ(delivered(), (Lines{"b attempt 1", "c attempt 1", "d attempt 1", "e attempt 1"}));
}

TEST_F(AtRest, OrderPriorityAndTimeToLiveAreLookedAtWhenItIsBack) {
    begin({.quarantines_expired = true, .is_ordered_by_key = true});
    publish({"a"}, {.key = "k"});
    publish({"b"}, {.key = "k"});
    publish({"old"}, {.ttl = std::chrono::milliseconds{0}});
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(1, 1, Outcome::reject);
    settle(2, 1, Outcome::reject);
    ASSERT_EQ(queue().quarantined(), 3U);
    durable->channel().detach(link_of(9));
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    restart();
    EXPECT_EQ(resident(), 0U) << "also with rules";
    EXPECT_EQ(retry_all(queue()), 3U);
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "old attempt 1"})) << "the other one of the key waits";
    settle(1, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 2U);
    settle(2, 2, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(AtRest, ARestartBetweenTheRetryAndTheReadForgetsNeither) {
    begin();
    publish({"a", "b", "c"});
    reject(1, 3);
    static_cast<void>(put_away());
    const Offset two[] = {1, 2};
    EXPECT_EQ(queue().retry(two), 2U);
    static_cast<void>(durable->turn());
    restart();
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(queue().ready(), 2U);
    EXPECT_EQ(queue().quarantined(), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1"}));
}

TEST_F(AtRest, WhatWaitsForTheDiskCanBeDroppedAndPurged) {
    begin({.is_ordered_by_key = true});
    publish({"a"}, {.key = "k"});
    publish({"b"}, {.key = "k"});
    reject(1, 2);
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(2, 1, Outcome::reject);
    durable->channel().detach(link_of(9));
    static_cast<void>(put_away());
    EXPECT_EQ(retry_all(queue()), 2U);
    const Offset one[] = {1};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, one), 1U);
    EXPECT_EQ(purge(durable->channel()), 1U);
    EXPECT_EQ(queue().ready(), 0U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    publish({"c"}, {.key = "k"});
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{"c attempt 1"});
}

TEST_F(AtRest, ChosenReadyMessagesOnTheDiskCanBeDropped) {
    begin();
    publish({"a", "b", "c"});
    publish({"d"});
    static_cast<void>(put_away());
    ASSERT_EQ(durable->channel().resident_bytes(), 0U);
    const Offset chosen[] = {2, 9, 4, 2};
    Sweep sweep;
    const auto read = durable->store.reader();
    EXPECT_EQ(durable->channel().drop(queue(), MessageState::quarantined, chosen, sweep, read), 0U);
    EXPECT_EQ(durable->channel().resident_bytes(), 0U) << "they are not in quarantine: nothing is read";
    sweep = {};
    EXPECT_EQ(durable->channel().drop(queue(), MessageState::ready, chosen, sweep, read), 2U);
    EXPECT_EQ(sweep.next, 4U);
    EXPECT_EQ(queue().counters().dropped, 2U);
    restart();
    EXPECT_EQ(queue().ready(), 2U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "c attempt 1"}));
}

TEST_F(AtRest, WhatIsTooOldExpiresOnTheDiskAndMakesRoom) {
    for (const bool is_restarted : {false, true}) {
        SCOPED_TRACE(is_restarted);
        begin({.messages_max = 3, .age_max = std::chrono::seconds{10}});
        publish({"a", "b"});
        pass(std::chrono::seconds{5});
        publish({"c"});
        static_cast<void>(put_away());
        if (is_restarted) {
            restart();
            durable->world->clock.advance(std::chrono::seconds{5});  // It is a new one.
        }
        pass(std::chrono::seconds{6});
        EXPECT_EQ(durable->channel().stats().expired, 0U) << "a block is as old as its newest message";
        pass(std::chrono::seconds{5});
        EXPECT_EQ(durable->channel().stats().expired, 3U);
        EXPECT_EQ(durable->channel().stats().stored, 0U);
        publish({"d"});
        durable->world->attach_receiver(9);
        EXPECT_EQ(delivered(), Lines{"d attempt 1"}) << "nothing had to be read for it";
    }
}

TEST_F(AtRest, AMoveReadsWhatItTakes) {
    begin();
    publish({"a", "b"});
    reject(1, 2);
    static_cast<void>(put_away());
    const MoveWish wish{.state = MessageState::quarantined,
                        .offsets{},
                        .is_all = true,
                        .until = UINT64_MAX,
                        .messages_max = 10,
                        .bytes_max = 1'000};
    const MoveStep before = queue().begin_move(wish);
    EXPECT_TRUE(before.parts.empty());
    ASSERT_TRUE(before.wanted);
    durable->channel().on_block_read(*before.wanted, durable->store.read(*before.wanted));
    const MoveStep step = queue().begin_move(wish);
    ASSERT_EQ(step.parts.size(), 2U);
    EXPECT_EQ(words_of(step.parts[1].run.region()), Lines{"b"});
    EXPECT_EQ(durable->channel().evict(UINT64_MAX, {}), 0U) << "its bytes are needed";
    queue().finish_move(1, true);
    queue().finish_move(2, false);
    EXPECT_EQ(queue().quarantined(), 1U);
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U);
    EXPECT_EQ(peeked(MessageState::quarantined), Lines{"2/1 b no"});
}

TEST_F(AtRest, OfATopicOneSubscriptionHasItInQuarantineAndAnotherOneInFrontOfIt) {
    begin({.kind = Kind::topic});
    subscribe({"fast", "slow"});
    publish({"a", "b"});
    publish({"c"});
    receive_from("fast");
    settle(1, 2, Outcome::reject);
    settle(3, 1, Outcome::done);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->relocate());
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U);
    EXPECT_EQ(resident(), 0U);
    const Lines held{"1/1 a no", "2/1 b no"};
    EXPECT_EQ(peeked(MessageState::quarantined, "fast"), held);
    restart();
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(peeked(MessageState::quarantined, "fast"), held);
    receive_from("slow");
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "b attempt 1", "c attempt 1"}));
    settle(1, 3, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 2U) << "the batch that the other one holds something of";
    EXPECT_GT(durable->channel().evict(UINT64_MAX, {}), 0U);
    EXPECT_EQ(peeked(MessageState::quarantined, "fast"), held);
    EXPECT_EQ(drop_all(*durable->channel().find_subscription("fast"), MessageState::quarantined), 2U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(AtRest, ASubscriptionThatGoesTakesItAlong) {
    begin({.kind = Kind::topic});
    subscribe({"s"});
    publish({"a", "b"});
    receive_from("s");
    settle(1, 2, Outcome::reject);
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    const Offset one[] = {1};
    EXPECT_EQ(durable->channel().find_subscription("s")->retry(one), 1U);
    static_cast<void>(durable->channel().unsubscribe(*durable->channel().find_subscription("s")));
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
}

TEST_F(AtRest, ABlockThatCannotBeReadDamagesTheChannelWhenItIsNeeded) {
    begin();
    publish({"a"});
    reject(1, 1);
    static_cast<void>(put_away());
    EXPECT_EQ(retry_all(queue()), 1U);
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    const auto wanted = durable->channel().take_wanted_blocks(1);
    ASSERT_EQ(wanted.size(), 1U);
    durable->channel().on_block_read(wanted[0], {});
    EXPECT_NE(durable->channel().damage().find("cannot be read"), std::string::npos);
}

TEST_F(AtRest, InAStreamItStaysInMemory) {
    begin({.kind = Kind::stream});
    subscribe({"s"});
    publish({"a"});
    receive_from("s");
    settle(1, 1, Outcome::reject);
    static_cast<void>(durable->relocate());
    EXPECT_EQ(durable->channel().evict(UINT64_MAX, {}), 0U);
    EXPECT_EQ(peeked(MessageState::quarantined, "s"), Lines{"1/1 a no"});
}

}  // namespace
}  // namespace baton::channel::test

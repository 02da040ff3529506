// Order by key and memory: what waits behind a busy key is on the disk, what nobody has asked for yet is too, and whatever is read
// late keeps its place in its key and holds up no other.
#include <gtest/gtest.h>

#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

struct OrderedAtRest : AtRest {
    const std::string large = std::string(60'000, 'x');  ///< Four of them fill a block.

    void begin_ordered(Kind kind = Kind::queue) { begin({.kind = kind, .is_ordered_by_key = true}); }
    /// What is given then.
    [[nodiscard]] Lines publish_now(const std::string& word, const std::string& key) {
        builder.append(as_bytes(word), encode_properties({.key = key}).value());
        durable->channel().publish(link_of(1), ++sequence, builder.take(pool));
        durable->channel().announce_credit(link_of(1));
        durable->log->commit_to(durable->log->submitted());
        durable->channel().on_committed();
        return delivered();
    }
    void receive(std::uint64_t messages = 1'000) {
        durable->world->attach_receiver(9, {messages, 1'000'000'000});
        given = messages;
    }
    void want(std::uint64_t more) { durable->channel().set_credit(link_of(9), {given += more, 1'000'000'000}); }
    /// "a" is with a receiver; others of its key wait behind it, on the disk.
    void block_key(const Lines& others) {
        publish({"a"}, {.key = "k"});
        publish(others, {.key = "k"});
        receive();
        EXPECT_EQ(delivered(), Lines{"a attempt 1"});
        static_cast<void>(durable->turn());
        static_cast<void>(durable->commit());
        EXPECT_EQ(put_away(), 1U);
        EXPECT_EQ(resident(), size_of_a);
    }
    static constexpr std::uint64_t size_of_a = 11;
    std::uint64_t given = 0;
};

TEST_F(OrderedAtRest, WhatWaitsBehindABusyKeyLeavesMemoryAndComesBackInOrder) {
    begin_ordered();
    block_key({"b", "c"});
    EXPECT_EQ(queue().ready(), 2U);
    EXPECT_EQ(durable->channel().stats().stored, 3U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"2/1 b", "3/1 c"}));
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nobody needs them yet";
    EXPECT_EQ(publish_now("x", "l"), Lines{"x attempt 1"}) << "a busy key holds up no other";
    settle(1, 1, Outcome::done);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(publish_now("d", "k"), Lines{}) << "it is not its turn";
    EXPECT_EQ(publish_now("y", "m"), Lines{"y attempt 1"}) << "nor does one that has to be read";
    EXPECT_EQ(queue().ready(), 3U);
    EXPECT_EQ(durable->channel().stats().in_flight, 2U);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"b attempt 1"});
    settle(2, 1, Outcome::give_back);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(queue().in_flight(), 3U) << "it was given again";
    settle(2, 1, Outcome::done);
    settle(3, 1, Outcome::done);
    settle(5, 1, Outcome::done);
    settle(4, 1, Outcome::done);
    settle(6, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
    EXPECT_EQ(queue().counters().settled, 6U);
    EXPECT_EQ(queue().counters().delivered, 7U);
}

TEST_F(OrderedAtRest, WhatIsDroppedWhileItIsReadLetsGoOfItsKey) {
    begin_ordered();
    block_key({"b", "c", "d"});
    settle(1, 1, Outcome::done);
    const Offset second[] = {2};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, second), 1U);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"c attempt 1"});
    EXPECT_GT(durable->channel().stats().stored, 0U);
    settle(3, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 1U);
    settle(4, 1, Outcome::done);
    EXPECT_EQ(publish_now("e", "k"), Lines{"e attempt 1"});
}

TEST_F(OrderedAtRest, AllOfItCanBePurged) {
    begin_ordered();
    block_key({"b", "c", "d"});
    settle(1, 1, Outcome::done);
    EXPECT_EQ(purge(durable->channel()), 3U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().take_dead_blocks().size(), 1U);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    EXPECT_EQ(publish_now("e", "k"), Lines{"e attempt 1"});
}

TEST_F(OrderedAtRest, WhatTurnsOutToBeTooOldLetsGoOfItsKey) {
    begin({.age_max = std::chrono::seconds{10}, .is_ordered_by_key = true});
    block_key({"b"});
    pass(std::chrono::seconds{5});
    publish({"c"}, {.key = "k"});
    EXPECT_EQ(delivered(), Lines{});
    durable->world->clock.advance(std::chrono::seconds{6});  // Nobody has looked meanwhile.
    settle(1, 1, Outcome::done);
    static_cast<void>(read());
    EXPECT_EQ(delivered(), Lines{"c attempt 1"});
    EXPECT_EQ(queue().counters().expired, 1U);
    settle(3, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(OrderedAtRest, ATimeToLiveEndsBehindABusyKey) {
    begin_ordered();
    publish({"a"}, {.key = "k"});
    publish({"b"}, {.key = "k", .ttl = std::chrono::seconds{5}});
    publish({"c"}, {.key = "k", .ttl = std::chrono::seconds{50}});
    receive();
    EXPECT_EQ(delivered(), Lines{"a attempt 1"});
    static_cast<void>(durable->commit());
    EXPECT_EQ(put_away(), 1U) << "also with rules";
    EXPECT_EQ(resident(), size_of_a);
    pass(std::chrono::seconds{6});
    EXPECT_EQ(queue().counters().expired, 1U) << "behind a busy key, and on the disk";
    settle(1, 1, Outcome::done);
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"c attempt 1"});
    EXPECT_EQ(queue().counters().expired, 1U);
}

TEST_F(OrderedAtRest, WhatNobodyHasAskedForYetStaysInItsPlace) {
    begin_ordered();
    for (int i = 0; i < 40; ++i) {
        publish({large}, {.key = std::to_string(i)});
    }
    receive(1);
    EXPECT_EQ(delivered().size(), 1U);
    static_cast<void>(durable->commit());
    static_cast<void>(put_away());
    EXPECT_LT(resident(), 20U * large.size()) << "as much as was looked at";
    EXPECT_EQ(queue().ready(), 39U);
    for (int i = 1; i <= 40; ++i) {
        want(1);
        settle(static_cast<Offset>(i), 1, Outcome::done);
        static_cast<void>(durable->turn());
        while (read(1) > 0) {
            static_cast<void>(durable->turn());
        }
        static_cast<void>(put_away());
        EXPECT_LT(resident(), 25U * large.size());
    }
    EXPECT_EQ(queue().counters().settled, 40U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(OrderedAtRest, OneThatIsLateGetsItsTurnFromAReceiverThatIsAlwaysBusy) {
    begin_ordered();
    block_key({"b"});
    settle(1, 1, Outcome::done);  // Now it is to be read.
    durable->channel().set_credit(link_of(9), {1, 1'000'000});
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(publish_now("other " + std::to_string(i), std::to_string(i)), Lines{});
    }
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX));
    durable->channel().set_credit(link_of(9), {2, 1'000'000});
    EXPECT_EQ(delivered(), Lines{"other 0 attempt 1"});
    EXPECT_FALSE(queue().wants_messages());
    EXPECT_EQ(read(), 1U) << "others were given meanwhile";
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(read(), 0U);
    durable->channel().set_credit(link_of(9), {3, 1'000'000});
    EXPECT_EQ(delivered(), Lines{"b attempt 1"});
}

TEST_F(OrderedAtRest, ARestartReadsNothingAndKeepsTheOrder) {
    begin_ordered();
    publish({"a", "b"}, {.key = "k"});
    publish({"x"}, {.key = "l"});
    receive();
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "x attempt 1"}));
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    static_cast<void>(durable->commit());
    ASSERT_EQ(durable->relocate().size(), 1U);
    publish({"c"}, {.key = "k"});  // Is in the log.
    receive();
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "x attempt 1"}));
    settle(3, 1, Outcome::done);
    restart();
    EXPECT_EQ(resident(), size_of_a) << "the last one";
    EXPECT_EQ(queue().ready(), 3U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b", "4/1 c"}));
    receive();
    publish({"d"}, {.key = "k"});
    publish({"y"}, {.key = "m"});
    EXPECT_EQ(delivered(), Lines{}) << "the keys of the first ones are not known";
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "y attempt 1"}));
    restart();
    receive();
    static_cast<void>(read());
    EXPECT_EQ(delivered(), (Lines{"a attempt 1", "y attempt 1"}));
    settle(1, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 2U);
    settle(2, 1, Outcome::done);
    settle(4, 1, Outcome::done);
    settle(5, 1, Outcome::done);
    settle(6, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(OrderedAtRest, TimesCountBehindWhatHasNotBeenReadYet) {
    using std::chrono::seconds;
    for (const bool was_looked_at : {true, false}) {
        SCOPED_TRACE(was_looked_at);
        begin_ordered();
        publish({"a", "b"}, {.key = "k"});
        if (was_looked_at) {
            receive();
            EXPECT_EQ(delivered(), Lines{"a attempt 1"});
            durable->channel().detach(link_of(9));
            static_cast<void>(durable->turn());
            static_cast<void>(durable->commit());
        }
        ASSERT_EQ(durable->relocate().size(), 1U);
        restart();
        durable->channel().evict(UINT64_MAX, {});
        ASSERT_EQ(resident(), 0U);
        for (int i = 0; i < 2; ++i) {  // Also when what came then was there at a restart.
            publish({"short"}, {.key = "s", .ttl = seconds{1}});
            publish({"late"}, {.key = "l", .delay = seconds{100}});
            publish({"due"}, {.key = "d", .delay = seconds{1}});
            EXPECT_EQ(queue().delayed(), i == 0 ? 2U : 4U) << "the clock begins anew";
            pass(seconds{2});
            EXPECT_EQ(queue().counters().expired, 1U);
            EXPECT_EQ(queue().delayed(), 1U + i);
            EXPECT_EQ(queue().ready(), 3U + i);
            i == 0 ? restart() : void();
        }
        receive();
        Lines lines = delivered();
        while (read() > 0) {
            const Lines more = delivered();
            lines.insert(lines.end(), more.begin(), more.end());
        }
        EXPECT_EQ(lines, (Lines{"a attempt 1", "due attempt 1"})) << "b waits for its key, and so does the other due one";
    }
}

TEST_F(OrderedAtRest, WhatARestartHasNotReadCanBeDroppedAndPurged) {
    begin_ordered();
    block_key({"b", "c", "d"});
    restart();
    EXPECT_EQ(queue().ready(), 4U);
    const Offset third[] = {3};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, third), 1U);
    restart();
    receive();
    EXPECT_EQ(delivered(), Lines{"a attempt 1"});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{});
    settle(1, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 1U);
    restart();
    EXPECT_EQ(queue().ready(), 2U);
    EXPECT_EQ(purge(durable->channel()), 2U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    receive();
    EXPECT_EQ(publish_now("e", "k"), Lines{"e attempt 1"});
}

/// "a", of key "k", waits to be tried again in a minute, "b" behind it: both are on the disk.
struct OrderedRetryAtRest : OrderedAtRest {
    void SetUp() override {
        begin({.retry_first = minute, .retry_jitter_percent = 0, .is_ordered_by_key = true});
        publish({"a", "b"}, {.key = "k"});
        publish({"x"}, {.key = "l"});
        receive();
        EXPECT_EQ(delivered(), (Lines{"a attempt 1", "x attempt 1"}));
        retry(1);
        settle(3, 1, Outcome::done);
        EXPECT_EQ(put_away(), 1U);
        EXPECT_EQ(resident(), 0U);
        EXPECT_EQ(queue().delayed(), 1U);
    }
    void retry(std::uint32_t attempt) {
        const SettleRange range{1, 1, attempt, Outcome::retry, retry_by_back_off};
        durable->channel().settle(link_of(9), {&range, 1}, 0);
        static_cast<void>(durable->turn());
        static_cast<void>(durable->commit());
    }
    void expect_the_rest() {
        settle(1, 1, Outcome::done, 2);
        EXPECT_EQ(queue().in_flight(), 1U) << "b";
        settle(2, 1, Outcome::done);
        EXPECT_EQ(durable->channel().stats().stored, 0U);
        EXPECT_EQ(publish_now("c", "k"), Lines{"c attempt 1"}) << "the key is free";
    }
    static constexpr std::chrono::seconds minute{60};
};

TEST_F(OrderedRetryAtRest, IsReadAheadOfItsTime) {
    EXPECT_EQ(publish_now("y", "m"), Lines{"y attempt 1"});
    settle(4, 1, Outcome::done);
    pass(minute - std::chrono::seconds{1});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{});
    pass(std::chrono::seconds{2});
    EXPECT_EQ(delivered(), Lines{"a attempt 2"});
    expect_the_rest();
}

TEST_F(OrderedRetryAtRest, HoldsUpItsKeyUntilItHasBeenRead) {
    pass(minute * 2);
    EXPECT_EQ(publish_now("d", "k"), Lines{});
    EXPECT_EQ(publish_now("y", "m"), Lines{"y attempt 1"});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"a attempt 2"});
    settle(1, 1, Outcome::done, 2);
    EXPECT_EQ(queue().in_flight(), 2U) << "b and y";
    settle(2, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 2U) << "d and y";
}

TEST_F(OrderedRetryAtRest, IsTriedAgainSeveralTimes) {
    for (std::uint32_t attempt = 2; attempt < 5; ++attempt) {
        pass(std::chrono::hours{1});
        static_cast<void>(read());
        EXPECT_EQ(delivered(), Lines{"a attempt " + std::to_string(attempt)});
        retry(attempt);
        static_cast<void>(put_away());
        EXPECT_EQ(resident(), 0U);
    }
    pass(std::chrono::hours{1});
    static_cast<void>(read());
    EXPECT_EQ(delivered(), Lines{"a attempt 5"});
    settle(1, 1, Outcome::done, 5);
    EXPECT_EQ(queue().in_flight(), 1U) << "b";
}

TEST_F(OrderedRetryAtRest, LetsGoOfItsKeyWhenItIsDropped) {
    const Offset first[] = {1};
    EXPECT_EQ(drop_these(queue(), MessageState::delayed, first), 1U);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), Lines{"b attempt 1"});
    settle(2, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(publish_now("c", "k"), Lines{"c attempt 1"});
}

TEST_F(OrderedRetryAtRest, KeepsItsKeyOverARestart) {
    for (const bool was_read : {false, true}) {
        SCOPED_TRACE(was_read);
        restart();
        EXPECT_EQ(resident(), 0U) << "only its key was read";
        EXPECT_EQ(queue().delayed(), 1U);
        receive();
        EXPECT_EQ(publish_now(was_read ? "e" : "d", "k"), Lines{});
        static_cast<void>(read());
        EXPECT_EQ(delivered(), Lines{}) << "all of them have the key of the one that waits";
        static_cast<void>(put_away());
    }
    pass(minute * 2);
    static_cast<void>(read());
    EXPECT_EQ(delivered(), Lines{"a attempt 2"});
    settle(1, 1, Outcome::done, 2);
    EXPECT_EQ(queue().in_flight(), 1U) << "b";
    settle(2, 1, Outcome::done);
    static_cast<void>(read());
    static_cast<void>(delivered());
    EXPECT_EQ(queue().in_flight(), 1U) << "d";
}

TEST_F(OrderedRetryAtRest, IsLookedAtInItsPlaceWhenItWasDueDuringTheDowntime) {
    restart_after(minute * 2);
    durable->world->attach_sender(1);
    sequence = 0;
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(queue().delayed(), 0U);
    receive();
    EXPECT_EQ(publish_now("d", "k"), Lines{});
    static_cast<void>(read());
    EXPECT_EQ(delivered(), Lines{"a attempt 2"});
    settle(1, 1, Outcome::done, 2);
    EXPECT_EQ(queue().in_flight(), 1U) << "b";
}

TEST_F(OrderedAtRest, WithoutOrderAllOfItIsGiven) {
    begin_ordered();
    block_key({"b", "c"});
    settle(1, 1, Outcome::done);
    durable->options.is_ordered_by_key = false;
    durable->channel().reconfigure(durable->options);
    EXPECT_EQ(delivered(), Lines{});
    EXPECT_EQ(read(), 1U);
    EXPECT_EQ(delivered(), (Lines{"b attempt 1", "c attempt 1"}));
    settle(2, 2, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

struct OrderSwitchedOn : OrderedAtRest {
    void set_order(bool is_on) {
        durable->options.is_ordered_by_key = is_on;
        durable->channel().reconfigure(durable->options);
    }
    /// One after the other, as far as they are given. How many.
    int settle_all() {
        int count = 0;
        for (Lines held = (static_cast<void>(delivered()), peeked(MessageState::in_flight)); !held.empty();
             held = peeked(MessageState::in_flight)) {
            const auto& one = held.front();  // "3/2 c"
            settle(std::stoull(one), 1, Outcome::done, static_cast<std::uint32_t>(std::stoul(one.substr(one.find('/') + 1))));
            static_cast<void>(delivered());
            ++count;
        }
        return count;
    }
};

TEST_F(OrderSwitchedOn, WhatIsDelayedThenHasItsKeyWhenItIsDueAndLetsGoOfIt) {
    begin();
    publish({"late"}, {.key = "k", .delay = std::chrono::seconds{1}});
    set_order(true);
    publish({"a", "b"}, {.key = "k"});
    pass(std::chrono::seconds{2});
    receive();
    EXPECT_EQ(settle_all(), 3);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(OrderSwitchedOn, WhatIsTriedAgainMeanwhileAlso) {
    begin({.retry_jitter_percent = 0});
    publish({"a", "b"}, {.key = "k"});
    receive();
    EXPECT_EQ(delivered().size(), 2U);
    set_order(true);
    const SettleRange range{1, 1, 1, Outcome::retry, retry_by_back_off};
    durable->channel().settle(link_of(9), {&range, 1}, 0);
    set_order(false);
    set_order(true);
    publish({"c", "d"}, {.key = "k"});
    pass(std::chrono::minutes{2});
    EXPECT_EQ(settle_all(), 4);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(OrderSwitchedOn, AndOffBehindARestartLooksAtWhatIsInFrontOfWhatIsReady) {
    begin_ordered();
    publish({"a", "b"}, {.key = "k"});
    receive();
    EXPECT_EQ(delivered().size(), 1U);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    static_cast<void>(durable->commit());
    ASSERT_EQ(durable->relocate().size(), 1U);
    restart();
    set_order(false);
    publish({"x"});
    publish({"due"}, {.delay = std::chrono::seconds{1}});
    pass(std::chrono::seconds{2});
    receive();
    std::size_t given_then = delivered().size();
    while (read() > 0) {
        given_then += delivered().size();
    }
    EXPECT_EQ(given_then, 4U);
}

TEST_F(OrderSwitchedOn, AndOffBehindARestartReadsWhatNobodyHasLookedAtBeforeWhatWasPlaced) {
    begin_ordered();
    publish({large, "a"}, {.key = "k"});
    receive();
    EXPECT_EQ(delivered().size(), 1U);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    static_cast<void>(durable->commit());
    ASSERT_EQ(durable->relocate().size(), 1U);
    restart();
    set_order(false);
    for (int i = 0; i < 8; ++i) {
        publish({large}, {.ttl = std::chrono::hours{1}});
        static_cast<void>(put_away());
    }
    ASSERT_EQ(resident(), 0U);
    receive();
    std::size_t given_then = delivered().size();
    while (read(1) > 0) {
        given_then += delivered().size();
    }
    EXPECT_EQ(given_then, 10U);
}

TEST_F(OrderedAtRest, WithoutOrderWhatARestartHasNotReadIsGiven) {
    begin_ordered();
    block_key({"b", "c"});
    restart();
    durable->options.is_ordered_by_key = false;
    durable->channel().reconfigure(durable->options);
    receive();
    Lines all = publish_now("d", "k");
    EXPECT_EQ(read(), 1U);
    for (const std::string& line : delivered()) {
        all.push_back(line);
    }
    EXPECT_EQ(all, (Lines{"a attempt 1", "b attempt 1", "c attempt 1", "d attempt 1"}));
}

TEST_F(OrderedAtRest, OneSubscriptionBlocksAKeyAndTheOtherHasNotCome) {
    begin_ordered(Kind::topic);
    subscribe({"busy", "gone"});
    publish({"a"}, {.key = "k"});
    publish({"b", "c"}, {.key = "k"});
    receive_from("busy");
    static_cast<void>(durable->commit());
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), size_of_a);
    settle(1, 1, Outcome::done);
    EXPECT_EQ(read(1), 1U);
    EXPECT_EQ(durable->channel().find_subscription("busy")->in_flight(), 0U);
    static_cast<void>(durable->turn());
    EXPECT_EQ(durable->channel().find_subscription("busy")->in_flight(), 1U);
    settle(2, 1, Outcome::done);
    settle(3, 1, Outcome::done);
    EXPECT_EQ(durable->channel().find_subscription("gone")->ready(), 3U);
    static_cast<void>(durable->channel().unsubscribe(*durable->channel().find_subscription("gone")));
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(OrderedAtRest, AMoveTakesWhatWaitsAndWhatNobodyHasLookedAt) {
    begin_ordered();
    block_key({"b", "c"});
    publish({"d"}, {.key = "k"});
    static_cast<void>(durable->turn());
    const Offset offsets[] = {2, 3, 4};
    const MoveWish wish{.state = {}, .offsets = offsets, .messages_max = 100, .bytes_max = 1'000'000};
    MoveStep step = queue().begin_move(wish);
    ASSERT_TRUE(step.wanted);
    EXPECT_EQ(step.messages, 0U);
    durable->channel().on_block_read(*step.wanted, durable->store.read(*step.wanted));
    step = queue().begin_move(wish);
    EXPECT_TRUE(step.is_end);
    EXPECT_EQ(step.messages, 3U);
    queue().finish_move(2, true);
    queue().finish_move(3, false);
    queue().finish_move(4, true);
    EXPECT_EQ(queue().ready(), 1U);
    settle(1, 1, Outcome::done);
    EXPECT_EQ(queue().in_flight(), 1U);
    settle(3, 1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(OrderedAtRest, AMoveLooksAsFarAsTheMessageThatItTakes) {
    begin_ordered();
    for (int i = 0; i < 40; ++i) {
        publish({large}, {.key = std::to_string(i)});
    }
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    const Offset offsets[] = {40};
    const MoveWish wish{.state = {}, .offsets = offsets, .messages_max = 100, .bytes_max = 1'000'000};
    MoveStep step = queue().begin_move(wish);
    int reads = 0;
    for (; step.messages == 0 && step.wanted && reads < 20; ++reads) {
        durable->channel().on_block_read(*step.wanted, durable->store.read(*step.wanted));
        step = queue().begin_move(wish);
    }
    EXPECT_EQ(reads, 10);
    EXPECT_EQ(step.messages, 1U);
    queue().finish_move(40, true);
    EXPECT_EQ(queue().ready(), 39U);
}

}  // namespace
}  // namespace baton::channel::test

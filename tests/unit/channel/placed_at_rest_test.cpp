// Ready messages that have a priority or a time to live, or came back: they leave memory when it is short, keep their place, expire
// in time, and a restart does not read them.
#include <set>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"
#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;

struct PlacedAtRest : AtRest {
    void receive(std::uint64_t messages = 1'000) {
        durable->world->attach_receiver(9, {messages, 1'000'000'000});
        given = messages;
    }
    void want(std::uint64_t more) { durable->channel().set_credit(link_of(9), {given += more, 1'000'000'000}); }
    void publish_now(const std::string& word, const MessageProperties& properties) {
        properties.empty() ? builder.append(as_bytes(word)) : builder.append(as_bytes(word), encode_properties(properties).value());
        durable->channel().publish(link_of(1), ++sequence, builder.take(pool));
        durable->channel().announce_credit(link_of(1));
        durable->log->commit_to(durable->log->submitted());
        durable->channel().on_committed();
    }
    /// What is given when all that is wanted is read.
    [[nodiscard]] Lines given_in_the_end() {
        Lines lines = delivered();
        while (read() > 0) {
            const Lines more = delivered();
            lines.insert(lines.end(), more.begin(), more.end());
        }
        return lines;
    }
    std::uint64_t given = 0;
};

TEST_F(PlacedAtRest, TheyLeaveMemoryExpireThereAndComeBackInTheirOrder) {
    begin();
    publish({"a"}, {.ttl = seconds{50}});
    publish({"b"}, {.priority = std::uint8_t{3}});
    publish({"c"});
    publish({"d", "e"}, {.ttl = seconds{5}});
    publish({"f"}, {.priority = std::uint8_t{3}, .ttl = seconds{50}});
    EXPECT_GE(put_away(), 1U);
    EXPECT_EQ(put_away() + resident(), 0U);
    EXPECT_EQ(queue().ready(), 6U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/1 a", "2/1 b", "3/1 c", "4/1 d", "5/1 e", "6/1 f"}));
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nobody wants them";
    pass(seconds{6});
    EXPECT_EQ(queue().counters().expired, 2U);
    EXPECT_EQ(durable->channel().stats().stored, 4U) << "unread";
    receive();
    EXPECT_EQ(given_in_the_end(), (Lines{"b attempt 1", "f attempt 1", "a attempt 1", "c attempt 1"}));
    settle(1, 6, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(PlacedAtRest, ARestartReadsNothingAndKeepsPrioritiesAndTimes) {
    begin();
    publish({"a"}, {.ttl = seconds{50}});
    publish({"b"}, {.priority = std::uint8_t{3}});
    publish({"c"}, {.ttl = seconds{5}});
    static_cast<void>(put_away());
    restart();
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(queue().ready(), 3U);
    pass(seconds{6});
    EXPECT_EQ(queue().counters().expired, 1U);
    EXPECT_EQ(resident(), 0U);
    restart();
    EXPECT_EQ(queue().ready(), 2U);
    receive();
    EXPECT_EQ(given_in_the_end(), (Lines{"b attempt 1", "a attempt 1"}));
    settle(1, 2, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(PlacedAtRest, WhatExpiredWhileTheBrokerWasAwayIsNotGiven) {
    begin({.quarantines_expired = true});
    publish({"a"}, {.ttl = seconds{5}});
    publish({"b"}, {.ttl = seconds{500}});
    static_cast<void>(put_away());
    restart_after(seconds{6});
    receive();
    EXPECT_EQ(given_in_the_end(), Lines{"b attempt 1"});
    EXPECT_EQ(queue().quarantined(), 1U);
}

TEST_F(PlacedAtRest, WhatCameBackLeavesMemoryToo) {
    begin();
    publish({"a", "b", "c"});
    receive(2);
    EXPECT_EQ(delivered().size(), 2U);
    settle(1, 1, Outcome::started);
    EXPECT_EQ(put_away(), 0U) << "somebody holds it";
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    static_cast<void>(durable->commit());
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(peeked(MessageState::ready), (Lines{"1/2 a", "2/1 b", "3/1 c"}));
    restart();
    EXPECT_EQ(resident(), 0U);
    receive();
    EXPECT_EQ(read(), 1U);
    for (const Event& event : (durable->channel().dispatch(), durable->world->events.take())) {
        if (event.kind == Event::Kind::deliver) {
            EXPECT_TRUE(event.slice.redelivered || event.slice.first == 3) << event.slice.first;
        }
    }
    settle(1, 1, Outcome::done, 2);
    settle(2, 2, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(PlacedAtRest, NothingOvertakesThemButAHigherPriority) {
    begin();
    publish({"a"}, {.priority = std::uint8_t{3}});
    static_cast<void>(put_away());
    publish({"b"}, {.priority = std::uint8_t{3}});
    publish({"c"});
    receive();
    EXPECT_EQ(delivered(), Lines{}) << "it has to be read first";
    EXPECT_EQ(durable->channel().stats().wait.reason, WaitReason::loading);
    publish_now("d", {.priority = std::uint8_t{4}});
    EXPECT_EQ(delivered(), Lines{"d attempt 1"});
    EXPECT_EQ(given_in_the_end(), (Lines{"a attempt 1", "b attempt 1", "c attempt 1"}));
}

TEST_F(PlacedAtRest, TheyCanBeDroppedPurgedMovedAndRetried) {
    begin();
    publish({"a", "b", "c", "d", "e"}, {.priority = std::uint8_t{2}});
    static_cast<void>(put_away());
    const Offset second[] = {2};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, second), 1U);
    const MoveWish wish{.state = {}, .offsets = {}, .is_all = true, .until = 4, .messages_max = 100, .bytes_max = 1'000'000};
    auto step = queue().begin_move(wish);
    ASSERT_TRUE(step.wanted);
    durable->channel().on_block_read(*step.wanted, durable->store.read(*step.wanted));
    step = queue().begin_move(wish);
    ASSERT_EQ(step.messages, 2U);
    queue().finish_move(1, true);
    queue().finish_move(3, false);
    EXPECT_EQ(queue().ready(), 3U);
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(purge(durable->channel()), 3U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    publish({"k"}, {.priority = std::uint8_t{2}});
    reject(6, 1);
    EXPECT_EQ(retry_all(queue()), 1U);
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    restart();
    receive();
    EXPECT_EQ(given_in_the_end(), Lines{"k attempt 1"});
}

TEST_F(PlacedAtRest, OneSubscriptionHoldsTheBatchAndAnotherComesLate) {
    begin({.kind = Kind::topic});
    subscribe({"s", "t"});
    publish({"a", "b"}, {.priority = std::uint8_t{1}});
    receive_from("s");
    EXPECT_EQ(put_away(), 0U);
    settle(1, 1, Outcome::done);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    static_cast<void>(durable->commit());
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(peeked(MessageState::ready, "s"), Lines{"2/1 b"});
    EXPECT_EQ(peeked(MessageState::ready, "t"), (Lines{"1/1 a", "2/1 b"}));
    restart();
    EXPECT_EQ(resident(), 0U);
    receive_from("t");
    EXPECT_EQ(given_in_the_end(), (Lines{"a attempt 1", "b attempt 1"}));
}

TEST_F(PlacedAtRest, AFilterIsAskedBeforeTheyRest) {
    begin({.kind = Kind::topic});
    ASSERT_FALSE(durable->channel().subscribe({.name = "s", .filter = "x"}, {}));
    builder.append(as_bytes("a"), encode_properties({.key = "x"}).value());
    builder.append(as_bytes("b"), encode_properties({.key = "y"}).value());
    publish({"c"}, {.key = "x", .priority = std::uint8_t{1}});
    sequence += 2;
    EXPECT_EQ(put_away(), 1U);
    EXPECT_EQ(resident(), 0U);
    EXPECT_EQ(durable->channel().find_subscription("s")->ready(), 2U);
    receive_from("s");
    EXPECT_EQ(given_in_the_end(), (Lines{"c attempt 1", "a attempt 1"}));
}

TEST_F(PlacedAtRest, TimesToLiveOfWhatIsGoneAreForgotten) {
    begin();
    receive(1'000'000);
    for (int i = 1; i <= 20'000; ++i) {
        publish({"a"}, {.ttl = seconds{86'400}});
        static_cast<void>(delivered());
        settle(static_cast<Offset>(i), 1, Outcome::done);
    }
    EXPECT_LT(queue().expiries(), 2'000U);
    durable->channel().detach(link_of(9));
    for (int i = 0; i < 5'000; ++i) {
        publish({"b"}, {.ttl = seconds{10}});
    }
    EXPECT_LT(queue().expiries(), 10'000U);
    receive(4'000);
    std::size_t in_hand = 0;
    for (int i = 0; i < 20; ++i) {
        in_hand += delivered().size();
    }
    EXPECT_EQ(in_hand, 4'000U);
    for (int i = 0; i < 10'000; ++i) {  // Entries of those in hand are cleaned.
        publish({"c"}, {.ttl = seconds{10}});
    }
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    pass(seconds{11});
    for (int i = 0; i < 100 && durable->channel().stats().stored > 0; ++i) {
        pass(seconds{1});
    }
    EXPECT_EQ(queue().counters().expired, 15'000U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(PlacedAtRest, WhatOneSubscriptionHasDroppedDoesNotKeepTheOthersInMemory) {
    begin({.kind = Kind::topic});
    subscribe({"all"});
    ASSERT_FALSE(durable->channel().subscribe(
        {.name = "few", .filter{}, .overflow = Overflow::drop_newest, .backlog_max = 2}, {}));
    for (int i = 0; i < 10; ++i) {
        publish({"x"});
    }
    publish({"y", "z"});
    EXPECT_EQ(durable->channel().find_subscription("few")->ready(), 2U);
    static_cast<void>(put_away());
    static_cast<void>(put_away());
    EXPECT_EQ(resident(), 0U);
    receive_from("all");
    EXPECT_EQ(given_in_the_end().size(), 12U);
}

// Whenever a message is given it is the one with the highest priority, and of those the oldest; wherever it was. Of a queue, and of
// a subscription that has to look at each.
struct PlacedInOrder : PlacedAtRest, testing::WithParamInterface<bool> {
    void open() {
        begin({.kind = GetParam() ? Kind::topic : Kind::queue});
        if (GetParam()) {
            ASSERT_FALSE(durable->channel().subscribe({.name = "s", .filter = "k"}, {}));
        }
    }
    void attach() {
        ReceiverRequest request;
        request.subscription = GetParam() ? "s" : "";
        ASSERT_FALSE(durable->channel().attach_receiver(link_of(9), request));
        given = 0;
    }
    [[nodiscard]] std::uint64_t ready() { return durable->channel().find_subscription(GetParam() ? "s" : "")->ready(); }
    void give(const Lines& lines) {
        for (const std::string& line : lines) {
            ASSERT_FALSE(expected.empty());
            const Offset first = expected.begin()->second;
            ASSERT_EQ(line, std::to_string(first) + " attempt 1");
            expected.erase(expected.begin());
            settle(first, 1, Outcome::done);
        }
    }
    void publish_one(Prng& prng) {
        const auto priority = static_cast<std::uint8_t>(prng.below(3));
        MessageProperties properties;
        properties.key = "k";
        priority > 0 ? void(properties.priority = priority) : void();
        prng.chance(1, 3) ? void(properties.ttl = seconds{1'000}) : void();
        publish_now(std::to_string(next), properties);
        expected.emplace(-int{priority}, next++);
        give(given_in_the_end());
    }
    std::set<std::pair<int, Offset>> expected;  // Lower goes first.
    Offset next = 1;
};
INSTANTIATE_TEST_SUITE_P(Readers, PlacedInOrder, ::testing::Bool());

TEST_P(PlacedInOrder, WhateverLeavesMemory) {
    for (std::uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
        SCOPED_TRACE(seed);
        Prng prng{seed};
        open();
        attach();
        expected.clear();
        next = 1;
        bool was_on_disk = false;
        for (int i = 0; i < 300 && !HasFailure(); ++i) {
            const std::uint64_t dice = prng.below(10);
            if (dice < 5) {
                publish_one(prng);
            } else if (dice < 7) {
                static_cast<void>(put_away());
                was_on_disk = was_on_disk || (resident() == 0 && !expected.empty());
            } else if (dice < 8 && prng.chance(1, 4)) {
                restart();
                attach();
            } else {
                want(prng.below(6));
                give(given_in_the_end());
            }
            ASSERT_EQ(ready(), expected.size());
        }
        want(10'000);
        give(given_in_the_end());
        EXPECT_TRUE(expected.empty());
        EXPECT_TRUE(was_on_disk);
    }
}

}  // namespace
}  // namespace baton::channel::test

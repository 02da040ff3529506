// DELIVER, SETTLE, CREDIT of a receiver and STATE (docs/protocol.md, sections 8 and 10).
#include <algorithm>
#include <iterator>

#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

/// Five messages in a channel, a receiver on link 1; on one shard or across two.
class Receiving : public ::testing::TestWithParam<std::uint32_t> {
protected:
    explicit Receiving(const runtime::Limits& limits = {}) : dialogue{2, limits} {
        feeder.attach_sender(1, name);
        feeder.publish(1, 1, {"a", "b", "c", "d", "e"});
        static_cast<void>(feeder.hears());
        peer.attach_receiver(1, name);
        static_cast<void>(peer.hears());
    }

    void holds(std::uint64_t messages) {
        peer.credit(1, messages, 1'000'000);
        EXPECT_EQ(peer.hears("DELIVER").size(), 1U);
    }

    Dialogue dialogue;
    const std::string name = dialogue.world.name_on(GetParam());
    Peer& feeder = dialogue.greeted(1);
    Peer& peer = dialogue.greeted(0);
};
INSTANTIATE_TEST_SUITE_P(Shards, Receiving, ::testing::Values(0U, 1U));

constexpr std::uint8_t done = 1, give_back = 2, retry = 3, reject = 4, extend = 5, started = 6;

TEST_P(Receiving, GetsNothingWithoutCredit) {
    EXPECT_EQ(peer.hears(), Lines{});
    peer.credit(1, 2, 1000);
    EXPECT_EQ(peer.hears(), Lines{"DELIVER 1 #1 1-2: a b"});
    peer.credit(1, 1, 1000);  // Lowering takes nothing back.
    peer.settle(1, {{.first = 1, .count = 2}});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.credit(1, 3, 1000);
    EXPECT_EQ(peer.hears(), Lines{"DELIVER 1 #3 3: c"});
}

TEST_P(Receiving, ByteCreditCountsMessageRegions) {
    peer.credit(1, 100, 2 * (4 + 1));
    EXPECT_EQ(peer.hears(), Lines{"DELIVER 1 #1 1-2: a b"});
    peer.credit(1, 100, 2 * (4 + 1) + 4);
    EXPECT_EQ(peer.hears(), Lines{});
    peer.settle(1, {{.first = 1, .count = 2}});
    EXPECT_EQ(peer.hears(), Lines{"DELIVER 1 #3 3: c"});  // Alone, since it holds nothing.
}

TEST_P(Receiving, SettledIsSaidForAReceipt) {
    holds(5);
    peer.settle(1, {{.first = 1, .count = 1}});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.settle(1, {{.first = 2, .count = 1}}, 7);
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 7"});
    peer.at_once([&] {
        peer.settle(1, {{.first = 3, .count = 1}}, 8);
        peer.settle(1, {{.first = 4, .count = 1}}, 9);
    });
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 9"});
    EXPECT_EQ(peer.asks(name, {{"op", "channel.show"}})["channel"]["settled"], 4);
}

TEST_P(Receiving, RangesAreOneMessageEachOrMany) {
    holds(5);
    peer.settle(1, {{.first = 4, .count = 2}, {.first = 1, .count = 3}}, 1);
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 1"});
    peer.ask_state(1);
    EXPECT_EQ(peer.hears(), Lines{"STATE 1 no_message_credit, ready 0, held 0"});
}

TEST_P(Receiving, WhatItDoesNotHoldIsALostLease) {
    holds(2);
    peer.settle(1, {{.first = 1, .count = 5}});
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 0, 3-5 lost_lease"});
    peer.settle(1, {{.first = 1, .count = 1}});
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 0, 1 lost_lease"});
    peer.settle(1, {{.first = ~std::uint64_t{0}, .count = 0xffff'ffff}}, 3);
    EXPECT_EQ(peer.hears().front().substr(0, 11), "SETTLED 1 3");
}

TEST_P(Receiving, AnotherAttemptNumberIsALostLease) {
    holds(1);
    peer.settle(1, {{.first = 1, .count = 1, .attempt = 2}});
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 0, 1 lost_lease"});
}

TEST_P(Receiving, MessagesThatWaitOrAreQuarantinedAreNotHeld) {
    holds(3);
    peer.settle(1,
                {{.first = 1, .count = 1, .outcome = retry},
                 {.first = 2, .count = 1, .outcome = reject},
                 {.first = 3, .count = 1, .outcome = extend}},
                4);
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 1 4"});
    peer.ask_state(1);
    EXPECT_EQ(peer.hears(), Lines{"STATE 1 no_message_credit, ready 2, held 1"});
}

TEST_P(Receiving, OutcomesThatDoNotExistFailTheLink) {
    for (const std::uint8_t outcome : {std::uint8_t{0}, std::uint8_t{7}, std::uint8_t{255}}) {
        holds(3);
        peer.settle(1, {{.first = 1, .count = 1, .outcome = done}, {.first = 2, .count = 1, .outcome = outcome}});
        EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_frame"});
        peer.attach_receiver(1, name);
        EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
        // All or nothing: the first range was not applied.
        EXPECT_EQ(feeder.asks(name, {{"op", "channel.show"}})["channel"]["ready"], 5);
    }
}

TEST_P(Receiving, ASettleOfTheWrongFormFailsTheLink) {
    peer.frame({.type = wire::FrameType::settle, .link = 1}, "23 bytes are not enough");
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_frame"});
    peer.attach_receiver(1, name);
    peer.frame({.type = wire::FrameType::settle, .link = 1});
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1", "ERROR 1 bad_frame"}));
    peer.attach_receiver(1, name);
    peer.frame({.type = wire::FrameType::credit, .link = 1}, "15 bytes, no...");
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1", "ERROR 1 bad_frame"}));
    peer.attach_receiver(1, name);
    peer.frame({.type = wire::FrameType::state, .link = 1}, "?");
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1", "ERROR 1 bad_frame"}));
}

TEST_P(Receiving, GivenBackComesAgainInItsOldPlace) {
    holds(3);
    peer.settle(1, {{.first = 2, .count = 1, .outcome = give_back}});
    peer.credit(1, 5, 1'000'000);
    EXPECT_EQ(peer.hears(), (Lines{"DELIVER 1 #4 2 again: b", "DELIVER 1 #5 4: d"}));
}

TEST_P(Receiving, OnlyStartedMessagesUseUpAnAttempt) {
    holds(3);
    peer.settle(1, {{.first = 1, .count = 1, .outcome = started}});
    peer.hangs_up();
    auto& next = dialogue.greeted(0);
    next.attach_receiver(1, name);
    next.credit(1, 3, 1'000'000);
    EXPECT_EQ(next.hears(), (Lines{"ATTACHED 1", "DELIVER 1 #1 1 attempt 2 again: a", "DELIVER 1 #2 2-3 again: b c"}));
    next.settle(1, {{.first = 1, .count = 1, .attempt = 1}});
    EXPECT_EQ(next.hears(), Lines{"SETTLED 1 0, 1 lost_lease"});
    next.settle(1, {{.first = 1, .count = 1, .attempt = 2}}, 1);
    EXPECT_EQ(next.hears(), Lines{"SETTLED 1 1"});
}

TEST_P(Receiving, DetachGivesBackWhatIsNotSettled) {
    holds(4);
    peer.settle(1, {{.first = 1, .count = 1}});
    peer.detach(1);
    EXPECT_EQ(peer.hears(), Lines{"DETACHED 1"});
    peer.attach_receiver(1, name);
    peer.credit(1, 10, 1'000'000);
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1", "DELIVER 1 #1 2-4 again: b c d", "DELIVER 1 #4 5: e"}));
}

TEST_P(Receiving, TheStateComesBehindEveryDelivery) {
    peer.at_once([&] {
        peer.credit(1, 10, 1'000'000);
        peer.ask_state(1);
    });
    EXPECT_EQ(peer.hears(), (Lines{"DELIVER 1 #1 1-5: a b c d e", "STATE 1 empty, ready 0, held 5"}));
    peer.settle(1, {{.first = 1, .count = 5}});
    peer.ask_state(1);
    EXPECT_EQ(peer.hears(), Lines{"STATE 1 empty, ready 0, held 0"});
}

TEST_P(Receiving, TheStateSaysSinceWhen) {
    peer.credit(1, 10, 1'000'000);
    static_cast<void>(peer.hears());
    dialogue.pass(std::chrono::milliseconds{1500});
    static_cast<void>(peer.hears());
    peer.ask_state(1);
    const auto frames = peer.take_frames();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(wire::decode_state(frames[0].body)->waiting_us, 1'500'000U);
}

TEST_P(Receiving, ManyExceptionsTravelInSeveralFrames) {
    holds(1);
    std::vector<wire::Settlement> nonsense;
    for (std::uint64_t i = 0; i < 5'000; ++i) {
        nonsense.push_back({.first = 100 + 2 * i, .count = 1});
    }
    peer.settle(1, nonsense, 6);
    std::size_t exceptions = 0;
    std::vector<std::uint64_t> receipts;
    for (const auto& heard : peer.take_frames()) {
        ASSERT_EQ(heard.header.type, wire::FrameType::settled);
        exceptions += wire::decode_settled(heard.body)->remaining();
        receipts.push_back(heard.header.sequence);
    }
    EXPECT_EQ(exceptions, 5'000U);
    ASSERT_GE(receipts.size(), 3U);  // More, if they are found in several steps.
    EXPECT_EQ(receipts.back(), 6U);
    EXPECT_EQ(std::ranges::count(receipts, 0U), std::ssize(receipts) - 1);
}

TEST_P(Receiving, ASliceThatIsLongerThanAFrameComesInSeveral) {
    auto& narrow = dialogue.greeted(0, R"({"frame_size_max":65552})");
    narrow.frame_size_max = 65'552;
    peer.detach(1);
    auto& large = dialogue.greeted(1);
    large.attach_sender(1, name);
    large.at_once([&] { large.publish(1, 1, {std::string(30'000, 'x'), std::string(30'000, 'y')}); });
    narrow.attach_receiver(1, name);
    narrow.credit(1, 100, 10'000'000);
    EXPECT_EQ(narrow.hears(),
              (Lines{"ATTACHED 1", "DELIVER 1 #1 1-5: a b c d e", "DELIVER 1 #6 6-7: <30000> <30000>"}));
    large.publish(1, 3, {std::string(1, 'x')});
    static_cast<void>(narrow.hears());
}

class SlowReaders : public Receiving {
protected:
    static runtime::Limits low_marks() {
        runtime::Limits limits;
        limits.outbox_high_water = 8 * 1024;
        limits.outbox_low_water = 4 * 1024;
        return limits;
    }
    SlowReaders() : Receiving{low_marks()} {}
};
INSTANTIATE_TEST_SUITE_P(Shards, SlowReaders, ::testing::Values(0U, 1U));

TEST_P(SlowReaders, GetNothingUntilTheyHaveCaughtUp) {
    peer.reads_at_most(0);
    feeder.publish(1, 6, {std::string(5'000, 'x')});
    feeder.publish(1, 7, {std::string(5'000, 'y')});
    peer.credit(1, 100, 1'000'000);
    feeder.publish(1, 8, {"late"});
    const auto show = [&] { return feeder.asks(name, {{"op", "channel.show"}})["channel"]; };
    EXPECT_EQ(show()["ready"], 1);
    EXPECT_EQ(show()["wait"]["reason"], "receivers_busy");
    peer.connection().write(3'000);
    dialogue.run();
    EXPECT_EQ(show()["ready"], 1);  // Between the marks: still slow.
    peer.reads_at_most(BrokerWorld::everything);
    peer.connection().write(BrokerWorld::everything);
    dialogue.run();
    EXPECT_EQ(show()["ready"], 0);
    EXPECT_EQ(peer.hears().back(), "DELIVER 1 #8 8: late");
}

TEST_P(SlowReaders, ALinkThatIsAttachedMeanwhileIsSlowToo) {
    peer.reads_at_most(0);
    feeder.publish(1, 6, {std::string(10'000, 'x')});
    peer.credit(1, 100, 1'000'000);
    peer.attach_receiver(2, name);
    peer.credit(2, 100, 1'000'000);
    feeder.publish(1, 7, {"late"});
    const Json shown = feeder.asks(name, {{"op", "channel.show"}})["channel"];
    EXPECT_EQ(shown["ready"], 1);
    for (const auto& link : shown["links"]) {
        if (link["role"] == "receiver") {
            EXPECT_EQ(link["wait"]["reason"], "slow_reader");
        }
    }
}

}  // namespace
}  // namespace baton::session::test

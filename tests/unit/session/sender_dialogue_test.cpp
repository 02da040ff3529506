// PUBLISH, CONFIRM and a sender's credit (docs/protocol.md, sections 6 to 8).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

/// Sender on link 1 of a channel; on one shard or across two.
class Sending : public ::testing::TestWithParam<std::uint32_t> {
protected:
    explicit Sending(const runtime::Limits& limits = {}) : dialogue{2, limits} {}

    Peer& sender(std::string_view options = {}) {
        auto& peer = dialogue.greeted(0);
        peer.attach_sender(1, name, options);
        static_cast<void>(peer.hears());
        return peer;
    }

    Dialogue dialogue;
    const std::string name = dialogue.world.name_on(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Shards, Sending, ::testing::Values(0U, 1U));

constexpr std::string_view some_producer = R"({"producer":"000102030405060708090a0b0c0d0e0f"})";

TEST_P(Sending, ConfirmsOncePerTurn) {
    auto& peer = sender();
    peer.at_once([&] {
        peer.publish(1, 1, {"a", "b"});
        peer.publish(1, 3, {"c"});
        peer.publish(1, 4, {"d"});
    });
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 4"});
    peer.publish(1, 5, {"e"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 5"});
}

// --- Confirms that nobody waits for

TEST_P(Sending, AConfirmThatNobodyWaitsForComesWithTheNextTick) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"a"});
    peer.publish_unwatched(1, 2, {"b", "c"});
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.pass(std::chrono::milliseconds{20});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 3"});
    dialogue.pass(std::chrono::milliseconds{20});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.publish_unwatched(1, 4, {"d"});
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.pass(std::chrono::milliseconds{20});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 4"});
}

TEST_P(Sending, AConfirmThatNobodyWaitsForComesWithTheOneOfALaterMessage) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"a"});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.publish(1, 2, {"b"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2"});
}

TEST_P(Sending, WhoWaitsIsConfirmedAlsoIfThereIsSomethingUnwatchedBehindIt) {
    auto& peer = sender();
    peer.at_once([&] {
        peer.publish(1, 1, {"a"});
        peer.publish_unwatched(1, 2, {"b"});
    });
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2"});
}

TEST_P(Sending, AConfirmThatNobodyWaitsForComesWithWhateverIsWritten) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"a"});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.frame({.type = wire::FrameType::ping, .sequence = 9});
    EXPECT_EQ(peer.hears(), (Lines{"PONG 9", "CONFIRM 1 up to 1"}));
}

TEST_P(Sending, AQuestionAsksForConfirms) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"a"});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.ask_state(1);
    EXPECT_EQ(peer.hears_sorted(), (Lines{"CONFIRM 1 up to 1", "STATE 1 none, ready 1, held 0"}));
    // Also if they are not there yet: here the channel hears of both at the same time.
    peer.at_once([&] {
        peer.publish_unwatched(1, 2, {"b"});
        peer.ask_state(1);
    });
    EXPECT_EQ(peer.hears("CONFIRM"), Lines{"CONFIRM 1 up to 2"});
    peer.publish_unwatched(1, 3, {"c"});
    EXPECT_EQ(peer.hears(), Lines{}) << "what comes behind the question is not meant";
}

TEST_P(Sending, ASenderDoesNotHaveToKeepMuchForConfirmsThatNobodyWaitsFor) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, std::vector<std::string>(255, "x"));
    EXPECT_EQ(peer.hears("CONFIRM"), Lines{});
    peer.publish_unwatched(1, 256, {"x"});
    EXPECT_EQ(peer.hears("CONFIRM"), Lines{"CONFIRM 1 up to 256"});
    peer.publish_unwatched(1, 257, {"x"});
    EXPECT_EQ(peer.hears("CONFIRM"), Lines{});
}

TEST_P(Sending, WhatIsRefusedIsToldAtOnce) {
    auto& admin = dialogue.greeted(1);
    EXPECT_EQ(admin.asks(name, {{"op", "channel.create"}, {"message_size_max", 3}})["ok"], true);
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"abc"});
    peer.publish_unwatched(1, 2, {"abcd"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2, 2 message_too_large"});
}

TEST_P(Sending, NothingIsHeldBackFromWhoDetachesOrWhileTheBrokerDrains) {
    auto& peer = sender();
    peer.publish_unwatched(1, 1, {"a"});
    peer.detach(1);
    EXPECT_EQ(peer.hears(), (Lines{"CONFIRM 1 up to 1", "DETACHED 1"}));
    peer.attach_sender(1, name);
    static_cast<void>(peer.hears());
    peer.publish_unwatched(1, 1, {"a"});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.connection().protocol().begin_drain(0);
    dialogue.run();
    EXPECT_EQ(peer.hears_sorted(), (Lines{"CONFIRM 1 up to 1", "GOAWAY"}));
    peer.publish_unwatched(1, 2, {"b"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2"});
}

TEST_P(Sending, AnUnwatchedDuplicateIsConfirmedAtOnce) {
    auto& peer = sender(some_producer);
    peer.publish(1, 1, {"a", "b"});
    static_cast<void>(peer.hears());
    peer.publish_unwatched(1, 1, {"a", "b"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2"});
}

TEST_P(Sending, DuplicatesAreConfirmedAgainAndNotStored) {
    auto& peer = sender(some_producer);
    peer.publish(1, 1, {"a", "b"});
    peer.publish(1, 1, {"a", "b"});
    peer.publish(1, 2, {"b", "c"});
    EXPECT_EQ(peer.hears(), (Lines{"CONFIRM 1 up to 2", "CONFIRM 1 up to 2", "CONFIRM 1 up to 3"}));
    EXPECT_EQ(peer.asks(name, {{"op", "channel.show"}})["channel"]["ready"], 3);
}

TEST_P(Sending, AProducerGoesOnAfterReconnecting) {
    auto& before = sender(some_producer);
    before.publish(1, 1, {"a", "b"});
    before.hangs_up();
    auto& after = dialogue.greeted(1);
    after.attach_sender(9, name, some_producer);
    EXPECT_EQ(after.hears_sorted(), (Lines{"ATTACHED 9 last 2", "CREDIT 9 1024 65536"}));
    after.publish(9, 3, {"c"});
    EXPECT_EQ(after.hears(), Lines{"CONFIRM 9 up to 3"});
}

TEST_P(Sending, AGapFailsTheLink) {
    auto& peer = sender();
    peer.at_once([&] {
        peer.publish(1, 1, {"a"});
        peer.publish(1, 3, {"c"});
    });
    EXPECT_EQ(peer.hears(), (Lines{"CONFIRM 1 up to 1", "ERROR 1 sequence_gap"}));
}

TEST_P(Sending, ABatchOfTheWrongFormFailsTheLinkBehindWhatWasConfirmed) {
    auto& peer = sender();
    auto wrong = std::string{as_text(peer.batch({"a", "b"}).bytes())};
    wrong[0] = 3;  // count
    peer.at_once([&] {
        peer.publish(1, 1, {"a"});
        peer.frame({.type = wire::FrameType::publish, .link = 1, .sequence = 2}, wrong);
    });
    // Across shards the link is taken back before the confirm of the same turn arrives: its outcome is unknown.
    const auto lines = peer.hears();
    EXPECT_EQ(lines.back(), "ERROR 1 bad_batch");
    EXPECT_EQ(lines.size(), GetParam() == 0 ? 2U : 1U);
    peer.publish(1, 2, {"b"});  // Ignored.
    EXPECT_EQ(peer.hears(), Lines{});
    peer.attach_sender(1, name);
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 1", "CREDIT 1 1024 65536"}));
}

TEST_P(Sending, GoingBeyondCreditFailsTheLink) {
    auto& peer = sender();
    peer.publish(1, 1, std::vector<std::string>(1025, "x"));
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 over_credit"});
    EXPECT_EQ(peer.asks(name, {{"op", "channel.show"}})["channel"]["ready"], 0);
}

TEST_P(Sending, PublishBeforeAttachedFailsTheLink) {
    auto& peer = dialogue.greeted(0);
    peer.at_once([&] {
        peer.attach_sender(1, name);
        peer.publish(1, 1, {"a"});
    });
    const auto lines = peer.hears();
    // On the session's own shard the credit has been promised, only not been read.
    EXPECT_EQ(std::ranges::count(lines, "ERROR 1 over_credit"), GetParam() == 0 ? 0 : 1);
}

TEST_P(Sending, AReceiversLinkDoesNotPublish) {
    auto& peer = dialogue.greeted(0);
    peer.attach_receiver(1, name);
    static_cast<void>(peer.hears());
    peer.publish(1, 1, {"a"});
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 protocol_violation"});
}

TEST_P(Sending, ASendersLinkNeitherSettlesNorGivesCredit) {
    auto& peer = sender();
    peer.settle(1, {{.first = 1, .count = 1}});
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 protocol_violation"});
    peer.attach_sender(2, name);
    static_cast<void>(peer.hears());
    peer.credit(2, 1, 1);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 2 protocol_violation"});
}

TEST_P(Sending, CreditFollowsWhatIsUsed) {
    auto& peer = sender();
    peer.publish(1, 1, std::vector<std::string>(600, "x"));
    const auto lines = peer.hears_sorted();
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0], "CONFIRM 1 up to 600");
    EXPECT_TRUE(lines[1].starts_with("CREDIT 1 ")) << lines[1];
}

TEST_P(Sending, AMessageAboveTheChannelsLimitIsAnException) {
    auto& admin = dialogue.greeted(1);
    EXPECT_EQ(admin.asks(name, {{"op", "channel.create"}, {"message_size_max", 3}})["ok"], true);
    auto& peer = sender();
    peer.publish(1, 1, {"abc", "abcd", "abcde", "ab"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 4, 2-3 message_too_large"});
}

class FullChannel : public Sending {
protected:
    static runtime::Limits tiny() {
        runtime::Limits limits;
        limits.channel_defaults.messages_max = 2;
        return limits;
    }
    FullChannel() : Sending{tiny()} {}
};
INSTANTIATE_TEST_SUITE_P(Shards, FullChannel, ::testing::Values(0U, 1U));

TEST_P(FullChannel, ParksAndSaysWhy) {
    auto& peer = dialogue.greeted(0);
    peer.attach_sender(1, name);
    EXPECT_EQ(peer.hears_sorted().size(), 2U);
    peer.publish(1, 1, {"a"});
    static_cast<void>(peer.hears());
    peer.publish(1, 2, {"b"});
    auto lines = peer.hears_sorted();
    EXPECT_EQ(lines, (Lines{"CONFIRM 1 up to 2", "STATE 1 full, ready 2, held 0"}));

    auto& receiver = dialogue.greeted(1);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1, 100);
    receiver.settle(1, {{.first = 1, .count = 1}});
    lines = peer.hears_sorted();
    ASSERT_FALSE(lines.empty());
    EXPECT_EQ(lines.back(), "STATE 1 none, ready 1, held 0");
}

TEST_P(Sending, ManyExceptionsTravelInSeveralConfirms) {
    auto& admin = dialogue.greeted(1);
    EXPECT_EQ(admin.asks(name, {{"op", "channel.create"}, {"message_size_max", 1}})["ok"], true);
    auto& peer = sender();
    std::uint64_t next = 1;
    // Enough traffic for a large window first.
    for (int i = 0; i < 60; ++i) {
        peer.publish(1, next, std::vector<std::string>(500, "x"));
        next += 500;
    }
    static_cast<void>(peer.hears());
    peer.at_once([&] {
        for (int i = 0; i < 50; ++i) {
            std::vector<std::string> words;
            for (int k = 0; k < 100; ++k) {
                words.insert(words.end(), {"x", "too long"});
            }
            peer.publish(1, next, words);
            next += words.size();
        }
    });
    std::uint64_t refused = 0;
    std::uint64_t confirmed = 0;
    std::size_t confirms = 0;
    for (const auto& heard : peer.take_frames()) {
        if (heard.header.type == wire::FrameType::confirm) {
            auto confirm = wire::decode_confirm(heard.body);
            for (wire::ConfirmException exception; confirm->exceptions.next(exception);) {
                refused += exception.count;
                EXPECT_LE(exception.first, heard.header.sequence);
            }
            EXPECT_GT(heard.header.sequence, confirmed);
            confirmed = heard.header.sequence;
            ++confirms;
        }
    }
    EXPECT_EQ(refused, 5000U);
    EXPECT_EQ(confirmed, next - 1);
    EXPECT_GE(confirms, 3U);
}

TEST_P(Sending, DrainRefusesNewMessagesAndNewSenders) {
    auto& peer = sender();
    for (auto& broker : dialogue.world.brokers) {
        broker->begin_drain();
    }
    dialogue.run();
    EXPECT_EQ(peer.hears(), Lines{"STATE 1 draining, ready 0, held 0"});
    peer.publish(1, 1, {"a", "b"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 2, 1-2 draining"});
    peer.attach_sender(2, name);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 2 draining"});
    peer.attach_receiver(3, name);
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 3"});
}

}  // namespace
}  // namespace baton::session::test

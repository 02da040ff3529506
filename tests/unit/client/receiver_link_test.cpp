// Receiving: credit in both forms, settlements, receipts, questions, and what a reconnect does to them.
#include <gmock/gmock.h>

#include "tests/unit/client/dialogue.hpp"
#include "tests/unit/client/settlement_range.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::FrameType;

std::vector<wire::Settlement> settlements_of(const Said& frame) {
    std::vector<wire::Settlement> ranges;
    auto reader = wire::decode_settle(frame.bytes());
    EXPECT_TRUE(reader.has_value());
    for (wire::Settlement settlement; reader && reader->next(settlement);) {
        ranges.push_back(settlement);
    }
    return ranges;
}

TEST(ReceiverLink, CreditFollowsAttachInTheSameLane) {
    Dialogue d;
    d.connect();
    d.protocol.open_receiver("a", true, {.messages = 10, .bytes = 1'000});
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].header.type, FrameType::attach);
    EXPECT_EQ(wire::decode_credit(frames[1].bytes()), (wire::CreditLimits{.messages = 10, .bytes = 1'000}));
}

TEST(ReceiverLink, DeliversInEverySplit) {
    for (std::size_t piece = 1; piece < 140; ++piece) {
        Dialogue d;
        d.connect();
        (void)d.receiver("a");
        (void)d.reported();
        d.piece_size = piece;
        d.deliver(1, 1, 41, {"one", "", "three"}, 2);
        ASSERT_THAT(d.reported(), ElementsAre("delivered L1 41 3")) << piece;
        const DeliveredBatch& batch = d.delivered.at(0);
        EXPECT_EQ(batch.attempt, 2U);
        EXPECT_TRUE(batch.is_redelivered);
        EXPECT_EQ(batch.epoch, 1U);
        MessageCursor cursor{batch.messages.bytes(), false};
        MessageView message;
        ASSERT_TRUE(cursor.next(message));
        EXPECT_EQ(as_text(message.payload), "one");
    }
}

TEST(ReceiverLink, ToppingUpWaitsForHalfAWindow) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a", {.messages = 4, .bytes = 1U << 20U});
    d.deliver(1, 1, 1, {"a", "b", "c", "d"});
    EXPECT_TRUE(d.protocol.settle(id, 1, range(1, 1, Outcome::done), 5));
    EXPECT_THAT(d.said_in_short(), ElementsAre("SETTLE 1#0"));
    EXPECT_TRUE(d.protocol.settle(id, 1, range(2, 1, Outcome::done), 5));
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(wire::decode_credit(frames[1].bytes()), (wire::CreditLimits{.messages = 6, .bytes = (1U << 20U) + 10}));
}

TEST(ReceiverLink, ToppingUpByBytes) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a", {.messages = 1'000, .bytes = 100});
    d.deliver(1, 1, 1, {std::string(46, 'x')});
    EXPECT_TRUE(d.protocol.settle(id, 1, range(1, 1, Outcome::done), 50));
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(wire::decode_credit(frames[1].bytes()), (wire::CreditLimits{.messages = 1'001, .bytes = 150}));
}

TEST(ReceiverLink, SettlementsOfATurnAreOneFrame) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a");
    d.deliver(1, 1, 10, {"a", "b", "c", "d", "e"});
    for (const std::uint64_t offset : {12U, 10U, 11U}) {
        d.protocol.settle(id, 1, range(offset, 1, Outcome::done), 5);
    }
    d.protocol.settle(id, 1, range(14, 1, Outcome::give_back), 5);
    d.protocol.settle(id, 1, range(13, 1, Outcome::started), 0);
    const Said settle = d.said_one(FrameType::settle);
    EXPECT_THAT(settlements_of(settle), ElementsAre(range(13, 1, Outcome::started), range(10, 3, Outcome::done),
                                                    range(14, 1, Outcome::give_back)));
}

TEST(ReceiverLink, ReceiptsHaveTheirOwnFrame) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a");
    d.deliver(1, 1, 10, {"a", "b"});
    (void)d.reported();
    d.protocol.settle(id, 1, range(10, 1, Outcome::done), 5);
    EXPECT_TRUE(d.protocol.settle_with_receipt(id, 1, range(11, 1, Outcome::done), 5, 77));
    EXPECT_THAT(d.said_in_short(), ElementsAre("SETTLE 1#0", "SETTLE 1#77"));
    d.feed([](Outbox& out) {
        const wire::SettleException lost{.first = 11, .count = 1, .attempt = 1, .status = wire::Status::lost_lease};
        wire::put_settled(out, 1, 77, std::span{&lost, 1});
    });
    EXPECT_THAT(d.reported(), ElementsAre("settled L1 77 1"));
}

TEST(ReceiverLink, WhatWasDeliveredBeforeAReconnectIsLost) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a", {.messages = 2, .bytes = 1'000});
    d.deliver(1, 1, 10, {"a"});
    d.protocol.settle(id, 1, range(10, 1, Outcome::started), 0);
    (void)d.reported();
    d.disconnect();
    EXPECT_THAT(d.reported(), ElementsAre("deliveries_lost L1"));
    EXPECT_FALSE(d.protocol.settle(id, 1, range(10, 1, Outcome::done), 5));
    d.connect();
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(wire::decode_credit(frames[1].bytes()), (wire::CreditLimits{.messages = 2, .bytes = 1'000}));
    d.attached(1);
    EXPECT_FALSE(d.protocol.settle(id, 1, range(10, 1, Outcome::done), 5));
    d.deliver(1, 1, 10, {"a"}, 2);
    EXPECT_EQ(d.delivered.back().epoch, 2U);
    EXPECT_TRUE(d.protocol.settle(id, 2, range(10, 1, Outcome::done, 2), 5));
    EXPECT_EQ(settlements_of(d.said_one(FrameType::settle)).size(), 1U);
}

TEST(ReceiverLink, OnDemandCreditIsWhatIsAskedFor) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a", {.messages = 1, .bytes = 1'000, .is_on_demand = true});
    const auto credit_after = [&](std::uint64_t wanted) {
        d.protocol.ask(id, wanted);
        return wire::decode_credit(d.said_one(FrameType::credit).bytes())->messages;
    };
    EXPECT_EQ(credit_after(2), 2U);
    d.deliver(1, 1, 10, {"a"});
    EXPECT_THAT(d.said(), IsEmpty());  // One is wanted still, and that is what the broker knows.
    EXPECT_EQ(credit_after(0), 1U);
    EXPECT_EQ(credit_after(1), 2U);
    d.disconnect();
    d.connect();
    EXPECT_EQ(wire::decode_credit(d.said_one(FrameType::credit).bytes())->messages, 1U);
}

TEST(ReceiverLink, QuestionsOutliveTheConnection) {
    Dialogue d;
    const LinkId id = d.protocol.open_receiver("a", true, {});
    d.protocol.ask_state(id);
    d.connect();
    (void)d.said();
    d.attached(1);
    EXPECT_THAT(d.said_in_short(), ElementsAre("STATE 1#0"));
    d.disconnect();
    d.connect();
    (void)d.said();
    d.attached(1);
    EXPECT_THAT(d.said_in_short(), ElementsAre("STATE 1#0"));
    (void)d.reported();
    d.feed([](Outbox& out) {
        wire::put_state(out, 1, {.reason = 1, .delayed = 2, .waiting_us = 0, .ready = 3, .in_flight = 0});
    });
    EXPECT_THAT(d.reported(), ElementsAre("state L1 3 2"));
}

std::string options_said(Dialogue& d) {
    const Said attach = d.said_one(FrameType::attach);
    return std::string{wire::decode_attach(attach.bytes())->options};
}

TEST(ReceiverLink, AStreamGoesOnBehindWhatIsDone) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_receiver("a", true, {}, R"({"from":"first"})");
    EXPECT_EQ(options_said(d), R"({"from":"first"})");
    d.attached(1, 0, R"({"kind":"stream","lease_ms":1000,"lease_max_ms":5000})");
    EXPECT_EQ(d.terms.lease, std::chrono::seconds{1});
    EXPECT_EQ(d.terms.lease_max, std::chrono::seconds{5});
    d.disconnect();
    d.connect();
    EXPECT_EQ(options_said(d), R"({"from":"first"})");  // Nothing has come yet.
    d.attached(1, 0, R"({"kind":"stream"})");
    d.deliver(1, 1, 10, {"a", "b", "c"});
    d.protocol.settle(id, 2, range(10, 1, Outcome::done), 5);
    d.protocol.settle(id, 2, range(11, 1, Outcome::retry), 5);
    d.protocol.settle(id, 2, range(12, 1, Outcome::reject), 5);
    d.disconnect();
    d.connect();
    EXPECT_EQ(options_said(d), R"({"from":{"offset":11}})");
    d.attached(1, 0, R"({"kind":"stream"})");
    d.deliver(1, 1, 11, {"b"});
    d.protocol.settle(id, 3, range(11, 1, Outcome::done), 5);
    d.disconnect();
    d.connect();
    EXPECT_EQ(options_said(d), R"({"from":{"offset":13}})");
}

TEST(ReceiverLink, ANamedSubscriptionIsRememberedByTheBroker) {
    Dialogue d;
    d.connect();
    const std::string options = R"({"subscription":"s"})";
    d.protocol.open_receiver("a", true, {}, options);
    EXPECT_EQ(options_said(d), options);
    d.attached(1, 0, R"({"kind":"stream","subscription":"s"})");
    d.deliver(1, 1, 10, {"a"});
    d.disconnect();
    d.connect();
    EXPECT_EQ(options_said(d), options);
}

TEST(ReceiverLink, ASlowSubscriberIsTold) {
    Dialogue d;
    d.connect();
    (void)d.receiver("a");
    (void)d.reported();
    d.error(1, wire::Status::slow_subscriber, wire::Severity::link, true);
    EXPECT_THAT(d.reported(), ElementsAre("deliveries_lost L1", "failed L1 slow_subscriber"));
}

TEST(ReceiverLink, NotesHaveFramesOfTheirOwn) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a");
    d.deliver(1, 1, 10, {"a", "b"});
    d.protocol.settle(id, 1, range(10, 2, Outcome::started), 0);
    EXPECT_TRUE(d.protocol.settle(id, 1, range(10, 1, Outcome::reject), 5, "why"));
    EXPECT_TRUE(d.protocol.settle_with_receipt(id, 1, range(11, 1, Outcome::reject), 5, 3, "why not"));
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 3U);
    EXPECT_EQ(frames[0].header.flags, 0);
    EXPECT_EQ(wire::decode_settle(frames[1].bytes(), frames[1].header.flags)->note, "why");
    EXPECT_EQ(wire::decode_settle(frames[2].bytes(), frames[2].header.flags)->note, "why not");
    EXPECT_EQ(frames[2].header.sequence, 3U);
}

TEST(ReceiverLink, DamageAndDisorderEndTheConnection) {
    Dialogue order;
    order.connect();
    (void)order.receiver("a");
    order.deliver(1, 2, 10, {"a"});
    EXPECT_TRUE(order.protocol.failure().has_value());

    Dialogue damage;
    damage.connect();
    (void)damage.receiver("a");
    damage.feed([&](Outbox& out) {
        const Payload whole = damage.batch({"abc"});
        BatchHeader header = *decode_batch_header(whole.bytes());
        header.crc32c ^= 1U;
        wire::put_deliver(out, 1, 1, 1, false, header, whole.slice(batch_header_size, header.messages_size));
    });
    EXPECT_TRUE(damage.protocol.failure().has_value());
    EXPECT_TRUE(damage.delivered.empty());
}

TEST(ReceiverLink, ClosingSettlesFirst) {
    Dialogue d;
    d.connect();
    const LinkId id = d.receiver("a");
    d.deliver(1, 1, 10, {"a", "b"});
    d.protocol.settle(id, 1, range(10, 1, Outcome::done), 5);
    d.protocol.close(id);
    EXPECT_THAT(d.said_in_short(), ElementsAre("SETTLE 1#0", "DETACH 1#0"));
    EXPECT_FALSE(d.protocol.settle(id, 1, range(11, 1, Outcome::done), 5));
}

}  // namespace
}  // namespace baton::client

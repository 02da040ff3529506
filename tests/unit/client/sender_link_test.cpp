// Sending: credit, confirms with exceptions, blocking, and sending again after a reconnect.
#include <gmock/gmock.h>

#include "tests/unit/client/dialogue.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using wire::FrameType;
using wire::Status;

std::vector<std::string> numbered(int first, int last) {
    std::vector<std::string> messages;
    for (int i = first; i <= last; ++i) {
        messages.push_back("m" + std::to_string(i));
    }
    return messages;
}

TEST(SenderLink, SendsNothingBeforeAttachedAndCredit) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_sender("a", true);
    EXPECT_EQ(d.protocol.publish(id, d.batch({"x"})), 1U);
    EXPECT_THAT(d.said_in_short(), ElementsAre("ATTACH 1#0"));
    d.credit(1, 10);  // Control frames may overtake ATTACHED.
    EXPECT_THAT(d.said(), IsEmpty());
    d.attached(1, 0, R"({"message_size_max":1000})");
    const Said publish = d.said_one(FrameType::publish);
    EXPECT_EQ(publish.header.sequence, 1U);
    EXPECT_THAT(Dialogue::messages_of(publish.bytes()), ElementsAre("x"));
    EXPECT_THAT(d.reported(), testing::Contains("attached L1 1000"));
}

TEST(SenderLink, CutsBatchesByMessageCredit) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a", 3);
    d.protocol.publish(id, d.batch(numbered(1, 8)));
    auto frames = d.said();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_THAT(Dialogue::messages_of(frames[0].bytes()), ElementsAre("m1", "m2", "m3"));
    d.credit(1, 7);
    frames = d.said();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].header.sequence, 4U);
    EXPECT_THAT(Dialogue::messages_of(frames[0].bytes()), ElementsAre("m4", "m5", "m6", "m7"));
    d.credit(1, 7);
    EXPECT_THAT(d.said(), IsEmpty());
    d.credit(1, 100);
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#8"));
}

TEST(SenderLink, CutsBatchesByByteCreditAndCountsHeaders) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_sender("a", true);
    (void)d.said();
    d.attached(1);
    const std::size_t message = 4 + 100;
    d.credit(1, 1'000, 2 * (batch_header_size + message));
    const std::string body(100, 'x');
    d.protocol.publish(id, d.batch({body, body, body}));
    auto frames = d.said();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(Dialogue::messages_of(frames[0].bytes()).size(), 2U);
    // 32 bytes are left: not enough. The rest waits.
    d.credit(1, 1'000, 4 * (batch_header_size + message));
    frames = d.said();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].header.sequence, 3U);
}

TEST(SenderLink, TakesMessagesOnlyWhileItCouldWriteThem) {
    Dialogue d;
    const LinkId id = d.protocol.open_sender("a", true);
    EXPECT_FALSE(d.protocol.takes_messages(id));
    d.connect();
    d.attached(1);
    EXPECT_THAT(d.reported(), ElementsAre("ready broker", "attached L1 0"));
    d.credit(1, 2);
    EXPECT_THAT(d.reported(), ElementsAre("takes L1"));
    EXPECT_TRUE(d.protocol.takes_messages(id));
    d.protocol.publish(id, d.batch({"a", "b"}));
    EXPECT_FALSE(d.protocol.takes_messages(id));
    (void)d.said();
    EXPECT_THAT(d.reported(), IsEmpty());
    d.confirm(1, 2);
    d.credit(1, 4);
    EXPECT_THAT(d.reported(), ElementsAre("confirmed L1 2 1", "takes L1"));
}

TEST(SenderLink, SaysThatNobodyWaitsAndAsksWhenSomebodyDoes) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    d.protocol.publish(id, d.batch({"x"}));
    EXPECT_EQ(d.said_one(FrameType::publish).header.flags, 0);
    d.protocol.await_confirms(id);
    EXPECT_THAT(d.said(), IsEmpty()) << "the broker knows";
    d.protocol.publish(id, d.batch({"y"}), ConfirmWhen::later);
    EXPECT_EQ(d.said_one(FrameType::publish).header.flags, wire::flag_confirm_later);
    d.protocol.await_confirms(id);
    d.protocol.await_confirms(id);
    EXPECT_THAT(d.said_in_short(), ElementsAre("STATE 1#0")) << "asked once";
    d.protocol.publish(id, d.batch({"z"}), ConfirmWhen::later);
    (void)d.said();
    d.confirm(1, 3);
    d.protocol.await_confirms(id);
    EXPECT_THAT(d.said(), IsEmpty()) << "nothing is left to wait for";
}

TEST(SenderLink, WhatIsNotWrittenWhenSomebodyWaitsSaysItByItself) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a", 1);
    d.protocol.publish(id, d.batch({"x", "y"}), ConfirmWhen::later);
    EXPECT_EQ(d.said_one(FrameType::publish).header.flags, wire::flag_confirm_later);
    d.protocol.await_confirms(id);
    EXPECT_THAT(d.said_in_short(), ElementsAre("STATE 1#0"));
    d.credit(1, 2);
    EXPECT_EQ(d.said_one(FrameType::publish).header.flags, 0);
    d.disconnect();
    d.connect();  // What was waited for is waited for still.
    d.attached(1);
    d.credit(1, 10);
    for (const Said& frame : d.said()) {
        EXPECT_EQ(frame.header.flags, 0) << wire::to_string(frame.header.type);
    }
}

TEST(SenderLink, ClosingWaitsForConfirms) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    d.protocol.publish(id, d.batch({"x"}), ConfirmWhen::later);
    (void)d.said();
    d.protocol.close(id);
    EXPECT_THAT(d.said_in_short(), ElementsAre("STATE 1#0"));
    d.confirm(1, 1);
    EXPECT_THAT(d.said_in_short(), ElementsAre("DETACH 1#0"));
}

TEST(SenderLink, ConfirmNamesWhatWasRefused) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    d.protocol.publish(id, d.batch(numbered(1, 9)));
    (void)d.said();
    (void)d.reported();
    d.confirm(1, 5,
              {{.first = 2, .count = 1, .status = Status::message_too_large},
               {.first = 4, .count = 2, .status = Status::message_too_large}});
    d.confirm(1, 9);
    EXPECT_THAT(d.reported(), ElementsAre("refused L1 2 1 message_too_large", "refused L1 4 2 message_too_large",
                                          "confirmed L1 5 1", "confirmed L1 9 1"));
}

TEST(SenderLink, AConfirmThatCannotBeIsAViolation) {
    for (const auto& exception : {wire::ConfirmException{.first = 0, .count = 1, .status = Status::draining},
                                  wire::ConfirmException{.first = 2, .count = 1, .status = Status::draining},
                                  wire::ConfirmException{.first = 1, .count = 0, .status = Status::draining}}) {
        Dialogue d;
        d.connect();
        d.protocol.publish(d.sender("a"), d.batch({"x"}));
        (void)d.said();
        d.confirm(1, 1, {exception});
        EXPECT_TRUE(d.protocol.failure().has_value());
    }
    Dialogue d;
    d.connect();
    (void)d.sender("a");
    d.confirm(1, 1);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST(SenderLink, SendsAgainWhatWasNotDecidedUnderTheSameNumbers) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_sender("a", true);
    const Said first_attach = d.said_one(FrameType::attach);
    d.attached(1);
    d.credit(1, 6);
    d.protocol.publish(id, d.batch(numbered(1, 4)));
    d.protocol.publish(id, d.batch(numbered(5, 8)));
    (void)d.said();
    d.confirm(1, 2);
    (void)d.reported();

    d.disconnect();
    d.protocol.publish(id, d.batch({"m9"}));
    d.connect();
    const Said second_attach = d.said_one(FrameType::attach);
    EXPECT_EQ(as_text(first_attach.bytes()), as_text(second_attach.bytes()));  // The same producer.
    d.attached(1, 5);  // The broker had decided more than it could tell.
    EXPECT_THAT(d.reported(), ElementsAre("ready broker", "attached L1 0", "confirmed L1 5 1"));
    d.credit(1, 100);
    std::vector<std::string> again;
    std::uint64_t next = 6;
    for (const Said& frame : d.said()) {
        EXPECT_EQ(frame.header.sequence, next);
        for (const std::string& message : Dialogue::messages_of(frame.bytes())) {
            again.push_back(message);
            ++next;
        }
    }
    EXPECT_EQ(again, numbered(6, 9));
    d.confirm(1, 9);
    EXPECT_THAT(d.reported(), ElementsAre("confirmed L1 9 1"));
}

TEST(SenderLink, ABrokerThatForgotTheProducerGetsEverythingUnconfirmed) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    d.protocol.publish(id, d.batch(numbered(1, 4)));
    (void)d.said();
    d.confirm(1, 2);
    d.disconnect();
    d.connect();
    (void)d.said();
    d.attached(1, 0);
    d.credit(1, 100);
    const Said publish = d.said_one(FrameType::publish);
    EXPECT_EQ(publish.header.sequence, 3U);
    EXPECT_EQ(Dialogue::messages_of(publish.bytes()), numbered(3, 4));
}

TEST(SenderLink, SaysHowSureItWantsToBeOnlyIfThatIsLessThanDurable) {
    Dialogue d;
    d.connect();
    d.protocol.open_sender("a", true);
    EXPECT_THAT(std::string{as_text(d.said_one(FrameType::attach).bytes())}, Not(HasSubstr("confirm")));
    d.protocol.open_sender("b", true, ConfirmLevel::received);
    EXPECT_THAT(std::string{as_text(d.said_one(FrameType::attach).bytes())}, HasSubstr(R"("confirm":"received")"));
}

TEST(SenderLink, WhatIsDecidedAtAttachHasTheLevelThatTheChannelGives) {
    struct Case {
        const char* settings;
        ConfirmLevel wish;
        const char* confirmed;
    };
    for (const auto& [settings, wish, confirmed] :
         {Case{R"({"storage":"durable"})", ConfirmLevel::durable, "confirmed L1 2 2"},
          Case{R"({"storage":"durable"})", ConfirmLevel::received, "confirmed L1 2 1"},
          Case{R"({"storage":"memory"})", ConfirmLevel::durable, "confirmed L1 2 1"},
          Case{R"({"storage":7})", ConfirmLevel::durable, "confirmed L1 2 1"}}) {
        Dialogue d;
        d.connect();
        const LinkId id = d.protocol.open_sender("a", true, wish);
        d.attached(1);
        d.credit(1, 100);
        d.protocol.publish(id, d.batch(numbered(1, 4)));
        (void)d.said();
        d.disconnect();
        d.connect();
        (void)d.reported();
        d.attached(1, 2, settings);
        EXPECT_THAT(d.reported(), ElementsAre("attached L1 0", confirmed)) << settings;
    }
}

// The broker lives, and what the old link had sent reached its disk after the new link was attached.
TEST(SenderLink, AConfirmMayBeAboutWhatAnEarlierConnectionSent) {
    for (const bool overtakes_attached : {false, true}) {
        Dialogue d;
        d.connect();
        const LinkId id = d.sender("a");
        d.protocol.publish(id, d.batch(numbered(1, 9)));
        (void)d.said();
        d.disconnect();
        d.connect();
        (void)d.said();
        (void)d.reported();
        if (overtakes_attached) {
            d.confirm(1, 7, {}, 2);
        }
        d.attached(1, 5);
        if (!overtakes_attached) {
            d.confirm(1, 7, {}, 2);
        }
        EXPECT_THAT(d.reported(), testing::Contains("confirmed L1 7 2"));
        d.credit(1, 100);
        const Said publish = d.said_one(FrameType::publish);
        EXPECT_EQ(publish.header.sequence, 8U);
        EXPECT_EQ(Dialogue::messages_of(publish.bytes()), numbered(8, 9));
        d.confirm(1, 10);
        EXPECT_TRUE(d.protocol.failure().has_value());
    }
}

// While it is sent again in pieces, the whole is confirmed: the pieces that are owed still go out.
TEST(SenderLink, AConfirmOfAMessageThatIsBeingSentAgainInFragmentsWaits) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    d.protocol.publish(id, d.batch({std::string(300'000, 'x')}));
    (void)d.said();
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 1); });
    while (!d.said().empty()) {
    }
    d.disconnect();
    d.connect();
    (void)d.said();
    d.attached(1);
    d.credit(1, 10);
    EXPECT_THAT(d.said_in_short(), ElementsAre("FRAGMENT 1#1"));
    (void)d.reported();
    d.confirm(1, 1, {}, 2);
    EXPECT_THAT(d.reported(), IsEmpty());
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 1); });
    std::size_t pieces = 0;
    for (auto frames = d.said(); !frames.empty(); frames = d.said()) {
        pieces += frames.size();
    }
    EXPECT_GT(pieces, 4U);
    d.confirm(1, 1, {}, 2);
    EXPECT_THAT(d.reported(), testing::Contains("confirmed L1 1 2"));
    EXPECT_FALSE(d.protocol.failure().has_value());
}

// It had confirmed them as received, died, and found fewer of them on its disk.
TEST(SenderLink, ABrokerThatLostConfirmedMessagesGetsTheOthersFromANewProducer) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_sender("a", true, ConfirmLevel::received);
    const Said first_attach = d.said_one(FrameType::attach);
    d.attached(1);
    d.credit(1, 100);
    d.protocol.publish(id, d.batch(numbered(1, 5)));
    (void)d.said();
    d.confirm(1, 4);
    d.disconnect();
    d.connect();
    (void)d.said();
    d.attached(1, 2);
    d.credit(1, 100);
    EXPECT_EQ(d.said_one(FrameType::publish).header.sequence, 5U);
    d.error(1, Status::sequence_gap, wire::Severity::link);
    EXPECT_TRUE(d.protocol.exists(id));
    d.clock.advance(std::chrono::milliseconds{100});
    d.protocol.tick(d.clock.now());
    EXPECT_NE(d.said_one(FrameType::attach).body, first_attach.body);
    d.attached(1, 0);
    d.credit(1, 100);
    const Said publish = d.said_one(FrameType::publish);
    EXPECT_EQ(publish.header.sequence, 5U);
    EXPECT_EQ(Dialogue::messages_of(publish.bytes()), numbered(5, 5));
    d.error(1, Status::sequence_gap, wire::Severity::link);
    EXPECT_FALSE(d.protocol.exists(id)) << "a gap without a reason is a fault";
}

TEST(SenderLink, DecidedNumbersThatWereNeverSentAreAViolation) {
    Dialogue d;
    d.connect();
    d.protocol.open_sender("a", true);
    d.attached(1, 1);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST(SenderLink, TellsWhyItIsBlocked) {
    Dialogue d;
    d.connect();
    (void)d.sender("a");
    (void)d.reported();
    d.feed([](Outbox& out) {
        wire::put_state(out, 1, {.reason = 5, .waiting_us = 7, .ready = 0, .in_flight = 0});
        wire::put_state(out, 1, {.reason = 0, .waiting_us = 0, .ready = 0, .in_flight = 0});
    });
    EXPECT_THAT(d.reported(), ElementsAre("blocked L1 full 7000", "blocked L1 none 0"));
}

TEST(SenderLink, ClosesWhenEverythingIsConfirmed) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a", 1);
    d.protocol.publish(id, d.batch({"x", "y"}));
    d.protocol.close(id);
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#1"));
    d.confirm(1, 1);
    d.credit(1, 2);
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#2"));
    d.confirm(1, 2);
    EXPECT_THAT(d.said_in_short(), ElementsAre("DETACH 1#0"));
    d.feed([](Outbox& out) { wire::put_detached(out, 1); });
    EXPECT_FALSE(d.protocol.exists(id));
}

TEST(SenderLink, LinksWriteInTurns) {
    Dialogue d;
    d.connect();
    const LinkId a = d.sender("a");
    const LinkId b = d.sender("b");
    d.protocol.publish(a, d.batch({"a1"}));
    d.protocol.publish(a, d.batch({"a2"}));
    d.protocol.publish(b, d.batch({"b1"}));
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#1", "PUBLISH 2#1", "PUBLISH 1#2"));
}

TEST(SenderLink, StopsFillingAnOutboxThatIsNotRead) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a", 100'000);
    for (int i = 0; i < 40; ++i) {
        d.protocol.publish(id, d.batch({std::string(30'000, 'x')}));
    }
    d.finish();
    EXPECT_LT(d.outbox.data_bytes(), ProtocolContext::outbox_data_max + 40'000);
    EXPECT_FALSE(d.protocol.takes_messages(id));
    std::size_t frames = 0;
    for (int i = 0; i < 10; ++i) {
        frames += d.said().size();
    }
    EXPECT_EQ(frames, 40U);
    EXPECT_THAT(d.reported(), testing::Contains("takes L1"));
}

}  // namespace
}  // namespace baton::client

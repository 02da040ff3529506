// The connection as a whole: handshake in every split, heartbeats, requests, errors, GOAWAY.
#include <gmock/gmock.h>

#include "tests/unit/client/dialogue.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::FrameType;
using wire::Severity;
using wire::Status;

TEST(Handshake, PreambleAndHelloGoOutTogether) {
    Dialogue d;
    d.protocol.on_connected(d.clock.now());
    std::array<iovec, 8> buffers{};
    const std::size_t count = d.outbox.gather(buffers, SIZE_MAX);
    ASSERT_GE(count, 1U);
    const Bytes bytes{static_cast<const std::byte*>(buffers[0].iov_base), buffers[0].iov_len};
    EXPECT_TRUE(wire::decode_client_preamble(bytes.first(wire::preamble_size)).has_value());
    const auto hello = wire::decode_frame(bytes.subspan(wire::preamble_size), 4'096);
    ASSERT_EQ(hello.status, wire::FrameStatus::complete);
    EXPECT_EQ(hello.frame.header.type, FrameType::hello);
    EXPECT_EQ(wire::decode_hello(hello.frame.body)->name, "me");
}

TEST(Handshake, WelcomeInEverySplit) {
    for (std::size_t piece = 1; piece < 300; piece += piece < 20 ? 1 : 37) {
        Dialogue d;
        d.piece_size = piece;
        d.connect();
        EXPECT_TRUE(d.protocol.is_ready()) << piece;
        EXPECT_THAT(d.reported(), ElementsAre("ready broker")) << piece;
    }
}

TEST(Handshake, NotABroker) {
    Dialogue d;
    d.open_connection();
    const Bytes http = as_bytes("HTTP/1.1 400 Bad Request\r\n");
    d.receive({http.begin(), http.end()});
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_THAT(d.protocol.failure()->text, testing::HasSubstr("not a Baton broker"));
}

TEST(Handshake, NoCommonVersionIsHopeless) {
    Dialogue d;
    d.open_connection();
    const auto preamble = wire::encode(wire::BrokerPreamble{.chosen = 0, .low = 2, .high = 3});
    d.receive({preamble.begin(), preamble.end()});
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.protocol.failure()->status, Status::unsupported_version);
    EXPECT_FALSE(d.protocol.failure()->is_retryable);
}

TEST(Handshake, TheBrokerMayRefuse) {
    Dialogue d;
    d.open_connection();
    const auto preamble = wire::encode(wire::BrokerPreamble{.chosen = 1});
    d.receive({preamble.begin(), preamble.end()});
    d.error(0, Status::too_many_connections, Severity::connection, true);
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.protocol.failure()->status, Status::too_many_connections);
    EXPECT_TRUE(d.protocol.failure()->is_retryable);
}

TEST(Handshake, SilenceFails) {
    Dialogue d;
    d.open_connection();
    EXPECT_EQ(d.protocol.next_deadline(), d.clock.now() + Heartbeat::handshake_timeout);
    d.clock.advance(Heartbeat::handshake_timeout);
    d.protocol.tick(d.clock.now());
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.protocol.failure()->status, Status::handshake_timeout);
}

TEST(ClientHeartbeat, PingsAfterHalfAnIntervalOfSilence) {
    Dialogue d;
    d.connect();
    d.clock.advance(std::chrono::milliseconds{4'999});
    d.protocol.tick(d.clock.now());
    EXPECT_THAT(d.said(), IsEmpty());
    d.clock.advance(std::chrono::milliseconds{1});
    d.protocol.tick(d.clock.now());
    EXPECT_EQ(d.said().size(), 1U);
    EXPECT_EQ(d.protocol.next_deadline(), d.clock.now() + std::chrono::seconds{5});
}

TEST(ClientHeartbeat, TwoSilentIntervalsEndTheConnection) {
    Dialogue d;
    d.connect();
    d.clock.advance(std::chrono::seconds{19});
    d.feed([](Outbox& out) { wire::put_pong(out, 0); });
    d.clock.advance(std::chrono::seconds{19});
    d.protocol.tick(d.clock.now());
    EXPECT_FALSE(d.protocol.failure().has_value());
    d.clock.advance(std::chrono::seconds{1});
    d.protocol.tick(d.clock.now());
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.protocol.failure()->status, Status::heartbeat_timeout);
}

TEST(ClientConnection, AnswersPing) {
    Dialogue d;
    d.connect();
    d.feed([](Outbox& out) { wire::put_ping(out, 77); });
    EXPECT_THAT(d.said_in_short(), ElementsAre("PONG 0#77"));
}

TEST(ClientConnection, RequestsWaitForTheConnectionAndAreLostWithIt) {
    Dialogue d;
    d.protocol.admin(RequestId{1}, "orders", R"({"op":"channel.show"})");
    d.protocol.ping(RequestId{2});
    d.connect();
    EXPECT_THAT(d.said_in_short(), ElementsAre("PING 0#2", "ADMIN 0#1"));
    d.feed([](Outbox& out) { wire::put_pong(out, 2); });
    EXPECT_THAT(d.reported(), ElementsAre("ready broker", "pong R2"));
    d.disconnect();
    EXPECT_THAT(d.reported(), ElementsAre("lost R1"));
}

TEST(ClientConnection, AdminRepliesFindTheirQuestion) {
    Dialogue d;
    d.connect();
    (void)d.reported();
    d.protocol.admin(RequestId{5}, {}, "{}");
    d.protocol.admin(RequestId{6}, {}, "{}");
    d.protocol.forget(RequestId{5});
    d.feed([](Outbox& out) {
        wire::put_admin_reply(out, 6, "six");
        wire::put_admin_reply(out, 5, "five");
    });
    EXPECT_THAT(d.reported(), ElementsAre("reply R6 six"));
}

TEST(ClientConnection, ARequestThatFitsIntoNoFrameIsNotSent) {
    Dialogue d;
    d.connect();
    (void)d.reported();
    d.protocol.admin(RequestId{1}, {}, std::string(300'000, ' '));
    EXPECT_THAT(d.reported(), ElementsAre("too_large R1"));
    EXPECT_THAT(d.said(), IsEmpty());
}

TEST(ClientConnection, UnknownFramesAreSkippedOnlyIfOptional) {
    Dialogue d;
    d.connect();
    const wire::FrameHeader unknown{
        .length = 3, .type = static_cast<FrameType>(99), .flags = wire::flag_optional, .link = 0, .sequence = 0};
    d.feed([&](Outbox& out) { wire::put_frame(out, unknown, as_bytes("abc")); });
    EXPECT_FALSE(d.protocol.failure().has_value());
    wire::FrameHeader needed = unknown;
    needed.flags = 0;
    d.feed([&](Outbox& out) { wire::put_frame(out, needed, as_bytes("abc")); });
    EXPECT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.said_one(FrameType::error).header.link, 0);
}

TEST(ClientConnection, AFrameForNoLinkIsAViolation) {
    Dialogue d;
    d.connect();
    d.credit(9, 1);
    ASSERT_TRUE(d.protocol.failure().has_value());
    EXPECT_EQ(d.protocol.failure()->status, Status::protocol_violation);
}

TEST(ClientConnection, AFrameThatIsTooLargeIsAViolation) {
    Dialogue d;
    d.connect();
    std::vector<std::byte> header(wire::frame_header_size);
    wire::encode({.length = 1U << 30U, .type = FrameType::deliver, .flags = 0, .link = 1, .sequence = 0},
                 header.data());
    d.receive(header);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST(Goaway, SendsNothingNewAndLeavesWhenAllIsSettled) {
    Dialogue d;
    d.connect();
    const LinkId out = d.sender("a");
    const LinkId in = d.receiver("b");
    d.protocol.publish(out, d.batch({"one"}));
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#1"));
    d.deliver(2, 1, 100, {"x"});
    (void)d.reported();

    d.feed([](Outbox& o) { Dialogue::put_json(o, FrameType::goaway, wire::encode(wire::Goaway{})); });
    EXPECT_THAT(d.reported(), ElementsAre("goaway draining"));
    d.protocol.publish(out, d.batch({"two"}));
    EXPECT_THAT(d.said(), IsEmpty());
    EXPECT_FALSE(d.protocol.takes_messages(out));
    EXPECT_FALSE(d.protocol.wants_close());

    d.confirm(1, 1);
    EXPECT_FALSE(d.protocol.wants_close());  // A delivery is still in hand.
    EXPECT_TRUE(d.protocol.settle(in, 1, {.first = 100, .count = 1, .attempt = 1, .outcome = 1, .argument = 0}, 5));
    EXPECT_EQ(d.said_in_short(), std::vector<std::string>{"SETTLE 2#0"});
    EXPECT_TRUE(d.protocol.wants_close());

    d.disconnect();
    d.connect();
    EXPECT_THAT(d.said_in_short(), ElementsAre("ATTACH 1#0", "ATTACH 2#0", "CREDIT 2#0"));
    d.attached(1, 1);
    d.credit(1, 10);
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#2"));
}

TEST(Goaway, WhatADrainingBrokerRefusesGoesToTheNextOneAsANewProducer) {
    Dialogue d;
    d.connect();
    d.protocol.open_sender("a", true);
    const Said first = d.said_one(FrameType::attach);
    d.attached(1);
    d.credit(1, 100);
    d.protocol.publish(LinkId{1}, d.batch({"a", "b", "c", "d"}));
    (void)d.said();
    d.confirm(1, 4, {{.first = 3, .count = 2, .status = Status::draining}});
    (void)d.reported();
    d.protocol.publish(LinkId{1}, d.batch({"e"}));
    d.confirm(1, 4);
    EXPECT_THAT(d.said(), IsEmpty());
    EXPECT_THAT(d.reported(), IsEmpty());

    d.disconnect();
    d.connect();
    const Said second = d.said_one(FrameType::attach);
    EXPECT_NE(as_text(first.bytes()), as_text(second.bytes()));
    d.attached(1, 0);
    d.credit(1, 100);
    const auto frames = d.said();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].header.sequence, 3U);
    EXPECT_THAT(Dialogue::messages_of(frames[0].bytes()), ElementsAre("c", "d"));
    EXPECT_THAT(Dialogue::messages_of(frames[1].bytes()), ElementsAre("e"));
}

TEST(LinkErrors, SomeAreForGoodAndSomeAreTriedAgain) {
    Dialogue d;
    d.connect();
    d.protocol.open_receiver("gone", false, {});
    d.protocol.open_receiver("later", true, {});
    d.protocol.open_sender("no room", true);
    const auto attach = d.said();
    EXPECT_THAT(std::string{as_text(attach[0].bytes())}, testing::HasSubstr(R"({"create":false})"));
    (void)d.reported();
    d.error(1, Status::not_found, Severity::link);
    d.error(2, Status::internal, Severity::link, true);
    d.error(3, Status::disk_full, Severity::link, true);  // Can last for days; nobody should wait without knowing.
    EXPECT_THAT(d.reported(),
                ElementsAre("deliveries_lost L1", "failed L1 not_found", "deliveries_lost L2", "failed L3 disk_full"));
    EXPECT_FALSE(d.protocol.exists(LinkId{1}));

    const auto retry_at = d.protocol.next_deadline();
    ASSERT_EQ(retry_at, d.clock.now() + std::chrono::milliseconds{100});
    d.clock.advance(std::chrono::milliseconds{100});
    d.protocol.tick(d.clock.now());
    EXPECT_THAT(d.said_in_short(), ElementsAre("ATTACH 2#0", "CREDIT 2#0"));
}

// An ATTACH of the last connection that was held up between two shards, and came after ours.
TEST(LinkErrors, WhoIsSupersededByItselfTriesAgain) {
    Dialogue d;
    d.connect();
    d.protocol.open_sender("a", true);
    const Said first = d.said_one(FrameType::attach);
    d.attached(1, 0);
    d.error(1, Status::superseded, Severity::link);
    d.clock.advance(std::chrono::milliseconds{100});
    d.protocol.tick(d.clock.now());
    EXPECT_EQ(d.said_one(FrameType::attach).body, first.body);
    EXPECT_TRUE(d.protocol.exists(LinkId{1}));
}

TEST(LinkErrors, LimitsOfTheBrokerAreCheckedHere) {
    Dialogue d;
    d.welcome_body.links_max = 1;
    d.connect();
    (void)d.reported();
    d.protocol.open_sender("", true);
    EXPECT_THAT(d.reported(), ElementsAre("failed L1 bad_name"));
    d.protocol.open_sender("a", true);
    d.protocol.open_sender("b", true);
    EXPECT_THAT(d.reported(), ElementsAre("failed L3 too_many_links"));
}

TEST(LinkNumbers, AreFreeAgainAfterDetached) {
    Dialogue d;
    d.connect();
    const LinkId first = d.receiver("a");
    d.protocol.close(first);
    EXPECT_THAT(d.said_in_short(), ElementsAre("DETACH 1#0"));
    d.protocol.open_receiver("b", true, {});
    EXPECT_EQ(d.said_one(FrameType::attach).header.link, 2);
    d.deliver(1, 1, 1, {"late"});  // Was on its way.
    d.feed([](Outbox& out) { wire::put_detached(out, 1); });
    d.protocol.open_receiver("c", true, {});
    EXPECT_EQ(d.said_one(FrameType::attach).header.link, 1);
    EXPECT_THAT(d.reported(), testing::Contains("closed L1"));
    EXPECT_FALSE(d.protocol.failure().has_value());
}

}  // namespace
}  // namespace baton::client

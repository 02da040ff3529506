// What concerns the whole connection: heartbeats, drain, unknown frames, frames that a client does not send, peers that
// do not read (docs/protocol.md, sections 3, 4 and 12).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::FrameType;

TEST(Heartbeats, PingsInEveryInterval) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted(0, R"({"heartbeat_ms":1000})");
    EXPECT_LE(peer.connection().protocol().deadline(), dialogue.world.clock.now() + seconds{1});
    for (int i = 0; i < 10; ++i) {
        dialogue.pass(milliseconds{500});
        EXPECT_EQ(peer.hears(), Lines{"PING"}) << i;
        peer.frame({.type = FrameType::pong});
    }
}

TEST(Heartbeats, AnsweredAtOnceWithTheSameToken) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.frame({.type = FrameType::ping, .sequence = 0xfeed});
    EXPECT_EQ(peer.hears(), Lines{"PONG 65261"});
}

TEST(Heartbeats, SilenceOverTwoIntervalsEndsTheConnection) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted(0, R"({"heartbeat_ms":1000})");
    peer.attach_receiver(1, "x");
    for (int i = 0; i < 4; ++i) {
        dialogue.pass(milliseconds{500});
    }
    EXPECT_FALSE(peer.is_told_to_go());
    dialogue.pass(milliseconds{500});
    EXPECT_EQ(peer.hears().back(), "ERROR connection heartbeat_timeout");
    EXPECT_EQ(dialogue.greeted().asks("x", {{"op", "channel.show"}})["channel"]["receivers"], 0);
    dialogue.pass(seconds{60});
    EXPECT_EQ(peer.hears(), Lines{});
}

TEST(Heartbeats, AnyFrameIsASignOfLife) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted(0, R"({"heartbeat_ms":1000})");
    peer.attach_receiver(1, "x");
    for (int i = 0; i < 10; ++i) {
        dialogue.pass(milliseconds{1900});
        EXPECT_FALSE(peer.is_told_to_go());
        peer.ask_state(1);
    }
}

TEST(Draining, SaysGoawayAndLetsReceiversSettle) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_sender(1, "x");
    peer.publish(1, 1, {"a", "b"});
    peer.attach_receiver(2, "x");
    peer.credit(2, 1, 100);
    static_cast<void>(peer.hears());
    dialogue.world.brokers[0]->begin_drain();
    peer.connection().protocol().begin_drain(750);
    dialogue.run();
    const auto frames = peer.take_frames();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].header.type, FrameType::goaway);
    const auto goaway = Json::parse(as_text(frames[0].body));
    EXPECT_EQ(goaway["code"], "draining");
    EXPECT_EQ(goaway["reconnect_after_ms"], 750);
    peer.credit(2, 10, 1000);
    EXPECT_EQ(peer.hears(), Lines{});
    peer.settle(2, {{.first = 1, .count = 1}}, 1);
    EXPECT_EQ(peer.hears(), Lines{"SETTLED 2 1"});
    EXPECT_EQ(dialogue.world.brokers[0]->in_flight(), 0U);
    peer.connection().protocol().fail_connection(wire::Status::draining, "bye");
    dialogue.run();
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection draining"});
}

TEST(UnknownFrames, AreSkippedIfTheyAreOptional) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "x");
    static_cast<void>(peer.hears());
    for (const auto link : std::vector<std::uint16_t>{0, 1, 500}) {
        peer.frame({.type = static_cast<FrameType>(200), .flags = wire::flag_optional, .link = link}, "whatever");
    }
    EXPECT_EQ(peer.hears(), Lines{});
    EXPECT_FALSE(peer.is_told_to_go());
}

TEST(UnknownFrames, FailTheLinkThatTheyName) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "x");
    static_cast<void>(peer.hears());
    peer.frame({.type = static_cast<FrameType>(200), .link = 1});
    peer.frame({.type = static_cast<FrameType>(200), .link = 1});
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 unknown_frame"});
    peer.attach_receiver(1, "x");
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST(UnknownFrames, EndTheConnectionOnLink0) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.frame({.type = static_cast<FrameType>(0)});
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection unknown_frame"});
}

TEST(UnknownFrames, OnALinkThatNeverWas) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.frame({.type = static_cast<FrameType>(200), .link = 4});
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
}

TEST(WrongFrames, AClientDoesNotSendWhatABrokerSends) {
    using enum FrameType;
    for (const auto type :
         {hello, welcome, attached, detached, confirm, deliver, settled, grant, goaway, admin_reply}) {
        Dialogue dialogue;
        auto& peer = dialogue.greeted();
        peer.attach_sender(1, "x");
        static_cast<void>(peer.hears());
        peer.frame({.type = type, .link = 1});
        EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"}) << to_string(type);
    }
}

TEST(WrongFrames, LongerThanAgreed) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted(0, R"({"frame_size_max":65552})");
    peer.frame({.type = FrameType::ping}, std::string(65'536, 'x'));
    EXPECT_EQ(peer.hears(), Lines{"PONG 0"});
    peer.frame({.type = FrameType::ping}, std::string(65'537, 'x'));
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection frame_too_large"});
}

TEST(Errors, OfTheConnectionEndIt) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "x");
    static_cast<void>(peer.hears());
    Outbox out{*dialogue.world.pools[0]};
    const auto error = [&](wire::Severity severity) {
        std::string body{"\x1c\0\0\0?\0\0\0", 8};
        body[4] = static_cast<char>(severity);
        peer.frame({.type = FrameType::error, .link = 1}, body);
    };
    error(wire::Severity::message);
    error(wire::Severity::link);
    EXPECT_FALSE(peer.is_told_to_go());
    error(wire::Severity::connection);
    EXPECT_EQ(peer.connection().close_reason(), wire::Status::internal);
    EXPECT_EQ(peer.hears(), Lines{});
}

TEST(Errors, WhatWasDecidedIsStillSaid) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_sender(1, "x");
    static_cast<void>(peer.hears());
    peer.at_once([&] {
        peer.publish(1, 1, {"a"});
        peer.frame({.type = FrameType::welcome});
        peer.publish(1, 2, {"b"});  // Not read any more.
    });
    EXPECT_EQ(peer.hears(), (Lines{"CONFIRM 1 up to 1", "ERROR connection protocol_violation"}));
    EXPECT_EQ(dialogue.greeted().asks("x", {{"op", "channel.show"}})["channel"]["ready"], 1);
}

// --- Peers that do not read
// --------------------------------------------------------------------------------------------

class NeverReading : public ::testing::Test {
protected:
    static runtime::Limits small() {
        runtime::Limits limits;
        limits.outbox_low_water = 16 * 1024;
        limits.outbox_high_water = 64 * 1024;
        limits.outbox_max = 128 * 1024;
        return limits;
    }
    /// Says it again and again until the broker has had enough. Returns how much was queued for it then.
    template <class Say>
    std::size_t insists(Say&& say) {
        peer.reads_at_most(0);
        for (int i = 0; i < 100'000 && !peer.is_told_to_go(); ++i) {
            say();
        }
        EXPECT_TRUE(peer.is_told_to_go());
        EXPECT_EQ(peer.connection().close_reason(), wire::Status::protocol_violation);
        return peer.connection().outbox().size_bytes();
    }

    Dialogue dialogue{2, small()};
    const std::string near = dialogue.world.name_on(0);
    const std::string far = dialogue.world.name_on(1);
    Peer& peer = dialogue.greeted(0);
};

TEST_F(NeverReading, Pings) {
    EXPECT_LE(insists([&] { peer.frame({.type = FrameType::ping}); }), 20'000U);
}
TEST_F(NeverReading, Questions) {
    peer.attach_receiver(1, far);
    EXPECT_LE(insists([&] { peer.ask_state(1); }), 200'000U);
}
TEST_F(NeverReading, AttachAndDetach) {
    EXPECT_LE(insists([&] {
                  peer.attach_sender(1, near);
                  peer.detach(1);
              }),
              200'000U);
}
TEST_F(NeverReading, RefusedAttach) {
    EXPECT_LE(insists([&] { peer.attach_sender(1, ""); }), 200'000U);
}
TEST_F(NeverReading, RefusedNumbers) {
    peer.attach_sender(60'000, near);
    EXPECT_LE(insists([&] { peer.detach(60'000); }), 200'000U);
}
TEST_F(NeverReading, Administration) {
    EXPECT_LE(insists([&] { peer.admin(1, near, R"({"op":"broker.show"})"); }), 200'000U);
}
TEST_F(NeverReading, AdministrationOfAnotherShardThatIsBusy) {
    dialogue.hold_mail = true;
    int asked = 0;
    EXPECT_LE(insists([&] {
                  peer.admin(1, far, R"({"op":"channel.show"})");
                  ++asked;
              }),
              200'000U);
    EXPECT_EQ(asked, 257);
    dialogue.let_mail_through();
}

TEST_F(NeverReading, ButSettlingAndPublishingAreNoCrime) {
    peer.attach_sender(1, near);
    peer.attach_receiver(2, near);
    peer.credit(2, 1'000'000, 1'000'000'000);
    static_cast<void>(peer.hears());
    std::uint64_t next = 1;
    peer.reads_at_most(0);
    for (int i = 0; i < 20; ++i) {
        peer.publish(1, next++, {std::string(10'000, 'x')});
    }
    EXPECT_FALSE(peer.is_told_to_go());
    // Slow: the broker has stopped delivering at the high-water mark.
    EXPECT_LE(peer.connection().outbox().size_bytes(), 100'000U);
}

}  // namespace
}  // namespace baton::session::test

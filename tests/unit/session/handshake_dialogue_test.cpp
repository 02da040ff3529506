// Preamble, HELLO and WELCOME (docs/protocol.md, sections 2 and 4).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

using wire::Status;

std::string bytes_of(std::initializer_list<int> values) {
    std::string text;
    for (const int value : values) {
        text.push_back(static_cast<char>(value));
    }
    return text;
}

Json welcome_of(Peer& peer) {
    const auto frames = peer.take_frames();
    EXPECT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames.front().header.type, wire::FrameType::welcome);
    return Json::parse(as_text(frames.front().body));
}

TEST(Handshake, AnswersThePreambleWithTheChosenVersion) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say(bytes_of({'B', 'A', 'T', 'N', 1, 1, 0, 0}));
    EXPECT_EQ(peer.hears_raw(), bytes_of({'B', 'A', 'T', 'N', 1, 1, 1, 0}));
}

TEST(Handshake, WorksByteByByte) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    std::string said =
        bytes_of({'B', 'A', 'T', 'N', 1, 1, 0, 0}) + bytes_of({2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    said += "{}";
    for (const char byte : said) {
        EXPECT_FALSE(peer.is_told_to_go());
        peer.say(std::string_view{&byte, 1});
    }
    const auto heard = peer.hears_raw();
    EXPECT_TRUE(heard.starts_with("BATN"));
    EXPECT_EQ(static_cast<wire::FrameType>(heard[8 + 4]), wire::FrameType::welcome);
}

TEST(Handshake, TakesPreambleAndHelloInOnePiece) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say(bytes_of({'B', 'A', 'T', 'N', 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(peer.hears_raw().substr(0, 4), "BATN");  // HELLO without a body is not JSON:
    EXPECT_EQ(peer.connection().close_reason(), Status::bad_frame);
}

TEST(Handshake, ClosesWithoutAWordOnWrongMagic) {
    for (const std::string said : {"SSH-2.0", "X", "BATX", "BAxx"}) {
        Dialogue dialogue;
        auto& peer = dialogue.connected();
        peer.say(said);
        EXPECT_EQ(peer.hears_raw(), "") << said;
        EXPECT_TRUE(peer.is_told_to_go()) << said;
    }
}

TEST(Handshake, WaitsForTheRestOfTheMagic) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say("BA");
    EXPECT_FALSE(peer.is_told_to_go());
    peer.say("T!....");
    EXPECT_TRUE(peer.is_told_to_go());
}

TEST(Handshake, AnswersHttpInItsOwnWords) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto answer = peer.hears_raw();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    const auto body = answer.substr(answer.find("\r\n\r\n") + 4);
    EXPECT_NE(answer.find("Content-Length: " + std::to_string(body.size()) + "\r\n"), std::string::npos);
    EXPECT_TRUE(peer.is_told_to_go());
}

TEST(Handshake, ChoosesFromTheRangeOfVersions) {
    Dialogue dialogue;
    auto& newer = dialogue.connected();
    newer.say_preamble(1, 9);
    EXPECT_EQ(newer.hears_raw(), bytes_of({'B', 'A', 'T', 'N', 1, 1, 1, 0}));
    EXPECT_FALSE(newer.is_told_to_go());

    auto& too_new = dialogue.connected();
    too_new.say_preamble(2, 9);
    EXPECT_EQ(too_new.hears_raw(), bytes_of({'B', 'A', 'T', 'N', 0, 1, 1, 0}));
    EXPECT_EQ(too_new.connection().close_reason(), Status::unsupported_version);
}

TEST(Handshake, ClosesOnAPreambleOfTheWrongForm) {
    for (const auto& said : {bytes_of({'B', 'A', 'T', 'N', 2, 1, 0, 0}), bytes_of({'B', 'A', 'T', 'N', 1, 1, 1, 0})}) {
        Dialogue dialogue;
        auto& peer = dialogue.connected();
        peer.say(said);
        EXPECT_TRUE(peer.is_told_to_go());
    }
}

TEST(Handshake, WelcomeSaysWhatTakesEffect) {
    runtime::Limits limits;
    limits.links_max = 7;
    limits.channel_name_size_max = 99;
    limits.message_size_max = 12'345;
    limits.heartbeat_interval = std::chrono::seconds{5};
    Dialogue dialogue{1, limits};
    auto& peer = dialogue.connected();
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    peer.say_hello(R"({"agent":"x/1","name":"me","features":["tea"],"unknown":[[1]]})");
    const auto welcome = welcome_of(peer);
    EXPECT_EQ(welcome["heartbeat_ms"], 5000);
    EXPECT_EQ(welcome["frame_size_max"], 262'144);
    EXPECT_EQ(welcome["fragment_size_max"], 65'536);
    EXPECT_EQ(welcome["message_size_max"], 12'345);
    EXPECT_EQ(welcome["links_max"], 7);
    EXPECT_EQ(welcome["channel_name_size_max"], 99);
    EXPECT_EQ(welcome["features"], Json::array());
    EXPECT_EQ(welcome["draining"], false);
    EXPECT_EQ(welcome["time_us"], dialogue.world.clock.wall_now().us);
    EXPECT_EQ(peer.connection().protocol().peer_agent(), "x/1");
}

TEST(Handshake, TheSmallerWishesWin) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    peer.say_hello(R"({"heartbeat_ms":100,"frame_size_max":65552})");
    const auto welcome = welcome_of(peer);
    EXPECT_EQ(welcome["heartbeat_ms"], 100);
    EXPECT_EQ(welcome["frame_size_max"], 65'552);
}

TEST(Handshake, RefusesHelloOfTheWrongForm) {
    for (const std::string_view body :
         {"", "[]", "{", R"({"agent":5})", R"({"heartbeat_ms":99})", R"({"heartbeat_ms":"1"})",
          R"({"frame_size_max":65551})", R"({"features":[1]})"}) {
        Dialogue dialogue;
        auto& peer = dialogue.connected();
        peer.say_preamble();
        static_cast<void>(peer.hears_raw());
        peer.say_hello(body);
        EXPECT_EQ(peer.hears(), Lines{"ERROR connection bad_frame"}) << body;
        EXPECT_TRUE(peer.is_told_to_go());
    }
}

TEST(Handshake, TheFirstFrameIsHello) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    peer.frame({.type = wire::FrameType::ping, .sequence = 1});
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
}

TEST(Handshake, FramesAreSmallUntilWelcome) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    // Only the header: the length is checked before the body comes.
    peer.say(bytes_of({0xf1, 0x0f, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection frame_too_large"});
}

TEST(Handshake, RefusesOneConnectionTooManyAfterHello) {
    Dialogue dialogue;
    auto& peer = dialogue.connected(0, /*is_refused=*/true);
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    peer.say_hello();
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection too_many_connections"});
    EXPECT_TRUE(peer.is_told_to_go());
}

TEST(Handshake, MustComeInTime) {
    Dialogue dialogue;
    auto& silent = dialogue.connected();
    auto& half = dialogue.connected();
    half.say_preamble();
    static_cast<void>(half.hears_raw());
    dialogue.pass(std::chrono::milliseconds{9'999});
    EXPECT_FALSE(silent.is_told_to_go());
    EXPECT_FALSE(half.is_told_to_go());
    dialogue.pass(std::chrono::milliseconds{1});
    EXPECT_TRUE(silent.is_told_to_go());
    EXPECT_EQ(silent.hears_raw(), "");
    EXPECT_EQ(half.hears(), Lines{"ERROR connection handshake_timeout"});
}

TEST(Handshake, NothingOvertakesPreambleAndWelcome) {
    Dialogue dialogue;
    auto& peer = dialogue.connected();
    peer.reads_at_most(0);
    peer.say_preamble();
    peer.say_hello();
    peer.frame({.type = wire::FrameType::ping, .sequence = 5});
    peer.connection().protocol().begin_drain(500);
    peer.connection().write(BrokerWorld::everything);
    const auto heard = peer.hears_raw();
    ASSERT_GT(heard.size(), wire::preamble_size + wire::frame_header_size);
    EXPECT_TRUE(heard.starts_with("BATN"));
    EXPECT_EQ(static_cast<wire::FrameType>(heard[wire::preamble_size + 4]), wire::FrameType::welcome);
}

TEST(Handshake, SaysThatTheBrokerIsDraining) {
    Dialogue dialogue;
    dialogue.world.state.is_draining = true;
    auto& peer = dialogue.connected();
    peer.say_preamble();
    static_cast<void>(peer.hears_raw());
    peer.say_hello();
    EXPECT_EQ(welcome_of(peer)["draining"], true);
}

}  // namespace
}  // namespace baton::session::test

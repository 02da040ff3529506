// ADMIN over a session: every operation, its errors, replies that fit the frame (docs/protocol.md, section 11).
#include "common/base/base64.hpp"
#include "common/base/properties.hpp"
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

class Administration : public ::testing::Test {
protected:
    explicit Administration(const runtime::Limits& limits = {}) : dialogue{2, limits} {}

    void fill(const std::string& name, const std::vector<std::string>& words) {
        auto& sender = dialogue.greeted(0);
        sender.attach_sender(1, name);
        sender.publish(1, 1, words);
        ASSERT_FALSE(sender.hears("CONFIRM").empty());
        sender.hangs_up();
    }
    std::string error_of(std::string_view name, const Json& request) {
        const auto reply = peer.asks(name, request);
        EXPECT_EQ(reply["ok"], false) << reply;
        EXPECT_TRUE(reply["error"]["text"].is_string());
        EXPECT_TRUE(reply["error"]["retryable"].is_boolean());
        return reply["error"]["code"];
    }

    Dialogue dialogue;
    const std::string near = dialogue.world.name_on(0);
    const std::string far = dialogue.world.name_on(1);
    Peer& peer = dialogue.greeted(0);
};

TEST_F(Administration, CreatesAndChangesChannels) {
    for (const auto& name : {near, far}) {
        auto reply = peer.asks(name, {{"op", "channel.create"}, {"messages_max", 5}, {"kind", "queue"}});
        EXPECT_EQ(reply["ok"], true) << reply;
        EXPECT_EQ(reply["created"], true);
        EXPECT_EQ(reply["channel"]["name"], name);
        EXPECT_EQ(reply["channel"]["messages_max"], 5);
        reply = peer.asks(name, {{"op", "channel.create"}, {"bytes_max", 1000}});
        EXPECT_EQ(reply["created"], false);
        EXPECT_EQ(reply["channel"]["messages_max"], 5);
        EXPECT_EQ(reply["channel"]["bytes_max"], 1000);
    }
    EXPECT_EQ(dialogue.world.state.channels, 2U);
}

TEST_F(Administration, RefusesWhatItDoesNotKnow) {
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"colour", 1}}), "unsupported");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"kind", "tree"}}), "bad_request");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"storage", "disk"}}), "unsupported");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"messages_max", 0}}), "bad_request");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"messages_max", -1}}), "bad_request");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"messages_max", "5"}}), "bad_request");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"message_size_max", 1ULL << 40U}}), "bad_request");
    EXPECT_EQ(error_of("x", {{"op", "channel.create"}, {"kind", 7}}), "bad_request");
    EXPECT_EQ(error_of("", {{"op", "channel.create"}}), "bad_name");
    EXPECT_EQ(error_of(std::string(256, 'x'), {{"op", "channel.create"}}), "bad_name");
    EXPECT_EQ(error_of("x", {{"op", "channel.paint"}}), "unsupported");
    EXPECT_EQ(error_of("x", {{"op", 5}}), "bad_request");
    for (const auto& force : {Json(1), Json(nullptr), Json("yes")}) {
        fill(near, {"a"});
        EXPECT_EQ(error_of(near, {{"op", "channel.delete"}, {"force", force}}), "bad_request");
        EXPECT_EQ(peer.asks(near, {{"op", "channel.delete"}, {"force", true}})["ok"], true);
    }
    EXPECT_EQ(error_of("x", Json::object()), "unsupported");
    EXPECT_EQ(error_of("x", Json::array()), "bad_request");
    EXPECT_EQ(dialogue.world.state.channels, 0U);
}

TEST_F(Administration, NeedsTheChannel) {
    for (const auto* op : {"channel.show", "channel.delete", "channel.purge", "channel.peek"}) {
        EXPECT_EQ(error_of(near, {{"op", op}}), "not_found");
        EXPECT_EQ(error_of(far, {{"op", op}}), "not_found");
    }
}

TEST_F(Administration, TextThatIsNotJsonIsAnswered) {
    peer.admin(1, near, "{");
    peer.admin(2, near, "");
    peer.admin(3, near, "{\"op\":\"channel.show\xff\"}");
    peer.admin(4, near, std::string(20'000, '['));
    EXPECT_EQ(peer.hears(), (Lines{"ADMIN_REPLY 1", "ADMIN_REPLY 2", "ADMIN_REPLY 3", "ADMIN_REPLY 4"}));
    peer.frame({.type = wire::FrameType::admin}, "x");
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection bad_frame"});
}

TEST_F(Administration, ErrorsDoNotRepeatALongRequest) {
    auto& narrow = dialogue.greeted(0, R"({"frame_size_max":65552})");
    narrow.frame_size_max = 65'552;
    for (const auto& request :
         {Json{{"op", std::string(60'000, '\x01')}}, Json{{"op", "channel.show"}, {std::string(60'000, 'x'), 1}},
          Json{{"op", "channel.create"}, {"kind", std::string(60'000, '"')}}}) {
        narrow.admin(1, near, request.dump());
        const auto frames = narrow.take_frames();
        if (!narrow.is_told_to_go()) {  // The first is longer than a frame when it is escaped.
            ASSERT_EQ(frames.size(), 1U);
            EXPECT_LT(frames[0].body.size(), 5'000U);
            EXPECT_EQ(Json::parse(as_text(frames[0].body))["ok"], false);
        }
    }
    EXPECT_EQ(error_of(std::string(60'000, '\xff'), {{"op", "channel.show"}}), "not_found");
}

TEST_F(Administration, ShowsWhatIsThereAndWhoWaits) {
    fill(far, {"a", "bb"});
    auto& receiver = dialogue.greeted(0);
    receiver.attach_receiver(3, far);
    receiver.credit(3, 1, 100);
    receiver.settle(3, {{.first = 1, .count = 1, .outcome = 6}});
    dialogue.pass(std::chrono::milliseconds{250});
    const auto reply = peer.asks(far, {{"op", "channel.show"}});
    const auto& channel = reply["channel"];
    EXPECT_EQ(reply["more"], false);
    EXPECT_EQ(channel["ready"], 1);
    EXPECT_EQ(channel["in_flight"], 1);
    EXPECT_EQ(channel["published"], 2);
    EXPECT_EQ(channel["delivered"], 1);
    EXPECT_EQ(channel["oldest"]["offset"], 1);
    EXPECT_EQ(channel["wait"]["reason"], "receivers_busy");
    ASSERT_EQ(channel["links"].size(), 1U);
    EXPECT_EQ(channel["links"][0]["link"], 3);
    EXPECT_EQ(channel["links"][0]["role"], "receiver");
    EXPECT_EQ(channel["links"][0]["started"], 1);
    EXPECT_EQ(channel["links"][0]["wait"], (Json{{"reason", "no_message_credit"}, {"for_ms", 250}}));
}

TEST_F(Administration, ShowOfManyLinksFitsTheFrame) {
    auto& narrow = dialogue.greeted(0, R"({"frame_size_max":65552})");
    narrow.frame_size_max = 65'552;
    for (std::uint16_t link = 1; link <= 600; ++link) {
        peer.attach_receiver(link, far);
    }
    const auto reply = narrow.asks(far, {{"op", "channel.show"}});
    EXPECT_EQ(reply["channel"]["receivers"], 600);
    EXPECT_EQ(reply["more"], true);
    EXPECT_GE(reply["channel"]["links"].size(), 100U);
}

TEST_F(Administration, ListsChannelsInOrderPageByPage) {
    std::vector<std::string> names;
    for (int i = 0; i < 25; ++i) {
        names.push_back("n" + std::to_string(10 + i));
        EXPECT_EQ(peer.asks(names.back(), {{"op", "channel.create"}})["ok"], true);
    }
    std::vector<std::string> heard;
    std::string after;
    for (bool more = true; more;) {
        const auto reply = peer.asks("", {{"op", "channel.list"}, {"limit", 7}, {"after", after}});
        EXPECT_LE(reply["channels"].size(), 7U);
        for (const auto& channel : reply["channels"]) {
            heard.push_back(channel["name"]);
        }
        after = heard.back();
        more = reply["more"];
    }
    EXPECT_EQ(heard, names);
    EXPECT_EQ(peer.asks("", {{"op", "channel.list"}, {"after", "zzz"}}),
              (Json{{"ok", true}, {"channels", Json::array()}, {"more", false}}));
    EXPECT_EQ(error_of("", {{"op", "channel.list"}, {"limit", 501}}), "bad_request");
    EXPECT_EQ(error_of("", {{"op", "channel.list"}, {"after", "%zz"}}), "bad_request");
    EXPECT_EQ(error_of("", {{"op", "channel.list"}, {"state", "x"}}), "unsupported");
}

TEST_F(Administration, ListsNamesInTheirTextForm) {
    const std::string name{"\xff a%\x01", 5};
    EXPECT_EQ(peer.asks(name, {{"op", "channel.create"}})["ok"], true);
    EXPECT_EQ(peer.asks("", {{"op", "channel.list"}})["channels"][0]["name"], "%FF a%25%01");
    EXPECT_EQ(peer.asks("", {{"op", "channel.list"}, {"after", "%FF a%25%01"}})["channels"], Json::array());
}

TEST_F(Administration, AListFitsASmallFrame) {
    auto& narrow = dialogue.greeted(0, R"({"frame_size_max":65552})");
    narrow.frame_size_max = 65'552;
    for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(peer.asks(std::to_string(i) + std::string(200, '\x01'), {{"op", "channel.create"}})["ok"], true);
    }
    const auto reply = narrow.asks("", {{"op", "channel.list"}});
    EXPECT_EQ(reply["more"], true);
    EXPECT_EQ(reply["channels"].size(), 50U);
}

TEST_F(Administration, PeeksWithoutTaking) {
    fill(far, {"a", "bb", "ccc"});
    auto& receiver = dialogue.greeted(1);
    receiver.attach_receiver(1, far);
    receiver.credit(1, 1, 100);
    auto reply = peer.asks(far, {{"op", "channel.peek"}});
    ASSERT_EQ(reply["messages"].size(), 3U);
    EXPECT_EQ(reply["more"], false);
    EXPECT_EQ(reply["messages"][0]["state"], "in-flight");
    EXPECT_EQ(reply["messages"][1]["state"], "ready");
    EXPECT_EQ(reply["messages"][2]["body_base64"], "Y2Nj");
    EXPECT_EQ(reply["messages"][2]["size"], 3);
    EXPECT_EQ(reply["messages"][2]["attempt"], 1);
    EXPECT_EQ(reply["messages"][2]["time_us"], dialogue.world.clock.wall_now().us);
    reply = peer.asks(far, {{"op", "channel.peek"}, {"state", "ready"}, {"count", 1}});
    EXPECT_EQ(reply["messages"].size(), 1U);
    EXPECT_EQ(reply["more"], true);
    EXPECT_EQ(reply["next"], 3);
    reply = peer.asks(far, {{"op", "channel.peek"}, {"from", 3}});
    EXPECT_EQ(reply["messages"][0]["offset"], 3);
    EXPECT_EQ(error_of(far, {{"op", "channel.peek"}, {"count", 1001}}), "bad_request");
    EXPECT_EQ(error_of(far, {{"op", "channel.peek"}, {"state", "lost"}}), "unsupported");
}

TEST_F(Administration, PeekShowsTheBeginningOfLongBodies) {
    auto& sender = dialogue.greeted(0);
    sender.attach_sender(1, near);
    const auto batch = sender.batch({std::string(60'000, 'x') + std::string(10'000, 'y')});
    sender.announce(1, 1, batch.size());
    sender.fragments(1, batch);
    const auto message = peer.asks(near, {{"op", "channel.peek"}})["messages"][0];
    EXPECT_EQ(message["size"], 70'000);
    EXPECT_EQ(message["truncated"], true);
    EXPECT_EQ(message["body_base64"], base64_encode(as_bytes(std::string(60'000, 'x') + std::string(5'536, 'y'))));
}

TEST_F(Administration, PeekFitsTheFrameWhateverTheMessagesAre) {
    auto& sender = dialogue.greeted(0);
    sender.attach_sender(1, near);
    static_cast<void>(sender.hears());
    BatchBuilder builder;
    MessageProperties properties;
    properties.key = std::string(18'000, '\x01');  // Six times as long in JSON.
    ChunkPool pool;
    builder.append(as_bytes(std::string(20'000, 'y')), encode_properties(properties).value());
    sender.frame({.type = wire::FrameType::publish, .link = 1, .sequence = 1}, as_text(builder.take(pool).bytes()));
    EXPECT_EQ(sender.hears("CONFIRM"), Lines{"CONFIRM 1 up to 1"});
    auto& narrow = dialogue.greeted(0, R"({"frame_size_max":65552})");
    narrow.frame_size_max = 65'552;
    const auto reply = narrow.asks(near, {{"op", "channel.peek"}});
    ASSERT_EQ(reply["messages"].size(), 1U);
    EXPECT_EQ(reply["messages"][0]["properties_truncated"], true);
    EXPECT_EQ(reply["messages"][0]["size"], 20'000);
    EXPECT_TRUE(peer.asks(near, {{"op", "channel.peek"}})["messages"][0]["properties"]["key"] == properties.key);
}

TEST_F(Administration, PurgesWhatIsReadyOnly) {
    fill(far, {"a", "b", "c"});
    auto& receiver = dialogue.greeted(1);
    receiver.attach_receiver(1, far);
    receiver.credit(1, 1, 100);
    EXPECT_EQ(peer.asks(far, {{"op", "channel.purge"}})["messages"], 2);
    EXPECT_EQ(peer.asks(far, {{"op", "channel.show"}})["channel"]["in_flight"], 1);
}

TEST_F(Administration, DeletesWithAllThatIsInIt) {
    fill(far, {"a", "b", "c"});
    auto& receiver = dialogue.greeted(1);
    receiver.attach_receiver(1, far);
    receiver.credit(1, 1, 100);
    static_cast<void>(receiver.hears());
    EXPECT_EQ(peer.asks(far, {{"op", "channel.delete"}, {"force", true}})["messages"], 3);
    EXPECT_EQ(receiver.hears(), Lines{"ERROR 1 channel_deleted"});
    EXPECT_EQ(dialogue.world.state.channels, 0U);
    EXPECT_EQ(error_of(far, {{"op", "channel.show"}}), "not_found");
}

TEST_F(Administration, ShowsTheBroker) {
    fill(near, {"a"});
    fill(far, {"b", "c"});
    const auto reply = peer.asks("", {{"op", "broker.show"}});
    EXPECT_EQ(reply["ok"], true);
    EXPECT_EQ(reply["shards"], 2);
    EXPECT_EQ(reply["channels"], 2);
    EXPECT_EQ(reply["messages"]["ready"], 3);
    EXPECT_EQ(reply["draining"], false);
    EXPECT_GT(reply["memory_used"], 0);
    EXPECT_EQ(reply["limits"]["links_max"], 1024);
    EXPECT_EQ(error_of("", {{"op", "broker.show"}, {"x", 1}}), "unsupported");
}

TEST_F(Administration, LooksAtVeryManyChannelsInSlices) {
    constexpr int channels = 3'000;
    for (int i = 0; i < channels; ++i) {
        ASSERT_EQ(peer.asks("many." + std::to_string(i), {{"op", "channel.create"}})["ok"], true);
    }
    fill("many.7", {"a"});
    fill("many.2999", {"b", "c"});
    const auto reply = peer.asks("", {{"op", "broker.show"}});
    EXPECT_EQ(reply["channels"], channels);
    EXPECT_EQ(reply["messages"]["ready"], 3);
    EXPECT_EQ(peer.asks("", {{"op", "policy.set"}, {"match", "many.*"}, {"messages_max", 9}})["ok"], true);
    EXPECT_EQ(peer.asks("", {{"op", "policy.show"}, {"match", "many.*"}})["different"], channels);
    EXPECT_EQ(peer.asks("", {{"op", "policy.apply"}, {"match", "many.*"}})["changed"], channels);
    EXPECT_EQ(peer.asks("", {{"op", "policy.show"}, {"match", "many.*"}})["different"], 0);
}

TEST_F(Administration, ARequestIdMayBeUsedTwice) {
    fill(near, {"a"});
    peer.at_once([&] {
        peer.admin(5, "", R"({"op":"channel.list"})");
        peer.admin(5, near, R"({"op":"channel.show"})");
        peer.admin(5, far, R"({"op":"channel.show"})");
        peer.admin(5, "", R"({"op":"broker.show"})");
    });
    int lists = 0, brokers = 0, channels = 0, errors = 0;
    for (const auto& heard : peer.take_frames()) {
        const auto reply = Json::parse(as_text(heard.body));
        lists += reply.contains("channels") && reply["channels"].is_array() ? 1 : 0;
        brokers += reply.contains("uptime_ms") ? 1 : 0;
        channels += reply.contains("channel") ? 1 : 0;
        errors += reply.contains("error") ? 1 : 0;
    }
    EXPECT_EQ((std::vector{lists, brokers, channels, errors}), (std::vector{1, 1, 1, 1}));
}

TEST_F(Administration, NobodyIsAnsweredWhoIsGone) {
    dialogue.hold_mail = true;
    peer.admin(1, far, R"({"op":"channel.show"})");
    peer.hangs_up();
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{});
}

}  // namespace
}  // namespace baton::session::test

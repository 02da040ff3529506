// A session goes to the shard of its first channel (docs/adr/0021-connections-move-once.md).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

class Moving : public ::testing::Test {
protected:
    Peer& movable(std::string_view hello = "{}") {
        auto& peer = dialogue.greeted(0, hello);
        peer.connection().may_move = true;
        return peer;
    }

    Dialogue dialogue{2};
    const std::string here = dialogue.world.name_on(0);
    const std::string there = dialogue.world.name_on(1);
};

TEST_F(Moving, GoesOnWhereItsFirstChannelLives) {
    auto& peer = movable(R"({"agent":"tester","name":"me"})");
    peer.at_once([&] {
        peer.attach_sender(1, there);
        peer.frame({.type = wire::FrameType::ping, .sequence = 5});
    });
    EXPECT_EQ(peer.hears(), Lines{}) << "nothing is done here any more";
    EXPECT_EQ(peer.connection().moves, std::vector{1U});
    const auto unused = peer.connection().unused();
    ASSERT_GT(unused.size(), 2 * wire::frame_header_size);

    auto greeting = peer.connection().protocol().greeting();
    EXPECT_EQ(greeting.agent, "tester");
    EXPECT_EQ(greeting.name, "me");
    auto& moved = dialogue.moved(1, std::move(greeting));
    moved.connection().may_move = true;
    peer.hangs_up();
    moved.say(unused);
    EXPECT_EQ(moved.hears_sorted(), (Lines{"ATTACHED 1 created", "CREDIT 1 1024 65536", "PONG 5"}));
    moved.publish(1, 1, {"a"});
    EXPECT_EQ(moved.hears(), Lines{"CONFIRM 1 up to 1"});
    moved.attach_sender(2, here);
    EXPECT_EQ(moved.hears_sorted(), (Lines{"ATTACHED 2 created", "CREDIT 2 1024 65536"}));
    EXPECT_EQ(moved.connection().moves, std::vector<std::uint32_t>{}) << "once is enough";
}

TEST_F(Moving, WhatTheShardsDecideIsFinal) {
    auto& peer = dialogue.greeted(0);
    peer.attach_sender(1, there);
    EXPECT_EQ(peer.connection().moves, std::vector{1U});
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 1 created", "CREDIT 1 1024 65536"}));
    peer.connection().may_move = true;
    peer.attach_sender(2, there);
    EXPECT_EQ(peer.connection().moves.size(), 1U) << "it has a link";
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 2", "CREDIT 2 1024 65536"}));
}

TEST_F(Moving, StaysWhereItsFirstChannelLives) {
    auto& peer = movable();
    peer.attach_sender(1, here);
    peer.attach_sender(2, there);
    EXPECT_EQ(peer.connection().moves, std::vector<std::uint32_t>{});
    EXPECT_EQ(peer.hears().size(), 4U);
}

TEST_F(Moving, NobodyMovesWhoIsOwedAnAnswer) {
    auto& peer = movable();
    dialogue.hold_mail = true;
    peer.admin(1, there, R"({"op":"channel.show"})");
    peer.attach_sender(1, there);
    EXPECT_EQ(peer.connection().moves, std::vector<std::uint32_t>{});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears("ATTACHED").size(), 1U);

    auto& other = movable();
    other.at_once([&] {
        other.frame({.type = wire::FrameType::ping, .sequence = 1});  // Its answer is not written yet.
        other.attach_sender(1, there);
    });
    EXPECT_EQ(other.connection().moves, std::vector<std::uint32_t>{});
    EXPECT_EQ(other.hears("ATTACHED").size(), 1U);
}

TEST_F(Moving, WhoLeavesWhileItMovesLeavesNothingBehind) {
    auto& peer = movable();
    peer.attach_receiver(1, there);
    peer.hangs_up();
    auto& admin = dialogue.greeted(1);
    EXPECT_EQ(admin.asks(there, {{"op", "channel.show"}})["ok"], false) << "the channel was never made";
}

}  // namespace
}  // namespace baton::session::test

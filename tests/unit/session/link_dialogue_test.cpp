// ATTACH and DETACH (docs/protocol.md, section 5).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

constexpr std::string_view some_producer = R"({"producer":"000102030405060708090a0b0c0d0e0f"})";

TEST(Links, ASenderIsAttachedAndGetsCredit) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_sender(1, "greetings");
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 1 created", "CREDIT 1 1024 65536"}));
    peer.attach_sender(2, "greetings");
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 2", "CREDIT 2 1024 65536"}));
}

TEST(Links, AttachedCarriesTheSettingsInEffect) {
    runtime::Limits limits;
    limits.channel_defaults.message_size_max = 4321;
    Dialogue dialogue{1, limits};
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "greetings");
    const auto frames = peer.take_frames();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(Json::parse(as_text(frames[0].body)),
              (Json{{"kind", "queue"},
                    {"storage", "memory"},
                    {"message_size_max", 4321},
                    {"created", true},
                    {"lease_ms", 30'000},
                    {"lease_max_ms", 43'200'000},
                    {"attempts_max", 10}}));
}

TEST(Links, AReceiverMayGiveCreditAndAskRightBehindAttach) {
    for (const std::uint32_t shard : {0U, 1U}) {
        Dialogue dialogue{2};
        const auto name = dialogue.world.name_on(shard);
        auto& peer = dialogue.greeted(0);
        peer.attach_sender(1, name);
        peer.publish(1, 1, {"a", "b", "c"});
        static_cast<void>(peer.hears());
        peer.at_once([&] {
            peer.attach_receiver(2, name);
            peer.credit(2, 2, 1000);
            peer.ask_state(2);
        });
        EXPECT_EQ(peer.hears(),
                  (Lines{"ATTACHED 2", "DELIVER 2 #1 1-2: a b", "STATE 2 no_message_credit, ready 1, held 2"}));
    }
}

TEST(Links, NamesAreAnyBytesButNotNoneAndNotTooMany) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, std::string(255, '\xff'));
    peer.attach_receiver(2, std::string(256, 'x'));
    peer.attach_receiver(3, "");
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1 created", "ERROR 2 bad_name", "ERROR 3 bad_name"}));
}

TEST(Links, RefusesWrongOptions) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    const auto answer_to = [&](wire::Role role, std::string_view options) {
        peer.attach(1, "x", role, options);
        const auto lines = peer.hears("ERROR");
        return lines.empty() ? std::string{"accepted"} : lines.front();
    };
    using enum wire::Role;
    EXPECT_EQ(answer_to(sender, "{"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, "[]"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"create":1})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"producer":7})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"producer":"00"})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"producer":"zz0102030405060708090a0b0c0d0e0f"})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"confirm":2})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(sender, R"({"confirm":"replicated"})"), "ERROR 1 bad_frame");
    EXPECT_EQ(answer_to(receiver, R"({"confirm":"durable"})"), "ERROR 1 unsupported");
    EXPECT_EQ(answer_to(receiver, some_producer), "ERROR 1 unsupported");
    EXPECT_EQ(answer_to(receiver, R"({"priority":1})"), "ERROR 1 unsupported");
    EXPECT_EQ(answer_to(receiver, R"({"create":false})"), "ERROR 1 not_found");
    EXPECT_EQ(answer_to(receiver, "{}"), "accepted");
}

TEST(Links, TheErrorNamesTheOption) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "x", R"({"colour":1})");
    const auto frames = peer.take_frames();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_NE(wire::decode_error(frames[0].body)->text.find("colour"), std::string_view::npos);
}

TEST(Links, ABrokenAttachEndsTheConnection) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.frame({.type = wire::FrameType::attach, .link = 1}, "x");
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection bad_frame"});
}

TEST(Links, ANumberInUseIsRefused) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, "x");
    peer.attach_receiver(1, "y");
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1 created", "ERROR 1 link_in_use"}));
}

TEST(Links, NumbersGoUpToLinksMax) {
    runtime::Limits limits;
    limits.links_max = 3;
    Dialogue dialogue{1, limits};
    auto& peer = dialogue.greeted();
    peer.at_once([&] {
        peer.attach_receiver(3, "x");
        peer.attach_receiver(4, "x");
        peer.credit(4, 10, 10);  // The client could not know yet.
        peer.detach(4);
    });
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 3 created", "ERROR 4 too_many_links", "DETACHED 4"}));
    peer.attach_receiver(0, "x");
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
}

TEST(Links, TheHighestNumberOfAllWorks) {
    runtime::Limits limits;
    limits.links_max = 65'535;
    Dialogue dialogue{1, limits};
    auto& peer = dialogue.greeted();
    peer.attach_receiver(65'535, "x");
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 65535 created"});
    peer.connection().protocol().on_write_progress(limits.outbox_high_water + 1);
    peer.ask_state(65'535);
    EXPECT_EQ(peer.hears(), Lines{"STATE 65535 slow_reader, ready 0, held 0"});
    peer.hangs_up();
    EXPECT_EQ(dialogue.world.brokers[0]->session_count(), 0U);
}

TEST(Links, AFrameForALinkThatNeverWasEndsTheConnection) {
    for (const auto say : {+[](Peer& peer) { peer.credit(5, 1, 1); }, +[](Peer& peer) { peer.detach(5); },
                           +[](Peer& peer) { peer.publish(5, 1, {"a"}); }, +[](Peer& peer) { peer.ask_state(0); },
                           +[](Peer& peer) { peer.credit(2000, 1, 1); }}) {
        Dialogue dialogue;
        auto& peer = dialogue.greeted();
        say(peer);
        EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
    }
}

TEST(Links, ChannelsAreLimited) {
    runtime::Limits limits;
    limits.channels_max = 1;
    Dialogue dialogue{2, limits};
    auto& peer = dialogue.greeted();
    peer.attach_receiver(1, dialogue.world.name_on(0));
    peer.attach_receiver(2, dialogue.world.name_on(1));
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1 created", "ERROR 2 too_many_channels"}));
    EXPECT_EQ(dialogue.world.state.channels, 1U);
}

TEST(Links, ASecondLinkOfAProducerSupersedesTheFirst) {
    Dialogue dialogue{2};
    const auto name = dialogue.world.name_on(1);
    auto& old = dialogue.greeted(0);
    auto& fresh = dialogue.greeted(1);
    old.attach_sender(1, name, some_producer);
    old.publish(1, 1, {"a", "b"});
    static_cast<void>(old.hears());
    fresh.attach_sender(1, name, some_producer);
    EXPECT_EQ(old.hears(), Lines{"ERROR 1 superseded"});
    EXPECT_EQ(fresh.hears_sorted(), (Lines{"ATTACHED 1 last 2", "CREDIT 1 1024 65536"}));
    old.publish(1, 3, {"late"});
    EXPECT_EQ(old.hears(), Lines{});
}

TEST(Links, TheTableOfProducersIsLimited) {
    runtime::Limits limits;
    limits.channel_defaults.producers_max = 1;
    Dialogue dialogue{1, limits};
    auto& peer = dialogue.greeted();
    peer.attach_sender(1, "x", some_producer);
    static_cast<void>(peer.hears());
    peer.attach_sender(2, "x", R"({"producer":"ff0102030405060708090a0b0c0d0e0f"})");
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 2", "ERROR 2 too_many_producers"}));
}

TEST(Links, DetachIsAnsweredLast) {
    Dialogue dialogue{2};
    for (const std::uint32_t shard : {0U, 1U}) {
        auto& peer = dialogue.greeted();
        const auto link = static_cast<std::uint16_t>(shard + 1);
        peer.attach_sender(link, dialogue.world.name_on(shard));
        static_cast<void>(peer.hears());
        peer.at_once([&] {
            peer.publish(link, 1, {"a"});
            peer.detach(link);
        });
        const auto number = std::to_string(link);
        EXPECT_EQ(peer.hears(), (Lines{"CONFIRM " + number + " up to 1", "DETACHED " + number}));
        peer.ask_state(link);
        EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
    }
}

TEST(Links, DetachRightBehindAttachDoesNotLowerCredit) {
    Dialogue dialogue;
    auto& peer = dialogue.greeted();
    peer.at_once([&] {
        peer.attach_sender(1, "x");
        peer.detach(1);
    });
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1 created", "DETACHED 1"}));
}

TEST(Links, NothingMayFollowDetach) {
    Dialogue dialogue{2};
    auto& peer = dialogue.greeted(0);
    peer.attach_receiver(1, dialogue.world.name_on(1));
    static_cast<void>(peer.hears());
    peer.at_once([&] {
        peer.detach(1);
        peer.credit(1, 1, 1);
    });
    EXPECT_EQ(peer.hears(), Lines{"ERROR connection protocol_violation"});
}

TEST(Links, ADeletedChannelEndsItsLinks) {
    Dialogue dialogue{2};
    const auto name = dialogue.world.name_on(1);
    auto& peer = dialogue.greeted(0);
    auto& admin = dialogue.greeted(1);
    peer.attach_receiver(1, name);
    peer.attach_sender(2, name);
    static_cast<void>(peer.hears());
    EXPECT_EQ(admin.asks(name, {{"op", "channel.delete"}, {"force", true}})["ok"], true);
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ERROR 1 channel_deleted", "ERROR 2 channel_deleted"}));
    peer.publish(2, 1, {"late"});
    peer.attach_sender(2, name);
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 2 created", "CREDIT 2 1024 65536"}));
}

}  // namespace
}  // namespace baton::session::test

// Numbers of links that are used again while the other shard still speaks of the old link. Mail between the shards is
// held back so that the races happen each time. The session lives on shard 0, the channels on shard 1.
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

class LinkReuse : public ::testing::Test {
protected:
    LinkReuse() {
        feeder.attach_sender(1, name);
        feeder.publish(1, 1, {"a", "b", "c"});
        static_cast<void>(feeder.hears());
    }

    /// A sender's link 1 that has failed a moment ago: the broker has said so, the channel does not know it yet.
    void fail_link_1() {
        peer.attach_sender(1, other);
        static_cast<void>(peer.hears());
        dialogue.hold_mail = true;
        peer.frame({.type = wire::FrameType::publish, .link = 1, .sequence = 1}, "not a batch");
        EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_batch"});
    }

    Dialogue dialogue{2};
    const std::string name = dialogue.world.name_on(1);
    const std::string other = dialogue.world.name_on(1, "other");
    Peer& feeder = dialogue.greeted(1);
    Peer& peer = dialogue.greeted(0);
};

TEST_F(LinkReuse, DetachWhileAttaching) {
    dialogue.hold_mail = true;
    peer.attach_receiver(1, name);
    peer.credit(1, 10, 1000);
    peer.ask_state(1);
    peer.detach(1);
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"DETACHED 1"});
    // Nothing of the old link is left: no credit, no question.
    peer.attach_receiver(1, name);
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, DetachWhileAnAttachFails) {
    dialogue.hold_mail = true;
    peer.attach_receiver(1, other, R"({"create":false})");
    peer.credit(1, 10, 1000);
    peer.detach(1);
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"DETACHED 1"});
    peer.attach_receiver(1, name);
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, CreditForASenderThatDetachesIsNotTheNextReceivers) {
    peer.attach_sender(1, name);
    dialogue.hold_mail = true;
    peer.publish(1, 1, std::vector<std::string>(600, "x"));
    dialogue.turn(1);  // Confirm and credit are in the mail.
    peer.detach(1);
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears("DETACHED"), Lines{"DETACHED 1"});
    peer.attach_receiver(1, name);
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, AttachWhileTheOldLinkIsFailing) {
    fail_link_1();
    peer.at_once([&] {
        peer.attach_receiver(1, name);
        peer.credit(1, 2, 1000);
        peer.ask_state(1);
    });
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(),
              (Lines{"ATTACHED 1", "DELIVER 1 #1 1-2: a b", "STATE 1 no_message_credit, ready 1, held 2"}));
}

TEST_F(LinkReuse, OldFramesAreIgnoredWhileTheLinkIsFailing) {
    fail_link_1();
    peer.publish(1, 2, {"x"});
    peer.frame({.type = static_cast<wire::FrameType>(99), .link = 1});
    peer.credit(1, 1, 1);
    dialogue.let_mail_through();
    peer.publish(1, 3, {"x"});
    peer.frame({.type = static_cast<wire::FrameType>(99), .link = 1});
    EXPECT_EQ(peer.hears(), Lines{});
    peer.attach_sender(1, other);
    EXPECT_EQ(peer.hears_sorted(), (Lines{"ATTACHED 1", "CREDIT 1 1024 65536"}));
}

TEST_F(LinkReuse, TheAttachThatWaitsMayFailToo) {
    fail_link_1();
    peer.attach_receiver(1, name);
    peer.frame({.type = wire::FrameType::credit, .link = 1}, "short");
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_frame"});
    peer.attach_receiver(1, name);
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, TheAttachThatWaitsMayBeDetached) {
    fail_link_1();
    peer.attach_receiver(1, name);
    peer.credit(1, 10, 1000);
    peer.detach(1);
    EXPECT_EQ(peer.hears(), Lines{"DETACHED 1"});
    peer.attach_receiver(1, name);
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, ASecondAttachWhileOneWaitsIsRefused) {
    fail_link_1();
    peer.attach_receiver(1, name);
    peer.attach_receiver(1, name);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 link_in_use"});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"ATTACHED 1"});
}

TEST_F(LinkReuse, PublishOnTheAttachThatWaits) {
    fail_link_1();
    peer.attach_sender(1, name);
    peer.publish(1, 1, {"too early"});
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 over_credit"});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{});
}

TEST_F(LinkReuse, DetachOfAFailingLinkIsAnsweredWhenTheChannelHasLetGo) {
    fail_link_1();
    peer.detach(1);
    EXPECT_EQ(peer.hears(), Lines{});
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), Lines{"DETACHED 1"});
}

TEST_F(LinkReuse, AnUnknownFrameWhileAttaching) {
    dialogue.hold_mail = true;
    peer.attach_receiver(1, name);
    peer.frame({.type = static_cast<wire::FrameType>(99), .link = 1});
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 unknown_frame"});
    peer.attach_receiver(1, name);
    peer.credit(1, 1, 100);
    dialogue.let_mail_through();
    EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1", "DELIVER 1 #1 1: a"}));
}

TEST_F(LinkReuse, TheConnectionEndsWhileAttaching) {
    dialogue.hold_mail = true;
    peer.attach_receiver(1, name);
    peer.credit(1, 10, 1000);
    peer.hangs_up();
    dialogue.let_mail_through();
    const auto shown = feeder.asks(name, {{"op", "channel.show"}});
    EXPECT_EQ(shown["channel"]["receivers"], 0);
    EXPECT_EQ(shown["channel"]["ready"], 3);
}

TEST_F(LinkReuse, TheConnectionEndsWhileDeliveriesAreUnderWay) {
    peer.attach_receiver(1, name);
    dialogue.hold_mail = true;
    peer.credit(1, 10, 1000);
    dialogue.turn(1);  // The channel has given; the slices are in the mail.
    peer.hangs_up();
    dialogue.let_mail_through();
    const auto shown = feeder.asks(name, {{"op", "channel.show"}});
    EXPECT_EQ(shown["channel"]["in_flight"], 0);
    EXPECT_EQ(shown["channel"]["ready"], 3);
}

TEST_F(LinkReuse, ClosingLetsGoOfEverythingAtOnce) {
    peer.attach_receiver(1, name);
    peer.credit(1, 10, 1000);
    EXPECT_EQ(dialogue.world.brokers[1]->in_flight(), 3U);
    peer.frame({.type = wire::FrameType::welcome});
    EXPECT_EQ(peer.hears().back(), "ERROR connection protocol_violation");
    // The socket is still open: the peer may take its time to read the reason. The messages do not wait for it.
    EXPECT_EQ(dialogue.world.brokers[1]->in_flight(), 0U);
    feeder.publish(1, 4, {"d"});
    EXPECT_EQ(peer.hears(), Lines{});
}

}  // namespace
}  // namespace baton::session::test

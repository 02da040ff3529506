// One channel's part of a step: set aside, then done or given back. Steps over several channels:
// tests/unit/runtime/steps_test.
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/durable_world.hpp"

namespace baton::channel::test {
namespace {

const std::error_code ok{};
constexpr StepId step_id = 1;

class ChannelSteps : public testing::Test {
protected:
    void open(const ChannelOptions& options = {}) {
        world_ = std::make_unique<ChannelWorld>(options);
        world_->attach_sender(1);
        world_->attach_receiver(9);
    }
    Channel& channel() { return world_->channel; }
    std::error_code send(const Lines& words, StepId step = step_id, std::uint64_t number = 1) {
        return channel().begin_step(step, StepMessages{producer_of(5), number, press_.batch(words)});
    }
    std::error_code settle(std::vector<SettleRange> ranges, StepId step = step_id) {
        std::optional<ReaderId> noted;
        return channel().begin_step(step, link_of(9), ranges, noted);
    }
    void give(const Lines& words) {
        world_->publish(1, 1, words);
        channel().dispatch();
        static_cast<void>(world_->happened());
    }
    Press press_;
    std::unique_ptr<ChannelWorld> world_;
};

TEST_F(ChannelSteps, RoomIsSetAsideInFrontOfOthers) {
    open({.messages_max = 3});
    EXPECT_EQ(send({"a", "b"}), ok);
    EXPECT_EQ(send({"c", "d"}, 2, 2), Errc::full);
    world_->publish(1, 1, {"x", "y"});
    EXPECT_EQ(channel().stats().stored, 1U);
    EXPECT_EQ(channel().stats().parked, 1U);
    channel().finish_step(step_id, true);
    EXPECT_EQ(channel().stats().stored, 3U);
    EXPECT_EQ(send({"e"}, 3, 3), Errc::full) << "others wait already";
}

TEST_F(ChannelSteps, RoomThatIsGivenBackGoesToWhoWaits) {
    open({.messages_max = 3});
    EXPECT_EQ(send({"a", "b"}), ok);
    world_->publish(1, 1, {"x", "y"});
    channel().finish_step(step_id, false);
    EXPECT_EQ(channel().stats().stored, 2U);
    EXPECT_EQ(channel().stats().parked, 0U);
}

TEST_F(ChannelSteps, LimitsThatShrinkMeanwhileDoNotMatter) {
    open({.messages_max = 3});
    EXPECT_EQ(send({"a", "b"}), ok);
    channel().reconfigure(ChannelOptions{.messages_max = 1});
    channel().finish_step(step_id, true);
    EXPECT_EQ(channel().stats().stored, 2U);
}

TEST_F(ChannelSteps, AnOverflowThatChangesMeanwhileDoesNotMatter) {
    open({.messages_max = 1, .overflow = Overflow::drop_newest});
    world_->publish(1, 1, {"x"});
    EXPECT_EQ(send({"a"}), ok) << "it will be dropped";
    channel().reconfigure(ChannelOptions{.messages_max = 1});
    channel().finish_step(step_id, true);
    EXPECT_EQ(channel().stats().stored, 1U);
    EXPECT_EQ(channel().stats().dropped, 1U);
}

TEST_F(ChannelSteps, WhatNeverFitsIsTooLarge) {
    open({.messages_max = 2, .overflow = Overflow::drop_oldest});
    EXPECT_EQ(send({"a", "b", "c"}), Errc::too_large);
    EXPECT_EQ(send({"a", "b"}), ok);
}

TEST_F(ChannelSteps, OnlyWhatNobodyHoldsMakesRoom) {
    open({.messages_max = 3, .overflow = Overflow::drop_oldest});
    give({"a", "b", "c"});
    EXPECT_EQ(send({"d"}), Errc::full) << "a receiver has all of it";
    channel().detach(link_of(9));
    EXPECT_EQ(send({"d", "e"}), ok);
    EXPECT_EQ(channel().stats().dropped, 0U) << "not yet";
    channel().finish_step(step_id, true);
    EXPECT_EQ(channel().stats().stored, 3U);
    EXPECT_EQ(channel().stats().dropped, 2U);
}

TEST_F(ChannelSteps, TheSameStepIsKnown) {
    open();
    EXPECT_EQ(send({"a"}), ok);
    EXPECT_EQ(send({"a"}, 2), Errc::step_under_way);
    channel().finish_step(step_id, true);
    EXPECT_EQ(send({"a"}, 2), Errc::step_known);
    EXPECT_EQ(send({"b"}, 2, 2), ok);
    channel().finish_step(2, false);
    EXPECT_EQ(send({"b"}, 3, 2), ok) << "it was not done";
    channel().finish_step(3, true);
    EXPECT_EQ(channel().stats().stored, 2U);
}

TEST_F(ChannelSteps, WhatIsHeldIsNobodys) {
    open();
    give({"a", "b", "c"});
    world_->settle(9, 2, 1, Outcome::started);
    EXPECT_EQ(settle({{1, 2, 1}}), ok);
    EXPECT_EQ(settle({{2, 2, 1}}, 2), Errc::lost_lease);
    EXPECT_EQ(channel().in_flight(), 3U);
    world_->settle(9, 1, 2);
    EXPECT_EQ(world_->happened(), Lines{"settle_refused 9 1-2: " + make_error_code(Errc::lost_lease).message()});
    world_->clock.advance(std::chrono::hours{24});
    channel().tick();
    channel().finish_step(step_id, false);
    EXPECT_EQ(settle({{1, 2, 1}}, 3), ok) << "as if nothing had been";
    channel().detach(link_of(9));
    channel().finish_step(3, false);
    EXPECT_EQ(channel().stats().ready, 3U);
    EXPECT_EQ(channel().in_flight(), 0U);
}

TEST_F(ChannelSteps, ASubscriptionOfALinkTakesItsPartAlong) {
    open({.kind = Kind::topic});
    give({"a"});
    EXPECT_EQ(settle({{1, 1, 1}}), ok);
    channel().detach(link_of(9));
    channel().finish_step(step_id, false);
    EXPECT_EQ(channel().stats().stored, 0U);
}

/// What is saved of messages that a step holds is what is saved of messages in flight.
TEST_F(ChannelSteps, AStateThatIsSavedInTheMiddle) {
    DurableWorld durable;
    durable.world->attach_sender(1);
    durable.world->attach_receiver(9);
    durable.world->publish(1, 1, {"a", "b", "c"});
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    static_cast<void>(durable.turn());
    durable.world->settle(9, 2, 1, Outcome::started);
    const SettleRange ranges[] = {{1, 2, 1}};
    std::optional<ReaderId> noted;
    ASSERT_EQ(durable.channel().begin_step(step_id, link_of(9), ranges, noted), ok);
    EXPECT_EQ(noted, queue_reader);
    durable.save();
    const ChannelImage image = durable.image(durable.saved_index);
    EXPECT_EQ(image.attempt_of(1), 1U);
    EXPECT_EQ(image.attempt_of(2), 2U) << "it was started";
    EXPECT_EQ(image.live_messages(), 3U);
}

/// A stream stores what is a large part of its limits piece by piece; a window of ids leaves some out.
TEST_F(ChannelSteps, ManyPiecesAreInOneRecord) {
    for (const bool is_stream : {true, false}) {
        DurableWorld durable{is_stream ? ChannelOptions{.kind = Kind::stream, .messages_max = 33}
                                       : ChannelOptions{.dedupe_window = std::chrono::hours{1}}};
        BatchBuilder builder;
        ChunkPool pool;
        for (const char* message_id : {"A", "A", "B", "B", "C"}) {
            builder.append(as_bytes("x"), encode_properties({.message_id = message_id}).value());
        }
        Channel& channel = durable.channel();
        ASSERT_EQ(channel.begin_step(step_id, StepMessages{producer_of(5), 4, builder.take(pool)}), ok);
        durable.log->begin_joint();
        channel.finish_step(step_id, true);
        static_cast<void>(durable.log->end_joint(0));
        static_cast<void>(durable.commit());
        EXPECT_EQ(channel.stats().stored, is_stream ? 5U : 3U);
        ASSERT_TRUE(durable.restart()) << durable.damage;
        EXPECT_EQ(durable.channel().stats().stored, is_stream ? 5U : 3U);
    }
}

TEST_F(ChannelSteps, OneRecordSaysAllOfIt) {
    DurableWorld durable;
    durable.world->attach_sender(1);
    durable.world->attach_receiver(9);
    durable.world->publish(1, 1, {"a", "b"});
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    const SettleRange ranges[] = {{1, 1, 1}};
    std::optional<ReaderId> noted;
    Channel& channel = durable.channel();
    ASSERT_EQ(channel.begin_step(step_id, link_of(9), ranges, noted), ok);
    ASSERT_EQ(channel.begin_step(step_id, StepMessages{producer_of(5), 4, press_.batch({"c"})}), ok);
    const auto before = durable.log->submitted();
    durable.log->begin_joint();
    channel.finish_step(step_id, true);
    channel.write_notes();
    EXPECT_EQ(durable.log->end_joint(0), before + 1);
    EXPECT_EQ(durable.turn(), Lines{}) << "nobody gets it before it is on the disk";
    EXPECT_EQ(durable.image(before).live_messages(), 2U);
    EXPECT_EQ(durable.image(before + 1).live_messages(), 2U);
    EXPECT_EQ(durable.image(before + 1).attempt_of(1), 0U);
    EXPECT_EQ(durable.image(before + 1).producers().at(producer_of(5)), 4U);
    EXPECT_EQ(channel.begin_step(2, StepMessages{producer_of(5), 4, press_.batch({"c"})}), Errc::step_under_way);
    EXPECT_EQ(durable.commit(), Lines{"deliver 9 3 attempt 1"});
    EXPECT_EQ(channel.begin_step(2, StepMessages{producer_of(5), 4, press_.batch({"c"})}), Errc::step_known);
}

}  // namespace
}  // namespace baton::channel::test

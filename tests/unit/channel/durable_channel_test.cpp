// Durable channels: who hears what, and when; and what is there again after a crash.
#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/durable_world.hpp"

namespace baton::channel::test {
namespace {

struct DurableChannel : testing::Test {
    DurableWorld durable;
    [[nodiscard]] ChannelWorld& world() { return *durable.world; }
    [[nodiscard]] Channel& channel() { return durable.channel(); }
    void settle(std::uint16_t link, Offset first, std::uint32_t count, std::uint64_t receipt,
                Outcome outcome = Outcome::done) {
        const SettleRange range{first, count, 1, outcome};
        channel().settle(link_of(link), {&range, 1}, receipt);
    }
};

TEST_F(DurableChannel, NothingIsConfirmedOrGivenBeforeTheCommit) {
    world().attach_sender(1);
    world().attach_receiver(9);
    world().publish(1, 1, {"a", "b"});
    world().publish(1, 3, {"c"});
    EXPECT_EQ(durable.turn(), Lines{});
    EXPECT_EQ(channel().stats().committing, 3U);
    EXPECT_EQ(channel().stats().wait.reason, WaitReason::committing);
    EXPECT_EQ(durable.commit_to(2), (Lines{"confirmed 1 2 durable", "deliver 9 1-2 attempt 1"}));
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 1 3 durable", "deliver 9 3 attempt 1"}));
    EXPECT_FALSE(channel().is_committing());
}

TEST_F(DurableChannel, WhoAsksWhetherItIsEmptyHearsOfWhatIsOnItsWay) {
    world().attach_sender(1, 5, ConfirmLevel::received);
    world().attach_receiver(9);
    world().publish(1, 1, {"a", "b"});
    EXPECT_EQ(durable.turn(), (Lines{"confirmed 1 2"}));
    channel().query(link_of(9));
    EXPECT_EQ(world().credit_happened(), (Lines{"state 9 committing ready 2 held 0"}));
    durable.condition(commit::Condition::full);  // Nobody knows how long that lasts.
    static_cast<void>(world().happened());
    channel().query(link_of(9));
    EXPECT_EQ(world().credit_happened(), (Lines{"state 9 empty ready 0 held 0"}));
    durable.condition(commit::Condition::open);
    static_cast<void>(durable.commit());
    channel().query(link_of(9));
    EXPECT_EQ(world().credit_happened(), (Lines{"state 9 empty ready 0 held 2"}));
}

TEST_F(DurableChannel, WhoAsksForReceivedIsConfirmedAtOnce) {
    world().attach_sender(1, 5, ConfirmLevel::received);
    world().attach_receiver(9);
    world().publish(1, 1, {"a"});
    EXPECT_EQ(durable.turn(), (Lines{"confirmed 1 1"}));
    EXPECT_EQ(durable.commit(), (Lines{"deliver 9 1 attempt 1"}));
}

TEST_F(DurableChannel, ReceiptsWaitForTheCommitOfWhatTheyCover) {
    world().attach_sender(1);
    world().attach_receiver(9);
    world().publish(1, 1, {"a", "b"});
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    static_cast<void>(durable.turn());
    settle(9, 1, 1, 7);
    EXPECT_EQ(durable.turn(), Lines{});
    EXPECT_EQ(durable.log->record(durable.log->submitted()).urgency, commit::Urgency::now);
    EXPECT_EQ(durable.commit(), (Lines{"settled 9 7"}));
    // Nothing was settled, and nothing is on its way to the disk.
    settle(9, 1, 1, 8);
    EXPECT_TRUE(channel().has_notes());
    EXPECT_EQ(durable.turn().back(), "settled 9 8");
}

TEST_F(DurableChannel, SettlementsWithoutReceiptHaveTime) {
    world().attach_sender(1);
    world().attach_receiver(9);
    world().publish(1, 1, {"a"});
    static_cast<void>(durable.commit());
    settle(9, 1, 1, 0);
    static_cast<void>(durable.turn());
    EXPECT_EQ(durable.log->record(durable.log->submitted()).urgency, commit::Urgency::relaxed);
    EXPECT_EQ(durable.record<SettledRecord>(durable.log->submitted()).ranges, (std::vector<OffsetRange>{{1, 1}}));
}

TEST_F(DurableChannel, AnEndedLinkHearsNothingAnyMore) {
    world().attach_sender(1, 5);
    world().attach_receiver(9);
    world().publish(1, 1, {"a"});
    settle(9, 1, 1, 7);
    channel().detach(link_of(1));
    channel().detach(link_of(9));
    static_cast<void>(durable.turn());
    EXPECT_EQ(durable.commit(), Lines{});
    EXPECT_FALSE(channel().is_committing());
}

TEST_F(DurableChannel, AResendIsConfirmedWithTheFirstCopyAndNoFurtherThanItGoes) {
    world().attach_sender(1, 5);
    world().publish(1, 1, {"a", "b", "c"});
    EXPECT_EQ(world().attach_sender(2, 5), 0U);
    EXPECT_EQ(durable.turn(), (Lines{"closed 1: another link attached with the same producer id"}));
    world().publish(2, 1, {"a", "b"});
    EXPECT_EQ(durable.turn(), Lines{});
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 2 2 durable"}));
    world().publish(2, 3, {"c"});
    EXPECT_EQ(durable.turn(), (Lines{"confirmed 2 3 durable"}));
    EXPECT_EQ(channel().stats().duplicates, 3U);
    EXPECT_EQ(world().attach_sender(3, 5), 3U);
}

TEST(DurableDedupe, ADuplicateIsNotDecidedBeforeTheFirstOneIsOnTheDisk) {
    DurableWorld durable{{.dedupe_window = std::chrono::hours{1}}};
    ChannelWorld& world = *durable.world;
    BatchBuilder builder;
    const auto publish = [&](std::uint16_t link) {
        builder.append(as_bytes("x"), encode_properties(MessageProperties{.message_id = "7"}).value());
        durable.channel().publish(link_of(link), 1, builder.take(durable.pool));
    };
    world.attach_sender(1, 5);
    publish(1);
    world.attach_sender(2, 6);
    publish(2);
    EXPECT_EQ(durable.turn(), Lines{});
    durable.channel().detach(link_of(2));
    EXPECT_EQ(world.attach_sender(3, 6), 0U) << "a crash would lose it";
    static_cast<void>(durable.commit());
    durable.channel().detach(link_of(3));
    EXPECT_EQ(world.attach_sender(4, 6), 1U);
}

TEST_F(DurableChannel, ADiskThatIsFullRefusesBehindWhatWaitsAndRecovers) {
    world().attach_sender(1, 5);
    world().publish(1, 1, {"a"});
    static_cast<void>(world().events.take());
    durable.condition(commit::Condition::full);
    EXPECT_EQ(world().credit_happened(), (Lines{"state 1 disk full ready 0 held 0"}));
    world().publish(1, 2, {"b"});
    EXPECT_EQ(durable.turn(), Lines{});
    const std::string refused = "refused 1 2: " + make_error_code(Errc::disk_full).message();
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 1 1 durable", refused, "confirmed 1 2 durable"}));
    durable.condition(commit::Condition::open);
    EXPECT_EQ(world().credit_happened(), (Lines{"state 1 none ready 1 held 0"}));
    world().publish(1, 3, {"c"});
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 1 3 durable"}));
}

TEST_F(DurableChannel, WhatIsParkedWhenTheDiskIsFullIsRefusedBeforeWhatComesLater) {
    channel().reconfigure(ChannelOptions{.messages_max = 1});
    world().attach_sender(1, 5);
    world().attach_sender(2, 6);
    world().publish(2, 1, {"x"});
    world().publish(1, 1, {"a"});
    EXPECT_EQ(channel().stats().parked, 1U);
    durable.condition(commit::Condition::full);
    EXPECT_EQ(channel().stats().parked, 0U);
    const std::string refused = "refused 1 1: " + make_error_code(Errc::disk_full).message();
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 2 1 durable", refused, "confirmed 1 1 durable"}));
}

TEST_F(DurableChannel, ARefusalThatALinkDidNotLiveToHearIsToldAgain) {
    world().attach_sender(1, 5);
    world().publish(1, 1, {"a"});
    durable.condition(commit::Condition::full);
    world().publish(1, 2, {"b"});
    channel().detach(link_of(1));
    durable.condition(commit::Condition::open);
    EXPECT_EQ(durable.commit(), (Lines{"closed 1"}));
    EXPECT_EQ(world().attach_sender(2, 5), 1U);
    world().publish(2, 2, {"b"});
    EXPECT_EQ(durable.turn(),
              (Lines{"refused 2 2: " + make_error_code(Errc::disk_full).message(), "confirmed 2 2 durable"}));
}

TEST_F(DurableChannel, AFailedDiskClosesSendersAndReceiversGoOn) {
    world().attach_sender(1, 5);
    world().attach_receiver(9, {});
    world().publish(1, 1, {"a"});
    static_cast<void>(durable.commit());
    world().publish(1, 2, {"b"});
    durable.condition(commit::Condition::failed);
    channel().set_credit(link_of(9), plenty);
    EXPECT_EQ(durable.turn(),
              (Lines{"closed 1: " + make_error_code(Errc::storage_failed).message(), "deliver 9 1 attempt 1"}));
}

TEST_F(DurableChannel, RestoredProducersMayLeaveAGapOnceAndDuplicatesAreDropped) {
    world().attach_sender(1, 5);
    world().publish(1, 1, {"a", "b"});
    static_cast<void>(durable.commit());
    ASSERT_TRUE(durable.restart());
    EXPECT_EQ(world().attach_sender(1, 5), 2U);
    world().publish(1, 2, {"b"});
    EXPECT_EQ(durable.turn(), (Lines{"confirmed 1 2 durable"}));
    world().publish(1, 5, {"e"});
    EXPECT_EQ(durable.commit(), (Lines{"confirmed 1 5 durable"}));
    EXPECT_EQ(world().stored(), (Lines{"1/1 ready a", "2/1 ready b", "3/1 ready e"}));
    world().publish(1, 9, {"i"});
    EXPECT_EQ(durable.turn(), (Lines{"closed 1: " + make_error_code(Errc::sequence_gap).message()}));
}

TEST_F(DurableChannel, CursorAttemptsAndHolesSurvive) {
    world().attach_sender(1, 5);
    world().attach_receiver(9, {3, 1'000'000});
    world().publish(1, 1, {"a", "b", "c", "d"});
    static_cast<void>(durable.commit());
    settle(9, 1, 1, 0);
    settle(9, 3, 1, 0, Outcome::started);
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    ASSERT_TRUE(durable.restart());
    world().attach_receiver(9);
    EXPECT_EQ(durable.turn(),
              (Lines{"deliver 9 2 attempt 1 again", "deliver 9 3 attempt 2 again", "deliver 9 4 attempt 1"}));
}

TEST_F(DurableChannel, PurgeAndDeletionAreRecorded) {
    world().attach_sender(1);
    world().publish(1, 1, {"a", "b"});
    static_cast<void>(durable.commit());
    world().publish(1, 3, {"c"});
    EXPECT_EQ(test::purge(channel()), 2U);
    static_cast<void>(durable.turn());
    static_cast<void>(durable.commit());
    channel().submit_deleted();
    EXPECT_TRUE(durable.image(durable.log->submitted()).is_deleted());
    ASSERT_TRUE(durable.restart());
    EXPECT_EQ(world().stored(), (Lines{"3/1 ready c"}));
}

// --- Blocks ----------------------------------------------------------------------------------------------------------

struct DurableBlocks : DurableChannel {
    void publish_and_relocate(const Lines& words) {
        world().attach_sender(1, 5);
        world().publish(1, 1, words);
        static_cast<void>(durable.commit());
        refs = durable.relocate();
        ASSERT_EQ(refs.size(), 1U);
    }
    std::vector<storage::BlockRef> refs;
};

TEST_F(DurableBlocks, LeaveMemoryAndComeBackForAReceiver) {
    publish_and_relocate({"a", "b"});
    EXPECT_GT(channel().evict(1, {}), 0U);
    EXPECT_EQ(channel().resident_bytes(), 0U);
    EXPECT_FALSE(channel().wants_blocks(1));
    world().attach_receiver(9);
    EXPECT_EQ(durable.turn(), Lines{});
    EXPECT_EQ(channel().stats().wait.reason, WaitReason::loading);
    ASSERT_EQ(channel().take_wanted_blocks(1), refs);
    EXPECT_FALSE(channel().wants_blocks(1)) << "it is being read";
    channel().on_block_read(refs[0], durable.store.read(refs[0]));
    EXPECT_EQ(durable.turn(), (Lines{"deliver 9 1-2 attempt 1"}));
}

TEST_F(DurableBlocks, WhatIsNextStaysInMemoryAndIfThatIsShortOnlyWhereItIsWanted) {
    constexpr KeepAhead keep{.bytes = 1'000'000};
    constexpr KeepAhead keep_wanted{.bytes = 1'000'000, .is_for_wanted_only = true};
    world().attach_sender(1, 5);
    world().publish(1, 1, {"a"});
    static_cast<void>(durable.commit());
    world().attach_receiver(9, {1, 1'000'000});
    EXPECT_TRUE(durable.relocate(keep).empty());
    EXPECT_TRUE(durable.relocate(keep_wanted).empty()) << "it has credit";
    EXPECT_EQ(durable.turn(), (Lines{"deliver 9 1 attempt 1"}));
    world().publish(1, 2, {"b"});
    static_cast<void>(durable.commit());
    EXPECT_TRUE(durable.relocate(keep).empty());
    refs = durable.relocate(keep_wanted);
    ASSERT_EQ(refs.size(), 1U) << "it has none any more";
    EXPECT_EQ(channel().evict(1, keep), 0U);
    EXPECT_GT(channel().evict(1, keep_wanted), 0U);
    channel().set_credit(link_of(9), {2, 1'000'000});
    ASSERT_EQ(channel().take_wanted_blocks(1), refs);
    channel().on_block_read(refs[0], durable.store.read(refs[0]));
    EXPECT_EQ(channel().evict(1, keep_wanted), 0U);
    EXPECT_EQ(durable.turn(), (Lines{"deliver 9 2 attempt 1"}));
}

TEST_F(DurableBlocks, APurgeWhileOneIsReadForgetsIt) {
    publish_and_relocate({"a", "b"});
    channel().evict(1, {});
    world().attach_receiver(9);
    ASSERT_EQ(channel().take_wanted_blocks(1), refs);
    EXPECT_EQ(test::purge(channel()), 2U);
    EXPECT_EQ(channel().take_dead_blocks(), refs);
    channel().on_block_read(refs[0], {});
    EXPECT_TRUE(channel().damage().empty());
    EXPECT_EQ(channel().stats().bytes, 0U);
}

TEST_F(DurableBlocks, OneThatCannotBeReadQuarantinesTheChannel) {
    publish_and_relocate({"a", "b"});
    channel().evict(1, {});
    world().attach_receiver(9);
    ASSERT_EQ(channel().take_wanted_blocks(1), refs);
    static_cast<void>(world().events.take());
    channel().on_block_read(refs[0], {});
    EXPECT_FALSE(channel().damage().empty());
    EXPECT_EQ(world().happened().size(), 2U) << "both links are closed";
    EXPECT_EQ(durable.record<SettingsRecord>(durable.log->submitted()).damage, channel().damage());
}

TEST_F(DurableBlocks, WhatIsSettledWhileItIsWrittenIsDeadAfterwards) {
    world().attach_sender(1, 5);
    world().attach_receiver(9);
    world().publish(1, 1, {"a", "b"});
    static_cast<void>(durable.commit());
    const auto plan = channel().begin_relocation(UINT64_MAX, {}, UINT64_MAX);
    settle(9, 1, 2, 0);
    const auto written = durable.store.write(plan);
    channel().finish_relocation(written);
    EXPECT_EQ(channel().take_dead_blocks(), written);
    EXPECT_TRUE(channel().state().blocks.empty());
}

TEST_F(DurableBlocks, AreReadAtARestartIfSomethingOfThemWasGiven) {
    publish_and_relocate({"a", "b", "c"});
    world().attach_receiver(9, {2, 1'000'000});
    static_cast<void>(durable.turn());
    settle(9, 1, 1, 0);
    static_cast<void>(durable.turn());
    durable.save();
    ASSERT_TRUE(durable.restart());
    world().attach_receiver(9);
    EXPECT_EQ(durable.turn(), (Lines{"deliver 9 2 attempt 1 again", "deliver 9 3 attempt 1"}));
}

TEST_F(DurableBlocks, AnUnreadableOneAtARestartLeavesAnEmptyQuarantinedChannel) {
    publish_and_relocate({"a", "b", "c"});
    world().publish(1, 4, {"d", "e"});
    static_cast<void>(durable.commit());
    refs.push_back(durable.relocate().at(0));
    world().attach_receiver(9, {4, 1'000'000});
    static_cast<void>(durable.turn());
    durable.save();
    for (auto& byte : durable.store.bytes(refs[1])) {
        byte = std::byte{0xff};
    }
    EXPECT_FALSE(durable.restart());
    EXPECT_FALSE(channel().damage().empty());
    EXPECT_EQ(channel().stats().ready, 0U);
    EXPECT_EQ(channel().stats().resident_bytes, 0U);
    EXPECT_EQ(channel().state().blocks, refs) << "they stay, for whoever repairs them";
}

}  // namespace
}  // namespace baton::channel::test

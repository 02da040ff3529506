// Limits and parking: what is stored, what waits, in which order it goes on.
#include "server/channel/intake.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct NoRoom final : RoomMaker {
    std::uint64_t make_room(std::uint64_t, std::uint64_t) override { return 0; }
    std::uint64_t droppable() const noexcept override { return 0; }
};

struct IntakeTest : testing::Test {
    IntakeTest() {
        log.add_cursor(cursor);
        first.address = link_of(1);
        second.address = link_of(2);
    }
    void offer(Sender& sender, std::uint32_t count, std::size_t size = 6) {
        const std::uint64_t sequence = sender.received + 1;
        sender.sent = sender.received += count;
        intake.offer({.sender = &sender,
                      .first_sequence = sequence,
                      .count = count,
                      .crc32c = 1,
                      .flags = batch_has_crc,
                      .messages = press.region_of(count, size)});
    }
    /// The first one's four messages, of which the second and third are too large.
    void offer_two_too_large() {
        const Payload batch = press.batch({"a", std::string(91, 'x'), std::string(95, 'x'), "b"});
        first.received = 4;
        intake.offer({.sender = &first,
                      .first_sequence = 1,
                      .count = 4,
                      .messages = batch.slice(batch_header_size, batch.size() - batch_header_size)});
    }
    void forget_stored(std::uint32_t count) {
        while (count > 0) {
            const channel::Run run = log.take_fresh(cursor, cut_count(log.fresh_head(cursor).region(), 1));
            log.forget(run);
            --count;
        }
    }
    Lines happened() {
        Lines lines;
        for (const Event& event : events.take()) {
            lines.push_back(to_line(event));
        }
        return lines;
    }

    Press press;
    RecordingEvents events;
    ManualClock clock;
    MessageLog log;
    LogCursor cursor;
    DedupeWindow dedupe;
    NoRoom no_room;
    Intake intake{log, nullptr, events, clock, dedupe, no_room, {.messages_max = 5, .bytes_max = 100, .message_size_max = 90}};
    Sender first, second;
};

TEST_F(IntakeTest, StoresAWholeBatchAsItIs) {
    offer(first, 3);
    EXPECT_EQ(first.decided, 3U);
    EXPECT_EQ(log.messages(), 3U);
    EXPECT_EQ(log.front()->flags, batch_has_crc);
    EXPECT_EQ(log.front()->time, clock.wall_now());
    EXPECT_EQ(intake.free_room(), (Credit{2, 70}));
}

TEST_F(IntakeTest, CutsWhatDoesNotFitAndParksTheRestInOrder) {
    offer(first, 3);
    offer(first, 4);
    offer(second, 1);
    EXPECT_EQ(first.decided, 5U);
    EXPECT_EQ(second.decided, 0U);
    EXPECT_EQ(log.messages(), 5U);
    EXPECT_EQ(intake.parked_messages(), 3U);
    EXPECT_EQ(first.parked_messages, 2U);
    EXPECT_EQ(first.parked_bytes, 20U);
    EXPECT_EQ(intake.free_room(), (Credit{0, 20}));
    EXPECT_TRUE(happened().empty());

    forget_stored(1);
    intake.apply_parked();
    EXPECT_EQ(happened(), (Lines{"confirmed 1 6"}));
    forget_stored(4);
    intake.apply_parked();
    EXPECT_EQ(happened(), (Lines{"confirmed 1 7", "confirmed 2 1"}));
    EXPECT_EQ(intake.parked_messages(), 0U);
    EXPECT_EQ(first.parked_messages + first.parked_bytes, 0U);
}

TEST_F(IntakeTest, BytesAreAsExactAsMessages) {
    offer(first, 4, 26);  // Thirty bytes each.
    EXPECT_EQ(log.messages(), 3U);
    EXPECT_EQ(log.bytes(), 90U);
    EXPECT_EQ(intake.parked_messages(), 1U);
    forget_stored(1);
    intake.apply_parked();
    EXPECT_EQ(log.bytes(), 90U);
    EXPECT_EQ(intake.parked_messages(), 0U);
}

TEST_F(IntakeTest, RefusesWhatIsTooLargeAndStoresTheOthers) {
    offer_two_too_large();
    EXPECT_EQ(happened(), (Lines{"refused 1 2-3: the message is larger than the channel allows"}));
    EXPECT_EQ(first.decided, 4U);
    EXPECT_EQ(log.messages(), 2U);
    EXPECT_EQ(intake.counters().refused, 2U);
    EXPECT_EQ(intake.counters().published, 2U);
}

TEST_F(IntakeTest, RefusesWhatIsTooLargeAlsoWhereTheOthersAreNotStored) {
    log.remove_cursor(cursor);
    offer_two_too_large();
    EXPECT_EQ(happened(), (Lines{"refused 1 2-3: the message is larger than the channel allows"}));
    EXPECT_EQ(first.decided, 4U);
    EXPECT_EQ(intake.counters().refused, 2U);
    EXPECT_EQ(intake.counters().unwanted, 2U);
}

TEST_F(IntakeTest, AMessageThatCanNeverFitIsRefusedInItsTurn) {
    intake.set_limits({.messages_max = 5, .bytes_max = 100, .message_size_max = 1'000});
    offer(first, 5);
    offer(first, 1);
    offer(first, 1, 97);
    EXPECT_TRUE(happened().empty());
    forget_stored(5);
    intake.apply_parked();
    EXPECT_EQ(happened(),
              (Lines{"confirmed 1 6", "refused 1 7: the message is larger than the channel allows", "confirmed 1 7"}));
}

TEST_F(IntakeTest, LowerLimitsReleaseNothingButBlock) {
    offer(first, 4);
    intake.set_limits({.messages_max = 2, .bytes_max = 100, .message_size_max = 90});
    EXPECT_EQ(log.messages(), 4U);
    EXPECT_EQ(intake.free_room().messages, 0U);
    offer(first, 1);
    forget_stored(2);
    intake.apply_parked();
    EXPECT_EQ(intake.parked_messages(), 1U);
    forget_stored(1);
    intake.apply_parked();
    EXPECT_EQ(intake.parked_messages(), 0U);
}

TEST_F(IntakeTest, ForgetsWhatASenderParkedAndKeepsTheOthers) {
    offer(first, 5);
    offer(first, 1);
    offer(second, 1);
    offer(first, 1);
    offer(second, 1);
    intake.forget(first);
    EXPECT_EQ(first.received, 5U);
    EXPECT_EQ(intake.parked_messages(), 2U);
    forget_stored(5);
    intake.apply_parked();
    EXPECT_EQ(happened(), (Lines{"confirmed 2 1", "confirmed 2 2"}));
}

TEST_F(IntakeTest, RefusesAndConfirmsWhatIsParkedInADrain) {
    offer(first, 7);
    intake.refuse_parked(Errc::draining);
    EXPECT_EQ(happened(),
              (Lines{"refused 1 6-7: the broker is going down and takes no new messages", "confirmed 1 7"}));
    EXPECT_EQ(intake.parked_messages(), 0U);
    EXPECT_EQ(intake.counters().refused, 2U);
}

}  // namespace
}  // namespace baton::channel::test

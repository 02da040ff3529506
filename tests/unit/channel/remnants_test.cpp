// Messages that are left over from their batches: what stays in memory because of them is in proportion to what they are
// (message_remnants.cpp), and they are what they were.
#include <functional>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/durable_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What a pool has beside what is kept: a chunk that is being filled, and one for the builder.
constexpr std::uint64_t pool_slack = 2 * 256 * 1024;

std::string text_of(Offset offset, std::size_t size) {
    std::string text = std::to_string(offset);
    text.resize(std::max(size, text.size()), '.');
    return text;
}

struct Remnants : testing::Test {
    void begin(const ChannelOptions& options) {
        world = std::make_unique<ChannelWorld>(options);
        world->attach_sender(1);
    }
    /// One batch; `properties` says what the message with this offset has.
    void publish(std::uint32_t count, std::size_t size, const std::function<MessageProperties(Offset)>& properties = {}) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const Offset offset = published + i + 1;
            const MessageProperties wanted = properties ? properties(offset) : MessageProperties{};
            wanted.empty() ? builder.append(as_bytes(text_of(offset, size)))
                           : builder.append(as_bytes(text_of(offset, size)), encode_properties(wanted).value());
        }
        channel().publish(link_of(1), published + 1, builder.take(pool));
        published += count;
    }
    void settle(std::uint16_t link, Offset first, std::uint32_t count, Outcome outcome, std::uint32_t argument = 0) {
        const SettleRange range{first, count, 1, outcome, argument};
        channel().settle(link_of(link), {&range, 1}, 0);
    }
    /// The messages of which `is_left` are settled so, the others are done.
    void settle_all_but(std::uint16_t link, const std::function<bool(Offset)>& is_left, Outcome outcome,
                        std::uint32_t argument = 0) {
        for (Offset offset = settled + 1; offset <= published; ++offset) {
            is_left(offset) ? settle(link, offset, 1, outcome, argument) : settle(link, offset, 1, Outcome::done);
        }
    }
    virtual Channel& channel() { return world->channel; }
    void give() {  // Everything that can be given.
        for (int step = 0; step < 1'000 && (step == 0 || channel().needs_dispatch()); ++step) {
            channel().dispatch();
        }
    }
    void dispatch() {
        give();
        static_cast<void>(world->events.take());
    }
    void ticks(int count = 50) {
        for (int i = 0; i < count; ++i) {
            channel().tick();
        }
    }
    /// How many messages are given when a minute has passed; `check` is called with what they come in.
    [[nodiscard]] std::uint64_t given_after_a_minute(const std::function<void(const Slice&)>& check) {
        world->clock.advance(seconds{61});
        ticks(1);
        give();
        std::uint64_t given = 0;
        for (const Event& event : world->events.take()) {
            if (event.kind == Event::Kind::deliver) {
                given += event.slice.count;
                check(event.slice);
            }
        }
        return given;
    }
    [[nodiscard]] std::map<Offset, std::string> left(const std::string& reader = "", std::optional<MessageState> state = {}) {
        std::map<Offset, std::string> texts;
        const auto visit = [&](const PeekedMessage& peeked) {
            texts[peeked.offset] = as_text(peeked.message.payload);
            return true;
        };
        channel().peek(channel().find_subscription(reader), state, 0, visit, block_reader());
        return texts;
    }
    void expect_left(const std::function<bool(Offset)>& is_left, std::size_t size, const std::string& reader = "") {
        const auto texts = left(reader);
        std::size_t wanted = 0;
        for (Offset offset = 1; offset <= published; ++offset) {
            if (is_left(offset)) {
                ++wanted;
                ASSERT_TRUE(texts.contains(offset)) << offset;
                ASSERT_EQ(texts.at(offset), text_of(offset, size));
            }
        }
        EXPECT_EQ(texts.size(), wanted);
    }
    void expect_in_proportion(std::uint64_t live_bytes) {
        EXPECT_LE(pool.outstanding_bytes(), 2 * live_bytes + pool_slack) << "live " << live_bytes;
        EXPECT_LE(channel().resident_bytes(), 2 * live_bytes);
        EXPECT_GE(channel().resident_bytes(), live_bytes);
    }

    [[nodiscard]] virtual BlockReader block_reader() { return {}; }

    ChunkPool pool;
    BatchBuilder builder;
    std::unique_ptr<ChannelWorld> world;
    Offset published = 0, settled = 0;
};

bool is_hundredth(Offset offset) { return offset % 100 == 37; }

constexpr std::uint64_t message_bytes = 204;  // In the region, of a text of 200.

TEST_F(Remnants, QuarantinedMessagesDoNotKeepTheirBatches) {
    begin({});
    world->attach_receiver(9);
    for (int i = 0; i < 300; ++i) {
        publish(100, 200);
    }
    dispatch();
    settle_all_but(9, is_hundredth, Outcome::reject);
    EXPECT_GT(pool.outstanding_bytes(), 300U * 100 * 200);
    ticks();
    expect_in_proportion(300 * message_bytes);
    expect_left(is_hundredth, 200);
    // They can be tried again, moved and dropped as before.
    EXPECT_EQ(channel().find_subscription("")->retry({{Offset{37}}}), 1U);
    channel().subscription_changed();
    channel().dispatch();
    const auto events = world->events.take();
    const auto delivery = std::ranges::find(events, Event::Kind::deliver, &Event::kind);
    ASSERT_NE(delivery, events.end());
    EXPECT_EQ(delivery->slice.first, 37U);
    EXPECT_EQ(words_of(delivery->slice.messages.bytes()), (Lines{text_of(37, 200)}));
    EXPECT_EQ(drop_all(*channel().find_subscription(""), MessageState::quarantined), 299U);
    settle(9, 37, 1, Outcome::done);
    EXPECT_EQ(channel().stats().stored, 0U);
    EXPECT_EQ(channel().resident_bytes(), 0U);
}

TEST_F(Remnants, MessagesThatCameAloneDoNotKeepTheChunkThatTheyShared) {
    begin({.messages_max = 1'000'000, .bytes_max = 1ULL << 40});
    world->attach_receiver(9);
    for (int round = 0; round < 100; ++round) {
        for (int i = 0; i < 1'000; ++i) {  // Nothing waits, so each has a node of its own.
            publish(1, 200);
            dispatch();
        }
        settle_all_but(9, [](Offset offset) { return offset % 1'000 == 500; }, Outcome::reject);
        settled = published;
        ticks(2);
    }
    expect_in_proportion(100 * message_bytes);
    expect_left([](Offset offset) { return offset % 1'000 == 500; }, 200);
}

TEST_F(Remnants, DelayedMessagesDoNotKeepTheirBatches) {
    begin({});
    world->attach_receiver(9);
    for (int i = 0; i < 300; ++i) {
        publish(100, 200, [](Offset offset) {
            return is_hundredth(offset) ? MessageProperties{.delay = seconds{60}} : MessageProperties{};
        });
    }
    dispatch();
    settle_all_but(9, [](Offset) { return false; }, Outcome::done);
    static_cast<void>(world->events.take());
    ticks();
    expect_in_proportion(300 * (message_bytes + 2 + 11));
    expect_left(is_hundredth, 200);
    EXPECT_EQ(given_after_a_minute([](const Slice& slice) {
                  EXPECT_EQ(words_of(slice.messages.bytes(), true), (Lines{text_of(slice.first, 200)}));
              }),
              300U);
}

TEST_F(Remnants, MessagesThatAreToBeTriedAgainDoNotKeepTheirBatches) {
    begin({});
    world->attach_receiver(9);
    for (int i = 0; i < 300; ++i) {
        publish(100, 200);
    }
    dispatch();
    settle_all_but(9, is_hundredth, Outcome::retry, 60'000);
    ticks();
    expect_in_proportion(300 * message_bytes);
    expect_left(is_hundredth, 200);
    EXPECT_EQ(given_after_a_minute([](const Slice& slice) {
                  EXPECT_EQ(slice.attempt, 2U);
                  EXPECT_TRUE(slice.redelivered);
              }),
              300U);
}

TEST_F(Remnants, MessagesBehindABusyKeyDoNotKeepTheirBatches) {
    begin({.is_ordered_by_key = true});
    world->attach_receiver(9);
    for (int i = 0; i < 300; ++i) {
        publish(100, 200, [](Offset offset) {
            return MessageProperties{.key = is_hundredth(offset) ? "busy" : "k" + std::to_string(offset)};
        });
    }
    for (int i = 0; i < 100 && channel().needs_dispatch(); ++i) {
        dispatch();
    }
    settle_all_but(9, is_hundredth, Outcome::extend);
    ticks();
    expect_in_proportion(300 * (message_bytes + 2 + 3 + 4));
    expect_left(is_hundredth, 200);
    for (Offset offset = 37; offset <= published; offset += 100) {  // One after the other.
        channel().dispatch();
        settle(9, offset, 1, Outcome::done);
    }
    EXPECT_EQ(channel().stats().stored, 0U);
}

TEST_F(Remnants, ALowPriorityThatNeverHasItsTurnDoesNotKeepWhatOvertookIt) {
    begin({});
    world->attach_reader(9, {}, {300 * 99, 1'000'000'000});
    for (int i = 0; i < 300; ++i) {
        publish(100, 200, [](Offset offset) {
            return is_hundredth(offset) ? MessageProperties{} : MessageProperties{.priority = 5};
        });
    }
    dispatch();
    settle_all_but(9, [](Offset) { return false; }, Outcome::done);
    ticks();
    expect_in_proportion(300 * (message_bytes + 2));
    expect_left(is_hundredth, 200);
    channel().set_credit(link_of(9), plenty);
    give();
    std::uint64_t given = 0;
    for (const Event& event : world->events.take()) {
        given += event.kind == Event::Kind::deliver ? event.slice.count : 0;
    }
    EXPECT_EQ(given, 300U);
}

TEST_F(Remnants, TenantsThatWaitForTheirTurnDoNotKeepTheirBatches) {
    begin({.fair_by = "key"});
    world->attach_reader(9, {}, {300 * 50, 1'000'000'000});
    for (int i = 0; i < 300; ++i) {
        publish(100, 200, [](Offset offset) { return MessageProperties{.key = offset % 2 == 0 ? "a" : "b"}; });
    }
    for (int i = 0; i < 100 && channel().needs_dispatch(); ++i) {
        channel().dispatch();
    }
    std::set<Offset> given;
    for (const Event& event : world->events.take()) {
        for (std::uint32_t i = 0; event.kind == Event::Kind::deliver && i < event.slice.count; ++i) {
            given.insert(event.slice.first + i);
        }
    }
    ASSERT_EQ(given.size(), 300U * 50);
    for (const Offset offset : given) {
        if (offset % 100 != 37) {
            settle(9, offset, 1, Outcome::done);
        }
    }
    ticks();
    const auto is_left = [&](Offset offset) { return !given.contains(offset) || offset % 100 == 37; };
    expect_left(is_left, 200);
}

TEST_F(Remnants, OfATopicTheUnionOfWhatItsSubscriptionsStillHaveIsKept) {
    begin({.kind = Kind::topic});
    for (const std::uint16_t link : {std::uint16_t{7}, std::uint16_t{8}, std::uint16_t{9}}) {
        world->attach_reader(link, {.subscription = "s" + std::to_string(link), .from{}, .filter{}, .name{}});
    }
    for (int i = 0; i < 300; ++i) {
        publish(100, 200);
    }
    for (int i = 0; i < 100 && channel().needs_dispatch(); ++i) {
        dispatch();
    }
    const auto is_left_of = [](Offset number) { return [number](Offset offset) { return offset % 100 == number; }; };
    settle_all_but(7, is_left_of(7), Outcome::reject);
    settle_all_but(8, is_left_of(8), Outcome::retry, 60'000);
    settle_all_but(9, is_left_of(50), Outcome::extend);  // With its receiver.
    ticks();
    expect_in_proportion(3 * 300 * message_bytes);
    expect_left(is_left_of(7), 200, "s7");
    expect_left(is_left_of(8), 200, "s8");
    expect_left(is_left_of(50), 200, "s9");
    EXPECT_EQ(channel().stats().bytes, 300U * 100 * message_bytes) << "a topic counts its batches as a whole";
    std::uint64_t stored = 0;
    channel().peek(nullptr, {}, 0, [&](const PeekedMessage& peeked) {
        EXPECT_EQ(as_text(peeked.message.payload), text_of(peeked.offset, 200));
        ++stored;
        return true;
    });
    EXPECT_EQ(stored, 3U * 300);
    EXPECT_EQ(drop_all(*channel().find_subscription("s7"), MessageState::quarantined), 300U);
    EXPECT_EQ(drop_all(*channel().find_subscription("s8"), MessageState::delayed), 300U);
    for (Offset offset = 50; offset <= published; offset += 100) {
        settle(9, offset, 1, Outcome::done);
    }
    EXPECT_EQ(channel().stats().stored, 0U);
    EXPECT_EQ(channel().resident_bytes(), 0U);
}

TEST_F(Remnants, OfATopicWithManySubscriptionsTheMessageThatAllOfThemRejectIsKept) {
    begin({.kind = Kind::topic});
    constexpr std::uint16_t subscriptions = 120;  // More than a batch has messages.
    for (std::uint16_t i = 0; i < subscriptions; ++i) {
        world->attach_reader(static_cast<std::uint16_t>(10 + i),
                             {.subscription = "s" + std::to_string(i), .from{}, .filter{}, .name{}});
    }
    for (int i = 0; i < 20; ++i) {
        publish(100, 200);
    }
    for (int i = 0; i < 100 && channel().needs_dispatch(); ++i) {
        dispatch();
    }
    for (std::uint16_t i = 0; i < subscriptions; ++i) {
        settle_all_but(static_cast<std::uint16_t>(10 + i), is_hundredth, Outcome::reject);
    }
    ticks();
    expect_in_proportion(20 * message_bytes);
    expect_left(is_hundredth, 200, "s77");
}

TEST_F(Remnants, WhatAStreamHasGivenUpAndSomebodyHoldsDoesNotKeepItsBatch) {
    begin({.kind = Kind::stream, .messages_max = 1'000});
    world->attach_reader(9, {.subscription = "s", .from = {StartPosition::Kind::first}, .filter{}, .name{}});
    for (int i = 0; i < 300; ++i) {
        publish(100, 200);
        dispatch();
    }
    settle_all_but(9, is_hundredth, Outcome::reject);
    ticks();
    expect_in_proportion((1'000 + 290) * message_bytes);
    EXPECT_EQ(left("s", MessageState::quarantined).size(), 300U);
}

TEST_F(Remnants, WorkOfOneTickIsBounded) {
    begin({.messages_max = 1'000'000, .bytes_max = 1ULL << 40});
    world->attach_receiver(9);
    for (int i = 0; i < 5'000; ++i) {
        publish(20, 200);  // Too large to share a node.
        dispatch();
    }
    for (int i = 0; i < 100 && channel().needs_dispatch(); ++i) {
        dispatch();
    }
    settle_all_but(9, [](Offset offset) { return offset % 20 == 3; }, Outcome::reject);
    const std::uint64_t before = channel().resident_bytes();
    channel().tick();
    const std::uint64_t once = before - channel().resident_bytes();
    EXPECT_GT(once, 0U);
    EXPECT_LE(once, MessageLog::remnants_per_step * 20 * message_bytes);
    EXPECT_EQ(channel().next_pulse(), MonotonicTime{}) << "it wants to go on with the next pulse";
    ticks(5);
    EXPECT_NE(channel().next_pulse(), MonotonicTime{}) << "nothing is left to do";
    expect_in_proportion(5'000 * message_bytes);
}

TEST_F(Remnants, WhoeverSettlesBatchesAsAWholeHasNothingToDoWithIt) {
    begin({});
    world->attach_receiver(9);
    for (int i = 0; i < 100; ++i) {
        publish(10, 200);
    }
    dispatch();
    settle(9, 1, 1'000, Outcome::done);
    EXPECT_NE(channel().next_pulse(), MonotonicTime{});
}

TEST_F(Remnants, ABatchThatIsWantedAsAWholeIsLeftAlone) {
    begin({});
    world->attach_receiver(9);
    publish(100, 200);
    dispatch();
    settle(9, 1, 100, Outcome::reject);
    const auto place_of_first = [&] {
        const std::byte* place = nullptr;
        channel().peek(0, [&](const PeekedMessage& peeked) {
            place = peeked.message.payload.data();
            return false;
        });
        return place;
    };
    const std::byte* before = place_of_first();
    ASSERT_NE(before, nullptr);
    for (int i = 0; i < 12; ++i) {  // Who shares its chunk.
        publish(100, 200);
    }
    ticks(3);
    EXPECT_EQ(place_of_first(), before);
    dispatch();
    settle(9, 101, 1'200, Outcome::done);
    ticks(3);
    EXPECT_NE(place_of_first(), before) << "the others are gone: it would keep all of the chunk";
    expect_left([](Offset offset) { return offset <= 100; }, 200);
}

// --- Durable channels ------------------------------------------------------------------------------------------------------

struct DurableRemnants : Remnants {
    void begin_durable(const ChannelOptions& options) {
        durable = std::make_unique<DurableWorld>(options);
        attach();
    }
    void attach() {
        durable->world->attach_sender(1);
        durable->world->attach_receiver(9);
        static_cast<void>(durable->world->events.take());
    }
    Channel& channel() override { return durable->channel(); }
    BlockReader block_reader() override { return durable->store.reader(); }
    void fill() {
        for (int i = 0; i < 100; ++i) {
            publish(100, 200);
        }
        static_cast<void>(durable->commit());
        static_cast<void>(durable->turn());
        settle_all_but(9, is_hundredth, Outcome::reject);
    }
    std::unique_ptr<DurableWorld> durable;
};

TEST_F(DurableRemnants, SurviveARestartFromTheLogFromAMovedRecordAndFromABlock) {
    for (const std::string how : {"log", "moved", "block"}) {
        SCOPED_TRACE(how);
        published = 0;
        begin_durable({});
        fill();
        ticks();
        expect_in_proportion(100 * message_bytes);
        const commit::Index moved_from = durable->log->submitted() + 1;
        if (how == "moved") {
            channel().move_in_log(durable->log->submitted() + 1);
        } else if (how == "block") {
            const auto refs = durable->relocate();
            std::uint64_t bytes = 0;
            for (const auto& ref : refs) {
                bytes += ref.size;
            }
            EXPECT_LT(bytes, 100 * (100 * 4 + message_bytes + 100)) << "what is written is what is left";
        }
        durable->save();
        expect_left(is_hundredth, 200);
        ASSERT_TRUE(durable->restart({}, how == "log" ? 1 : how == "moved" ? moved_from : durable->saved_index + 1));
        EXPECT_EQ(durable->damage, "");
        attach();
        expect_left(is_hundredth, 200);
        ticks();
        EXPECT_LE(channel().resident_bytes(), 2 * 100 * message_bytes);
        expect_left(is_hundredth, 200);
        EXPECT_EQ(retry_all(*channel().find_subscription("")), 100U);
    }
}

// The note that a message is settled may be lost in a crash, and then it is given again: as it was, not as what is written in
// its place when its batch is moved in the log.
TEST_F(DurableRemnants, AMovedRecordComesBehindTheNotesOfWhatIsGoneFromIt) {
    begin_durable({});
    publish(10, 200);
    publish(10, 200);
    static_cast<void>(durable->commit());
    static_cast<void>(durable->turn());
    const commit::Index before = durable->log->submitted();
    settle_all_but(9, [](Offset offset) { return offset % 10 == 3; }, Outcome::reject);
    channel().pack_remnants({.factor = 0, .slack = 0});
    channel().move_in_log(durable->log->submitted() + 1);
    const commit::Index end = durable->log->submitted();
    static_cast<void>(durable->commit());
    for (commit::Index last = before; last <= end; ++last) {
        SCOPED_TRACE(last);
        const ChannelImage image = durable->image(last);
        FakeCommitLog log;
        ChannelWorld other{{}, 1ULL << 40, Durability{&log, test_stream}};
        ASSERT_TRUE(other.channel.install(image, durable->store.reader()));
        other.channel.peek(0, [&](const PeekedMessage& peeked) {
            EXPECT_EQ(as_text(peeked.message.payload), text_of(peeked.offset, 200));
            return true;
        });
    }
}

TEST_F(DurableRemnants, ABackupHasWhatIsLeft) {
    begin_durable({});
    fill();
    ticks();
    std::uint64_t bytes = 0;
    std::vector<LoggedBatch> batches;
    LoggedSlices slices = channel().begin_logged();
    std::uint64_t entries = UINT64_MAX;
    ASSERT_TRUE(Channel::add_logged(slices, entries, batches));
    for (const LoggedBatch& logged : batches) {
        std::vector<std::byte> record = logged.head;
        record.insert(record.end(), logged.messages.bytes().begin(), logged.messages.bytes().end());
        const auto decoded = decode_record(record);
        ASSERT_TRUE(decoded && std::holds_alternative<PublishRecord>(*decoded));
        const PublishRecord& publish = std::get<PublishRecord>(*decoded);
        EXPECT_EQ(publish.header.count, 100U);
        EXPECT_EQ(words_of(publish.messages).at(36), text_of(publish.header.base_offset + 36, 200));
        bytes += record.size();
    }
    EXPECT_LT(bytes, 100U * 1'000);
}

}  // namespace
}  // namespace baton::channel::test

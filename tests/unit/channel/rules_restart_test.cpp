// Rules of messages over a restart, and at the edges where one rule meets another: each was wrong once.
#include <algorithm>
#include <iterator>

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/durable_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Rules : testing::Test {
    void begin(const ChannelOptions& options) {
        durable = std::make_unique<DurableWorld>(options);
        durable->world->attach_sender(1);
        sequence = 0;
    }
    void publish(const std::string& word, const MessageProperties& properties = {}) {
        properties.empty() ? builder.append(as_bytes(word)) : builder.append(as_bytes(word), encode_properties(properties).value());
        durable->channel().publish(link_of(1), ++sequence, builder.take(pool));
        static_cast<void>(durable->commit());
        static_cast<void>(durable->turn());
    }
    void settle(Offset first, Outcome outcome, std::uint32_t attempt = 1, std::uint32_t argument = 0) {
        const SettleRange range{first, 1, attempt, outcome, argument};
        durable->channel().settle(link_of(9), {&range, 1}, 0);
        static_cast<void>(durable->turn());
    }
    void restart() {
        static_cast<void>(durable->commit());
        // The clock of a new world begins anew, so times are those of this one.
        ASSERT_TRUE(durable->restart());
        durable->world->attach_sender(1);
        sequence = 0;
        static_cast<void>(durable->world->events.take());
    }
    [[nodiscard]] Subscription& queue() { return *durable->channel().find_subscription(""); }
    [[nodiscard]] Lines delivered() {
        Lines lines;
        for (const std::string& line : durable->turn()) {
            line.starts_with("deliver") ? lines.push_back(line) : void();
        }
        return lines;
    }

    std::unique_ptr<DurableWorld> durable;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

TEST_F(Rules, AMessageThatWaitsBehindAnotherOneWithItsKeyIsInOnePlaceAfterARestart) {
    begin({.is_ordered_by_key = true});
    publish("early", {.key = "k"});
    publish("late", {.key = "k"});
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(1, Outcome::reject);  // The second one is active now,
    settle(2, Outcome::retry, 1, 10'000);
    EXPECT_EQ(retry_all(queue()), 1U);  // and the first one behind it.
    static_cast<void>(durable->turn());
    restart();
    EXPECT_EQ(queue().ready() + queue().delayed(), 2U);
    EXPECT_EQ(queue().delayed(), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), Lines{}) << "what is to be tried again has its key still";
    durable->world->clock.advance(seconds{11});
    durable->channel().tick();
    EXPECT_EQ(delivered(), (Lines{"deliver 9 2 attempt 2 again"}));
    settle(2, Outcome::done, 2);
    EXPECT_EQ(queue().in_flight(), 1U);
    settle(1, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(Rules, DroppingTheActiveMessageOfAKeyLetsTheNextOneGo) {
    begin({.is_ordered_by_key = true});
    publish("a", {.key = "k", .priority = 1});
    publish("b", {.key = "k"});
    const Offset first[] = {1};
    EXPECT_EQ(drop_these(queue(), MessageState::ready, first), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 2 attempt 1"}));
}

TEST_F(Rules, AMessageThatWasStartedForTheLastTimeIsQuarantinedByTheRestart) {
    begin({.attempts_max = 1});
    publish("a");
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(1, Outcome::started);
    restart();
    EXPECT_EQ(queue().ready(), 0U);
    ASSERT_EQ(queue().quarantined(), 1U);
    const auto entry = queue().find(1);
    ASSERT_TRUE(entry && entry->note);
    EXPECT_EQ(entry->note->reason, QuarantineReason::attempts);
    EXPECT_EQ(entry->run.attempt, 1U);
}

TEST_F(Rules, AWaitingMessageStillExpiresAfterARestart) {
    begin({});
    publish("a", {.ttl = milliseconds{1'000}});
    durable->world->attach_receiver(9);
    static_cast<void>(durable->turn());
    settle(1, Outcome::retry, 1, 500);
    restart();
    durable->world->clock.advance(milliseconds{600});
    durable->channel().tick();
    EXPECT_EQ(queue().ready(), 1U);
    durable->world->clock.advance(milliseconds{500});
    durable->channel().tick();
    EXPECT_EQ(queue().ready(), 0U);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(Rules, WhatAnAdministratorRetriesIsGivenHoweverOldItIsAlsoAfterARestart) {
    begin({});
    publish("a", {.ttl = milliseconds{0}});
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    begin({.quarantines_expired = true});
    publish("a", {.ttl = milliseconds{0}});
    ASSERT_EQ(queue().quarantined(), 1U);
    EXPECT_EQ(retry_all(queue()), 1U);
    static_cast<void>(durable->turn());
    restart();
    durable->channel().tick();
    EXPECT_EQ(queue().ready(), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1 again"}));
}

TEST_F(Rules, WhatAnAdministratorRetriedAndNobodyStartedIsStillKept) {
    begin({.quarantines_expired = true});
    publish("a", {.ttl = milliseconds{0}});
    ASSERT_EQ(retry_all(queue()), 1U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1 again"}));
    static_cast<void>(durable->commit());
    restart();  // While a receiver had it in its window.
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1 again"}));
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    EXPECT_EQ(queue().ready(), 1U) << "it came back unstarted";
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1 again"}));
    settle(1, Outcome::started);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    EXPECT_EQ(queue().quarantined(), 1U) << "it was given this once";
}

TEST_F(Rules, WhatIsDelayedKeepsItsPlaceInItsKeyOverARestart) {
    for (const bool is_on_disk : {false, true}) {
        SCOPED_TRACE(is_on_disk);
        begin({.is_ordered_by_key = true});
        publish("first", {.key = "k"});
        publish("second", {.key = "k"});
        publish("later", {.key = "k", .delay = seconds{2}});
        publish("other", {.key = "l"});
        if (is_on_disk) {
            static_cast<void>(durable->relocate(KeepAhead{}));
            durable->channel().evict(UINT64_MAX, {});
            durable->save();
        }
        restart();
        durable->world->clock.advance(seconds{3});
        durable->channel().tick();
        durable->world->attach_receiver(9);
        Lines given = delivered();
        for (int i = 0; i < 10; ++i) {
            for (const auto& ref : durable->channel().take_wanted_blocks(1'000'000)) {
                durable->channel().on_block_read(ref, durable->store.read(ref));
            }
            std::ranges::move(delivered(), std::back_inserter(given));
            for (const Offset offset : {1, 2, 3, 4}) {
                const SettleRange range{offset, 1, 1};  // Nothing, if it is not with the receiver.
                durable->channel().settle(link_of(9), {&range, 1}, 0);
                std::ranges::move(delivered(), std::back_inserter(given));
            }
        }
        const auto place = [&](const std::string& start) {
            return std::ranges::find_if(given, [&](const std::string& line) { return line.starts_with(start); }) - given.begin();
        };
        EXPECT_EQ(durable->channel().stats().stored, 0U);
        EXPECT_LT(place("deliver 9 1 "), place("deliver 9 2 "));
        EXPECT_LT(place("deliver 9 2 "), place("deliver 9 3 "));
    }
}

TEST_F(Rules, APurgeOfAStreamLeavesWhatWaitsForItsTimeAlsoOverARestart) {
    for (const bool is_saved : {false, true}) {
        SCOPED_TRACE(is_saved);
        begin({.kind = Kind::stream});
        durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter{}, .name{}});
        publish("delayed", {.delay = seconds{60}});
        publish("again");
        publish("rejected");
        publish("done");
        settle(2, Outcome::retry, 1, 60'000);
        settle(3, Outcome::reject);
        settle(4, Outcome::done);
        EXPECT_GT(purge(durable->channel()), 0U);
        static_cast<void>(durable->turn());
        const auto counts = [&] {
            const Subscription& reader = *durable->channel().find_subscription("s");
            return std::vector{reader.ready(), reader.delayed(), reader.quarantined()};
        };
        EXPECT_EQ(counts(), (std::vector<std::uint64_t>{0, 2, 1}));
        if (is_saved) {
            durable->save();
        }
        restart();
        EXPECT_EQ(counts(), (std::vector<std::uint64_t>{0, 2, 1}));
        restart();
        EXPECT_EQ(counts(), (std::vector<std::uint64_t>{0, 2, 1}));
        durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter{}, .name{}});
        durable->world->clock.advance(seconds{61});
        durable->channel().tick();
        EXPECT_EQ(delivered().size(), 2U);
    }
}

TEST_F(Rules, APeekOfATopicShowsWhatSomebodyIsStillToGet) {
    begin({.kind = Kind::topic});
    ASSERT_FALSE(durable->channel().subscribe({.name = "s", .filter{}}, {}));
    for (const char* word : {"a", "b", "c", "d", "e"}) {
        builder.append(as_bytes(word));
    }
    durable->channel().publish(link_of(1), 1, builder.take(pool));
    static_cast<void>(durable->commit());
    durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter{}, .name{}});
    static_cast<void>(durable->turn());
    settle(2, Outcome::done);
    settle(4, Outcome::done);
    durable->channel().detach(link_of(9));
    static_cast<void>(durable->turn());
    const Lines expected{"1/1 ready a", "3/1 ready c", "5/1 ready e"};
    EXPECT_EQ(durable->world->stored(), expected);
    restart();
    EXPECT_EQ(durable->world->stored(), expected);
    ASSERT_EQ(durable->relocate().size(), 1U);
    restart();
    EXPECT_EQ(durable->world->stored(), expected);
}

TEST_F(Rules, ARestartBetweenTwoStepsOfARetryOfAllLosesNothing) {
    begin({});
    durable->world->attach_receiver(9);
    for (Offset offset = 1; offset <= 5; ++offset) {
        publish("a");
        settle(offset, Outcome::reject);
    }
    durable->channel().detach(link_of(9));
    Sweep sweep{.end = durable->channel().visible_end()};
    std::uint64_t runs = 2;
    EXPECT_EQ(queue().retry_some(sweep, runs), 2U);
    static_cast<void>(durable->turn());
    restart();
    EXPECT_EQ(queue().ready(), 2U);
    EXPECT_EQ(queue().quarantined(), 3U);
    EXPECT_EQ(retry_all(queue()), 3U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered().size(), 5U);
}

TEST_F(Rules, ARestartBetweenTwoStepsOfAPurgeLeavesTheRest) {
    begin({});
    for (int i = 0; i < 5; ++i) {
        publish("a");
    }
    Channel::Purge purge = durable->channel().begin_purge();
    durable->channel().purge_some(purge, 2, {});
    static_cast<void>(durable->turn());
    restart();
    EXPECT_EQ(queue().ready(), 3U);
    durable->world->attach_receiver(9);
    EXPECT_EQ(delivered(), (Lines{"deliver 9 3 attempt 1", "deliver 9 4 attempt 1", "deliver 9 5 attempt 1"}));
}

TEST_F(Rules, ASubscriptionBehindMessagesThatNobodyWantedLosesNothing) {
    begin({.kind = Kind::topic});
    publish("nobody");
    publish("hears");
    SubscriptionSettings settings;
    settings.name = "s";
    ASSERT_FALSE(durable->channel().subscribe(settings, {}));
    restart();
    EXPECT_EQ(durable->channel().stats().next_offset, 3U);
    publish("a");
    restart();
    EXPECT_EQ(durable->channel().find_subscription("s")->ready(), 1U);
}

TEST_F(Rules, ABlockOfAStreamIsAsOldAsItsNewestMessageAlsoAfterARestart) {
    begin({.kind = Kind::stream, .age_max = seconds{10}});
    publish("a");
    publish("b");
    ASSERT_EQ(durable->relocate().size(), 1U);
    durable->save();
    restart();
    EXPECT_EQ(durable->channel().resident_bytes(), 0U);
    durable->channel().tick();
    EXPECT_EQ(durable->channel().stats().stored, 2U);
    durable->world->clock.advance(seconds{10});
    durable->channel().tick();
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

TEST_F(Rules, WhatCompactionRemovedFromABlockDoesNotComeBackWithTheBatchOfTheLog) {
    begin({.kind = Kind::stream, .is_compacted = true});
    ASSERT_FALSE(durable->channel().subscribe({.name = "s", .filter{}}, {}));
    for (const auto& [key, word] : {std::pair{"a", "1"}, {"b", "1"}, {"b", "2"}, {"c", "1"}}) {
        builder.append(as_bytes(std::string_view{word}), encode_properties({.key = key}).value());
    }
    durable->channel().publish(link_of(1), 1, builder.take(pool));
    sequence = 4;
    static_cast<void>(durable->commit());
    durable->save();                              // It speaks of the log only,
    static_cast<void>(durable->turn());
    const auto blocks = durable->relocate();      // and the block has the batch in two pieces, around the second message.
    ASSERT_EQ(blocks.size(), 1U);
    ASSERT_GT(durable->channel().evict(1, {}), 0U);
    publish("2", {.key = "a"});
    durable->channel().on_block_read(blocks[0], durable->store.read(blocks[0]));  // Of the first piece nothing is left.
    static_cast<void>(durable->turn());
    const auto kept = [&] {
        std::vector<Offset> offsets;
        durable->channel().peek(0, [&](const PeekedMessage& peeked) {
            offsets.push_back(peeked.offset);
            return true;
        });
        return offsets;
    };
    ASSERT_EQ(kept(), (std::vector<Offset>{3, 4, 5}));
    restart();
    EXPECT_EQ(kept(), (std::vector<Offset>{3, 4, 5}));
    EXPECT_EQ(durable->channel().find_subscription("s")->ready(), 3U);
}

TEST_F(Rules, ANewSubscriptionOfAStreamDoesNotGetDelayedMessagesEarly) {
    begin({.kind = Kind::stream});
    publish("a", {.delay = seconds{5}});
    publish("b");
    durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter{}, .name{}});
    EXPECT_EQ(delivered(), (Lines{"deliver 9 2 attempt 1"}));
    durable->world->clock.advance(seconds{5});
    durable->channel().tick();
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1"}));
}

TEST_F(Rules, NorWhereTheyHaveToBeReadFromTheDisk) {
    begin({.kind = Kind::stream});
    publish("a", {.delay = seconds{5}});
    publish("b");
    ASSERT_EQ(durable->relocate().size(), 1U);
    durable->save();
    restart();
    ASSERT_EQ(durable->channel().resident_bytes(), 0U) << "nobody has anything of it";
    durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter{}, .name{}});
    EXPECT_EQ(delivered(), Lines{});
    for (const auto& ref : durable->channel().take_wanted_blocks(1'000)) {
        durable->channel().on_block_read(ref, durable->store.read(ref));
    }
    EXPECT_EQ(delivered(), (Lines{"deliver 9 2 attempt 1"}));
    durable->world->clock.advance(seconds{5});
    durable->channel().tick();
    EXPECT_EQ(delivered(), (Lines{"deliver 9 1 attempt 1"}));
}

TEST_F(Rules, AnOffsetInABlockOnTheDiskIsWhereASubscriptionBegins) {
    for (const bool is_restarted_between : {false, true}) {
        begin({.kind = Kind::stream});
        for (const char* word : {"a", "b", "c", "d"}) {
            publish(word);
        }
        ASSERT_EQ(durable->relocate().size(), 1U);
        durable->save();
        restart();
        ASSERT_EQ(durable->channel().resident_bytes(), 0U);
        const ReceiverRequest request{
            .subscription = "s", .from = {.kind = StartPosition::Kind::offset, .offset = 3}, .filter{}, .name{}};
        durable->world->attach_reader(9, request);
        if (is_restarted_between) {
            restart();
            durable->world->attach_reader(9, request);
        }
        Lines lines = delivered();
        for (const auto& ref : durable->channel().take_wanted_blocks(1'000)) {
            durable->channel().on_block_read(ref, durable->store.read(ref));
        }
        std::ranges::copy(delivered(), std::back_inserter(lines));
        EXPECT_EQ(lines, (Lines{"deliver 9 3 attempt 1", "deliver 9 4 attempt 1"})) << is_restarted_between;
    }
}

TEST_F(Rules, AFilterHoldsWhereKeysAreOrderedAndWhereTheOldestAreDropped) {
    begin({.kind = Kind::topic, .messages_max = 3, .overflow = Overflow::drop_oldest, .is_ordered_by_key = true});
    durable->world->attach_reader(9, {.subscription = "s", .from{}, .filter = "a.*", .name{}});
    publish("no key");
    EXPECT_EQ(delivered(), Lines{});
    durable->channel().set_credit(link_of(9), {0, 0});
    builder.append(as_bytes("1"), encode_properties({.key = "b.1"}).value());
    builder.append(as_bytes("2"), encode_properties({.key = "b.2"}).value());
    builder.append(as_bytes("3"), encode_properties({.key = "a.3"}).value());
    durable->channel().publish(link_of(1), ++sequence, builder.take(pool));
    sequence += 2;
    static_cast<void>(durable->commit());
    publish("4", {.key = "a.4"});
    durable->channel().set_credit(link_of(9), plenty);
    for (const std::string& line : delivered()) {
        EXPECT_TRUE(line == "deliver 9 4 attempt 1" || line == "deliver 9 5 attempt 1") << line;
    }
}

TEST_F(Rules, ABatchOfVeryManyMessagesExpiresByAge) {
    begin({.age_max = seconds{1}});
    Press press;
    durable->channel().publish(link_of(1), 1, press.batch_of(25'000, 1));
    static_cast<void>(durable->commit());
    durable->world->clock.advance(seconds{2});
    for (int i = 0; i < 4; ++i) {
        durable->channel().tick();
    }
    EXPECT_EQ(durable->channel().stats().stored, 0U);
}

}  // namespace
}  // namespace baton::channel::test

// What many readers, keys and messages cost: a step does a bounded part of the work, and readers that have no part in what
// happens are not visited. Counted, not timed.
#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "server/channel/key_order.hpp"
#include "tests/unit/channel/channel_world.hpp"
#include "tests/unit/channel/fake_commit_log.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// How often the channel asks for the time: whoever is visited does.
class CountingClock final : public Clock {
public:
    [[nodiscard]] MonotonicTime now() const noexcept override {
        ++reads_;
        return clock.now();
    }
    [[nodiscard]] WallTime wall_now() const noexcept override {
        ++reads_;
        return clock.wall_now();
    }
    [[nodiscard]] std::uint64_t take_reads() noexcept { return std::exchange(reads_, 0); }

    ManualClock clock;

private:
    mutable std::uint64_t reads_ = 0;
};

struct BoundedSteps : testing::Test {
    void begin(const ChannelOptions& options) {
        channel = std::make_unique<Channel>("test", options, events, clock, budget);
        static_cast<void>(channel->attach_sender(link_of(1), {}, ConfirmLevel::durable));
        channel->announce_credit(link_of(1));
    }
    void attach(std::uint16_t count) {
        for (std::uint16_t i = 0; i < count; ++i) {
            const auto link = link_of(static_cast<std::uint16_t>(i + 2));
            ASSERT_FALSE(channel->attach_receiver(link, {}));
            channel->set_credit(link, plenty);
        }
        finish();
    }
    void publish(const MessageProperties& properties = {}) {
        properties.empty() ? builder.append(as_bytes("x"))
                           : builder.append(as_bytes("x"), encode_properties(properties).value());
        channel->publish(link_of(1), ++sequence, builder.take(pool));
    }
    /// In a batch of its own: not joined with the one before it.
    void publish_apart(const MessageProperties& properties = {}) {
        clock.clock.advance(std::chrono::seconds{1});
        publish(properties);
    }
    /// The same without time passing: those with properties and those without are not joined.
    void publish_unlike() {
        sequence % 2 == 0 ? publish() : publish({.key = "k"});
    }
    /// One step. What it gave, as "link offset".
    std::vector<std::pair<std::uint16_t, Offset>> step() {
        StepBudget step_budget;
        channel->dispatch(step_budget);
        std::vector<std::pair<std::uint16_t, Offset>> given;
        for (const Event& event : events.take()) {
            if (event.kind == Event::Kind::deliver) {
                given.emplace_back(event.link.link, event.slice.first);
            }
        }
        return given;
    }
    /// All steps that are left.
    std::vector<std::pair<std::uint16_t, Offset>> finish() {
        std::vector<std::pair<std::uint16_t, Offset>> all;
        while (channel->needs_dispatch()) {
            std::ranges::copy(step(), std::back_inserter(all));
        }
        return all;
    }
    void settle(std::uint16_t link, Offset offset, Outcome outcome = Outcome::done) {
        const SettleRange range{offset, 1, 1, outcome};
        channel->settle(link_of(link), {&range, 1}, 0);
    }
    Subscription& queue() { return *channel->find_subscription(""); }

    RecordingEvents events;
    CountingClock clock;
    MemoryBudget budget{1ULL << 40};
    ChunkPool pool;
    BatchBuilder builder;
    std::unique_ptr<Channel> channel;
    std::uint64_t sequence = 0;
};

TEST_F(BoundedSteps, AMessageForThousandsOfReadersIsGivenInStepsAndInOrder) {
    constexpr std::uint16_t readers = 3'000;
    begin({.kind = Kind::topic});
    attach(readers);
    publish();
    auto given = step();
    EXPECT_LT(given.size(), readers);
    EXPECT_LE(given.size(), StepBudget::slices_max);
    ASSERT_TRUE(channel->needs_dispatch());
    publish_apart();  // Some have the first one, others do not.
    while (channel->needs_dispatch()) {
        const auto more = step();
        EXPECT_LE(more.size(), StepBudget::slices_max);
        std::ranges::copy(more, std::back_inserter(given));
    }
    std::map<std::uint16_t, std::vector<Offset>> by_reader;
    for (const auto& [link, offset] : given) {
        by_reader[link].push_back(offset);
    }
    EXPECT_EQ(by_reader.size(), readers);
    for (const auto& [link, offsets] : by_reader) {
        EXPECT_EQ(offsets, (std::vector<Offset>{1, 2})) << "link " << link;
    }
}

TEST_F(BoundedSteps, AReaderThatLeavesDuringThatTakesNobodyElsesMessage) {
    constexpr std::uint16_t readers = 2'000;
    begin({.kind = Kind::topic});
    attach(readers);
    publish();
    auto given = step();
    for (std::uint16_t link = 2; link < 102; ++link) {
        channel->detach(link_of(link));
    }
    std::ranges::copy(finish(), std::back_inserter(given));
    std::set<std::uint16_t> served;
    for (const auto& [link, offset] : given) {
        EXPECT_TRUE(served.insert(link).second) << "link " << link << " got it twice";
    }
    EXPECT_EQ(served.size(), readers);
}

TEST_F(BoundedSteps, ALongBacklogOfSmallBatchesIsGivenInSteps) {
    begin({});
    for (int i = 0; i < 5'000; ++i) {
        publish_apart();
        static_cast<void>(events.take());
    }
    attach(0);
    ASSERT_FALSE(channel->attach_receiver(link_of(2), {}));
    channel->set_credit(link_of(2), plenty);
    Offset next = 1;
    while (channel->needs_dispatch()) {
        const auto given = step();
        ASSERT_LE(given.size(), StepBudget::slices_max);
        for (const auto& [link, offset] : given) {
            EXPECT_EQ(offset, next++);
        }
    }
    EXPECT_EQ(next, 5'001U);
}

TEST_F(BoundedSteps, ReadersThatHaveNothingToDoAreNotVisited) {
    constexpr std::uint64_t few = 32;
    begin({.kind = Kind::topic, .lease = std::chrono::hours{1}});
    attach(4'000);
    publish();
    EXPECT_EQ(finish().size(), 4'000U);
    channel->tick();
    static_cast<void>(clock.take_reads());
    clock.clock.advance(milliseconds{20});
    channel->tick();
    EXPECT_LE(clock.take_reads(), few) << "a clock pulse";
    settle(2, 1);
    EXPECT_LE(clock.take_reads(), few) << "what one of them settles";
    ASSERT_FALSE(channel->attach_receiver(link_of(9'000), {}));
    EXPECT_LE(clock.take_reads(), few) << "one more";
    channel->detach(link_of(9'000));
    EXPECT_LE(clock.take_reads(), few) << "one less";
    channel->dispatch();
    channel->tick();
    EXPECT_LE(clock.take_reads(), few);
}

TEST_F(BoundedSteps, EachReadersTimeComesAllTheSame) {
    begin({.kind = Kind::topic});
    attach(1'000);
    publish();
    EXPECT_EQ(finish().size(), 1'000U);
    for (std::uint16_t link = 2; link < 1'002; ++link) {
        const SettleRange range{1, 1, 1, Outcome::retry, 1'000U + link};
        channel->settle(link_of(link), {&range, 1}, 0);
    }
    for (std::uint16_t link = 2; link < 1'002; ++link) {
        clock.clock.advance(milliseconds{link == 2 ? 1'002 : 1});
        channel->tick();
        EXPECT_EQ(finish(), (std::vector<std::pair<std::uint16_t, Offset>>{{link, 1}}));
    }
}

TEST_F(BoundedSteps, ABatchWithRulesIsLookedAtForThousandsOfReadersInSteps) {
    constexpr std::uint16_t readers = 1'500;
    constexpr std::uint32_t messages = 40;
    begin({.kind = Kind::topic});
    attach(readers);
    for (std::uint32_t i = 0; i < messages; ++i) {
        builder.append(as_bytes("x"), encode_properties({.delay = seconds{1}}).value());
    }
    channel->publish(link_of(1), 1, builder.take(pool));
    sequence = messages;
    const auto waiting = [&] {
        std::uint64_t count = 0;
        for (const auto& report : channel->subscriptions(0, SIZE_MAX)) {
            count += report.delayed;
        }
        return count;
    };
    std::uint64_t before = waiting();
    int steps = 0;
    for (; channel->needs_dispatch(); ++steps) {
        EXPECT_TRUE(step().empty()) << "it is too early";
        const std::uint64_t now = waiting();
        EXPECT_LE(now - before, StepBudget::messages_max + messages);
        before = now;
    }
    EXPECT_GE(steps, 5);
    EXPECT_EQ(waiting(), readers * messages);
    settle(2, 1);
    publish();
    EXPECT_EQ(finish().size(), readers) << "those that are ready go on";
    for (int i = 0; i < 100; ++i) {
        clock.clock.advance(milliseconds{20});
        channel->tick();
        static_cast<void>(finish());
    }
    EXPECT_EQ(channel->stats().in_flight, readers * (messages + 1U));
}

TEST_F(BoundedSteps, NothingOfABatchWithRulesIsGivenBeforeItsTimeWhileOthersWaitToBeLookedAt) {
    constexpr std::uint32_t messages = 24'000;
    begin({});
    attach(1);
    for (sequence = 0; sequence < 8'192; sequence += 64) {  // The sender's credit grows.
        const bool is_odd = sequence % 128 != 0;  // Unlike the one before, so that they are not joined.
        for (int i = 0; i < 64; ++i) {
            is_odd ? builder.append(as_bytes("x"), encode_properties({.key = "k"}).value()) : builder.append(as_bytes("x"));
        }
        channel->publish(link_of(1), sequence + 1, builder.take(pool));
    }
    ASSERT_EQ(finish().size(), 128U);
    const std::uint64_t before = sequence;
    for (std::uint32_t i = 0; i < messages; ++i) {
        builder.append(as_bytes("x"), encode_properties({.priority = 1, .delay = seconds{i % 2}}).value());
        if ((i + 1) % 3'000 == 0) {
            channel->publish(link_of(1), sequence + 1, builder.take(pool));
            sequence = before + i + 1;
        }
    }
    ASSERT_EQ(channel->stats().stored, before + messages);
    std::vector<std::pair<std::uint16_t, Offset>> given = step();
    EXPECT_TRUE(given.empty()) << "not all have been looked at";
    given = finish();
    ASSERT_EQ(given.size(), messages / 2);
    EXPECT_EQ(std::ranges::count_if(given, [](const auto& one) { return one.second % 2 == 0; }), 0) << "they are delayed";
    clock.clock.advance(seconds{2});
    std::size_t late = 0;
    for (int i = 0; i < 20; ++i) {
        channel->tick();
        late += finish().size();
        clock.clock.advance(milliseconds{20});
    }
    EXPECT_EQ(late, messages / 2);
}

TEST_F(BoundedSteps, WhatAReceiverHeldComesBackInStepsAndNothingOvertakesIt) {
    constexpr Offset messages = 25'000;
    begin({});
    attach(1);
    for (Offset i = 0; i < messages; ++i) {
        publish_unlike();
    }
    ASSERT_EQ(finish().size(), messages);
    ASSERT_FALSE(channel->attach_receiver(link_of(3), {}));
    channel->set_credit(link_of(3), plenty);
    channel->detach(link_of(2));
    publish_unlike();
    EXPECT_EQ(channel->stats().in_flight + queue().ready(), messages + 1);
    EXPECT_GT(channel->stats().in_flight, messages / 2) << "most of it is still under way";
    int seen = 0;
    channel->peek(&queue(), MessageState::in_flight, 0, [&](const PeekedMessage& peeked) {
        EXPECT_EQ(peeked.receiver, nullptr);
        return ++seen < 2'000;
    });
    EXPECT_EQ(seen, 2'000);
    EXPECT_EQ(queue().oldest_offset(), 1U);
    const auto given = finish();
    ASSERT_EQ(given.size(), messages + 1);
    for (Offset i = 0; i < given.size(); ++i) {
        ASSERT_EQ(given[i], (std::pair<std::uint16_t, Offset>{3, i + 1}));
    }
}

TEST_F(BoundedSteps, WhatReceiversHeldComesBackWithTheClockWhereNothingIsGivenAnyMore) {
    begin({});
    attach(1);
    for (int i = 0; i < 15'000; ++i) {
        publish_unlike();
    }
    ASSERT_EQ(finish().size(), 15'000U);
    channel->begin_drain();
    channel->detach(link_of(2));
    EXPECT_GT(channel->in_flight(), 0U);
    for (std::uint64_t back = StepBudget::messages_at_once; back < 15'000; back += StepBudget::messages_max / 2) {
        EXPECT_EQ(channel->in_flight(), 15'000 - back);
        clock.clock.advance(milliseconds{20});
        channel->tick();
        ASSERT_EQ(channel->needs_dispatch(), channel->in_flight() > 0);
        channel->dispatch();
    }
    EXPECT_EQ(channel->in_flight(), 0U);
    EXPECT_EQ(queue().ready(), 15'000U);
}

TEST_F(BoundedSteps, LeasesOfVeryManyMessagesEndInStepsAndEachOnce) {
    begin({.lease = seconds{10}});
    attach(3);
    for (int i = 0; i < 60'000; ++i) {
        publish_unlike();
        i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
    }
    ASSERT_EQ(finish().size(), 60'000U);
    clock.clock.advance(seconds{5});
    for (std::uint16_t link = 2; link < 5; ++link) {  // One of two in the middle has more time.
        for (Offset offset = 20'001; offset < 40'000; offset += 2) {
            const SettleRange range{offset, 1, 1, Outcome::extend, 60'000};
            channel->settle(link_of(link), {&range, 1}, 0);
        }
    }
    static_cast<void>(events.take());
    clock.clock.advance(seconds{6});
    std::uint64_t before = 0;
    int pulses = 0;
    for (; channel->stats().in_flight > 10'000 && pulses < 300; ++pulses) {
        channel->tick();
        const std::uint64_t ended = channel->stats().leases_ended;
        EXPECT_LE(ended - before, 8'192U);
        before = ended;
        for (std::uint16_t link = 2; link < 5; ++link) {  // Settled meanwhile, from the front, the middle and the end.
            const SettleRange ranges[] = {{20'001U + 2U * static_cast<Offset>(pulses), 1, 1, Outcome::started}, {59'000, 1, 9}};
            channel->settle(link_of(link), ranges, 0);
        }
        clock.clock.advance(milliseconds{20});
    }
    EXPECT_GE(pulses, 4);
    EXPECT_EQ(channel->stats().leases_ended, 50'000U);
    EXPECT_EQ(channel->stats().in_flight, 10'000U);
    clock.clock.advance(seconds{60});
    for (int i = 0; i < 50; ++i) {
        channel->tick();
        clock.clock.advance(milliseconds{20});
    }
    EXPECT_EQ(channel->stats().leases_ended, 60'000U);
    EXPECT_EQ(channel->stats().in_flight, 0U);
    EXPECT_EQ(queue().ready(), 60'000U);
}

TEST_F(BoundedSteps, WhatIsDueTogetherGoesOnWithoutTheClockAndWhatIsReadyIsGivenMeanwhile) {
    constexpr std::uint64_t count = 10'000;
    begin({});
    for (std::uint64_t i = 0; i < count; ++i) {
        publish({.delay = seconds{1}});
    }
    attach(1);
    ASSERT_EQ(channel->stats().delayed, count);
    clock.clock.advance(seconds{2});
    channel->tick();
    std::uint64_t delayed = channel->stats().delayed;
    EXPECT_LT(delayed, count);
    std::uint64_t given = 0;
    while (delayed > 0) {
        ASSERT_TRUE(channel->needs_dispatch());
        StepBudget step;
        channel->dispatch(step);
        EXPECT_GT(channel->in_flight(), given);
        given = channel->in_flight();
        const std::uint64_t left = channel->stats().delayed;
        ASSERT_LT(left, delayed);
        EXPECT_LE(delayed - left, StepBudget::messages_max / 4);
        EXPECT_EQ(step.is_spent(), left > 0 || step.slices == 0) << "others have their turn before it goes on";
        delayed = left;
    }
    EXPECT_EQ(finish().size(), count);
}

TEST_F(BoundedSteps, WhatExpiresTogetherGoesOnWithoutTheClock) {
    constexpr std::uint64_t count = 5'000;
    begin({});
    for (std::uint64_t i = 0; i < count; ++i) {
        publish({.ttl = seconds{1}});
    }
    finish();
    clock.clock.advance(seconds{2});
    channel->tick();
    EXPECT_LT(channel->stats().expired, count);
    finish();
    EXPECT_EQ(channel->stats().expired, count);
    EXPECT_FALSE(channel->needs_dispatch());
}

TEST_F(BoundedSteps, AMessageThatHasToFindItsKeyCountsTwice) {
    begin({.is_ordered_by_key = true});
    for (int i = 0; i < 200; ++i) {
        publish({.key = std::to_string(i)});
    }
    ASSERT_FALSE(channel->attach_receiver(link_of(2), {}));
    channel->set_credit(link_of(2), plenty);
    StepBudget step{.messages = 100};
    channel->dispatch(step);
    EXPECT_EQ(channel->in_flight(), 50U);
    finish();
    EXPECT_EQ(channel->in_flight(), 200U);
}

TEST_F(BoundedSteps, LimitsOfThousandsOfSubscriptionsAreKeptInSteps) {
    begin({.kind = Kind::topic});
    for (int i = 0; i < 2'000; ++i) {
        ASSERT_FALSE(channel->subscribe({.name = "s" + std::to_string(i), .filter{}, .overflow = Overflow::drop_oldest,
                                         .backlog_max = 2}, {}));
    }
    for (int i = 0; i < 3; ++i) {
        publish();
    }
    const std::uint64_t at_once = channel->stats().dropped;
    EXPECT_LT(at_once, 1'000U);
    static_cast<void>(finish());
    EXPECT_EQ(channel->stats().dropped, 2'000U);
}

TEST_F(BoundedSteps, ADeletedChannelIsTakenApartInSteps) {
    begin({.attempts_max = 0});
    attach(2);
    for (int i = 0; i < 5'000; ++i) {
        publish(i % 3 == 0   ? MessageProperties{.delay = seconds{9}}
                : i % 3 == 1 ? MessageProperties{.priority = 2}
                             : MessageProperties{});
    }
    static_cast<void>(finish());
    const SettleRange range{1, 2'000, 1, Outcome::reject};
    channel->settle(link_of(2), {&range, 1}, 0);
    channel->close(Errc::channel_deleted);
    std::uint64_t links = 2 * Channel::items_per_link;
    EXPECT_FALSE(channel->dismantle(links));
    EXPECT_EQ(std::ranges::count(events.take(), Event::Kind::closed, &Event::kind), 2);
    links = 1;
    EXPECT_FALSE(channel->dismantle(links));
    EXPECT_EQ(std::ranges::count(events.take(), Event::Kind::closed, &Event::kind), 1);
    int steps = 1;
    for (std::uint64_t items = 1'000; !channel->dismantle(items); items = 1'000) {
        ++steps;
    }
    EXPECT_GE(steps, 6);
    channel.reset();
}

TEST_F(BoundedSteps, ADeletedTopicLosesItsSubscriptionsInSteps) {
    begin({.kind = Kind::topic});
    for (int i = 0; i < 2'000; ++i) {
        ASSERT_FALSE(channel->subscribe({.name = "s" + std::to_string(i), .filter{}}, {}));
    }
    channel->close(Errc::channel_deleted);
    int steps = 1;
    for (std::uint64_t items = 1'000; !channel->dismantle(items); items = 1'000) {
        ++steps;
    }
    EXPECT_GE(steps, 2'000 * static_cast<int>(Channel::items_per_link) / 1'000);
    channel.reset();
}

TEST_F(BoundedSteps, ASubscriptionThatEndsIsTakenApartInSteps) {
    constexpr std::uint64_t messages = 30'000;
    begin({.kind = Kind::topic, .attempts_max = 0});
    ASSERT_FALSE(channel->subscribe({.name = "slow", .filter{}}, {}));
    ASSERT_FALSE(channel->subscribe({.name = "idle", .filter{}}, {}));
    ASSERT_FALSE(channel->attach_receiver(link_of(2), {.subscription = "slow", .from{}, .filter{}, .name{}}));
    channel->set_credit(link_of(2), {messages / 2, 1U << 30U});
    for (std::uint64_t i = 0; i < messages; ++i) {
        publish_unlike();
        i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
    }
    static_cast<void>(finish());
    const SettleRange some{1, 5'000, 1, Outcome::reject};
    channel->settle(link_of(2), {&some, 1}, 0);
    static_cast<void>(finish());
    // A third in quarantine, one in a receiver's hands, one fresh.
    EXPECT_EQ(channel->unsubscribe(*channel->find_subscription("slow")), messages);
    EXPECT_EQ(channel->find_subscription("slow"), nullptr);
    EXPECT_EQ(channel->unsubscribe(*channel->find_subscription("idle")), messages);
    EXPECT_EQ(channel->stats().stored, messages) << "the other one has all of them";
    publish();
    EXPECT_EQ(channel->stats().unwanted, 1U);
    ASSERT_FALSE(channel->subscribe({.name = "slow", .filter{}}, {}));
    publish();
    ASSERT_FALSE(channel->attach_receiver(link_of(3), {.subscription = "slow", .from{}, .filter{}, .name{}}));
    channel->set_credit(link_of(3), plenty);
    std::vector<std::pair<std::uint16_t, Offset>> given;
    int steps = 0;
    for (std::uint64_t before = channel->stats().stored; channel->needs_dispatch(); ++steps) {
        std::ranges::copy(step(), std::back_inserter(given));
        EXPECT_LE(before - channel->stats().stored, StepBudget::messages_max);
        before = channel->stats().stored;
    }
    EXPECT_GE(steps, 2 * messages / StepBudget::messages_max);
    EXPECT_EQ(given, (std::vector<std::pair<std::uint16_t, Offset>>{{3, messages + 2}}));
    settle(3, messages + 2);
    EXPECT_EQ(channel->stats().stored, 0U);
    EXPECT_EQ(channel->stats().bytes, 0U);
}

TEST_F(BoundedSteps, WhoNeedsRoomDoesNotWaitForASubscriptionThatHasEnded) {
    begin({.kind = Kind::topic, .messages_max = 20'000, .overflow = Overflow::drop_oldest});
    ASSERT_FALSE(channel->subscribe({.name = "gone", .filter{}}, {}));
    for (int i = 0; i < 20'000; ++i) {
        publish_unlike();
        i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
    }
    static_cast<void>(channel->unsubscribe(*channel->find_subscription("gone")));
    EXPECT_GE(channel->stats().stored, 18'000U);
    ASSERT_FALSE(channel->subscribe({.name = "new", .filter{}}, {}));
    for (int i = 0; i < 2'000; ++i) {
        publish_unlike();
    }
    EXPECT_EQ(channel->stats().stored, 2'000U);
    EXPECT_EQ(channel->stats().dropped, 0U);
    EXPECT_EQ(channel->stats().parked, 0U);
}

TEST_F(BoundedSteps, AMillionMessagesOfAKeyOrderAreFoundByTheirOffsets) {
    constexpr Offset keys = 200'000;
    KeyOrder order;
    StoredBatch batch;
    const auto message = [&](Offset offset) {
        return channel::Run{.batch = &batch, .first = offset, .count = 1};
    };
    for (Offset offset = 1; offset <= 3 * keys; ++offset) {
        EXPECT_EQ(order.admit(message(offset), offset % keys), offset <= keys);
    }
    EXPECT_EQ(batch.resting, 2 * keys);
    for (Offset offset = keys + 1; offset <= 2 * keys; ++offset) {  // With a look at each key this would not end.
        const auto taken = order.take_at(offset);
        ASSERT_TRUE(taken);
        EXPECT_EQ(taken->first, offset);
        EXPECT_EQ(order.waiting(offset, 1).front().first, offset == 2 * keys ? 2 * keys + 1 : offset + 1);
    }
    EXPECT_FALSE(order.take_at(keys + 1));
    EXPECT_EQ(order.messages(), keys);
    for (Offset offset = 1; offset <= keys; ++offset) {
        EXPECT_EQ(order.release(offset % keys)->first, 2 * keys + offset);
        EXPECT_FALSE(order.release(offset % keys)) << "nobody is behind it";
    }
    EXPECT_EQ(order.keys(), 0U);
    EXPECT_EQ(batch.resting, 0U);
}

TEST_F(BoundedSteps, AMessageThatIsPutBackStandsInItsOldPlaceBehindItsKey) {
    KeyOrder order;
    StoredBatch batch;
    for (Offset offset = 1; offset <= 4; ++offset) {
        static_cast<void>(order.admit({.batch = &batch, .first = offset, .count = 1}, 7));
    }
    const auto second = order.take_at(2);
    const auto third = order.take_at(3);
    ASSERT_TRUE(second && third);
    EXPECT_FALSE(order.admit(*third, 7));
    EXPECT_FALSE(order.admit(*second, 7));
    EXPECT_EQ(order.take_before(3)->first, 2U);
    EXPECT_FALSE(order.take_before(3));
    EXPECT_EQ(order.release(7)->first, 3U);
    EXPECT_EQ(order.release(7)->first, 4U);
    EXPECT_FALSE(order.release(7));
    EXPECT_TRUE(order.admit({.batch = &batch, .first = 9, .count = 1}, 7)) << "the key is free";
}

TEST_F(BoundedSteps, AllQuarantinedMessagesAreRetriedInStepsOnceEach) {
    begin({.attempts_max = 0});
    attach(1);
    for (Offset offset = 1; offset <= 10; ++offset) {
        publish();
        static_cast<void>(finish());
        settle(2, offset, Outcome::reject);
    }
    Sweep sweep{.end = channel->visible_end()};
    std::uint64_t runs = 4;
    EXPECT_EQ(queue().retry_some(sweep, runs), 4U);
    EXPECT_FALSE(sweep.is_over);
    EXPECT_EQ(queue().quarantined(), 6U);
    EXPECT_EQ(finish().size(), 4U);
    settle(2, 1, Outcome::reject);  // Again, behind the sweep;
    publish();
    static_cast<void>(finish());
    settle(2, 11, Outcome::reject);  // and one that came after it began.
    for (runs = 4; !sweep.is_over; runs = 4) {
        static_cast<void>(queue().retry_some(sweep, runs));
    }
    EXPECT_EQ(queue().quarantined(), 2U);
    EXPECT_TRUE(queue().find(1) && queue().find(11));
}

TEST_F(BoundedSteps, WhatComesWhileAChannelIsPurgedStays) {
    for (const bool is_ordered : {false, true}) {
        begin({.is_ordered_by_key = is_ordered});
        sequence = 0;
        for (int i = 0; i < 10; ++i) {
            publish_apart({.key = i % 2 == 0 ? "even" : "odd"});
        }
        Channel::Purge purge = channel->begin_purge();
        channel->purge_some(purge, 3, {});
        EXPECT_FALSE(purge.is_over);
        EXPECT_EQ(queue().ready(), 7U);
        publish({.key = "even"});
        int steps = 1;
        for (; !purge.is_over; ++steps) {
            channel->purge_some(purge, 3, {});
        }
        EXPECT_GE(steps, 4);
        EXPECT_EQ(purge.messages, 10U);
        ASSERT_EQ(queue().ready(), 1U);
        ASSERT_FALSE(channel->attach_receiver(link_of(2), {}));
        channel->set_credit(link_of(2), plenty);
        EXPECT_EQ(finish(), (std::vector<std::pair<std::uint16_t, Offset>>{{2, 11}}));
    }
}

TEST_F(BoundedSteps, ATopicIsPurgedReaderByReaderWhoeverLeavesMeanwhile) {
    begin({.kind = Kind::topic});
    for (std::uint16_t link = 2; link < 12; ++link) {
        ASSERT_FALSE(channel->attach_receiver(link_of(link), {}));
    }
    for (int i = 0; i < 5; ++i) {
        publish();
    }
    Channel::Purge purge = channel->begin_purge();
    channel->purge_some(purge, 12, {});
    EXPECT_FALSE(purge.is_over);
    channel->detach(link_of(3));   // Its turn has not come,
    channel->detach(link_of(11));  // and this one's has.
    while (!purge.is_over) {
        channel->purge_some(purge, 12, {});
    }
    EXPECT_EQ(purge.messages, 5U);
    EXPECT_EQ(channel->stats().stored, 0U);
}

TEST_F(BoundedSteps, AStreamIsPurgedBatchByBatch) {
    begin({.kind = Kind::stream});
    for (int i = 0; i < 10; ++i) {
        publish_apart();
    }
    Channel::Purge purge = channel->begin_purge();
    channel->purge_some(purge, 4, {});
    EXPECT_EQ(channel->stats().stored, 6U);
    publish();
    while (!purge.is_over) {
        channel->purge_some(purge, 4, {});
    }
    EXPECT_EQ(purge.messages, 10U);
    EXPECT_EQ(channel->stats().stored, 1U);
}

// What waits for its time, what is quarantined, what came back to many tenants, what is with many receivers, what was passed over.
TEST_F(BoundedSteps, AStreamGivesUpVeryManyBatchesInSteps) {
    constexpr std::uint64_t messages = 45'000;
    const ChannelOptions wide{.kind = Kind::stream, .messages_max = 1'000'000};
    begin(wide);
    for (std::uint64_t i = 0; i < messages; ++i) {
        publish_unlike();
        i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
    }
    ChannelOptions narrow = wide;
    narrow.messages_max = 25'000;
    channel->reconfigure(narrow);
    EXPECT_EQ(channel->stats().trimmed, StepBudget::messages_at_once);
    publish();
    EXPECT_EQ(channel->stats().trimmed, 2 * StepBudget::messages_at_once);
    int steps = 0;
    for (std::uint64_t before = channel->stats().stored; channel->needs_dispatch(); ++steps) {
        channel->dispatch();
        EXPECT_LE(before - channel->stats().stored, StepBudget::messages_max);
        before = channel->stats().stored;
    }
    EXPECT_GE(steps, 2);
    EXPECT_EQ(channel->stats().stored, narrow.messages_max);
    // By age, with the clock and then in steps.
    narrow.age_max = seconds{10};
    channel->reconfigure(narrow);
    clock.clock.advance(seconds{11});
    channel->tick();
    EXPECT_EQ(channel->stats().stored, narrow.messages_max - StepBudget::messages_max);
    EXPECT_TRUE(channel->needs_dispatch());
    static_cast<void>(finish());
    EXPECT_EQ(channel->stats().stored, 0U);
    EXPECT_EQ(channel->stats().trimmed, messages + 1);
}

TEST(StreamPositions, AreFoundWithoutLookingAtAllBatchesBeforeThem) {
    constexpr std::uint64_t batches = 20'000;
    const auto region = [] { return Press{}.region_of(1, 1); };
    MessageLog log{MessageLog::Keep::until_trimmed};
    const Payload one = region();
    for (std::uint64_t i = 1; i <= batches; ++i) {
        static_cast<void>(log.append(1, 0, 0, {static_cast<std::int64_t>(10 * i)}, one));
    }
    LogCursor held;
    log.add_cursor_at(held, 1);
    std::vector<baton::channel::Run> runs;  // Of what is given up some batches stay, because they are held.
    for (int i = 0; i < 700; ++i) {
        const baton::channel::Run head = log.fresh_head(held);
        runs.push_back(log.take_fresh(held, {head.count, head.bytes}));
        log.trim_oldest();
    }
    for (const Offset from : {1ULL, 700ULL, 701ULL, 1'023ULL, 1'024ULL, 1'025ULL, 9'999ULL, 20'000ULL, 20'001ULL, 30'000ULL}) {
        LogCursor cursor;
        log.add_cursor_at(cursor, from);
        EXPECT_EQ(cursor.offset(), std::clamp<Offset>(from, 701, batches + 1)) << from;
        EXPECT_EQ(log.fresh(cursor), batches + 1 - cursor.offset());
        log.remove_cursor(cursor);
        const StoredBatch* batch = log.first_since({static_cast<std::int64_t>(10 * from - 3)});
        EXPECT_EQ(batch != nullptr ? batch->base : batches + 1, std::clamp<Offset>(from, 701, batches + 1)) << from;
        std::size_t looks = 0;
        for (batch = log.near(from); batch != nullptr && batch->end() <= from; batch = batch->next) {
            ++looks;
        }
        EXPECT_LE(looks, MessageLog::batches_per_mark) << from;
    }
    for (const baton::channel::Run& run : runs) {
        log.forget(run);
    }
}

TEST_F(BoundedSteps, TheStateOfAChannelIsTakenInSlices) {
    constexpr std::uint64_t slice = 100;
    begin({.attempts_max = 0, .fair_by = "key"});
    attach(40);
    for (int i = 0; i < 4'000; ++i) {
        i % 4 == 0 ? publish({.delay = seconds{9}}) : publish({.key = std::to_string(i % 50)});
    }
    static_cast<void>(finish());
    for (Offset offset = 1; offset <= 4'000; ++offset) {
        for (std::uint16_t link = 2; link < 42 && offset % 4 != 3; ++link) {
            settle(link, offset, offset % 4 == 0 ? Outcome::reject : offset % 4 == 1 ? Outcome::give_back : Outcome::done);
        }
    }
    for (std::uint16_t link = 2; link < 22; ++link) {
        channel->detach(link_of(link));
    }
    const ChannelState whole = channel->state();
    StateSlices slices = channel->begin_state();
    int steps = 0;
    for (std::size_t before = 0; !slices.is_over; ++steps) {
        std::uint64_t entries = slice;
        channel->add_to_state(slices, entries);
        const std::size_t count = slices.state.live.size() + slices.state.special.size();
        EXPECT_LE(count - before, 4 * slice);  // Of each place where messages may be so many.
        before = count;
    }
    EXPECT_GE(steps, 10);
    EXPECT_GE(whole.live.size() + whole.special.size(), 2'000U);
    // The same but for entries that end with a slice.
    const auto messages = [](const ChannelState& state) {
        std::map<Offset, std::pair<int, std::uint32_t>> by_offset;
        for (const ReaderEntry& entry : state.special) {
            for (Offset offset = entry.first; offset < entry.end; ++offset) {
                by_offset[offset] = {static_cast<int>(entry.kind), entry.attempt};
            }
        }
        for (const ChannelState::LiveRange& range : state.live) {
            for (Offset offset = range.first; offset < range.end; ++offset) {
                by_offset[offset] = {static_cast<int>(ReaderEntryKind::ready), range.attempt};
            }
        }
        return by_offset;
    };
    EXPECT_EQ(messages(slices.state), messages(whole));
}

TEST_F(BoundedSteps, IdsBlocksAndSubscriptionsOfAStateAreTakenInSlicesToo) {
    begin({.kind = Kind::topic, .dedupe_window = seconds{60}});
    for (int i = 0; i < 50; ++i) {
        ASSERT_FALSE(channel->subscribe({.name = "s" + std::to_string(i), .filter{}}, {}));
        publish({.message_id = std::to_string(i)});
    }
    StateSlices slices = channel->begin_state();
    for (std::uint64_t step = 1; !slices.is_over; ++step) {
        std::uint64_t entries = 10;
        channel->add_to_state(slices, entries);
        EXPECT_LE(slices.state.ids.size() + slices.state.subscriptions.size(), 10 * step);
        if (step == 2) {  // Neither belongs to it.
            publish({.message_id = "late"});
            ASSERT_FALSE(channel->subscribe({.name = "late", .filter{}}, {}));
        }
        if (step == 7) {  // One that it has already, and the next one.
            static_cast<void>(channel->unsubscribe(*channel->find_subscription("s0")));
            static_cast<void>(channel->unsubscribe(*channel->find_subscription("s20")));
        }
    }
    EXPECT_EQ(slices.state.ids.size(), 50U);
    EXPECT_EQ(slices.state.next_offset, 51U);
    EXPECT_EQ(slices.state.subscriptions.size(), 49U);
    EXPECT_EQ(slices.state.subscriptions.back().settings.name, "s49");
}

/// For a backup: batches that are in the log only, while the ones in front, the next one and the last ones go or move.
TEST(LoggedSlices, HaveEachBatchThatStaysInTheLogWhateverBecomesOfTheOthers) {
    FakeCommitLog log;
    ChannelWorld world{{}, 1ULL << 40, Durability{&log, commit::StreamId{5}}};
    Channel& channel = world.channel;
    static_cast<void>(channel.attach_sender(link_of(1), {}, ConfirmLevel::durable));
    channel.announce_credit(link_of(1));
    ASSERT_FALSE(channel.attach_receiver(link_of(2), {}));
    channel.set_credit(link_of(2), plenty);
    for (std::uint64_t sequence = 1; sequence <= 100; ++sequence) {
        channel.publish(link_of(1), sequence, world.press.batch({"x"}));
    }
    log.commit_to(log.submitted());
    channel.on_committed();
    channel.dispatch();
    LoggedSlices slices = channel.begin_logged();
    std::vector<LoggedBatch> batches;
    std::set<Offset> gone;
    const auto settle = [&](Offset offset) {
        const SettleRange range{offset, 1, 1};
        channel.settle(link_of(2), {&range, 1}, 0);
        gone.insert(offset);
    };
    int steps = 0;
    for (bool is_over = false; !is_over; ++steps) {
        std::uint64_t entries = 20;
        const std::size_t before = batches.size();
        is_over = Channel::add_logged(slices, entries, batches);
        EXPECT_EQ(entries, 20 - 2 * (batches.size() - before));
        if (steps == 2) {
            channel.write_notes();
            channel.move_in_log(5);  // These four are at the end of the log now, in records that somebody else copies.
            for (const Offset offset : {10, 29, 30, 31, 32, 99}) {
                settle(offset);
            }
            channel.publish(link_of(1), 101, world.press.batch({"later"}));
        }
    }
    EXPECT_GE(steps, 10);
    std::set<Offset> found;
    for (const LoggedBatch& logged : batches) {
        std::vector<std::byte> record = logged.head;
        record.insert(record.end(), logged.messages.bytes().begin(), logged.messages.bytes().end());
        found.insert(std::get<PublishRecord>(*decode_record(record)).header.base_offset);
    }
    EXPECT_EQ(found.size(), batches.size());
    for (Offset offset = 1; offset <= 100; ++offset) {
        EXPECT_TRUE(found.contains(offset) || gone.contains(offset)) << offset;
    }
    EXPECT_FALSE(found.contains(99));
    EXPECT_FALSE(found.contains(101)) << "it came later";
}

TEST(Relocations, AreOfBoundedManyBatchesAndGoOnBehindThoseThatStay) {
    constexpr std::uint64_t batches = 150'000;
    FakeCommitLog log;
    ChannelWorld world{{}, 1ULL << 40, Durability{&log, commit::StreamId{5}}};
    Channel& channel = world.channel;
    static_cast<void>(channel.attach_sender(link_of(1), {}, ConfirmLevel::durable));
    channel.announce_credit(link_of(1));
    for (std::uint64_t sequence = 1; sequence <= batches; ++sequence) {
        channel.publish(link_of(1), sequence, world.press.batch({"x"}));
        if (sequence % 1'000 == 0) {
            log.commit_to(log.submitted());
            channel.on_committed();
            static_cast<void>(world.events.take());
        }
    }
    const auto count = [&](const RelocationPlan& plan) {
        std::size_t headers = 0;
        for (const PlannedBlock& block : plan.blocks) {
            headers += block.headers.size();
        }
        channel.finish_relocation({});
        return headers;
    };
    EXPECT_EQ(count(channel.begin_relocation(UINT64_MAX, std::nullopt, UINT64_MAX)), Channel::relocated_at_once);
    // Readers will want the first two thirds soon: what may move is found by a later look, behind those that were passed over.
    const KeepAhead keep{.bytes = channel.stats().bytes / 3 * 2};
    constexpr std::size_t at_once = Channel::looked_at_for_relocation;
    for (std::size_t looks = at_once; looks < batches / 3 * 2; looks += at_once) {
        EXPECT_EQ(count(channel.begin_relocation(UINT64_MAX, keep, UINT64_MAX)), 0U);
    }
    const RelocationPlan plan = channel.begin_relocation(UINT64_MAX, keep, UINT64_MAX);
    ASSERT_FALSE(plan.blocks.empty());
    EXPECT_EQ(plan.blocks.front().first, batches / 3 * 2 + 1);
    EXPECT_EQ(count(plan), Channel::relocated_at_once);
}

// --- Settlements of very many messages -----------------------------------------------------------------------------------

struct LateSettlements : BoundedSteps {
    static constexpr std::uint32_t messages = 25'000;

    void hold(const ChannelOptions& options) {
        begin(options);
        attach(1);
        for (std::uint32_t i = 0; i < messages; ++i) {
            publish_unlike();
            i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
        }
        static_cast<void>(finish());
        ASSERT_EQ(channel->in_flight(), messages);
    }
    void settle_all(Outcome outcome, std::uint64_t receipt, std::uint32_t argument = 0) {
        const SettleRange range{1, messages, 1, outcome, argument};
        channel->settle(link_of(2), {&range, 1}, receipt, "why");
    }
    /// What the receiver hears: receipts, and what was refused, as "first+count".
    Lines heard() {
        Lines lines;
        for (const Event& event : events.take()) {
            if (event.kind == Event::Kind::settled) {
                lines.push_back("settled " + std::to_string(event.number));
            } else if (event.kind == Event::Kind::settle_refused) {
                lines.push_back(std::to_string(event.range.first) + "+" + std::to_string(event.range.count));
            }
        }
        return lines;
    }
};

TEST_F(LateSettlements, AreAppliedInStepsAndAnsweredBehindTheLast) {
    hold({.attempts_max = 0});
    for (const Outcome outcome : {Outcome::started, Outcome::extend, Outcome::done}) {
        settle_all(outcome, 7, 60'000);
        EXPECT_EQ(heard(), Lines{});
        int steps = 0;
        for (std::uint64_t before = channel->in_flight(); channel->needs_dispatch(); ++steps) {
            channel->dispatch();
            EXPECT_LE(before - channel->in_flight(), StepBudget::messages_max);
            before = channel->in_flight();
        }
        EXPECT_GE(steps, 2);
        EXPECT_EQ(heard(), Lines{"settled 7"});
    }
    EXPECT_EQ(channel->in_flight(), 0U);
    EXPECT_EQ(channel->stats().settled, messages);
}

TEST_F(LateSettlements, EachOutcomeIsTheSameAsAtOnce) {
    for (const Outcome outcome : {Outcome::done, Outcome::give_back, Outcome::retry, Outcome::reject}) {
        sequence = 0;
        hold({.attempts_max = 0});
        channel->set_credit(link_of(2), {});
        settle_all(outcome, 7, 1'000);
        const ChannelStats first = channel->stats();
        EXPECT_EQ(first.in_flight, messages - Channel::settled_at_once);
        EXPECT_EQ(finish().size(), 0U);
        const ChannelStats stats = channel->stats();
        EXPECT_EQ(stats.in_flight, 0U);
        EXPECT_EQ(stats.settled, outcome == Outcome::done ? messages : 0);
        EXPECT_EQ(stats.ready, outcome == Outcome::give_back ? messages : 0);
        EXPECT_EQ(stats.delayed, outcome == Outcome::retry ? messages : 0);
        EXPECT_EQ(stats.quarantined, outcome == Outcome::reject ? messages : 0);
        if (outcome == Outcome::reject) {
            EXPECT_EQ(queue().find(messages)->note->note, "why");
        }
    }
}

TEST_F(LateSettlements, WhatTheLinkAsksForNextComesBehindThem) {
    hold({});
    settle_all(Outcome::done, 7);
    SettleRange range{messages, 1, 1, Outcome::reject};
    channel->settle(link_of(2), {&range, 1}, 8);
    range = {1, 1, 1, static_cast<Outcome>(99)};
    channel->settle(link_of(2), {&range, 1}, 0);
    EXPECT_EQ(heard(), Lines{});
    publish();
    EXPECT_EQ(queue().ready(), 1U);
    while (channel->needs_dispatch()) {
        channel->dispatch();
    }
    EXPECT_EQ(heard(), (Lines{"settled 7", std::to_string(messages) + "+1", "settled 8", "1+1"}));
    EXPECT_EQ(queue().quarantined(), 0U);
    EXPECT_EQ(channel->in_flight(), 1U) << "the new one";
}

TEST_F(LateSettlements, NoLeaseEndsBeforeThem) {
    hold({.lease = seconds{10}});
    settle_all(Outcome::done, 7);
    for (int pulse = 0; pulse < 5; ++pulse) {
        clock.clock.advance(seconds{5});
        channel->tick();
    }
    EXPECT_EQ(channel->stats().leases_ended, 0U);
    static_cast<void>(finish());
    EXPECT_EQ(channel->stats().settled, messages);
    publish();
    ASSERT_EQ(finish().size(), 1U);
    clock.clock.advance(seconds{11});
    channel->tick();
    channel->tick();
    EXPECT_EQ(channel->stats().leases_ended, 1U) << "and then they end again";
}

TEST_F(LateSettlements, AreAppliedInStepsBeforeTheReceiverEnds) {
    hold({});
    ASSERT_FALSE(channel->attach_receiver(link_of(3), {}));
    channel->set_credit(link_of(3), plenty);
    SettleRange range{1, messages - 5, 1, Outcome::reject};
    channel->settle(link_of(2), {&range, 1}, 7);
    channel->detach(link_of(2));
    EXPECT_EQ(queue().quarantined(), 2 * Channel::settled_at_once);
    channel->detach(link_of(2));
    range = {messages, 1, 1, Outcome::reject};
    channel->settle(link_of(2), {&range, 1}, 8);  // It has gone, as far as anybody can tell.
    channel->set_credit(link_of(2), plenty);
    publish();
    Lines lines;
    int steps = 0;
    for (; channel->needs_dispatch(); ++steps) {
        const std::uint64_t before = queue().quarantined();
        channel->dispatch();
        EXPECT_LE(queue().quarantined() - before, StepBudget::messages_max);
        for (const Event& event : events.take()) {
            if (event.kind == Event::Kind::settled) {
                lines.push_back("settled " + std::to_string(event.number));
            } else if (event.kind == Event::Kind::closed) {
                lines.push_back("closed " + std::to_string(event.link.link));
            } else if (event.kind == Event::Kind::deliver) {
                lines.push_back(std::to_string(event.link.link) + " gets " + std::to_string(event.slice.first));
            }
        }
    }
    EXPECT_GE(steps, 2);
    EXPECT_EQ(queue().quarantined(), messages - 5);
    Lines expected{"settled 7", "closed 2"};
    for (std::uint64_t offset = messages - 4; offset <= messages + 1; ++offset) {  // What it had not decided goes on.
        expected.push_back("3 gets " + std::to_string(offset));
    }
    EXPECT_EQ(lines, expected);
}

TEST_F(LateSettlements, OfASubscriptionThatEndsAreDroppedAndAnswered) {
    begin({.kind = Kind::topic});
    ASSERT_FALSE(channel->attach_receiver(link_of(2), {.subscription = "s", .from{}, .filter{}, .name{}}));
    channel->set_credit(link_of(2), plenty);
    for (std::uint32_t i = 0; i < messages; ++i) {
        publish_unlike();
        i % 1'000 == 0 ? static_cast<void>(events.take()) : void();
    }
    static_cast<void>(finish());
    settle_all(Outcome::done, 7);
    channel->detach(link_of(2));
    EXPECT_EQ(heard(), Lines{});
    static_cast<void>(channel->unsubscribe(*channel->find_subscription("s")));
    EXPECT_EQ(heard(), Lines{"settled 7"});
    EXPECT_FALSE(channel->has_links() && channel->stats().links.size() > 1);
    static_cast<void>(finish());
    EXPECT_EQ(channel->stats().stored, 0U);
}

TEST_F(LateSettlements, AStepOfTheLinkComesBehindThem) {
    hold({});
    settle_all(Outcome::reject, 7);
    const SettleRange last{messages, 1, 1, Outcome::done};
    std::optional<ReaderId> noted;
    EXPECT_EQ(channel->begin_step(1, link_of(2), {&last, 1}, noted), Errc::lost_lease);
    EXPECT_EQ(queue().quarantined(), messages);
}

TEST_F(LateSettlements, GoOnWhileTheChannelDrains) {
    hold({});
    settle_all(Outcome::done, 7);
    channel->begin_drain();
    while (channel->needs_dispatch()) {
        channel->dispatch();
    }
    EXPECT_EQ(channel->in_flight(), 0U);
    EXPECT_EQ(heard(), Lines{"settled 7"});
}

TEST_F(LateSettlements, AnEndlessRangeAndVeryManyOfThemAreNoMoreThanWhatIsHeld) {
    hold({});
    const std::vector<SettleRange> ranges(20'000, SettleRange{1, UINT32_MAX, 1, Outcome::done});
    channel->settle(link_of(2), ranges, 7);
    int steps = 0;
    for (; channel->needs_dispatch(); ++steps) {
        channel->dispatch();
    }
    EXPECT_LE(steps, 10);
    EXPECT_EQ(channel->in_flight(), 0U);
    EXPECT_EQ(heard().back(), "settled 7");
}

}  // namespace
}  // namespace baton::channel::test

// The delivery guard and the endpoint behind it: every way in which a delivery can end, and who is told.
#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "client/src/access.hpp"
#include "tests/unit/client/endpoint_world.hpp"
#include "tests/unit/client/settlement_range.hpp"
#include <baton/delivery.hpp>

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::FrameType;

class DeliveryGuard : public testing::Test {
protected:
    void attach(const ReceiverWindow& window = {}) {
        endpoint = std::make_shared<ReceiverEndpoint>(world.shared, "a", window);
        endpoint->link = world.dialogue.receiver("a", window);
    }
    // The engine ends every endpoint. (What waits in one refers to it: without an end it would stay for ever.)
    void TearDown() override {
        if (endpoint != nullptr) {
            endpoint->end(ClientError{ClientErrc::closed, "closed"}, world.completions);
            world.run_completions();
        }
    }
    // The broker delivers, and the engine passes it on.
    void deliver(std::uint64_t offset, const std::vector<std::string>& messages, std::uint32_t attempt = 1) {
        world.dialogue.deliver(1, next_sequence, offset, messages, attempt);
        next_sequence += messages.size();
        endpoint->on_delivered(endpoint, std::move(world.dialogue.delivered.back()), world.completions);
        world.dialogue.delivered.pop_back();
        world.run_completions();
    }
    // The broker's answer to settlements.
    void on_settled(std::uint64_t receipt, const std::vector<wire::SettleException>& exceptions = {}) {
        std::vector<std::byte> records(exceptions.size() * wire::settlement_size);
        for (std::size_t i = 0; i < exceptions.size(); ++i) {
            std::byte* record = records.data() + i * wire::settlement_size;
            store_u64(record, exceptions[i].first);
            store_u32(record + 8, exceptions[i].count);
            store_u32(record + 12, exceptions[i].attempt);
            store_u32(record + 16, static_cast<std::uint32_t>(exceptions[i].status));
        }
        endpoint->on_settled(endpoint, receipt, wire::RecordReader<wire::SettleException>{records}, world.completions);
        world.run_completions();
    }
    [[nodiscard]] Delivery receive() { return std::move(**endpoint->receive(endpoint, WaitLimit::no_wait())); }
    [[nodiscard]] bool has_none() { return !endpoint->receive(endpoint, WaitLimit::no_wait())->has_value(); }
    // What the broker is told now.
    [[nodiscard]] std::vector<wire::Settlement> settled() {
        world.run_io();
        std::vector<wire::Settlement> ranges;
        for (const Said& frame : world.dialogue.said()) {
            if (frame.header.type == FrameType::settle) {
                auto reader = *wire::decode_settle(frame.bytes(), frame.header.flags);
                for (wire::Settlement settlement; reader.next(settlement);) {
                    ranges.push_back(settlement);
                }
            }
        }
        if (endpoint->end_pace()) {
            endpoint->hand_over(world.dialogue.protocol, world.completions);
            const auto more = settled();
            ranges.insert(ranges.end(), more.begin(), more.end());
        }
        return ranges;
    }

    EndpointWorld world;
    std::shared_ptr<ReceiverEndpoint> endpoint;
    std::uint64_t next_sequence = 1;
};

TEST_F(DeliveryGuard, ShowsTheMessage) {
    attach();
    deliver(7, {"hello", "world"}, 2);
    const Delivery delivery = receive();
    EXPECT_EQ(delivery.text(), "hello");
    EXPECT_EQ(delivery.offset(), 7U);
    EXPECT_EQ(delivery.attempt(), 2U);
    EXPECT_TRUE(delivery.redelivered());
    EXPECT_EQ(delivery.channel(), "a");
    EXPECT_EQ(delivery.time().time_since_epoch(), std::chrono::seconds{1});
    EXPECT_FALSE(delivery.has_properties());
    EXPECT_EQ(endpoint->waiting(), 1U);
    EXPECT_EQ(endpoint->unsettled(), 1U);
    EXPECT_EQ(receive().offset(), 8U);
    EXPECT_TRUE(has_none());
}

TEST_F(DeliveryGuard, HandingOutMarksItStarted) {
    attach();
    deliver(1, {"x", "y"});
    const Delivery delivery = receive();
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started)));
}

TEST_F(DeliveryGuard, WhatWasDeliveredBeforeIsToldOfBeforeItIsHandedOut) {
    attach();
    deliver(1, {"x"});
    EXPECT_TRUE(receive().ack());
    world.run_io();
    (void)world.dialogue.said();  // From now on a pace is waited.
    deliver(2, {"y"});
    const int wakes = world.wakes;
    const Delivery fresh = receive();
    EXPECT_EQ(world.wakes, wakes);
    deliver(3, {"a", "b"}, 2);
    for (const std::uint64_t offset : {3U, 4U}) {
        const int before = world.wakes;
        const Delivery again = receive();
        EXPECT_GT(world.wakes, before) << "nobody can take a turn here: the I/O thread shall";
        world.run_io();
        const auto frames = world.dialogue.said();
        ASSERT_EQ(frames.size(), 1U);
        auto reader = *wire::decode_settle(frames[0].bytes(), frames[0].header.flags);
        std::vector<wire::Settlement> told;
        for (wire::Settlement settlement; reader.next(settlement);) {
            told.push_back(settlement);
        }
        EXPECT_THAT(told, testing::Contains(range(offset, 1, Outcome::started, 2)));
    }
}

TEST_F(DeliveryGuard, AckBeforeTheNextTurnNeedsNoStarted) {
    attach();
    deliver(1, {"x", "y"});
    EXPECT_TRUE(receive().ack());
    EXPECT_TRUE(receive().ack());
    EXPECT_THAT(settled(), ElementsAre(range(1, 2, Outcome::done)));
    EXPECT_EQ(endpoint->unsettled(), 0U);
}

TEST_F(DeliveryGuard, WithoutADecisionItIsGivenBack) {
    attach();
    deliver(1, {"x"});
    {
        const Delivery delivery = receive();
    }
    // It was handed out, so the attempt counts: the start is told although it is over already.
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started), range(1, 1, Outcome::give_back)));
}

TEST_F(DeliveryGuard, AnExceptionMeansRetryAfterTheBackOff) {
    attach();
    deliver(1, {"x"});
    try {
        const Delivery delivery = receive();
        EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started)));
        throw std::runtime_error{"work failed"};
    } catch (const std::runtime_error&) {
    }
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::retry, 1, argument_back_off)));
}

TEST_F(DeliveryGuard, MovesAndDecidesOnce) {
    attach();
    deliver(1, {"x", "y"});
    Delivery first = receive();
    Delivery moved = std::move(first);
    EXPECT_TRUE(first.is_settled());  // NOLINT(bugprone-use-after-move): that is what is tested.
    EXPECT_FALSE(first.ack());
    EXPECT_TRUE(moved.ack());
    EXPECT_FALSE(moved.ack());
    EXPECT_FALSE(moved.give_back());
    moved = receive();
    EXPECT_EQ(moved.text(), "y");
    moved = Delivery{};
    EXPECT_THAT(settled(), ElementsAre(range(2, 1, Outcome::started), range(1, 1, Outcome::done),
                                       range(2, 1, Outcome::give_back)));
}

TEST_F(DeliveryGuard, AfterAReconnectItIsLostQuietly) {
    attach();
    deliver(1, {"x", "y", "z"});
    Delivery delivery = receive();
    endpoint->on_deliveries_lost(world.completions);
    EXPECT_FALSE(delivery.ack());
    EXPECT_EQ(delivery.text(), "x");  // The bytes are still there.
    EXPECT_EQ(endpoint->waiting(), 0U);
    EXPECT_TRUE(has_none());
    EXPECT_EQ(delivery.ack(WaitLimit::forever()), SettleResult::lost_lease);
}

TEST_F(DeliveryGuard, WithoutAnAnswerOnlyWhatTheBrokerWasNotToldIsLost) {
    attach();
    deliver(1, {"told", "not told"});
    std::vector<std::string> outcomes;
    const auto settle = [&] {
        Delivery delivery = receive();
        endpoint->settle_async(*client_access::slice(delivery), delivery.offset(), {.outcome = Outcome::done},
                               [&outcomes](const Expected<SettleResult>& result) {
                                   outcomes.emplace_back(result ? "lost" : name_of(result.error().code()));
                               });
        client_access::set_settled(delivery);
    };
    settle();
    world.run_io();
    settle();
    endpoint->on_deliveries_lost(world.completions);
    world.run_completions();
    EXPECT_THAT(outcomes, ElementsAre("disconnected", "lost"));
}

TEST_F(DeliveryGuard, OutlivesReceiverAndClient) {
    attach();
    deliver(1, {"x"});
    Delivery delivery = receive();
    endpoint->end(ClientError{ClientErrc::closed, "closed"}, world.completions);
    endpoint.reset();
    (void)world.shared->inbox.shut();
    EXPECT_EQ(delivery.text(), "x");
    EXPECT_FALSE(delivery.ack());
}

TEST_F(DeliveryGuard, AReceiptTellsWhatTheBrokerDid) {
    attach();
    deliver(1, {"x", "y"});
    std::vector<std::string> outcomes;
    for (int i = 0; i < 2; ++i) {
        Delivery delivery = receive();
        const auto done = [&outcomes](const Expected<SettleResult>& result) {
            outcomes.emplace_back(*result == SettleResult::settled ? "settled" : "lost");
        };
        endpoint->settle_async(*client_access::slice(delivery), delivery.offset(), {.outcome = Outcome::done}, done);
        client_access::set_settled(delivery);
    }
    world.run_io();
    std::vector<std::uint64_t> receipts;
    for (const Said& frame : world.dialogue.said()) {
        if (frame.header.type == FrameType::settle && frame.header.sequence != 0) {
            receipts.push_back(frame.header.sequence);
        }
    }
    ASSERT_EQ(receipts.size(), 2U);
    on_settled(receipts[0]);
    on_settled(receipts[1], {{.first = 2, .count = 1, .attempt = 1, .status = wire::Status::lost_lease}});
    EXPECT_THAT(outcomes, ElementsAre("settled", "lost"));
}

TEST_F(DeliveryGuard, AReceiptAnswersForAllEarlierOnesAndExceptionsForThoseTheyName) {
    attach();
    deliver(1, {"a", "b", "c", "d"});
    std::vector<std::string> outcomes;
    for (int i = 0; i < 4; ++i) {
        Delivery delivery = receive();
        const auto done = [&outcomes, i](const Expected<SettleResult>& result) {
            outcomes.push_back(std::to_string(i) + (*result == SettleResult::settled ? " settled" : " lost"));
        };
        endpoint->settle_async(*client_access::slice(delivery), delivery.offset(), {.outcome = Outcome::done}, done);
        client_access::set_settled(delivery);
    }
    world.run_io();
    on_settled(0, {{.first = 2, .count = 1, .attempt = 1, .status = wire::Status::lost_lease}});
    EXPECT_THAT(outcomes, IsEmpty());
    on_settled(3, {{.first = 77, .count = 1, .attempt = 1, .status = wire::Status::lost_lease},
                   {.first = 3, .count = 1, .attempt = 2, .status = wire::Status::lost_lease}});
    EXPECT_THAT(outcomes, ElementsAre("0 settled", "1 lost", "2 settled"));
    on_settled(4);
    EXPECT_THAT(outcomes, ElementsAre("0 settled", "1 lost", "2 settled", "3 settled"));
}

// --- Other decisions

TEST_F(DeliveryGuard, RetryAndRejectSayWhenAndWhy) {
    attach();
    deliver(1, {"a", "b", "c", "d"});
    EXPECT_TRUE(receive().retry());
    EXPECT_TRUE(receive().retry(std::chrono::seconds{2}));
    EXPECT_TRUE(receive().retry(std::chrono::milliseconds{-1}, "no disk"));
    EXPECT_TRUE(receive().reject("not a number"));
    world.run_io();
    std::vector<std::string> notes;
    std::vector<wire::Settlement> ranges;
    for (const Said& frame : world.dialogue.said()) {
        if (auto settle = wire::decode_settle(frame.bytes(), frame.header.flags);
            frame.header.type == FrameType::settle) {
            for (wire::Settlement settlement; settle->next(settlement);) {
                ranges.push_back(settlement);
            }
            notes.emplace_back(settle->note);
        }
    }
    EXPECT_THAT(notes, ElementsAre("", "no disk", "not a number"));
    EXPECT_THAT(ranges, ElementsAre(range(1, 4, Outcome::started), range(2, 1, Outcome::retry, 1, 2'000),
                                    range(1, 1, Outcome::retry, 1, argument_back_off), range(3, 1, Outcome::retry),
                                    range(4, 1, Outcome::reject)));
    EXPECT_EQ(endpoint->unsettled(), 0U);
}

TEST_F(DeliveryGuard, ExtendIsNoDecision) {
    attach();
    deliver(1, {"a"});
    Delivery delivery = receive();
    EXPECT_TRUE(delivery.extend(std::chrono::seconds{90}));
    EXPECT_FALSE(delivery.is_settled());
    EXPECT_EQ(endpoint->unsettled(), 1U);
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started), range(1, 1, Outcome::extend, 1, 90'000)));
    EXPECT_TRUE(delivery.extend(std::chrono::milliseconds{0}));
    EXPECT_TRUE(delivery.ack());  // Nothing is left to extend.
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::done)));
    EXPECT_FALSE(delivery.extend(std::chrono::seconds{1}));
}

// --- Leases

class Leases : public DeliveryGuard {
protected:
    void SetUp() override {
        endpoint = std::make_shared<ReceiverEndpoint>(world.shared, "a", ReceiverWindow{});
        endpoint->link = world.dialogue.receiver("a", {}, R"({"kind":"queue","lease_ms":12000,"lease_max_ms":60000})");
        endpoint->on_attached(world.dialogue.terms);
    }
    // What the engine's timer does, after so long.
    bool tick(Duration after) {
        world.dialogue.clock.advance(after);
        const bool is_needed = endpoint->renew_leases(world.dialogue.protocol, world.dialogue.clock.now());
        world.dialogue.protocol.finish_turn(world.dialogue.clock.now());
        return is_needed;
    }
};

using std::chrono_literals::operator""s;

TEST_F(Leases, WhatIsHereIsExtendedInTime) {
    EXPECT_EQ(endpoint->renewal_interval(), 2s);
    EXPECT_FALSE(tick(2s));
    deliver(1, {"a", "b", "c", "d"});
    EXPECT_TRUE(tick(2s));
    EXPECT_THAT(settled(), IsEmpty());
    Delivery first = receive();
    Delivery second = receive();
    EXPECT_TRUE(second.ack());
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started), range(2, 1, Outcome::done)));
    EXPECT_TRUE(tick(2s));
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::extend), range(3, 2, Outcome::extend)));
    EXPECT_TRUE(tick(2s));
    EXPECT_THAT(settled(), IsEmpty());
    EXPECT_TRUE(tick(2s));
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::extend), range(3, 2, Outcome::extend)));
    EXPECT_TRUE(first.ack());
    EXPECT_TRUE(receive().ack());
    EXPECT_TRUE(receive().ack());
    EXPECT_FALSE(tick(4s));
}

TEST_F(Leases, WhatTheUserExtendedForLongerIsLeftAlone) {
    deliver(1, {"a", "b", "c"});
    Delivery first = receive();
    Delivery second = receive();
    (void)settled();
    // The endpoint asks the system's clock, the test has its own: far enough in any case.
    EXPECT_TRUE(second.extend(std::chrono::hours{24 * 40}));
    EXPECT_THAT(settled(), ElementsAre(range(2, 1, Outcome::extend, 1, 24U * 40 * 3'600'000)));
    EXPECT_TRUE(first.extend(1s));
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::extend)));  // Never less than a lease.
    EXPECT_TRUE(tick(4s));
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::extend), range(3, 1, Outcome::extend)));
}

TEST_F(Leases, WhatWaitsTooLongGoesBackAndWhatIsWorkedOnIsNotExtendedBeyondTheLimit) {
    deliver(1, {"a", "b", "c"});
    const Delivery first = receive();
    (void)settled();
    EXPECT_TRUE(tick(54s));
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::extend), range(2, 2, Outcome::give_back)));
    EXPECT_EQ(endpoint->waiting(), 0U);
    EXPECT_TRUE(has_none());
    EXPECT_TRUE(tick(6s));
    EXPECT_THAT(settled(), IsEmpty());
}

TEST_F(DeliveryGuard, WhatTheBrokerTookBackIsNotHandedOut) {
    attach({.messages = 4, .bytes = 1'000});
    deliver(1, {"a", "b", "c", "d"});
    Delivery first = receive();
    (void)settled();
    on_settled(0, {{.first = 1, .count = 2, .attempt = 1, .status = wire::Status::lost_lease},
                   {.first = 4, .count = 1, .attempt = 2, .status = wire::Status::lost_lease}});
    EXPECT_EQ(endpoint->unsettled(), 0U);
    EXPECT_EQ(endpoint->waiting(), 2U);
    EXPECT_FALSE(first.ack());
    EXPECT_EQ(first.ack(WaitLimit::forever()), SettleResult::lost_lease);
    EXPECT_EQ(receive().text(), "c");
    EXPECT_EQ(receive().text(), "d");
    EXPECT_TRUE(has_none());
    // There is room for two more, and for the two that went out of scope.
    world.run_io();
    world.dialogue.protocol.finish_turn(world.dialogue.clock.now());
    EXPECT_EQ(wire::decode_credit(world.dialogue.said_one(FrameType::credit).bytes())->messages, 8U);
}

TEST_F(DeliveryGuard, EmptyMeansAlsoThatNothingIsDelayed) {
    attach();
    const auto is_empty = [this](const wire::State& state) {
        std::optional<bool> answer;
        std::thread asking{[&] { answer = *endpoint->is_empty(endpoint, WaitLimit::forever()); }};
        while (world.wakes == 0) {
            std::this_thread::yield();
        }
        world.run_io();
        endpoint->on_state(state);
        asking.join();
        world.wakes = 0;
        return *answer;
    };
    EXPECT_TRUE(is_empty({.reason = 1}));
    EXPECT_FALSE(is_empty({.reason = 1, .ready = 1}));
    EXPECT_FALSE(is_empty({.reason = 16, .delayed = 1}));
    EXPECT_TRUE(is_empty({.reason = 10, .in_flight = 3}));
}

TEST_F(DeliveryGuard, WhatWentBackBeforeTheAnswerIsNotForgotten) {
    attach({.messages = 1, .bytes = 1'000, .is_on_demand = true});
    std::optional<bool> answer;
    std::thread asking{[&] { answer = *endpoint->is_empty(endpoint, WaitLimit::forever()); }};
    while (world.wakes == 0) {
        std::this_thread::yield();
    }
    world.run_io();
    deliver(10, {"late"});  // Nobody waits for it.
    endpoint->on_state({.reason = 10, .in_flight = 1});
    asking.join();
    EXPECT_EQ(answer, false);
    EXPECT_THAT(settled(), ElementsAre(range(10, 1, Outcome::give_back)));
}

TEST_F(DeliveryGuard, AStreamOfAcksWakesTheIoThreadOncePerPace) {
    attach({.messages = 1'000, .bytes = 1U << 20U});
    deliver(1, std::vector<std::string>(100, "x"));
    EXPECT_TRUE(receive().ack());
    EXPECT_EQ(world.wakes, 1);
    world.run_io();
    for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(receive().ack());
    }
    EXPECT_EQ(world.wakes, 1);
    EXPECT_TRUE(endpoint->end_pace());
    endpoint->hand_over(world.dialogue.protocol, world.completions);
    EXPECT_FALSE(endpoint->end_pace());
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("SETTLE 1#0"));
}

TEST_F(DeliveryGuard, HalfAWindowOfAcksDoesNotWait) {
    attach({.messages = 10, .bytes = 1U << 20U});
    deliver(1, std::vector<std::string>(10, "x"));
    EXPECT_TRUE(receive().ack());
    world.run_io();
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(receive().ack());
    }
    EXPECT_EQ(world.wakes, 2);
}

TEST_F(DeliveryGuard, HalfAWindowOfAcksDoesNotWaitAlthoughFewOfThemLook) {
    attach({.messages = 64, .bytes = 1U << 20U});
    deliver(1, std::vector<std::string>(64, "x"));
    Delivery first = receive();
    world.run_io();
    (void)endpoint->end_pace();
    world.run_io();
    EXPECT_EQ(world.wakes, 1);
    EXPECT_TRUE(first.ack());  // A pause was before it.
    EXPECT_EQ(world.wakes, 2);
    world.run_io();
    for (int i = 0; i < 25; ++i) {
        EXPECT_TRUE(receive().ack());
    }
    EXPECT_EQ(world.wakes, 2);
    for (int i = 0; i < 14; ++i) {
        EXPECT_TRUE(receive().ack());
    }
    EXPECT_EQ(world.wakes, 3);
}

TEST_F(DeliveryGuard, HalfAWindowOfBytesDoesNotWaitEither) {
    attach({.messages = 1'000, .bytes = 1'040});  // Ten messages.
    deliver(1, std::vector<std::string>(10, std::string(100, 'x')));
    EXPECT_TRUE(receive().ack());
    world.run_io();
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(receive().ack());
    }
    EXPECT_EQ(world.wakes, 1);
    EXPECT_TRUE(receive().ack());
    EXPECT_EQ(world.wakes, 2);
}

TEST_F(DeliveryGuard, WhatWasStartedIsSaidOnceAndDoneLater) {
    attach();
    deliver(1, {"a", "b", "c", "d"});
    Delivery first = receive();
    Delivery second = receive();
    EXPECT_THAT(settled(), ElementsAre(range(1, 2, Outcome::started)));
    Delivery third = receive();
    EXPECT_TRUE(second.ack());
    EXPECT_EQ(endpoint->unsettled(), 2U);
    EXPECT_THAT(settled(), ElementsAre(range(3, 1, Outcome::started), range(2, 1, Outcome::done)));
    EXPECT_TRUE(third.ack());
    EXPECT_TRUE(first.ack());
    EXPECT_EQ(endpoint->unsettled(), 0U);
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::done), range(3, 1, Outcome::done)));
    EXPECT_EQ(second.text(), "b");
    EXPECT_TRUE(receive().ack());
    EXPECT_THAT(settled(), ElementsAre(range(4, 1, Outcome::done)));
    EXPECT_EQ(third.text(), "c");
}

TEST_F(DeliveryGuard, WhatWasLostWhileItWaitedIsNotStarted) {
    attach();
    deliver(1, {"a", "b", "c"});
    const Delivery first = receive();
    on_settled(0, {{.first = 2, .count = 1, .attempt = 1, .status = wire::Status::lost_lease}});
    const Delivery third = receive();
    EXPECT_EQ(third.text(), "c");
    EXPECT_THAT(settled(), ElementsAre(range(1, 1, Outcome::started), range(3, 1, Outcome::started)));
}

// The bytes of messages that are decided one by one are only about right until the last of their batch.
TEST_F(DeliveryGuard, BytesOfTheWindowComeBackExactlyWithTheLastOfABatch) {
    attach({.messages = 4, .bytes = 1'000});
    deliver(1, {"a", std::string(88, 'b'), "c"});  // 5 + 92 + 5 bytes.
    const auto credit = [this] {
        world.dialogue.protocol.finish_turn(world.dialogue.clock.now());
        return wire::decode_credit(world.dialogue.said_one(FrameType::credit).bytes())->bytes;
    };
    Delivery first = receive();
    EXPECT_TRUE(receive().retry());
    EXPECT_TRUE(receive().ack());
    world.run_io();
    EXPECT_EQ(credit(), 1'000U + 2 * 34);
    EXPECT_TRUE(first.ack());
    deliver(4, {"d"});
    EXPECT_TRUE(receive().ack());
    world.run_io();
    EXPECT_EQ(credit(), 1'000U + 102 + 5);
}

TEST_F(DeliveryGuard, ClosingSaysWhatIsDoneAndLosesTheRest) {
    attach();
    deliver(1, {"a", "b", "c", "d"});
    EXPECT_TRUE(receive().ack());
    Delivery second = receive();
    EXPECT_TRUE(receive().ack());
    endpoint->close_in_background(endpoint);
    EXPECT_FALSE(second.ack());
    EXPECT_EQ(endpoint->unsettled(), 1U);
    EXPECT_THAT(settled(),
                ElementsAre(range(2, 1, Outcome::started), range(1, 1, Outcome::done), range(3, 1, Outcome::done)));
    EXPECT_EQ(endpoint->unsettled(), 1U);  // What a close that runs out of time can report.
    EXPECT_EQ(second.text(), "b");
}

// --- Threads

class DeliveryThreads : public DeliveryGuard {
protected:
    static constexpr std::uint64_t batches = 5;
    static constexpr std::uint64_t batch_size = 150;
    static constexpr std::uint64_t messages = batches * batch_size;

    // Receives all, decides on two threads, and does meanwhile and until they are through what `io` does. Returns
    // whose ack said yes: [offset], from 1.
    template <class Io>
    std::vector<char> ack_on_threads(Io io) {
        for (std::uint64_t batch = 0; batch < batches; ++batch) {
            deliver(1 + batch * batch_size, std::vector<std::string>(batch_size, "x"));
        }
        std::vector<Delivery> deliveries;
        while (deliveries.size() < messages) {
            deliveries.push_back(receive());
        }
        std::vector<char> acked(messages + 1, 0);
        std::atomic<int> running{2};
        const auto run = [&](std::size_t first) {
            for (std::size_t at = first; at < deliveries.size(); at += 2) {
                Delivery delivery = std::move(deliveries[at]);
                const std::uint64_t offset = delivery.offset();
                acked[offset] = delivery.ack() ? 1 : 0;
            }
            --running;
        };
        std::thread one{run, 0};
        std::thread other{run, 1};
        while (running != 0) {
            io();
        }
        one.join();
        other.join();
        return acked;
    }
    void count(const std::vector<wire::Settlement>& ranges) {
        for (const wire::Settlement& settlement : ranges) {
            const bool is_done = settlement.outcome == static_cast<std::uint8_t>(Outcome::done);
            for (std::uint32_t i = 0; is_done && i < settlement.count; ++i) {
                ++done[settlement.first + i];
            }
        }
    }
    std::vector<char> done = std::vector<char>(messages + 1, 0);  // How often it was said of each offset.
};

TEST_F(DeliveryThreads, EveryAckIsToldOnceWhateverIsCollectedOrLostMeanwhile) {
    attach({.messages = 10'000, .bytes = 1U << 20U});
    std::uint64_t lost = 0;
    const auto acked = ack_on_threads([&] {
        count(settled());
        EXPECT_LE(endpoint->unsettled(), messages);
        lost = std::min(lost + 7, messages);
        on_settled(0, {{.first = lost, .count = 1, .attempt = 1, .status = wire::Status::lost_lease}});
    });
    count(settled());
    EXPECT_EQ(done, acked);
    EXPECT_EQ(endpoint->unsettled(), 0U);
    on_settled(0, {{.first = 1, .count = messages, .attempt = 1, .status = wire::Status::lost_lease}});
    EXPECT_THAT(settled(), IsEmpty());
    // The link counts what is free again and asserts that it is not more than there was; now it is all of it.
    deliver(messages + 1, {"x"});
    EXPECT_TRUE(receive().ack());
    EXPECT_THAT(settled(), ElementsAre(range(messages + 1, 1, Outcome::done)));
}

TEST_F(DeliveryThreads, AnAckBeforeCloseIsToldAndNoneAfterIt) {
    attach({.messages = 10'000, .bytes = 1U << 20U});
    int turns = 0;
    const auto acked = ack_on_threads([&] {
        if (++turns == 3) {
            endpoint->close_in_background(endpoint);
        }
        count(settled());
    });
    endpoint->close_in_background(endpoint);
    count(settled());
    EXPECT_EQ(done, acked);
}

TEST_F(DeliveryThreads, DeliveriesOfALostConnectionAreLostOnAllThreads) {
    attach({.messages = 10'000, .bytes = 1U << 20U});
    int turns = 0;
    const auto acked = ack_on_threads([&] {
        count(settled());
        if (++turns == 3) {
            endpoint->on_deliveries_lost(world.completions);
        }
    });
    endpoint->on_deliveries_lost(world.completions);
    EXPECT_THAT(settled(), IsEmpty());
    for (std::uint64_t offset = 1; offset <= messages; ++offset) {
        EXPECT_LE(done[offset], acked[offset]) << offset;
    }
    EXPECT_EQ(endpoint->unsettled(), 0U);
}

TEST_F(DeliveryGuard, OnDemandGivesBackWhatNobodyWaitsFor) {
    attach({.messages = 1, .bytes = 1'000, .is_on_demand = true});
    std::vector<std::string> got;
    const auto done = [&got](Expected<Delivery> delivery) {
        got.emplace_back(delivery ? std::string{delivery->text()} : std::string{name_of(delivery.error().code())});
        if (delivery) {
            delivery->ack();
        }
    };
    const std::uint64_t first = endpoint->receive_async(endpoint, done);
    endpoint->receive_async(endpoint, done);
    world.run_io();
    EXPECT_EQ(wire::decode_credit(world.dialogue.said_one(FrameType::credit).bytes())->messages, 2U);
    endpoint->cancel_receive(endpoint, first);
    EXPECT_THAT(got, ElementsAre("interrupted"));
    deliver(10, {"one", "late"});  // Both were on their way.
    EXPECT_THAT(got, ElementsAre("interrupted", "one"));
    EXPECT_THAT(settled(), ElementsAre(range(10, 1, Outcome::done), range(11, 1, Outcome::give_back)));
    EXPECT_EQ(endpoint->waiting(), 0U);
}

TEST_F(DeliveryGuard, ACancelledReceiveLosesNothing) {
    attach();
    std::vector<std::string> got;
    const std::uint64_t id = endpoint->receive_async(endpoint, [&got](const Expected<Delivery>& delivery) {
        got.emplace_back(delivery ? "message" : name_of(delivery.error().code()));
    });
    endpoint->cancel_receive(endpoint, id);
    endpoint->cancel_receive(endpoint, id);
    deliver(1, {"x"});
    EXPECT_THAT(got, ElementsAre("interrupted"));
    EXPECT_EQ(receive().text(), "x");
}

TEST_F(DeliveryGuard, ClosingEndsEveryWait) {
    attach();
    std::vector<std::string> got;
    endpoint->receive_async(endpoint, [&got](const Expected<Delivery>& delivery) {
        got.emplace_back(delivery ? "message" : name_of(delivery.error().code()));
    });
    endpoint->close_in_background(endpoint);
    EXPECT_EQ(endpoint->receive(endpoint, WaitLimit::forever()).error().code(), ClientErrc::closed);
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("DETACH 1#0"));
    endpoint->end(ClientError{ClientErrc::closed, "closed"}, world.completions);
    world.run_completions();
    EXPECT_THAT(got, ElementsAre("closed"));
    EXPECT_TRUE(endpoint->close_and_wait(endpoint, WaitLimit::forever()));
}

TEST_F(DeliveryThreads, WhoReceivesAtOnceSharesTheMessages) {
    attach({.messages = 10'000, .bytes = 1U << 20U});
    std::atomic<bool> is_over{false};
    const auto run = [&](std::vector<std::uint64_t>& offsets) {
        while (!is_over) {
            while (auto delivery = *endpoint->receive(endpoint, WaitLimit::no_wait())) {
                offsets.push_back(delivery->offset());
                EXPECT_EQ(delivery->text(), std::to_string(delivery->offset()));
                EXPECT_TRUE(delivery->ack());
            }
        }
    };
    std::vector<std::uint64_t> one;
    std::vector<std::uint64_t> other;
    std::thread first{[&] { run(one); }};
    std::thread second{[&] { run(other); }};
    for (std::uint64_t batch = 0; batch < batches; ++batch) {
        std::vector<std::string> texts;
        for (std::uint64_t i = 1; i <= batch_size; ++i) {
            texts.push_back(std::to_string(batch * batch_size + i));
        }
        deliver(1 + batch * batch_size, texts);
        for (int turn = 0; turn < 20; ++turn) {
            count(settled());
            EXPECT_LE(endpoint->waiting() + endpoint->unsettled(), messages);
        }
    }
    while (endpoint->waiting() + endpoint->unsettled() != 0) {
        count(settled());
    }
    is_over = true;
    first.join();
    second.join();
    count(settled());
    for (const auto& offsets : {one, other}) {
        EXPECT_TRUE(std::ranges::is_sorted(offsets)) << "a thread gets them in order";
    }
    EXPECT_EQ(one.size() + other.size(), messages);
    EXPECT_EQ(std::ranges::count(done, 1), messages) << "each is settled once";
}

}  // namespace
}  // namespace baton::client

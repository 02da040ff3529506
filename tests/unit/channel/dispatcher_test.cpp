// The choice of a receiver: least loaded first, fair among equals, whole batches where an even share allows it.
#include "server/channel/dispatcher.hpp"

#include <deque>

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

constexpr MonotonicTime at_first{std::chrono::seconds{1}};
constexpr MonotonicTime later{std::chrono::seconds{2}};

struct DispatcherTest : testing::Test {
    DispatcherTest() { log.add_cursor(ready.cursor()); }
    Receiver& receiver(Credit credit = plenty) {
        Receiver& added = receivers.emplace_back();
        added.address = link_of(static_cast<std::uint16_t>(receivers.size()));
        set_credit(added, credit);
        return added;
    }
    void set_credit(Receiver& changed, Credit credit) {
        changed.limit = credit;
        dispatcher.refresh(changed, at_first);
    }
    void append(std::uint32_t count, std::size_t size = 6) {
        log.append(count, 0, 0, WallTime{}, press.region_of(count, size));
    }
    Lines run(MonotonicTime when = at_first) {
        std::uint32_t slices = UINT32_MAX;
        (void)dispatcher.run(ready, slices, when);
        Lines lines;
        for (const Event& event : events.take()) {
            lines.push_back(to_line(event));
        }
        return lines;
    }
    void settle(Receiver& holder, Offset first, std::uint32_t count) {
        Settlement settlement;
        holder.in_flight.take({first, count, 1, Outcome::done}, settlement);
        for (const channel::Run& part : settlement.held) {
            log.forget(part);
        }
        dispatcher.refresh(holder, at_first);
    }

    Press press;
    RecordingEvents events;
    MessageLog log;
    ReadyMessages ready{log};
    Dispatcher dispatcher{events};
    std::deque<Receiver> receivers;
};

TEST_F(DispatcherTest, FewMessagesSpreadOverIdleReceivers) {
    for (int i = 0; i < 4; ++i) {
        receiver();
    }
    append(4);
    EXPECT_EQ(run(), (Lines{"deliver 1 1 attempt 1", "deliver 2 2 attempt 1", "deliver 3 3 attempt 1",
                            "deliver 4 4 attempt 1"}));
}

TEST_F(DispatcherTest, OneBatchIsDividedEvenly) {
    for (int i = 0; i < 4; ++i) {
        receiver();
    }
    append(400);
    EXPECT_EQ(run(), (Lines{"deliver 1 1-100 attempt 1", "deliver 2 101-200 attempt 1", "deliver 3 201-300 attempt 1",
                            "deliver 4 301-400 attempt 1"}));
}

TEST_F(DispatcherTest, ALoneReceiverGetsWholeBatches) {
    receiver();
    append(5'000);
    append(3);
    EXPECT_EQ(run(), (Lines{"deliver 1 1-5000 attempt 1", "deliver 1 5001-5003 attempt 1"}));
}

TEST_F(DispatcherTest, ABacklogIsNotCutForFairness) {
    receiver();
    receiver();
    for (int i = 0; i < 8; ++i) {
        append(1'000);
    }
    const Lines given = run();
    ASSERT_EQ(given.size(), 8U);
    EXPECT_EQ(given[0], "deliver 1 1-1000 attempt 1");
    EXPECT_EQ(given[1], "deliver 2 1001-2000 attempt 1");
}

TEST_F(DispatcherTest, LeastLoadedFirstThenInTurn) {
    Receiver& first = receiver();
    Receiver& second = receiver();
    append(3);
    EXPECT_EQ(run(), (Lines{"deliver 1 1-2 attempt 1", "deliver 2 3 attempt 1"}));
    append(1);
    EXPECT_EQ(run(), (Lines{"deliver 2 4 attempt 1"}));
    append(1);  // Equal: the one that was served longest ago.
    EXPECT_EQ(run(), (Lines{"deliver 1 5 attempt 1"}));
    settle(first, 1, 2);
    settle(second, 3, 1);
    append(1);
    EXPECT_EQ(run(), (Lines{"deliver 2 6 attempt 1"}));
    EXPECT_EQ(first.in_flight.messages(), 1U);
}

TEST_F(DispatcherTest, OneAtATimeGoesRound) {
    for (int i = 0; i < 3; ++i) {
        receiver();
    }
    std::string order;
    for (Offset offset = 1; offset <= 7; ++offset) {
        append(1);
        const std::string line = run().at(0);
        order += line[8];
        settle(receivers[static_cast<std::size_t>(line[8] - '1')], offset, 1);
    }
    EXPECT_EQ(order, "1231231");
}

TEST_F(DispatcherTest, CreditInMessagesIsExact) {
    Receiver& only = receiver({3, 1'000});
    append(5);
    EXPECT_EQ(run(), (Lines{"deliver 1 1-3 attempt 1"}));
    EXPECT_EQ(only.wait.reason, WaitReason::no_message_credit);
    EXPECT_FALSE(dispatcher.has_candidates());
    set_credit(only, {2, 1'000});  // Lower: only stops.
    EXPECT_TRUE(run().empty());
    set_credit(only, {4, 1'000});
    EXPECT_EQ(run(), (Lines{"deliver 1 4 attempt 1"}));
}

TEST_F(DispatcherTest, CreditInBytesCutsAtMessages) {
    Receiver& only = receiver({100, 25});
    append(5);  // Ten bytes each.
    EXPECT_EQ(run(), (Lines{"deliver 1 1-2 attempt 1"}));
    EXPECT_EQ(only.wait.reason, WaitReason::no_byte_credit);
    set_credit(only, {100, 29});
    EXPECT_TRUE(run().empty());
    set_credit(only, {100, 30});
    EXPECT_EQ(run(), (Lines{"deliver 1 3 attempt 1"}));
}

TEST_F(DispatcherTest, AMessageLargerThanTheWindowIsGivenAloneToAnIdleReceiver) {
    Receiver& only = receiver({100, 50});
    append(1);
    append(2, 96);
    EXPECT_EQ(run(), (Lines{"deliver 1 1 attempt 1"}));
    settle(only, 1, 1);
    EXPECT_EQ(run(), (Lines{"deliver 1 2 attempt 1"}));
    EXPECT_EQ(only.wait.reason, WaitReason::no_byte_credit);
    settle(only, 2, 1);
    EXPECT_TRUE(run().empty());
    set_credit(only, {100, 111});  // One byte more than was given.
    EXPECT_EQ(run(), (Lines{"deliver 1 3 attempt 1"}));
}

TEST_F(DispatcherTest, WhoCannotTakeTheNextMessageIsPassedOver) {
    Receiver& narrow = receiver({100, 30});
    append(1);
    EXPECT_EQ(run(), (Lines{"deliver 1 1 attempt 1"}));
    receiver({1, 1'000});
    append(1, 96);
    append(1);
    EXPECT_EQ(run(), (Lines{"deliver 2 2 attempt 1", "deliver 1 3 attempt 1"}));
    append(1, 96);
    EXPECT_TRUE(run(later).empty());
    EXPECT_EQ(narrow.wait.reason, WaitReason::no_byte_credit);
    EXPECT_EQ(narrow.wait.since, later);
    dispatcher.refresh(narrow, later + std::chrono::seconds{5});
    EXPECT_TRUE(run(later + std::chrono::seconds{5}).empty());
    EXPECT_EQ(narrow.wait.since, later) << "it is the same wait";
}

TEST_F(DispatcherTest, SlowReceiversGetNothing) {
    Receiver& slow = receiver();
    slow.is_slow = true;
    dispatcher.refresh(slow, at_first);
    EXPECT_EQ(slow.wait.reason, WaitReason::slow_reader);
    append(2);
    EXPECT_TRUE(run().empty());
    receiver();
    EXPECT_EQ(run(), (Lines{"deliver 2 1-2 attempt 1"}));
}

TEST_F(DispatcherTest, WhatCameBackGoesFirstAndIsMarked) {
    Receiver& first = receiver({4, 1'000});
    append(4);
    run();
    Settlement settlement;
    SettleLimit all;
    first.in_flight.start({3, 1, 1, Outcome::started}, settlement, all);
    first.in_flight.take({1, 1, 1, Outcome::done}, settlement);
    const Ring<channel::Run> held = first.in_flight.take_all();
    for (std::size_t i = 0; i < held.size(); ++i) {
        channel::Run back = held[i];
        back.attempt += back.is_started ? 1 : 0;
        back.is_started = false;
        back.was_delivered = true;
        back.lease_end = back.lease_cap = 0;
        ready.put(back);
    }
    dispatcher.refresh(first, at_first);
    append(1);
    receiver();
    EXPECT_EQ(run(), (Lines{"deliver 2 2 attempt 1 again", "deliver 2 3 attempt 2 again", "deliver 2 4 attempt 1 again",
                            "deliver 2 5 attempt 1"}));
}

TEST_F(DispatcherTest, EmptyWaitBeginsWithTheLastDelivery) {
    Receiver& only = receiver();
    EXPECT_EQ(only.wait.reason, WaitReason::empty);
    EXPECT_EQ(only.wait.since, at_first);
    dispatcher.refresh(only, later);
    EXPECT_EQ(only.wait.since, at_first);
    append(1);
    run(later);
    EXPECT_EQ(only.wait.reason, WaitReason::empty);
    EXPECT_EQ(only.wait.since, later);
}

TEST_F(DispatcherTest, ARemovedReceiverIsNotChosen) {
    for (int i = 0; i < 5; ++i) {
        receiver();
    }
    dispatcher.remove(receivers[0]);
    dispatcher.remove(receivers[3]);
    dispatcher.remove(receivers[3]);
    append(3);
    EXPECT_EQ(run(), (Lines{"deliver 2 1 attempt 1", "deliver 3 2 attempt 1", "deliver 5 3 attempt 1"}));
}

}  // namespace
}  // namespace baton::channel::test

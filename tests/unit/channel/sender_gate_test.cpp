// Sender credit: windows, top-ups, reservations, and the reasons to withhold it.
#include "server/channel/sender_gate.hpp"

#include <deque>
#include <optional>

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

constexpr MonotonicTime at_first{std::chrono::seconds{1}};
const ReadyCount no_messages = [] { return std::uint64_t{0}; };
constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;

struct SenderGateTest : testing::Test {
    Sender& sender() {
        Sender& added = senders.emplace_back();
        added.address = link_of(static_cast<std::uint16_t>(senders.size()));
        return added;
    }
    Lines examine(Sender& examined, MonotonicTime when = at_first) {
        gate->examine(examined, room, no_messages, when);
        return happened();
    }
    Lines examine_short() {
        gate->examine_short(room, no_messages, at_first);
        return happened();
    }
    Lines happened() {
        Lines lines;
        for (const Event& event : events.take()) {
            lines.push_back(to_line(event));
        }
        return lines;
    }
    void with_memory(std::size_t bytes) {
        budget.emplace(bytes);
        gate.emplace(events, *budget, Credit{65'536, 4 * mib});
    }

    SenderGateTest() { with_memory(1ULL << 40); }

    RecordingEvents events;
    std::optional<MemoryBudget> budget;
    std::optional<SenderGate> gate;
    Room room{.free = {10'000'000, 512 * mib}};
    std::deque<Sender> senders;
};

TEST_F(SenderGateTest, StartsSmallAndDoublesWithUse) {
    Sender& one = sender();
    EXPECT_EQ(examine(one), (Lines{"credit 1 1024 65536"}));
    EXPECT_EQ(budget->used(), 64 * kib);
    ASSERT_TRUE(gate->use(one, {10, 30 * kib}));
    EXPECT_EQ(budget->used(), 34 * kib);
    EXPECT_TRUE(examine(one).empty()) << "half is not used yet";
    ASSERT_TRUE(gate->use(one, {10, 10 * kib}));
    EXPECT_EQ(examine(one), (Lines{"credit 1 2068 172032"}));  // Used 20 and 40 KiB, and a window twice as large.
    EXPECT_EQ(one.outstanding(), (Credit{2048, 128 * kib}));
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(gate->use(one, {1, one.outstanding().bytes}));
        examine(one);
    }
    EXPECT_EQ(one.window, (Credit{65'536, 4 * mib})) << "never beyond the channel's own";
    EXPECT_EQ(budget->used(), gate->outstanding().bytes);
}

TEST_F(SenderGateTest, MoreThanTheCreditIsNotTaken) {
    Sender& one = sender();
    EXPECT_FALSE(gate->use(one, {1, 0}));
    examine(one);
    EXPECT_FALSE(gate->use(one, {1025, 1}));
    EXPECT_FALSE(gate->use(one, {1, 64 * kib + 1}));
    EXPECT_EQ(one.used, Credit{});
    EXPECT_TRUE(gate->use(one, {1024, 64 * kib}));
    EXPECT_FALSE(gate->use(one, {1, 0}));
}

TEST_F(SenderGateTest, AFullChannelBlocksAndUnblocks) {
    Sender& one = sender();
    room.is_full = true;
    EXPECT_EQ(examine(one), (Lines{"state 1 full ready 0 held 0"}));
    EXPECT_EQ(one.wait.since, at_first);
    EXPECT_TRUE(examine(one, at_first + std::chrono::seconds{1}).empty());
    EXPECT_EQ(one.wait.since, at_first);
    EXPECT_TRUE(examine_short().empty());
    room.is_full = false;
    EXPECT_EQ(examine_short(), (Lines{"state 1 none ready 0 held 0", "credit 1 1024 65536"}));
    EXPECT_TRUE(examine_short().empty());
}

TEST_F(SenderGateTest, CreditIsNotPromisedTwiceButNobodyGoesWithout) {
    room.free = {100, 100 * kib};
    Sender& greedy = sender();
    EXPECT_EQ(examine(greedy), (Lines{"credit 1 100 65536"}));
    Sender& next = sender();
    EXPECT_EQ(examine(next), (Lines{"credit 2 1 36864"}));
    Sender& third = sender();
    EXPECT_EQ(examine(third), (Lines{"credit 3 1 4096"}));
    gate->remove(greedy);  // Its promises are free again.
    EXPECT_EQ(examine_short(), (Lines{"credit 2 99 65536", "credit 3 1 36864"}));
}

TEST_F(SenderGateTest, TightMemoryGivesLessThenBlocks) {
    with_memory(70 * kib);
    budget->charge(2 * kib);
    Sender& one = sender();
    Sender& two = sender();
    EXPECT_EQ(examine(one), (Lines{"credit 1 1024 65536"}));
    budget->charge(66 * kib);  // Others have used theirs.
    EXPECT_EQ(examine(two), (Lines{"state 2 memory ready 0 held 0"}));
    EXPECT_EQ(budget->used(), 132 * kib);
    EXPECT_TRUE(examine_short().empty());
    budget->discharge(66 * kib);
    EXPECT_EQ(examine_short(), (Lines{"state 2 none ready 0 held 0", "credit 2 1024 4096"}));
    ASSERT_TRUE(gate->use(one, {1, 30 * kib}));
    EXPECT_EQ(examine_short(), (Lines{"credit 2 1024 34816"}));
    EXPECT_LE(budget->used(), budget->limit());
}

TEST_F(SenderGateTest, NobodyWaitsForWhatOthersWerePromisedAndDoNotUse) {
    with_memory(70 * kib);
    Sender& idle = sender();
    EXPECT_EQ(examine(idle), (Lines{"credit 1 1024 65536"}));
    std::vector<Sender*> others;
    while (budget->used() + SenderGate::grant_min.bytes <= budget->limit() * 3 / 2) {
        others.push_back(&sender());
        ASSERT_EQ(examine(*others.back()).size(), 1U);
        ASSERT_EQ(others.back()->outstanding().bytes, SenderGate::grant_min.bytes);
    }
    EXPECT_GE(others.size(), 8U);
    Sender& last = sender();
    EXPECT_EQ(examine(last).size(), 1U);
    EXPECT_EQ(last.wait.reason, WaitReason::memory) << "promises may be half a limit too much";
    for (int i = 0; i < 100; ++i) {  // What they send goes on, though the idle one keeps its promise.
        Sender& busy = *others[static_cast<std::size_t>(i) % others.size()];
        ASSERT_TRUE(gate->use(busy, {1, busy.outstanding().bytes}));
        static_cast<void>(examine_short());
        static_cast<void>(examine(busy));
        ASSERT_LE(budget->used(), budget->limit() * 3 / 2);
    }
    EXPECT_EQ(last.wait.reason, WaitReason::none);
    budget->charge(69 * kib);  // Now there is none.
    ASSERT_TRUE(gate->use(last, {1, last.outstanding().bytes}));
    static_cast<void>(examine(last));
    EXPECT_EQ(last.wait.reason, WaitReason::memory);
}

TEST_F(SenderGateTest, ALargeMessageThatWaitsForMemoryIsSaid) {
    Sender& one = sender();
    examine(one);
    one.waits_for_room = true;
    EXPECT_EQ(examine(one), (Lines{"state 1 memory ready 0 held 0"}));
    EXPECT_TRUE(examine(one).empty()) << "said once";
    room.is_full = true;
    ASSERT_TRUE(gate->use(one, {1000, 1}));
    EXPECT_EQ(examine(one), (Lines{"state 1 full ready 0 held 0"})) << "it would not help";
    room.is_full = false;
    EXPECT_EQ(examine_short().front(), "state 1 memory ready 0 held 0");
    one.waits_for_room = false;
    EXPECT_EQ(examine(one), (Lines{"state 1 none ready 0 held 0"}));
}

TEST_F(SenderGateTest, RemovingTakesPromisesBack) {
    Sender& one = sender();
    examine(one);
    gate->remove(one);
    EXPECT_EQ(budget->used(), 0U);
    EXPECT_EQ(gate->outstanding(), Credit{});
}

TEST_F(SenderGateTest, DrainingBlocksEverybody) {
    Sender& one = sender();
    examine(one);
    room.is_draining = true;
    EXPECT_EQ(examine(one), (Lines{"state 1 draining ready 0 held 0"}));
    EXPECT_TRUE(examine(one).empty());
}

TEST_F(SenderGateTest, ASmallerWindowOnlyDelaysTheNextGrant) {
    Sender& one = sender();
    examine(one);
    gate->set_window_max({10, 8 * kib});
    EXPECT_TRUE(examine(one).empty());
    ASSERT_TRUE(gate->use(one, {1020, 60 * kib}));
    EXPECT_EQ(examine(one), (Lines{"credit 1 1030 69632"}));
}

}  // namespace
}  // namespace baton::channel::test

// Tenants in turn, whoever is taken from the middle, and at no cost for those who are not concerned.
#include <map>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "server/channel/fair_lane.hpp"

namespace baton::channel::test {
namespace {

using Held = channel::Run;  // testing::Test has a Run of its own.

struct FairLaneTest : testing::Test {
    void put(Offset offset, std::uint64_t tenant) {
        const auto position = static_cast<std::uint32_t>(offset);
        lane.put({.batch = &batch, .first = offset, .count = 1, .position = position, .bytes = 1}, tenant);
    }
    std::vector<Offset> take_all() {
        std::vector<Offset> offsets;
        while (!lane.empty()) {
            const Held head = lane.head();
            const Held taken = lane.take({head.count, head.bytes});
            for (Offset offset = taken.first; offset < taken.end(); ++offset) {
                offsets.push_back(offset);
            }
        }
        return offsets;
    }
    StoredBatch batch = [] {
        StoredBatch made;
        made.is_resident = false;  // Sizes are estimates.
        made.size = made.count = 1'000'000;
        return made;
    }();
    TenantWeights weights;
    FairLane lane{weights};
};

TEST_F(FairLaneTest, GivesInTurn) {
    weights[2] = 2;
    for (Offset offset = 1; offset <= 6; ++offset) {
        put(offset, 1);
    }
    put(10, 2);
    put(11, 2);
    put(12, 2);
    EXPECT_EQ(take_all(), (std::vector<Offset>{1, 10, 11, 2, 12, 3, 4, 5, 6}));
}

TEST_F(FairLaneTest, WhoLosesAllInTheMiddleGetsOneTurnWhenThereIsMore) {
    put(1, 1);
    put(2, 2);
    put(3, 3);
    EXPECT_TRUE(lane.take_at(2));
    EXPECT_FALSE(lane.take_at(2));
    put(4, 2);
    put(5, 2);
    EXPECT_EQ(take_all(), (std::vector<Offset>{1, 3, 4, 5}));
    for (Offset offset = 10; offset < 10'000; ++offset) {
        put(offset, offset);
        EXPECT_EQ(lane.take_before(offset + 1)->first, offset);
    }
    EXPECT_TRUE(lane.empty());
}

TEST_F(FairLaneTest, KnowsWhatIsThere) {
    std::map<Offset, std::uint64_t> model;
    Prng prng{5};
    for (Offset next = 1; next < 5'000; ++next) {
        const std::uint64_t tenant = prng.below(20);
        put(next, tenant);
        model.emplace(next, tenant);
        if (prng.chance(1, 3)) {
            const Offset offset = prng.range(1, next);
            EXPECT_EQ(lane.take_at(offset).has_value(), model.erase(offset) == 1);
        } else if (prng.chance(1, 2) && !lane.empty()) {
            const Held head = lane.head();
            const Held taken = lane.take({1, 1});
            ASSERT_EQ(taken.first, head.first);
            const std::uint64_t of = model.at(taken.first);
            for (const auto& [offset, other] : model) {
                if (offset >= taken.first) {
                    break;
                }
                EXPECT_NE(other, of) << "an older one of the same tenant is there";
            }
            model.erase(taken.first);
        }
        ASSERT_EQ(lane.empty(), model.empty());
        if (!model.empty()) {
            EXPECT_EQ(lane.oldest().first, model.begin()->first);
            EXPECT_EQ(lane.newest(), model.rbegin()->first);
        }
        std::size_t visited = 0;
        lane.visit(0, UINT64_MAX, [&](const Held& run) { visited += model.contains(run.first) ? 1 : 0; });
        ASSERT_EQ(visited, model.size());
    }
}

}  // namespace
}  // namespace baton::channel::test

// The generator: repeatable, in range, not grossly unfair.
#include "common/base/prng.hpp"

#include <array>

#include <gtest/gtest.h>

namespace baton {
namespace {

TEST(prng, a_seed_repeats_its_numbers_for_ever) {
    Prng one{42};
    Prng same{42};
    Prng other{43};
    const std::uint64_t first = one.next();
    EXPECT_EQ(first, same.next());
    EXPECT_NE(first, other.next());
    // Computed from the published reference code of splitmix64 and xoshiro256**: seeds in bug reports must stay valid.
    EXPECT_EQ(Prng{0}.next(), 0x99ec5f36cb75f2b4U);
}

TEST(prng, below_and_range_stay_inside_and_reach_the_ends) {
    Prng prng{7};
    std::array<int, 10> counts{};
    for (int i = 0; i < 10'000; ++i) {
        ++counts.at(prng.below(10));
    }
    for (const int count : counts) {
        EXPECT_GT(count, 800);
        EXPECT_LT(count, 1200);
    }
    std::array<int, 3> ends{};
    for (int i = 0; i < 300; ++i) {
        ++ends.at(prng.range(5, 7) - 5);
    }
    for (const int count : ends) {
        EXPECT_GT(count, 50);
    }
    EXPECT_EQ(prng.range(9, 9), 9U);
    EXPECT_EQ(prng.below(1), 0U);
    bool is_high_seen = false;
    for (int i = 0; i < 100; ++i) {
        is_high_seen = is_high_seen || prng.range(0, UINT64_MAX) > UINT64_MAX / 2;
    }
    EXPECT_TRUE(is_high_seen);
}

TEST(prng, below_has_no_bias_where_a_remainder_would) {
    // Of 2^64 values modulo this bound, the lower half would come up twice as often.
    constexpr std::uint64_t bound = (std::uint64_t{1} << 63) + (std::uint64_t{1} << 62);
    Prng prng{3};
    int low = 0;
    for (int i = 0; i < 10'000; ++i) {
        low += prng.below(bound) < bound / 3 ? 1 : 0;
    }
    EXPECT_GT(low, 3000);
    EXPECT_LT(low, 3700);
}

TEST(prng, chance_is_a_fraction) {
    Prng prng{5};
    int hits = 0;
    for (int i = 0; i < 10'000; ++i) {
        hits += prng.chance(1, 4) ? 1 : 0;
    }
    EXPECT_GT(hits, 2300);
    EXPECT_LT(hits, 2700);
    EXPECT_FALSE(prng.chance(0, 5));
    EXPECT_TRUE(prng.chance(5, 5));
}

}  // namespace
}  // namespace baton

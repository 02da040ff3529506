// The ring that holds intervals: both ends, the middle, growth.
#include "server/channel/ring.hpp"

#include <deque>
#include <memory>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton::channel {
namespace {

TEST(Ring, EqualsADequeUnderRandomOperations) {
    Prng prng{11};
    Ring<int> ring;
    std::deque<int> deque;
    for (int i = 0; i < 20'000; ++i) {
        if (prng.chance(i % 2'000 < 1'000 ? 2 : 1, 3)) {
            const std::size_t at = prng.below(deque.size() + 1);
            ring.insert(at, i);
            deque.insert(deque.begin() + static_cast<std::ptrdiff_t>(at), i);
        } else if (!deque.empty()) {
            const std::size_t at = prng.below(deque.size());
            const std::size_t count = prng.below(std::min<std::size_t>(deque.size() - at, 5) + 1);
            ring.erase(at, count);
            const auto first = deque.begin() + static_cast<std::ptrdiff_t>(at);
            deque.erase(first, first + static_cast<std::ptrdiff_t>(count));
        }
        ASSERT_EQ(ring.size(), deque.size());
        for (std::size_t k = 0; k < deque.size(); ++k) {
            ASSERT_EQ(ring[k], deque[k]);
        }
    }
}

// Longer than a block, so that there is a table of them: grows with the first element in any place of a block, empties, grows
// again.
TEST(Ring, ALongOneEqualsADequeToo) {
    Prng prng{12};
    Ring<std::unique_ptr<int>> ring;
    std::deque<int> deque;
    for (int i = 0; i < 60'000; ++i) {
        const int phase = i % 12'000;
        if (phase == 11'999) {
            ring.erase(0, ring.size());
            deque.clear();
        } else if (prng.chance(phase < 8'000 ? 3 : 1, 4)) {
            // Mostly at the ends, which is what travels through the blocks.
            const std::size_t ends[] = {0, deque.size(), prng.below(deque.size() + 1)};
            const std::size_t at = ends[prng.below(3)];
            ring.insert(at, std::make_unique<int>(i));
            deque.insert(deque.begin() + static_cast<std::ptrdiff_t>(at), i);
        } else if (!deque.empty()) {
            const std::size_t at = prng.chance(1, 2) ? 0 : prng.below(deque.size());
            const std::size_t count = prng.below(std::min<std::size_t>(deque.size() - at, 3) + 1);
            ring.erase(at, count);
            const auto first = deque.begin() + static_cast<std::ptrdiff_t>(at);
            deque.erase(first, first + static_cast<std::ptrdiff_t>(count));
        }
        ASSERT_EQ(ring.size(), deque.size());
        for (std::size_t k = prng.below(97); k < deque.size(); k += 97) {
            ASSERT_EQ(*ring[k], deque[k]) << "after " << i << " at " << k;
        }
    }
}

TEST(Ring, WhatIsMovedAwayLeavesAnEmptyOne) {
    Ring<int> ring;
    for (int i = 0; i < 2'000; ++i) {
        ring.push_back(i);
    }
    Ring<int> other = std::move(ring);
    ring = {};
    EXPECT_TRUE(ring.empty());
    ring.push_back(7);
    EXPECT_EQ(ring.front(), 7);
    ASSERT_EQ(other.size(), 2'000u);
    EXPECT_EQ(other.back(), 1'999);
}

TEST(Ring, ReleasesWhatARemovedElementOwned) {
    const auto owned = std::make_shared<int>(1);
    Ring<std::shared_ptr<int>> ring;
    for (int i = 0; i < 6; ++i) {
        ring.push_back(owned);
    }
    EXPECT_EQ(owned.use_count(), 7);
    ring.pop_front();
    ring.erase(1, 2);
    ring.erase(2, 1);
    EXPECT_EQ(owned.use_count(), 3);
    ring.clear();
    EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace baton::channel

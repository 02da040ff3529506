// The set of undecided messages of one delivery, small and large.
#include "client/src/open_messages.hpp"

#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace baton::client {
namespace {

using Runs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Runs runs_of(const OpenMessages& open, std::uint32_t begin, std::uint32_t end) {
    Runs runs;
    open.visit_runs(begin, end, [&](std::uint32_t first, std::uint32_t count) { runs.emplace_back(first, count); });
    return runs;
}

TEST(OpenMessages, ClosesEachOnce) {
    for (const std::uint32_t size : {1U, 63U, 64U, 65U, 1'000U}) {
        OpenMessages open{size};
        EXPECT_FALSE(open.contains(size));
        EXPECT_FALSE(open.close(size));
        for (std::uint32_t index = 0; index < size; ++index) {
            EXPECT_TRUE(open.contains(index));
            EXPECT_EQ(open.count(), size - index);
            EXPECT_FALSE(open.empty());
            EXPECT_TRUE(open.close(index));
            EXPECT_FALSE(open.close(index));
        }
        EXPECT_TRUE(open.empty());
    }
}

TEST(OpenMessages, RunsAreWhatIsLeft) {
    for (const std::uint32_t size : {10U, 200U}) {
        OpenMessages open{size};
        EXPECT_EQ(runs_of(open, 0, size), (Runs{{0, size}}));
        open.close(0);
        open.close(4);
        open.close(5);
        open.close(size - 1);
        EXPECT_EQ(runs_of(open, 0, size), (Runs{{1, 3}, {6, size - 7}}));
        EXPECT_EQ(runs_of(open, 2, 7), (Runs{{2, 2}, {6, 1}}));
        EXPECT_EQ(runs_of(open, 4, 6), Runs{});
    }
}

TEST(OpenMessages, MayBeClosedWhileVisited) {
    OpenMessages open{5};
    open.close(2);
    open.visit_runs(0, 5, [&open](std::uint32_t first, std::uint32_t count) {
        for (std::uint32_t index = first; index < first + count; ++index) {
            open.close(index);
        }
    });
    EXPECT_TRUE(open.empty());
}

}  // namespace
}  // namespace baton::client

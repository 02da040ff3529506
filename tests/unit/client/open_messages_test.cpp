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
    open.visit_open(begin, end, [&](std::uint32_t first, std::uint32_t count) { runs.emplace_back(first, count); });
    return runs;
}

TEST(OpenMessages, ClosesEachOnce) {
    for (const std::uint32_t size : {1U, 63U, 64U, 65U, 1'000U}) {
        OpenMessages open{size};
        EXPECT_FALSE(open.contains(size));
        EXPECT_FALSE(open.close(size));
        for (std::uint32_t index = 0; index < size; ++index) {
            EXPECT_TRUE(open.contains(index));
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
    open.visit_open(0, 5, [&open](std::uint32_t first, std::uint32_t count) {
        for (std::uint32_t index = first; index < first + count; ++index) {
            open.close(index);
        }
    });
    EXPECT_TRUE(open.empty());
}

TEST(OpenMessages, WhatWasClosedIsTakenOnceAndWhatWasAccountedForNever) {
    for (const std::uint32_t size : {10U, 64U, 200U}) {
        OpenMessages open{size};
        const auto taken = [&open](std::uint32_t end) {
            Runs runs;
            EXPECT_LE(open.count_closed(end), end);
            const std::uint32_t count = open.count_closed(end);
            std::uint32_t sum = 0;
            open.take_closed(end, [&](std::uint32_t first, std::uint32_t length) {
                runs.emplace_back(first, length);
                sum += length;
            });
            EXPECT_EQ(sum, count);
            EXPECT_EQ(open.count_closed(end), 0U);
            return runs;
        };
        const auto others = [&open](std::uint32_t begin, std::uint32_t end) {
            Runs runs;
            open.visit_others(begin, end,
                              [&](std::uint32_t first, std::uint32_t count) { runs.emplace_back(first, count); });
            return runs;
        };
        open.close(1);
        open.close(2);
        EXPECT_TRUE(open.close_and_account(3));
        EXPECT_FALSE(open.close_and_account(2));
        open.close(size - 1);
        EXPECT_EQ(others(0, size), (Runs{{0, 1}, {3, size - 4}}));
        EXPECT_EQ(taken(5), (Runs{{1, 2}}));
        EXPECT_EQ(others(1, 4), (Runs{{1, 3}}));
        EXPECT_EQ(taken(size), (Runs{{size - 1, 1}}));
        EXPECT_EQ(taken(size), Runs{});
        open.close(4);
        EXPECT_FALSE(open.empty());
        open.close_and_account_all();
        EXPECT_TRUE(open.empty());
        EXPECT_FALSE(open.close(0));
        EXPECT_EQ(taken(size), (Runs{{4, 1}}));
    }
}

}  // namespace
}  // namespace baton::client

// One time from the first question in a turn to its end.
#include "server/runtime/turn_clock.hpp"

#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

TEST(TurnClock, StandsStillUntilTheTurnEnds) {
    ManualClock real;
    TurnClock clock{real};
    real.advance(std::chrono::seconds{1});
    const MonotonicTime begin = clock.now();
    const WallTime wall = clock.wall_now();
    EXPECT_EQ(begin, real.now());
    EXPECT_EQ(wall, real.wall_now());
    real.advance(std::chrono::seconds{1});
    EXPECT_EQ(clock.now(), begin);
    EXPECT_EQ(clock.wall_now(), wall);
    clock.end_turn();
    EXPECT_EQ(clock.now(), real.now());
    EXPECT_EQ(clock.wall_now(), real.wall_now());
}

}  // namespace
}  // namespace baton::runtime

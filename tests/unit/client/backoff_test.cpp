// Waits between attempts to connect: they double, have a bound, and chance takes up to a half off.
#include "client/src/backoff.hpp"

#include <gtest/gtest.h>

namespace baton::client {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToItsBound) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        Prng prng{seed};
        Backoff backoff{milliseconds{50}, milliseconds{2'000}};
        for (const int full : {50, 100, 200, 400, 800, 1'600, 2'000, 2'000}) {
            const Duration wait = backoff.take(prng);
            EXPECT_LE(wait, milliseconds{full}) << "seed " << seed;
            EXPECT_GE(wait, milliseconds{full / 2}) << "seed " << seed;
        }
        backoff.reset();
        EXPECT_LE(backoff.take(prng), milliseconds{50}) << "seed " << seed;
    }
}

TEST(Backoff, StaysAwayAsAskedOnce) {
    Prng prng{1};
    Backoff backoff{milliseconds{50}, milliseconds{2'000}};
    backoff.stay_away(milliseconds{5'000});
    EXPECT_GT(backoff.take(prng), milliseconds{5'000});
    EXPECT_LE(backoff.take(prng), milliseconds{100});
}

}  // namespace
}  // namespace baton::client

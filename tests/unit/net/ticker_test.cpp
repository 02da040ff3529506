// The pulse: it goes on, it stops, and it survives its own end.
#include "common/net/ticker.hpp"

#include <optional>

#include <gtest/gtest.h>

#include "tests/unit/net/test_loop.hpp"

namespace baton::net::test {
namespace {

using std::chrono::milliseconds;

TEST(Ticker, TicksUntilStopped) {
    TestLoop loop;
    int ticks = 0;
    Ticker ticker{loop.executor(), [&] { ++ticks; }};
    EXPECT_FALSE(ticker.is_running());
    ticker.start(milliseconds{1});
    EXPECT_TRUE(ticker.is_running());
    ASSERT_TRUE(loop.run_until([&] { return ticks >= 3; }));
    ticker.stop();
    const int ticks_at_stop = ticks;
    loop.context().restart();
    loop.context().run();  // Returns: nothing is waited for any more.
    EXPECT_EQ(ticks, ticks_at_stop);
    ticker.start(milliseconds{1});
    EXPECT_TRUE(loop.run_until([&] { return ticks > ticks_at_stop; }));
}

TEST(Ticker, MayBeStoppedAndStartedFromItsTick) {
    TestLoop loop;
    int ticks = 0;
    Ticker* self = nullptr;
    Ticker ticker{loop.executor(), [&] {
                      ++ticks;
                      self->stop();
                      if (ticks < 3) {
                          self->start(milliseconds{1});
                      }
                  }};
    self = &ticker;
    ticker.start(milliseconds{1});
    loop.context().run();
    EXPECT_EQ(ticks, 3);
}

TEST(Ticker, MayBeDestroyedFromItsTick) {
    TestLoop loop;
    int ticks = 0;
    std::optional<Ticker> ticker;
    ticker.emplace(loop.executor(), [&] {
        ticker.reset();
        ++ticks;
    });
    ticker->start(milliseconds{1});
    loop.context().run();
    EXPECT_EQ(ticks, 1);
}

}  // namespace
}  // namespace baton::net::test

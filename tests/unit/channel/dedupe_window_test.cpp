// The window of message ids against a list of all that came: at any time, also when very many are too old at once.
#include <deque>
#include <string>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "server/channel/dedupe_window.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

MonotonicTime at(std::uint64_t ms) { return MonotonicTime{} + seconds{100} + milliseconds{ms}; }

TEST(DedupeWindow, KnowsWhatCameWithinTheWindow) {
    DedupeWindow window;
    window.set_window(seconds{10});
    std::deque<std::pair<std::string, std::uint64_t>> came;  // And when.
    Prng prng{3};
    std::uint64_t now = 0;
    for (int i = 0; i < 20'000; ++i) {
        now += prng.below(20);
        const std::string id = std::to_string(prng.below(3'000));
        bool is_known = false;
        for (const auto& [other, time] : came) {
            is_known = is_known || (other == id && now - time < 10'000);
        }
        ASSERT_EQ(window.contains(id, at(now)), is_known) << i;
        if (prng.chance(3, 4)) {  // Whether it is known or not: what is moved counts again.
            window.add(id, at(now), {});
            came.emplace_back(id, now);
        }
        if (prng.chance(1, 50)) {
            window.forget_old(at(now));
            ASSERT_GT(window.next_end(), at(now));
        }
        while (!came.empty() && now - came.front().second >= 10'000) {
            came.pop_front();
        }
        ASSERT_GE(window.size(), came.size());
        ASSERT_LE(window.size(), came.size() + 200) << "what is too old goes with what comes";
    }
}

TEST(DedupeWindow, ForgetsVeryManyInSteps) {
    DedupeWindow window;
    window.set_window(seconds{10});
    const auto fill = [&](std::uint64_t now) {
        for (int i = 0; i < 20'000; ++i) {
            window.add(std::to_string(i), at(now), {});
        }
    };
    fill(0);
    window.forget_old(at(10'000));
    EXPECT_EQ(window.size(), 20'000 - DedupeWindow::forgotten_at_once);
    EXPECT_EQ(window.next_end(), at(10'000)) << "there is more";
    EXPECT_FALSE(window.contains("19999", at(10'000))) << "too old, though it is there";
    for (std::uint64_t i = 0; i < 20'000 / DedupeWindow::forgotten_at_once; ++i) {
        window.forget_old(at(10'000));
    }
    EXPECT_EQ(window.size(), 0U);
    EXPECT_EQ(window.next_end(), MonotonicTime::max());
    EXPECT_EQ(window.next_number(), 20'000U);

    fill(20'000);
    window.set_window({});
    EXPECT_EQ(window.size(), 0U);
    EXPECT_EQ(window.next_number(), 40'000U);
    EXPECT_LE(window.next_end(), at(0)) << "they are still to be given back";
    window.set_window(seconds{10});
    EXPECT_FALSE(window.contains("7", at(20'001)));
    window.add("7", at(20'001), {});
    for (std::uint64_t i = 0; i <= 20'000 / DedupeWindow::forgotten_at_once; ++i) {
        window.forget_old(at(20'002));
    }
    EXPECT_TRUE(window.contains("7", at(20'002)));
    EXPECT_EQ(window.next_end(), at(30'001)) << "all of the old ones are gone";
    std::uint64_t items = 0;
    EXPECT_FALSE(window.dismantle(items));
    items = 10;
    EXPECT_TRUE(window.dismantle(items));
    EXPECT_EQ(items, 9U);
}

TEST(DedupeWindow, SavesAndRestoresInParts) {
    ManualClock clock;
    DedupeWindow window;
    window.set_window(seconds{10});
    for (int i = 0; i < 10; ++i) {
        window.add(std::to_string(i), clock.now(), clock.wall_now());
        clock.advance(seconds{1});
    }
    std::vector<ChannelState::KnownId> saved;
    for (std::uint64_t next = 0; next < window.next_number();) {
        window.append_ids(next, window.next_number(), 3, saved);
    }
    ASSERT_EQ(saved.size(), 10U);
    DedupeWindow other;
    other.set_window(seconds{5});
    other.restore(std::span{saved}.first(7), clock);
    other.restore(std::span{saved}.subspan(7), clock);
    EXPECT_EQ(other.size(), 4U) << "those that are younger than the window";
    EXPECT_TRUE(other.contains("6", clock.now()));
    EXPECT_FALSE(other.contains("5", clock.now()));
    EXPECT_EQ(other.next_end(), clock.now() + seconds{1});
}

}  // namespace
}  // namespace baton::channel::test

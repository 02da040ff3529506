// The wheel against a sorted map, and what a callback may do to it.
#include "common/base/deadline_wheel.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using Keys = std::vector<std::uint64_t>;

constexpr MonotonicTime at(Duration since_start) {
    return MonotonicTime{1s} + since_start;
}

Keys tick(DeadlineWheel& wheel, MonotonicTime now) {
    Keys fired;
    wheel.tick(now, [&](Deadline& deadline) {
        EXPECT_FALSE(deadline.is_scheduled());
        EXPECT_LE(deadline.when(), now);
        fired.push_back(deadline.key);
    });
    std::ranges::sort(fired);
    return fired;
}

TEST(deadline_wheel, an_empty_one_does_nothing) {
    DeadlineWheel wheel;
    EXPECT_FALSE(wheel.next());
    EXPECT_EQ(tick(wheel, at(1h)), Keys{});
}

TEST(deadline_wheel, fires_exactly_and_once) {
    DeadlineWheel wheel;
    Deadline deadline{7};
    wheel.schedule(deadline, at(5s));
    EXPECT_TRUE(deadline.is_scheduled());
    EXPECT_EQ(wheel.next(), at(5s));
    EXPECT_EQ(tick(wheel, at(5s - 1ns)), Keys{});
    EXPECT_EQ(tick(wheel, at(5s)), Keys{7});
    EXPECT_FALSE(deadline.is_scheduled());
    EXPECT_FALSE(wheel.next());
    EXPECT_EQ(tick(wheel, at(50s)), Keys{});
}

TEST(deadline_wheel, entries_of_one_step_fire_each_at_its_time) {
    DeadlineWheel wheel;
    Deadline first{1};
    Deadline second{2};
    Deadline third{3};
    wheel.schedule(third, at(3ns));
    wheel.schedule(first, at(1ns));
    wheel.schedule(second, at(2ns));
    EXPECT_EQ(wheel.next(), at(1ns));
    EXPECT_EQ(tick(wheel, at(1ns)), Keys{1});
    EXPECT_EQ(wheel.next(), at(2ns));
    EXPECT_EQ(tick(wheel, at(1ns)), Keys{});
    EXPECT_EQ(tick(wheel, at(3ns)), (Keys{2, 3}));
}

TEST(deadline_wheel, the_past_and_the_far_future) {
    DeadlineWheel wheel;
    Deadline past{1};
    Deadline before_the_start{2};
    Deadline last{3};
    EXPECT_EQ(tick(wheel, at(1h)), Keys{});
    wheel.schedule(past, at(1s));
    wheel.schedule(before_the_start, MonotonicTime::min());
    wheel.schedule(last, MonotonicTime::max());
    EXPECT_EQ(wheel.next(), MonotonicTime::min());
    EXPECT_EQ(tick(wheel, at(1h)), (Keys{1, 2}));
    EXPECT_EQ(wheel.next(), MonotonicTime::max());
    EXPECT_EQ(tick(wheel, at(24h * 365 * 100)), Keys{});
    EXPECT_EQ(tick(wheel, MonotonicTime::max()), Keys{3});
}

TEST(deadline_wheel, scheduling_again_moves) {
    DeadlineWheel wheel;
    Deadline deadline{1};
    wheel.schedule(deadline, at(1s));
    wheel.schedule(deadline, at(3s));
    EXPECT_EQ(tick(wheel, at(2s)), Keys{});
    wheel.schedule(deadline, at(2500ms));
    EXPECT_EQ(wheel.next(), at(2500ms));
    EXPECT_EQ(tick(wheel, at(2500ms)), Keys{1});
    EXPECT_EQ(tick(wheel, at(10s)), Keys{});
}

TEST(deadline_wheel, cancelled_and_destroyed_entries_do_not_fire) {
    DeadlineWheel wheel;
    Deadline cancelled{1};
    Deadline stays{2};
    auto destroyed = std::make_unique<Deadline>(3);
    wheel.cancel(cancelled);  // Not scheduled: nothing happens.
    wheel.schedule(cancelled, at(1s));
    wheel.schedule(stays, at(1s));
    wheel.schedule(*destroyed, at(1s));
    wheel.cancel(cancelled);
    EXPECT_FALSE(cancelled.is_scheduled());
    destroyed.reset();
    EXPECT_EQ(tick(wheel, at(2s)), Keys{2});
}

TEST(deadline_wheel, next_leads_to_the_entry_in_few_steps_also_after_a_cancellation) {
    DeadlineWheel wheel;
    Deadline early{1};
    Deadline late{2};
    wheel.schedule(early, at(10s));
    wheel.schedule(late, at(10s + 1ms));
    wheel.cancel(early);
    int steps = 0;
    Keys fired;
    while (fired.empty()) {
        ASSERT_LT(++steps, 5);
        const auto next = wheel.next();
        ASSERT_TRUE(next);
        ASSERT_LE(*next, at(10s + 1ms));
        fired = tick(wheel, *next);
    }
    EXPECT_EQ(fired, Keys{2});
}

TEST(deadline_wheel, a_wheel_that_goes_first_lets_its_entries_go) {
    Deadline near{1};
    Deadline far{2};
    {
        DeadlineWheel wheel;
        wheel.schedule(near, at(1ms));
        wheel.schedule(far, at(100h));
    }
    EXPECT_FALSE(near.is_scheduled());
    EXPECT_FALSE(far.is_scheduled());
}

TEST(deadline_wheel, what_is_scheduled_by_a_callback_fires_in_a_later_tick) {
    DeadlineWheel wheel;
    Deadline repeating{1};
    int count = 0;
    wheel.schedule(repeating, at(1s));
    const auto again_at_once = [&](Deadline& deadline) {
        ++count;
        wheel.schedule(deadline, at(1s));
    };
    wheel.tick(at(10s), again_at_once);
    EXPECT_EQ(count, 1);
    EXPECT_TRUE(repeating.is_scheduled());
    EXPECT_LE(wheel.next().value(), at(10s));
    wheel.tick(at(10s), again_at_once);
    EXPECT_EQ(count, 2);
}

TEST(deadline_wheel, a_callback_may_cancel_move_and_destroy_those_about_to_fire) {
    DeadlineWheel wheel;
    std::vector<std::unique_ptr<Deadline>> entries;
    for (std::uint64_t key = 0; key < 4; ++key) {
        entries.push_back(std::make_unique<Deadline>(key));
        wheel.schedule(*entries.back(), at(1s));
    }
    Keys fired;
    wheel.tick(at(2s), [&](Deadline& deadline) {
        fired.push_back(deadline.key);
        // Whoever comes first does something to each of the others, and destroys itself.
        const std::uint64_t own = deadline.key;
        if (fired.size() == 1) {
            wheel.cancel(*entries[(own + 1) % 4]);
            wheel.schedule(*entries[(own + 2) % 4], at(5s));
            entries[(own + 3) % 4].reset();
            entries[own].reset();
        }
    });
    ASSERT_EQ(fired.size(), 1U);
    EXPECT_EQ(tick(wheel, at(4s)), Keys{});
    EXPECT_EQ(tick(wheel, at(5s)), Keys{(fired[0] + 2) % 4});
}

using DeadlineWheelDeathTest = testing::Test;

TEST_F(DeadlineWheelDeathTest, ticking_inside_a_tick_is_a_bug) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    DeadlineWheel wheel;
    Deadline deadline{1};
    wheel.schedule(deadline, at(1s));
    EXPECT_DEATH(wheel.tick(at(1s), [&](Deadline&) { wheel.tick(at(1s), [](Deadline&) {}); }), "own callback");
}

// The reference: when each key is to fire.
class Model {
public:
    void schedule(std::uint64_t key, MonotonicTime when) { times_[key] = when; }
    void cancel(std::uint64_t key) { times_.erase(key); }
    [[nodiscard]] std::optional<MonotonicTime> next() const {
        std::optional<MonotonicTime> next;
        for (const auto& [key, when] : times_) {
            next = std::min(when, next.value_or(when));
        }
        return next;
    }
    [[nodiscard]] std::set<std::uint64_t> due(MonotonicTime now) const {
        std::set<std::uint64_t> due;
        for (const auto& [key, when] : times_) {
            if (when <= now) {
                due.insert(key);
            }
        }
        return due;
    }

private:
    std::map<std::uint64_t, MonotonicTime> times_;
};

class RandomTimes {
public:
    explicit RandomTimes(std::uint64_t seed) : prng_{seed} {
        for (std::uint64_t key = 0; key < 60; ++key) {
            entries_.push_back(std::make_unique<Deadline>(key));
        }
    }

    void run(int steps) {
        for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
            if (prng_.chance(3, 4)) {
                change();
            } else {
                advance();
            }
            check_next();
        }
    }

private:
    // Mostly near, sometimes of any size, sometimes past.
    Duration random_distance() {
        const auto magnitude = prng_.chance(2, 3) ? prng_.range(0, 33) : prng_.range(0, 52);
        return Duration{static_cast<std::int64_t>(prng_.below(std::uint64_t{1} << magnitude))};
    }

    void change() {
        const std::uint64_t key = prng_.below(entries_.size());
        switch (prng_.below(6)) {
            case 0:
                wheel_.cancel(*entries_[key]);
                return model_.cancel(key);
            case 1:
                entries_[key] = std::make_unique<Deadline>(key);
                return model_.cancel(key);
            case 2:
                return schedule(key, now_ - std::min(random_distance(), now_.time_since_epoch()));
            default:
                return schedule(key, now_ + random_distance());
        }
    }

    void schedule(std::uint64_t key, MonotonicTime when) {
        wheel_.schedule(*entries_[key], when);
        model_.schedule(key, when);
    }

    void advance() {
        const auto next = wheel_.next();
        now_ = prng_.chance(1, 4) && next ? std::max(now_, *next) : now_ + random_distance();
        std::set<std::uint64_t> expected = model_.due(now_);
        wheel_.tick(now_, [&](Deadline& deadline) {
            ASSERT_EQ(expected.erase(deadline.key), 1U) << "key " << deadline.key;
            model_.cancel(deadline.key);
            // Now and then the callback changes others, also those that are about to fire.
            while (prng_.chance(1, 3)) {
                const std::uint64_t key = prng_.below(entries_.size());
                expected.erase(key);
                if (prng_.chance(1, 2)) {
                    schedule(key, now_ + random_distance() - random_distance() / 2);
                } else if (key != deadline.key) {
                    entries_[key] = std::make_unique<Deadline>(key);
                    model_.cancel(key);
                }
            }
        });
        ASSERT_TRUE(expected.empty()) << "key " << *expected.begin() << " did not fire";
    }

    void check_next() {
        const auto expected = model_.next();
        const auto next = wheel_.next();
        ASSERT_EQ(next.has_value(), expected.has_value());
        ASSERT_TRUE(!next || *next <= *expected);
    }

    Prng prng_;
    MonotonicTime now_ = at(0s);
    DeadlineWheel wheel_;
    std::vector<std::unique_ptr<Deadline>> entries_;
    Model model_;
};

TEST(deadline_wheel_random, fires_what_the_model_fires) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomTimes{seed}.run(1500);
    }
}

}  // namespace
}  // namespace baton

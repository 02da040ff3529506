// The thread of an event loop that carries out blocking jobs between turns: where what happens, and that a job that hangs holds
// up nothing. The threads are real; tests wait for what happens, never for time.
#include "server/runtime/loop_thread.hpp"

#include <atomic>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

class LoopThreadTest : public ::testing::Test {
protected:
    void TearDown() override {
        in_loop([this] { thread_.stop(); });
        thread_.join();
    }
    void in_loop(std::move_only_function<void()> function) {
        asio::post(io_, [function = std::move(function)]() mutable { function(); });
    }
    /// Returns when it has been called in the loop.
    void wait_in_loop(std::move_only_function<void()> function) {
        std::latch called{1};
        in_loop([&] {
            function();
            called.count_down();
        });
        called.wait();
    }

    net::IoContext io_{ASIO_CONCURRENCY_HINT_UNSAFE_IO};
    LoopThread thread_{io_, "loop"};
};

TEST_F(LoopThreadTest, a_job_runs_on_the_thread_of_the_loop_when_the_handler_has_returned) {
    thread_.start();
    std::latch done{1};
    std::vector<std::string> order;  // Written by the loop's owner.
    std::thread::id handler;
    std::thread::id job;
    in_loop([&] {
        handler = std::this_thread::get_id();
        thread_.run_between_turns(
            [&] {
                job = std::this_thread::get_id();
                order.emplace_back("run");
            },
            [&] {
                order.emplace_back("done");
                done.count_down();
            });
        order.emplace_back("handler");
    });
    done.wait();
    EXPECT_EQ(order, (std::vector<std::string>{"handler", "run", "done"}));
    EXPECT_EQ(handler, job);
}

TEST_F(LoopThreadTest, a_job_that_hangs_does_not_hold_up_the_loop) {
    thread_.start();
    for (int round = 0; round < 4; ++round) {  // The two threads change places.
        std::latch release{1};
        std::latch done{1};
        std::thread::id job;
        std::thread::id told;
        in_loop([&] {
            thread_.run_between_turns(
                [&] {
                    job = std::this_thread::get_id();
                    release.wait();
                },
                [&] {
                    told = std::this_thread::get_id();
                    done.count_down();
                });
        });
        std::thread::id other;
        wait_in_loop([&] { other = std::this_thread::get_id(); });
        release.count_down();
        done.wait();
        EXPECT_NE(job, other);
        EXPECT_EQ(told, other);
    }
}

TEST_F(LoopThreadTest, what_a_job_holds_is_destroyed_by_the_owner_of_the_loop) {
    thread_.start();
    std::latch release{1};
    std::latch destroyed{1};
    std::thread::id where;
    struct Told {
        std::latch* destroyed;
        std::thread::id* where;
        ~Told() {
            *where = std::this_thread::get_id();
            destroyed->count_down();
        }
    };
    in_loop([&] {
        auto held = std::make_unique<Told>(&destroyed, &where);
        thread_.run_between_turns([&release, held = std::move(held)] { release.wait(); }, [] {});
    });
    std::thread::id owner;
    wait_in_loop([&] { owner = std::this_thread::get_id(); });
    release.count_down();
    destroyed.wait();
    EXPECT_EQ(where, owner);
}

TEST_F(LoopThreadTest, others_get_their_turn_between_jobs_that_bring_each_other) {
    thread_.start();
    std::atomic<int> jobs = 0;
    std::atomic<bool> is_enough = false;
    std::latch ended{1};
    std::function<void()> next = [&] {
        thread_.run_between_turns([&] { ++jobs; },
                                  [&] {
                                      if (is_enough) {
                                          ended.count_down();
                                      } else {
                                          next();
                                      }
                                  });
    };
    in_loop([&] { next(); });
    for (int i = 0; i < 100; ++i) {
        wait_in_loop([] {});
    }
    is_enough = true;
    ended.wait();
    EXPECT_GE(jobs, 1);
}

TEST_F(LoopThreadTest, many_quick_jobs_and_handlers_never_overlap) {
    thread_.start();
    constexpr int count = 20'000;
    std::latch ended{1};
    int inside = 0;  // Not atomic: the sanitizer would see two threads in it.
    int jobs = 0;
    std::function<void()> next = [&] {
        thread_.run_between_turns([&] { ++inside; },
                                  [&] {
                                      --inside;
                                      if (++jobs == count) {
                                          ended.count_down();
                                      } else {
                                          in_loop([&] { next(); });
                                      }
                                  });
    };
    in_loop([&] { next(); });
    for (int i = 0; i < 200; ++i) {
        wait_in_loop([] {});
    }
    ended.wait();
    wait_in_loop([&] { EXPECT_EQ(inside, 0); });
}

TEST_F(LoopThreadTest, a_loop_that_ends_runs_the_job_that_waits) {
    std::atomic<bool> has_run = false;
    std::atomic<bool> is_done = false;
    in_loop([&] {
        thread_.run_between_turns([&] { has_run = true; }, [&] { is_done = true; });
        thread_.stop();
    });
    thread_.start();
    thread_.join();
    EXPECT_TRUE(has_run);
    EXPECT_TRUE(is_done);
}

TEST_F(LoopThreadTest, the_end_waits_for_a_job_that_hangs) {
    thread_.start();
    std::latch release{1};
    std::atomic<bool> is_back = false;
    in_loop([&] {
        thread_.run_between_turns(
            [&] {
                release.wait();
                is_back = true;
            },
            [] {});
    });
    wait_in_loop([this] { thread_.stop(); });
    release.count_down();
    thread_.join();
    EXPECT_TRUE(is_back);
}

}  // namespace
}  // namespace baton::runtime

// Who runs the event loop, with real threads: answers come from outside, one user thread waits for them one after the other.
#include "client/src/loop.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "client/src/board.hpp"

namespace baton::client {
namespace {

class Work final : public LoopWork {
public:
    void take_turn() noexcept override {
        if (is_left.exchange(false)) {
            collect();
        }
    }
    [[nodiscard]] bool is_ready_for_turn() const noexcept override { return true; }
    [[nodiscard]] bool has_uncollected() noexcept override { return is_left; }

    std::atomic<bool> is_left{false};  // By a user, for the next turn.
    std::function<void()> collect;
};

class LoopTest : public testing::Test {
protected:
    LoopTest() {
        board.set_connected({});
        loop.open(context, work);
        io_thread = std::thread{[this] { loop.run(); }};
    }
    ~LoopTest() override {
        loop.keep();
        asio::post(context, [this] { context.stop(); });
        io_thread.join();
    }

    // What an event of the network does, on whatever thread runs the loop.
    void answer(std::uint64_t number) {
        asio::post(context, [this, number] {
            const auto turn = loop.enter_turn();
            set_answered(number);
        });
    }
    void set_answered(std::uint64_t number) {
        const std::lock_guard lock{mutex};
        answered = number;
        answered_by = std::this_thread::get_id();
        changed.notify_all();
        loop.lend();
    }
    [[nodiscard]] bool wait_for_answer(std::uint64_t number) {
        const WaitLimit limit{std::chrono::seconds{20}};
        WaitScope scope{board, mutex, changed, limit, &loop};
        return scope.wait([&] { return answered >= number; }).end == WaitEnd::ready;
    }

    net::IoContext context;
    asio::executor_work_guard<net::Executor> guard{context.get_executor()};
    Work work;
    Loop loop;
    Board board{std::chrono::seconds{30}};
    std::thread io_thread;
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t answered = 0;
    std::thread::id answered_by;
};

TEST_F(LoopTest, AThreadThatComesBackAtOnceIsNotOvertakenByTheOneThatLentTheLoop) {
    constexpr std::uint64_t rounds = 30'000;
    std::atomic<std::uint64_t> asked{0};
    std::thread peer{[&] {
        for (std::uint64_t number = 0; number != rounds;) {
            asked.wait(number);
            number = asked.load();
            answer(number);
        }
    }};
    for (std::uint64_t number = 1; number <= rounds; ++number) {
        if (number % 4 == 0) {
            loop.call_io_thread();  // It has the loop again, and will lend it again.
        }
        asked = number;
        asked.notify_one();
        if (!wait_for_answer(number)) {
            ADD_FAILURE() << "nobody told us that answer " << number << " has come";
            asked = rounds;
            asked.notify_one();
            break;
        }
    }
    peer.join();
}

TEST_F(LoopTest, WhoAsksForTheLoopHasItWhenItWaits) {
    std::uint64_t number = 0;
    while (answered_by != std::this_thread::get_id()) {
        // Nobody has waited yet, or the loop is the I/O thread's again: only the question makes it leave the loop.
        loop.call_io_thread();
        const auto give_up_at = std::chrono::steady_clock::now() + std::chrono::seconds{20};
        while (!loop.is_free()) {
            ASSERT_LT(std::chrono::steady_clock::now(), give_up_at) << "the I/O thread keeps the loop";
            static_cast<void>(loop.ask_for_loop());
            std::this_thread::yield();
        }
        answer(++number);
        ASSERT_TRUE(wait_for_answer(number));
        ASSERT_LT(number, 1'000U) << "it is never given to this thread";
    }
    loop.keep();
    while (loop.ask_for_loop()) {
        std::this_thread::yield();  // Of what was asked for before.
    }
    answer(++number);
    ASSERT_TRUE(wait_for_answer(number));
    EXPECT_NE(answered_by, std::this_thread::get_id());
}

// Whether the I/O thread comes to it before the wait begins or behind: what was left is collected.
TEST_F(LoopTest, WhoAsksForTheLoopAndWaitsIsNotForgotten) {
    std::uint64_t number = 0;
    work.collect = [&] { set_answered(number); };
    int times = 0;
    for (number = 1; number <= 30'000; ++number) {
        if (number % 3 == 0) {
            loop.call_io_thread();
        }
        work.is_left = true;
        if (loop.ask_for_loop()) {
            ++times;
        } else if (!loop.is_free()) {
            asio::post(context, [this] {
                const auto turn = loop.enter_turn();
                work.take_turn();
            });
        }
        ASSERT_TRUE(wait_for_answer(number)) << "what was left in round " << number << " is not collected";
    }
    EXPECT_GT(times, 100);
}

}  // namespace
}  // namespace baton::client

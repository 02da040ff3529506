// Who runs the event loop, with real threads: answers come from outside, one user thread waits for them one after the other.
#include "client/src/loop.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "client/src/board.hpp"

namespace baton::client {
namespace {

class NoWork final : public LoopWork {
public:
    void take_turn() noexcept override {}
    [[nodiscard]] bool is_ready_for_turn() const noexcept override { return true; }
    [[nodiscard]] bool has_uncollected() noexcept override { return false; }
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
            const std::lock_guard lock{mutex};
            answered = number;
            changed.notify_all();
            loop.lend();
        });
    }
    [[nodiscard]] bool wait_for_answer(std::uint64_t number) {
        const WaitLimit limit{std::chrono::seconds{20}};
        WaitScope scope{board, mutex, changed, limit, &loop};
        return scope.wait([&] { return answered >= number; }).end == WaitEnd::ready;
    }

    net::IoContext context;
    asio::executor_work_guard<net::Executor> guard{context.get_executor()};
    NoWork work;
    Loop loop;
    Board board{std::chrono::seconds{30}};
    std::thread io_thread;
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t answered = 0;
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

}  // namespace
}  // namespace baton::client

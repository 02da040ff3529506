// The thread for blocking work: order, on which thread what happens, and its end.
#include "server/storage/io_worker.hpp"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <latch>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sim/disk.hpp"

namespace baton::storage {

namespace {

// A submitter's way home: what was posted runs when it is told to, on the thread that tells it.
class Mailbox {
public:
    [[nodiscard]] IoWorker::Post post() {
        return [this](std::move_only_function<void()> mail) {
            const std::lock_guard guard{mutex_};
            mails_.push_back(std::move(mail));
            is_changed_.notify_one();
        };
    }
    // Waits for one.
    void run_one() {
        std::move_only_function<void()> mail;
        {
            std::unique_lock lock{mutex_};
            is_changed_.wait(lock, [this] { return !mails_.empty(); });
            mail = std::move(mails_.front());
            mails_.pop_front();
        }
        mail();
    }
    [[nodiscard]] std::size_t size() {
        const std::lock_guard guard{mutex_};
        return mails_.size();
    }

private:
    std::mutex mutex_;
    std::condition_variable is_changed_;
    std::deque<std::move_only_function<void()>> mails_;
};

// Says on which thread it dies.
class Token {
public:
    explicit Token(std::thread::id& died_on) : died_on_{&died_on} {}
    Token(Token&& other) noexcept : died_on_{std::exchange(other.died_on_, nullptr)} {}
    Token& operator=(Token&&) = delete;
    ~Token() {
        if (died_on_ != nullptr) {
            *died_on_ = std::this_thread::get_id();
        }
    }

private:
    std::thread::id* died_on_;
};

class IoWorkerTest : public ::testing::Test {
protected:
    // Keeps the thread busy until the latch opens; returns when it is.
    void occupy(IoQueue& queue, std::latch& until) {
        std::latch is_running{1};
        queue.submit({.run =
                          [&](FileSystem&) {
                              is_running.count_down();
                              until.wait();
                          },
                      .done = [this] { journal_.emplace_back("done first"); }});
        is_running.wait();
    }

    sim::SimDisk disk_;
    Mailbox mailbox_;
    std::vector<std::string> journal_;
};

TEST_F(IoWorkerTest, jobs_of_all_queues_run_in_order_and_their_ends_go_home) {
    IoWorker worker{disk_};
    Mailbox other_mailbox;
    const auto queue = worker.queue(mailbox_.post());
    const auto other = worker.queue(other_mailbox.post());
    std::vector<int> ran;  // The worker's until the last end was told.
    std::vector<std::thread::id> threads(4);
    std::vector<int> done;
    for (int i = 0; i < 4; ++i) {
        (i % 2 == 0 ? queue : other)
            ->submit({.run =
                          [&, i](FileSystem& files) {
                              EXPECT_EQ(&files, &disk_);
                              threads[static_cast<std::size_t>(i)] = std::this_thread::get_id();
                              ran.push_back(i);
                          },
                      .done = [&, i] { done.push_back(i); }});
    }
    other_mailbox.run_one();
    other_mailbox.run_one();
    mailbox_.run_one();
    mailbox_.run_one();
    EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3}));
    EXPECT_EQ(done, (std::vector<int>{1, 3, 0, 2}));
    EXPECT_EQ(threads, std::vector<std::thread::id>(4, threads[0]));
    EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST_F(IoWorkerTest, what_a_job_holds_dies_at_home) {
    IoWorker worker{disk_};
    const auto queue = worker.queue(mailbox_.post());
    std::thread::id run_died_on;
    std::thread::id done_died_on;
    queue->submit({.run = [token = Token{run_died_on}](FileSystem&) {}, .done = [token = Token{done_died_on}] {}});
    mailbox_.run_one();
    EXPECT_EQ(run_died_on, std::this_thread::get_id());
    EXPECT_EQ(done_died_on, std::this_thread::get_id());
}

TEST_F(IoWorkerTest, signals_are_for_other_threads) {
    IoWorker worker{disk_};
    const auto queue = worker.queue(mailbox_.post());
    bool is_blocked = false;
    queue->submit({.run =
                       [&](FileSystem&) {
                           sigset_t mask;
                           pthread_sigmask(SIG_SETMASK, nullptr, &mask);
                           is_blocked = sigismember(&mask, SIGTERM) == 1;
                       },
                   .done = {}});
    mailbox_.run_one();
    EXPECT_TRUE(is_blocked);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    EXPECT_EQ(sigismember(&mask, SIGTERM), 0) << "and the owner's mask is as before";
}

TEST_F(IoWorkerTest, stop_finishes_what_waits) {
    IoWorker worker{disk_};
    const auto queue = worker.queue(mailbox_.post());
    std::latch latch{1};
    occupy(*queue, latch);
    int ran = 0;
    for (int i = 0; i < 3; ++i) {
        queue->submit({.run = [&](FileSystem&) { ++ran; }, .done = [this] { journal_.emplace_back("done"); }});
    }
    latch.count_down();
    worker.stop(IoWorker::Waiting::finished);
    EXPECT_EQ(ran, 3);
    ASSERT_EQ(mailbox_.size(), 4U);
    for (int i = 0; i < 4; ++i) {
        mailbox_.run_one();
    }
    EXPECT_EQ(journal_, (std::vector<std::string>{"done first", "done", "done", "done"}));
    worker.stop(IoWorker::Waiting::finished);
}

TEST_F(IoWorkerTest, stop_drops_what_waits_on_the_thread_that_stops) {
    IoWorker worker{disk_};
    const auto queue = worker.queue(mailbox_.post());
    std::latch latch{1};
    occupy(*queue, latch);
    std::thread::id died_on;
    // What lets the job under way end is that stop() drops the one that waits.
    const auto open = [&latch](int*) { latch.count_down(); };
    int anything = 0;
    queue->submit({.run = [token = Token{died_on}, opener = std::unique_ptr<int, decltype(open)>{&anything, open}](
                              FileSystem&) { ADD_FAILURE(); },
                   .done = [] { ADD_FAILURE(); }});
    worker.stop(IoWorker::Waiting::dropped);
    EXPECT_EQ(died_on, std::this_thread::get_id());
    ASSERT_EQ(mailbox_.size(), 1U) << "the job under way has ended, and says so";
    mailbox_.run_one();
    EXPECT_EQ(journal_, (std::vector<std::string>{"done first"}));
}

TEST_F(IoWorkerTest, what_is_submitted_after_the_end_is_dropped) {
    auto worker = std::make_unique<IoWorker>(disk_);
    const auto queue = worker->queue(mailbox_.post());
    worker->stop(IoWorker::Waiting::finished);
    std::thread::id died_on;
    queue->submit({.run = [token = Token{died_on}](FileSystem&) { ADD_FAILURE(); }, .done = [] { ADD_FAILURE(); }});
    EXPECT_EQ(died_on, std::this_thread::get_id());
    worker.reset();
    queue->submit({.run = [](FileSystem&) { ADD_FAILURE(); }, .done = {}});
    EXPECT_EQ(mailbox_.size(), 0U);
}

TEST_F(IoWorkerTest, a_queue_that_is_destroyed_takes_its_jobs_along_and_no_others) {
    IoWorker worker{disk_};
    Mailbox other_mailbox;
    auto queue = worker.queue(mailbox_.post());
    const auto other = worker.queue(other_mailbox.post());
    std::latch latch{1};
    occupy(*queue, latch);
    std::thread::id died_on;
    queue->submit({.run = [token = Token{died_on}](FileSystem&) { ADD_FAILURE(); }, .done = {}});
    other->submit({.run = [](FileSystem&) {}, .done = [this] { journal_.emplace_back("done other"); }});
    queue.reset();
    EXPECT_EQ(died_on, std::this_thread::get_id());
    latch.count_down();
    other_mailbox.run_one();
    EXPECT_EQ(journal_, (std::vector<std::string>{"done other"}));
    EXPECT_EQ(mailbox_.size(), 0U) << "the job that was under way ends untold";
}

// For ThreadSanitizer: many submitters, queues that come and go.
TEST_F(IoWorkerTest, many_submitters) {
    IoWorker worker{disk_};
    std::atomic<int> told{0};
    std::vector<std::thread> submitters;
    for (int i = 0; i < 4; ++i) {
        submitters.emplace_back([&] {
            for (int round = 0; round < 20; ++round) {
                Mailbox mailbox;
                const auto queue = worker.queue(mailbox.post());
                for (int job = 0; job < 20; ++job) {
                    queue->submit({.run = [](FileSystem&) {}, .done = [&] { ++told; }});
                }
                for (int job = 0; job < 15; ++job) {
                    mailbox.run_one();
                }
            }
        });
    }
    for (std::thread& submitter : submitters) {
        submitter.join();
    }
    worker.stop(IoWorker::Waiting::finished);
    EXPECT_EQ(told, 4 * 20 * 15);
}

}  // namespace

}  // namespace baton::storage

#include "server/runtime/loop_thread.hpp"

#include <pthread.h>

#include <utility>

#include "common/base/assert.hpp"

namespace baton::runtime {

namespace {

/// Without a job for so many looks nobody looks any more, until there is one.
constexpr int idle_looks_max = 50;

constexpr bool is_odd(std::uint64_t state) { return (state & 1U) != 0; }

}  // namespace

LoopThread::LoopThread(net::IoContext& io, std::string name) : io_{io}, name_{std::move(name)} {
    BATON_ASSERT(name_.size() <= 14);
}

LoopThread::~LoopThread() { BATON_ASSERT_MSG(!is_joinable(), "an event loop was destroyed while it ran"); }

void LoopThread::start() {
    threads_[0] = std::thread{[this] { live(true); }};
    pthread_setname_np(threads_[0].native_handle(), name_.c_str());
}

void LoopThread::join() {
    for (auto& thread : threads_) {  // The first one has made the second one, if there is one.
        if (thread.joinable()) {
            thread.join();
        }
    }
}

// --- The loop's owner --------------------------------------------------------------------------------------------------

void LoopThread::run_between_turns(Function run, Function done) {
    BATON_ASSERT(!job_.run);
    job_ = {std::move(run), std::move(done)};
    if (is_in_loop_) {
        io_.stop();
    }
}

void LoopThread::stop() {
    is_stopping_ = true;
    io_.stop();
}

void LoopThread::live(bool owns_loop) {
    while (owns_loop || wait_for_loop()) {
        serve();
        owns_loop = false;
    }
}

/// Until the loop has ended or the other thread has it.
void LoopThread::serve() {
    const auto work = asio::make_work_guard(io_);
    while (!is_stopping_) {
        is_in_loop_ = true;
        if (job_.run) {
            io_.poll();  // The end of a job has brought another one; what else is ready comes first.
        } else {
            io_.run();
        }
        is_in_loop_ = false;
        if (!is_stopping_) {
            io_.restart();
        }
        if (job_.run && !run_job()) {
            return;
        }
    }
    end();
}

/// False: it took long, and the loop has another owner now.
bool LoopThread::run_job() {
    if (jobs_ == 0) {
        threads_[1] = std::thread{[this] { live(false); }};
        pthread_setname_np(threads_[1].native_handle(), (name_ + 'b').c_str());
    }
    Job job = std::exchange(job_, {});
    const std::uint64_t mine = 2 * ++jobs_ + 1;
    state_.store(mine);
    if (!is_watched_.exchange(true)) {
        const std::lock_guard guard{mutex_};
        is_changed_.notify_one();
    }
    job.run();
    auto expected = mine;
    if (state_.compare_exchange_strong(expected, mine + 1)) {
        job.done();
        return true;
    }
    // All of it goes with it: what the job holds may belong to the loop.
    asio::post(io_, [job = std::move(job)]() mutable { job.done(); });
    return false;
}

void LoopThread::end() {
    const std::lock_guard guard{mutex_};
    has_ended_ = true;
    is_changed_.notify_one();
}

// --- The other thread --------------------------------------------------------------------------------------------------

/// True: the caller owns the loop now. False: the loop has ended.
bool LoopThread::wait_for_loop() {
    std::unique_lock lock{mutex_};
    for (;;) {
        is_changed_.wait(lock, [this] { return has_ended_ || is_watched_; });
        if (has_ended_) {
            return false;
        }
        if (watch_jobs(lock)) {
            return true;
        }
    }
}

/// True: a job has lasted from one look to the next, and the caller owns the loop now. False: there is nothing to see, or the
/// loop has ended.
bool LoopThread::watch_jobs(std::unique_lock<std::mutex>& lock) {
    auto seen = state_.load();
    for (int idle = 0; idle < idle_looks_max; ++idle) {
        if (is_changed_.wait_for(lock, patience, [this] { return has_ended_; })) {
            return false;
        }
        auto now = state_.load();
        if (now == seen && is_odd(now) && state_.compare_exchange_strong(now, now + 1)) {
            is_watched_ = false;
            return true;
        }
        if (std::exchange(seen, now) != now) {
            idle = 0;
        }
    }
    is_watched_ = false;
    if (is_odd(state_.load())) {
        is_watched_ = true;  // A job that began before the line above has told nobody.
    }
    return false;
}

}  // namespace baton::runtime

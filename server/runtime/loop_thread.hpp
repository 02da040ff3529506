// The thread of an event loop that can also carry out blocking jobs, between two turns: no change of thread there and back.
// A job that takes long does not hold up the loop: after `patience` a second thread goes on with it, and when the job ends its
// end is told to the loop as if it had come from a worker. So there is always exactly one thread that owns the loop and
// everything that belongs to it, but not always the same one.
// Not responsible for which job is worth it (sync_queue.hpp). Thread: see each function. Next file: shard.hpp.
//
//   state_                        owner of the loop
//   even                          whoever serves the loop
//   odd, a number of its own      nobody: the thread that made it odd runs a job. If it makes it even again, it owns the loop
//                                 again; if the other one does (after `patience`), that one owns it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "common/net/asio.hpp"

namespace baton::runtime {

class LoopThread {
public:
    using Function = std::move_only_function<void()>;

    /// A job may hold up the loop for so long, and as long again until it is noticed.
    static constexpr auto patience = std::chrono::milliseconds{20};

    /// `io` outlives it. The name is the thread's, at most 14 characters.
    LoopThread(net::IoContext& io, std::string name);
    LoopThread(const LoopThread&) = delete;
    LoopThread& operator=(const LoopThread&) = delete;
    ~LoopThread();  ///< After join().

    void start();
    /// The starter's thread. Returns when the loop has ended, and the job that is under way, if there is one.
    void join();
    [[nodiscard]] bool is_joinable() const noexcept { return threads_[0].joinable(); }

    // --- The loop's owner ---------------------------------------------------------------------------------------------

    /// `run` is called when the handler that calls this has returned; then `done`, by the loop's owner. Meanwhile nothing
    /// else of the loop happens, unless `run` is not back after `patience`: it must not touch what belongs to the loop. Both are
    /// destroyed by the loop's owner. One at a time: not again before `done`.
    void run_between_turns(Function run, Function done);
    /// Ends the loop when the current handler has returned.
    void stop();

private:
    struct Job {
        Function run;
        Function done;
    };

    void live(bool owns_loop);
    void serve();
    [[nodiscard]] bool run_job();
    [[nodiscard]] bool wait_for_loop();
    [[nodiscard]] bool watch_jobs(std::unique_lock<std::mutex>& lock);
    void end();

    net::IoContext& io_;
    const std::string name_;
    std::array<std::thread, 2> threads_;  ///< The second one is made when there is a first job.

    // The loop's owner.
    Job job_;
    bool is_in_loop_ = false;  ///< In one of its handlers.
    bool is_stopping_ = false;
    std::uint64_t jobs_ = 0;

    std::atomic<std::uint64_t> state_{0};
    std::atomic<bool> is_watched_{false};  ///< The other thread looks, or is told to look, how long jobs take.
    std::mutex mutex_;
    std::condition_variable is_changed_;
    bool has_ended_ = false;  ///< Guarded by mutex_.
};

}  // namespace baton::runtime

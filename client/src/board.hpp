// What every thread of a client may know of its connection, and the waits that depend on it.
// Not responsible for the connection: connection.hpp. Any thread; the I/O thread writes.
// Lock order: an endpoint's mutex before the board's. Next file: endpoint.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "client/src/loop.hpp"
#include <baton/client.hpp>
#include <baton/error.hpp>
#include <baton/options.hpp>
#include <baton/wait_limit.hpp>

namespace baton::client {

using SteadyTime = WaitLimit::Clock::time_point;

// "5.2s": an age, for people.
[[nodiscard]] std::string age_text(std::chrono::nanoseconds age);

class Board {
public:
    explicit Board(std::chrono::nanoseconds connect_timeout) noexcept : connect_timeout_{connect_timeout} {}

    // --- The I/O thread. Whoever calls them then wakes the waiters of all endpoints.
    void set_connected(BrokerInfo info);
    void set_disconnected(std::string reason);
    // `is_hopeless`: trying again will not help, waiting calls fail at once.
    void set_unreachable(std::string reason, bool is_hopeless);
    void set_draining();
    void set_closed();
    // Nobody is called any more.
    void set_ended();

    // --- Any thread
    [[nodiscard]] bool is_connected() const;
    [[nodiscard]] bool is_closed() const;
    [[nodiscard]] bool is_ended() const;
    [[nodiscard]] std::optional<BrokerInfo> broker() const;
    // 0 until the first connection.
    [[nodiscard]] std::uint64_t message_size_max() const noexcept {
        return message_size_max_.load(std::memory_order_relaxed);
    }
    // For a call that began at `begin` and waits now: when it must give up for want of a connection, and with what
    // words.
    struct Verdict {
        SteadyTime give_up_at = SteadyTime::max();
        std::optional<ClientError> error;  // give_up_at has come.
    };
    [[nodiscard]] Verdict judge(SteadyTime begin, SteadyTime now) const;
    // "; not connected: ..." or nothing: for the text of an error.
    [[nodiscard]] std::string connection_text() const;

    // For waits that belong to no endpoint.
    std::mutex waits_mutex;
    std::condition_variable waits_changed;
    void wake_waits() {
        const std::lock_guard lock{waits_mutex};
        waits_changed.notify_all();
    }

private:
    mutable std::mutex mutex_;
    const std::chrono::nanoseconds connect_timeout_;
    bool is_connected_ = false;
    bool is_closed_ = false;
    bool is_ended_ = false;
    bool is_hopeless_ = false;
    SteadyTime since_ = WaitLimit::Clock::now();  // Of the present state.
    std::string reason_ = "no attempt has ended yet";
    std::optional<BrokerInfo> broker_;
    std::atomic<std::uint64_t> message_size_max_{0};  // Of `broker_`: looked at for each message.
};

enum class WaitEnd : std::uint8_t { ready, limit, interrupted, unreachable };

struct Waited {
    WaitEnd end = WaitEnd::ready;
    std::optional<ClientError> error;  // With `unreachable`.
};

// Wakes the waiters when a stop is requested.
class StopWatch {
public:
    StopWatch(const std::stop_token& token, std::mutex& mutex, std::condition_variable& changed, Loop* loop)
        : callback_{token, Wake{mutex, changed, loop}} {}

private:
    struct Wake {
        std::mutex& mutex;
        std::condition_variable& changed;
        Loop* loop;
        void operator()() const {
            const std::lock_guard guard{mutex};
            changed.notify_all();
            if (loop != nullptr) {
                loop->interrupt();
            }
        }
    };
    std::stop_callback<Wake> callback_;
};

// A locked mutex, and what is needed to wait for something under it. Lives as long as the call that waits.
class WaitScope {
public:
    // With a loop: the thread may run it while it waits.
    WaitScope(const Board& board, std::mutex& mutex, std::condition_variable& changed, const WaitLimit& limit,
              Loop* loop = nullptr)
        : board_{board}, changed_{changed}, limit_{limit}, loop_{loop}, lock_{mutex, std::defer_lock} {
        if (limit.stop().stop_possible()) {
            watch_.emplace(limit.stop(), mutex, changed, loop);  // Without the lock: it may call at once.
        }
        lock_.lock();
    }

    // Waits until `ready()`, within the limit, and not longer without a connection than connect_timeout. `ready` is
    // called with the mutex held and must also be true when there is no more hope. The mutex is held on return.
    template <class Ready>
    [[nodiscard]] Waited wait(Ready ready) {
        if (ready()) {
            return {};  // The usual case, once a message: without a look at the clock.
        }
        const SteadyTime begin = is_no_wait() ? SteadyTime::min() : WaitLimit::Clock::now();
        std::optional<Loop::Waiter> waiter;
        for (SteadyTime now = begin; !ready(); now = WaitLimit::Clock::now()) {
            if (limit_.stop().stop_requested()) {
                return {.end = WaitEnd::interrupted, .error = {}};
            }
            if (now >= limit_.until()) {
                return {.end = WaitEnd::limit, .error = {}};
            }
            Board::Verdict verdict = board_.judge(begin, now);
            if (verdict.error) {
                return {.end = WaitEnd::unreachable, .error = std::move(verdict.error)};
            }
            const SteadyTime until = std::min(limit_.until(), verdict.give_up_at);
            if (loop_ != nullptr && !waiter) {
                waiter.emplace(*loop_);
            }
            if (waiter && waiter->take()) {
                lock_.unlock();
                waiter->run_one(until);
                lock_.lock();
            } else if (until == SteadyTime::max()) {
                changed_.wait(lock_);
            } else {
                changed_.wait_until(lock_, until);
            }
        }
        return {};
    }

    void unlock() { lock_.unlock(); }

private:
    [[nodiscard]] bool is_no_wait() const noexcept { return limit_.until() == SteadyTime::min(); }

    const Board& board_;
    std::condition_variable& changed_;
    const WaitLimit& limit_;
    Loop* loop_;
    std::optional<StopWatch>
        watch_;  // Its end waits for a call that is running and wants the mutex: ends after the lock.
    std::unique_lock<std::mutex> lock_;
};

}  // namespace baton::client

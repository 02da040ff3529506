// Who runs the event loop of a client. By itself its I/O thread does. But a call that waits (send, receive, a question)
// has a thread with nothing to do: if it is the only one, it is lent the loop and reads the answer itself, which saves
// two wake-ups of a thread a message. And any thread may take one turn (collect what users left, write it) while
// nobody is in one, so that what it sends leaves at once (docs/adr/0018-waiting-threads-run-the-loop.md).
// Not responsible for what a turn does: engine.hpp. Any thread, unless a comment says otherwise.
//
//   io --lend(), ask_for_loop()--> nobody --Waiter--> user --end of its wait--> nobody ...
//    ^                |  nobody came for a moment, or there is work    |
//    +----------------+--------------- keep(), somebody else waits ----+
//
// Locks: the turn's mutex, then an endpoint's mutex, then ours. While a thread runs handlers it holds the turn's mutex,
// while it waits for the next one it does not.
// Next file: board.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "common/net/asio.hpp"
#include <baton/wait_limit.hpp>

namespace baton::client {

// What the loop moves; on whichever thread has it.
class LoopWork {
public:
    // A turn that did not begin with an event. The turn's mutex is held.
    virtual void take_turn() noexcept = 0;
    // Whether a thread that is not the loop's may take a turn now. The turn's mutex is held.
    [[nodiscard]] virtual bool is_ready_for_turn() const noexcept = 0;
    // Users have left something that no turn has collected.
    [[nodiscard]] virtual bool has_uncollected() noexcept = 0;

protected:
    ~LoopWork() = default;
};

class Loop {
public:
    // How long the I/O thread leaves the loop to nobody after it was lent. Meanwhile nothing is read, and settlements
    // wait.
    static constexpr auto patience = std::chrono::milliseconds{1};

    using TimePoint = WaitLimit::Clock::time_point;

    Loop() = default;
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // --- The I/O thread
    // Before anything else; both outlive run().
    void open(net::IoContext& context, LoopWork& work);
    // Returns when the context is stopped; nobody touches context and work any more.
    void run();

    // --- Whoever runs the loop, in a turn
    // For the duration of a handler.
    [[nodiscard]] std::unique_lock<std::mutex> enter_turn() { return std::unique_lock{turn_mutex_}; }
    // To call users from inside a turn; is_ready_for_turn() is false meanwhile.
    void leave_turn() { turn_mutex_.unlock(); }
    void reenter_turn() { turn_mutex_.lock(); }
    [[nodiscard]] bool is_on_io_thread() const noexcept { return std::this_thread::get_id() == io_thread_; }
    // Waiting threads have been notified: if it is the only one, it gets the loop with it. With the mutex that guards
    // what they wait for.
    void lend();
    // The first thing that a handler does which was posted for attend().
    void note_attended() noexcept { is_woken_ = false; }

    // --- Any thread
    // From now on the I/O thread has the loop, for good.
    void keep();
    // There is something to do for the I/O thread, in particular.
    void call_io_thread();
    // What users have left shall be collected soon, by whoever is nearest: if nobody runs the loop, by the I/O thread,
    // which does not take the loop for it. False: somebody runs the loop, and has to be told by other means.
    bool ask_for_turn();
    // The thread that calls is about to wait, and would run the loop itself then: the I/O thread leaves it to nobody after
    // what it is doing. False: it keeps the loop, or does not have it.
    [[nodiscard]] bool ask_for_loop();
    // Work has been posted to the context: sees to it that somebody runs it.
    void attend();
    // Nobody runs the loop: a thread that begins to wait will, or the I/O thread in a moment.
    [[nodiscard]] bool is_free() const noexcept { return holder_.load() == Holder::nobody; }
    // True: what users have left is collected and written. False: somebody is in a turn, or it is not the time.
    bool try_turn() noexcept;
    // The same, once whoever is in a turn has left it. Not from inside of one.
    bool take_turn() noexcept;
    // A wait may be over for another reason than an event of the loop: whoever was lent the loop looks again. After the
    // change, with or without the mutex it is guarded by.
    void interrupt();

    // A thread that waits. Lives as long as the wait.
    class Waiter {
    public:
        explicit Waiter(Loop& loop) : loop_{loop} { ++loop_.waiters_; }
        ~Waiter();
        Waiter(const Waiter&) = delete;
        Waiter& operator=(const Waiter&) = delete;

        // With the mutex that guards what is waited for: whoever changes that calls interrupt() later than this.
        // True: this thread has the loop; run_one() is to follow without the mutex.
        [[nodiscard]] bool take();
        // Runs at most one handler; returns at `until` at the latest, and after interrupt().
        void run_one(TimePoint until);

    private:
        Loop& loop_;
        bool has_loop_ = false;
        bool is_first_ = true;
    };

private:
    enum class Holder : std::uint8_t { io, nobody, user };

    // By whoever has the loop: a turn, if users have left something. True: there was one.
    [[nodiscard]] bool collect();
    bool take_turn(const std::unique_lock<std::mutex>& turn) noexcept;
    [[nodiscard]] bool is_lent(std::unique_lock<std::mutex>& lock);
    void park(std::unique_lock<std::mutex>& lock);
    // All with the mutex.
    void need_io_thread();
    void make_user_look();
    void release();

    std::mutex turn_mutex_;
    std::thread::id io_thread_;  // Set by open().

    std::mutex mutex_;
    std::condition_variable changed_;  // The I/O thread waits for it while the loop is lent.
    net::IoContext* context_ = nullptr;
    LoopWork* work_ = nullptr;  // Null before open() and after run(); also guarded by turn_mutex_.
    std::atomic<Holder> holder_{Holder::io};
    bool is_needed_ = false;     // The I/O thread shall take it.
    bool is_turn_wanted_ = false;  // The I/O thread shall take a turn.
    bool is_kept_ = false;       // It is not lent any more.
    bool is_io_asleep_ = false;  // The I/O thread waits without a limit: it must be told when the loop is released.
    bool is_lending_ = false;    // lend() was called,
    bool is_missed_ = false;     // and since then somebody has wanted the loop and not got it.
    std::uint64_t uses_ = 0;     // How often it has been taken.

    std::atomic<int> waiters_{0};
    std::atomic<bool> is_asked_for_{false};  // ask_for_loop() was called and the I/O thread has not come to it.
    std::atomic<bool> is_woken_{false};  // Somebody has called attend() and what was posted has not begun.
};

}  // namespace baton::client

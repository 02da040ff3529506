// See loop.hpp.
#include "client/src/loop.hpp"

#include <utility>

#include "common/base/assert.hpp"

namespace baton::client {

// --- The I/O thread
// ------------------------------------------------------------------------------------------------------------

void Loop::open(net::IoContext& context, LoopWork& work) {
    const std::lock_guard turn{turn_mutex_};
    const std::lock_guard lock{mutex_};
    context_ = &context;
    work_ = &work;
}

void Loop::run() {
    {
        const std::lock_guard turn{turn_mutex_};
        io_thread_ = std::this_thread::get_id();
    }
    std::unique_lock lock{mutex_};
    while (!context_->stopped()) {
        BATON_ASSERT_MSG(holder_ != Holder::user, "two threads would run the loop");
        holder_ = Holder::io;
        is_needed_ = false;
        lock.unlock();
        static_cast<void>(collect());
        while (context_->run_one() != 0 && !is_lent(lock)) {
        }
        if (lock.owns_lock()) {
            park(lock);
        } else {
            lock.lock();
        }
    }
    is_kept_ = true;
    changed_.wait(lock, [this] { return holder_ != Holder::user; });
    holder_ = Holder::io;
    lock.unlock();
    const std::lock_guard turn{turn_mutex_};
    lock.lock();
    work_ = nullptr;
    context_ = nullptr;
}

bool Loop::collect() {
    if (!work_->has_uncollected()) {
        return false;
    }
    const auto turn = enter_turn();
    work_->take_turn();
    return true;
}

// After each handler of the I/O thread. True: with the lock, and until park() has it nobody can have taken the loop and given
// it back.
bool Loop::is_lent(std::unique_lock<std::mutex>& lock) {
    if (waiters_ == 0 && !is_asked_for_) {
        return false;  // Whoever was notified needs no more, or has not been waiting.
    }
    lock.lock();
    const bool is_asked_for = is_asked_for_.exchange(false);
    const bool is_lending = std::exchange(is_lending_, false) && !is_missed_ && waiters_ <= 1;
    if ((is_lending || (is_asked_for && waiters_ == 0)) && !is_kept_ && !context_->stopped()) {
        holder_ = Holder::nobody;
        if (!is_woken_) {
            return true;
        }
        holder_ = Holder::io;
    }
    lock.unlock();
    if (is_asked_for) {
        static_cast<void>(collect());  // Whoever asked waits already, and for us.
    }
    return false;
}

// As long as others come for the loop, it looks only now and then, and when one of them waits for long it sleeps.
void Loop::park(std::unique_lock<std::mutex>& lock) {
    for (std::uint64_t seen = uses_; !is_needed_; seen = uses_) {
        changed_.wait_for(lock, patience, [this] { return is_needed_ || is_turn_wanted_; });
        if (std::exchange(is_turn_wanted_, false)) {
            lock.unlock();
            if (work_->has_uncollected()) {
                try_turn();
            }
            lock.lock();
            continue;
        }
        if (is_needed_ || uses_ != seen) {
            continue;
        }
        if (holder_ == Holder::nobody) {
            return;
        }
        is_io_asleep_ = true;
        // Whoever releases it has often taken it again by now; then it changes hands, and nobody has to wake us for that.
        changed_.wait(lock, [this, seen] {
            return is_needed_ || is_turn_wanted_ || holder_ == Holder::nobody || uses_ != seen;
        });
        is_io_asleep_ = false;
    }
    changed_.wait(lock, [this] { return holder_ == Holder::nobody; });
}

// --- Any thread
// ---------------------------------------------------------------------------------------------------------------

void Loop::keep() {
    {
        const std::lock_guard lock{mutex_};
        is_kept_ = true;
    }
    call_io_thread();
}

void Loop::call_io_thread() {
    const std::lock_guard lock{mutex_};
    if (context_ == nullptr || holder_ == Holder::io) {
        return;
    }
    need_io_thread();
    make_user_look();
}

void Loop::need_io_thread() {
    is_needed_ = true;
    changed_.notify_one();
}

void Loop::make_user_look() {
    if (holder_ == Holder::user) {
        asio::post(*context_, [] {});
    }
}

bool Loop::ask_for_turn() {
    if (!is_free()) {
        return false;
    }
    const std::lock_guard lock{mutex_};
    if (holder_ != Holder::nobody) {
        return false;
    }
    is_turn_wanted_ = true;
    changed_.notify_one();
    return true;
}

bool Loop::ask_for_loop() {
    if (is_asked_for_) {
        return true;
    }
    const std::lock_guard lock{mutex_};
    if (context_ == nullptr || is_kept_ || holder_ != Holder::io || waiters_ != 0) {
        return false;
    }
    is_asked_for_ = true;
    asio::post(*context_, [] {});  // It may be waiting for an event.
    return true;
}

void Loop::attend() {
    is_woken_ = true;
    if (holder_ == Holder::io) {
        return;  // It runs what was posted before it gives the loop away: is_lent() looks at is_woken_ afterwards.
    }
    const std::lock_guard lock{mutex_};
    if (holder_ == Holder::nobody) {
        need_io_thread();
    }
}

void Loop::lend() {
    if (waiters_ == 0 || !is_on_io_thread()) {
        return;
    }
    const std::lock_guard lock{mutex_};
    is_lending_ = true;
    is_missed_ = false;
}

bool Loop::try_turn() noexcept {
    return take_turn(std::unique_lock{turn_mutex_, std::try_to_lock});
}

bool Loop::take_turn() noexcept {
    return take_turn(std::unique_lock{turn_mutex_});
}

bool Loop::take_turn(const std::unique_lock<std::mutex>& turn) noexcept {
    if (!turn || work_ == nullptr || !work_->is_ready_for_turn()) {
        return false;
    }
    work_->take_turn();
    return true;
}

void Loop::interrupt() {
    const std::lock_guard lock{mutex_};
    make_user_look();
}

// --- A thread that waits
// ------------------------------------------------------------------------------------------------------

Loop::Waiter::~Waiter() {
    --loop_.waiters_;
    if (has_loop_) {
        const std::lock_guard lock{loop_.mutex_};
        loop_.release();
    }
}

bool Loop::Waiter::take() {
    const std::lock_guard lock{loop_.mutex_};
    if (has_loop_) {
        if (!loop_.is_needed_ && !loop_.is_kept_) {
            return true;
        }
        has_loop_ = false;
        loop_.release();
        return false;
    }
    if (loop_.holder_ != Holder::nobody) {
        loop_.is_missed_ = true;
        return false;
    }
    if (loop_.is_needed_ || loop_.is_kept_ || loop_.waiters_ > 1) {
        loop_.need_io_thread();
        return false;
    }
    ++loop_.uses_;
    loop_.holder_ = Holder::user;
    has_loop_ = true;
    is_first_ = true;
    return true;
}

void Loop::Waiter::run_one(TimePoint until) {
    BATON_ASSERT(has_loop_);
    if (std::exchange(is_first_, false) && loop_.collect()) {
        return;  // It may have been what was waited for.
    }
    if (until == TimePoint::max()) {
        loop_.context_->run_one();
    } else {
        loop_.context_->run_one_until(until);
    }
}

void Loop::release() {
    holder_ = Holder::nobody;
    is_needed_ = is_needed_ || is_woken_ || waiters_ != 0;
    if (is_needed_ || is_io_asleep_) {
        changed_.notify_one();
    }
}

}  // namespace baton::client

// What the two kinds of endpoints share: the place where user threads and the I/O thread meet over one link.
// User threads fill and wait under its mutex; the I/O thread empties, fills and wakes under the same mutex, for
// moments. No user code runs under it. Owned by the user's handles and by the engine together. Next files:
// sender_endpoint.hpp, receiver_endpoint.hpp.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/src/board.hpp"
#include "client/src/inbox.hpp"
#include "client/src/loop.hpp"
#include "client/src/protocol_events.hpp"
#include <baton/error.hpp>
#include <baton/wait_limit.hpp>

namespace baton::client {

class ClientProtocol;

// What endpoints and handles of a client share with its I/O thread; outlives all of them by counting.
struct Shared {
    explicit Shared(std::chrono::nanoseconds connect_timeout) noexcept : board{connect_timeout} {}
    Board board;
    Inbox inbox;
    Loop loop;
};

// Calls that complete asynchronous operations: collected under locks, made without.
using Completions = std::vector<std::move_only_function<void()>>;

class Endpoint {
public:
    Endpoint(std::shared_ptr<Shared> shared, std::string channel);
    Endpoint(const Endpoint&) = delete;
    Endpoint& operator=(const Endpoint&) = delete;
    virtual ~Endpoint() = default;

    [[nodiscard]] const std::string& channel() const noexcept { return channel_; }
    [[nodiscard]] bool belongs_to(const Shared& shared) const noexcept { return shared_.get() == &shared; }
    // It can never work again: a handle for the same channel has to be made anew.
    [[nodiscard]] bool is_over() const;

    // No more use through handles; what is pending is completed in the background. Idempotent.
    void close_in_background(const std::shared_ptr<Endpoint>& self);

    // --- The I/O thread
    LinkId link{};  // Its own.
    // Hands over what has gathered since the last time.
    virtual void hand_over(ClientProtocol& protocol, Completions& completions) = 0;
    virtual void end(ClientError error, Completions& completions) = 0;  // The link failed or is closed.
    // The connection came or went: whoever waits judges anew.
    void wake_all() {
        const std::lock_guard lock{mutex_};
        notify();
    }

protected:
    // With the mutex held, once, before end(): no more use through handles.
    virtual void on_closing() {}
    // What waiting threads wait for has changed, in a turn. With the mutex held.
    void notify() {
        changed_.notify_all();
        shared_->loop.lend();
    }
    // The same, from outside of a turn: a waiting thread may be running the loop.
    void notify_from_outside() {
        changed_.notify_all();
        shared_->loop.interrupt();
    }
    // Puts this endpoint on the list of those from which the next turn collects, once; does not see to it that there is
    // one. With the mutex held. False: it was there already.
    template <class Self>  // As it comes: converting a pointer counts, for each message.
    bool mark(const std::shared_ptr<Self>& self) {
        if (is_marked_) {
            return false;
        }
        is_marked_ = true;
        shared_->inbox.mark(self);
        return true;
    }
    // With a turn that collects it: the one that a waiting thread begins with if nobody runs the loop now (it is ours
    // that waits, or the I/O thread comes in a moment), otherwise one of its own. With the mutex held.
    template <class Self>
    void mark_for_turn(const std::shared_ptr<Self>& self) {
        if (mark(self) && !shared_->loop.is_free()) {
            shared_->inbox.wake();
        }
    }
    [[nodiscard]] std::string what() const;  // "channel greetings".
    // Why a wait ended without success, for the caller: "not confirmed in time; blocked: full for 5.2s".
    [[nodiscard]] ClientError wait_error(const Waited& waited, const std::string& doing,
                                         const std::string& blocked) const;

    const std::shared_ptr<Shared> shared_;
    const std::string channel_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by the mutex:
    bool is_marked_ = false;
    bool is_closing_ = false;
    std::optional<ClientError> end_;  // Nothing more will happen.
};

}  // namespace baton::client

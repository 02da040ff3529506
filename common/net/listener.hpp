// Accepts connections on one endpoint and hands out their descriptors, so that each can be served by any thread.
// Not responsible for how many connections there may be, or for what is done with them.
// On the thread of its executor. Next file: stream.hpp (adopt).
#pragma once

#include <sys/types.h>

#include <climits>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>

#include "common/base/result.hpp"
#include "common/net/asio.hpp"
#include "common/net/descriptor.hpp"
#include "common/net/endpoint.hpp"

namespace baton::net {

// May call close() on the listener and may destroy it.
class ListenerEvents {
public:
    // A new connection: non-blocking, closed on exec, not yet prepared (adopt() does that).
    virtual void on_accepted(Descriptor socket) noexcept = 0;

    // Connections cannot be accepted for the moment, for instance because the process has no descriptor left. Those who
    // come are turned away if that is possible; the next try follows by itself. Told once: when it has worked again in
    // between, the next trouble is told anew.
    virtual void on_accept_trouble(std::error_code reason) noexcept = 0;

protected:
    ~ListenerEvents() = default;
};

// A Unix socket is guarded by an exclusive lock on PATH.lock, which stays on disk: a second listener on the path is
// refused while the first one lives, and a socket file without a living listener is known to be stale and is replaced.
class Listener {
public:
    static constexpr std::chrono::milliseconds retry_delay{100};
    // Connections accepted before others get their turn on this thread.
    static constexpr int accept_turn_max = 64;

    // Binds and listens; connections are queued by the kernel from here on and reported after start(). A host name is
    // resolved (blocking) and the first of its addresses that can be bound is taken. TCP over IPv6 takes IPv6 only, so
    // 0.0.0.0 and [::] can be used side by side. Errors say which endpoint: "cannot listen on tcp://[::1]:22866: ...".
    [[nodiscard]] static Result<std::unique_ptr<Listener>> listen(const Executor& executor, const Endpoint& endpoint,
                                                                  ListenerEvents& events);

    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    // Closes. Allowed at any time on its thread.
    ~Listener();

    void start() noexcept;

    // Of the process's descriptors, leave so many (but at most a quarter of all) to others: a connection that would
    // take one of them is turned away, as when none is left.
    void leave_descriptors(std::size_t count) noexcept;

    // Stops listening: the port or the path is free again before the return (the file of a Unix socket is removed), and
    // no event follows. Connections that the kernel has queued and nobody has accepted are reset.
    void close() noexcept;

    // What it really listens on: with the port the system chose and the address instead of the name.
    [[nodiscard]] const Endpoint& local_endpoint() const noexcept { return local_; }

private:
    using Waiter = asio::posix::basic_stream_descriptor<Executor>;

    // A Unix socket's file, and what it takes to remove it and nothing else.
    struct SocketFile {
        Descriptor lock;
        std::string path;
        dev_t device = 0;
        ino_t inode = 0;
    };

    Listener(const Executor& executor, ListenerEvents& events, Endpoint local, SocketFile file) noexcept;

    void wait() noexcept;
    void retry_later() noexcept;
    void accept_turn() noexcept;
    // Accepts and closes those who wait, in place of the spare descriptor. False: nobody was there.
    [[nodiscard]] bool turn_away() noexcept;
    void tell_trouble(int error) noexcept;
    void remove_socket_file() noexcept;

    ListenerEvents& events_;
    Endpoint local_;
    SocketFile file_;
    Descriptor spare_;  // Held for the moment when no other descriptor can be had.
    Waiter waiter_;
    SteadyTimer retry_timer_;
    int descriptor_end_ = INT_MAX;  // Connections have lower numbers. The system gives the lowest that is free.
    bool is_in_trouble_ = false;
    LifeToken life_;  // Last: gone before anything that a handler would touch.
};

}  // namespace baton::net

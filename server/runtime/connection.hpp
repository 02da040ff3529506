// A connection as its shard sees it: something with output, a deadline and an end. Implemented by server/session.
// Thread: the shard's. Next file: shard.hpp.
#pragma once

#include <cstdint>
#include <system_error>

#include "common/base/clock.hpp"
#include "common/base/deadline_wheel.hpp"

namespace baton::runtime {

class Connection {
public:
    Connection() = default;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    virtual ~Connection() = default;

    /// Once, after the shard owns it. May end the connection at once, but only through the event loop.
    virtual void start() = 0;
    /// Writes what was collected in this turn, once.
    virtual void flush_turn() noexcept = 0;
    /// Its turn has come: Shard::begin_turn_of() was false.
    virtual void go_on() noexcept = 0;
    /// `deadline` has passed.
    virtual void on_deadline(MonotonicTime now) noexcept = 0;
    /// Tells the peer that the broker is going down.
    virtual void begin_drain(std::uint32_t reconnect_after_ms) = 0;
    /// Sends what is queued, then closes.
    virtual void finish() noexcept = 0;
    /// Closes at once.
    virtual void abort() noexcept = 0;
    /// Nothing is waiting to be written.
    [[nodiscard]] virtual bool is_flushed() const noexcept = 0;

    Deadline deadline;         ///< In the shard's wheel; the key is unused.
    bool is_dirty = false;     ///< In the shard's list for the end of the turn.
    bool brings_much = false;  ///< Messages, in the last turn that it read anything: who asks little goes first.
};

}  // namespace baton::runtime

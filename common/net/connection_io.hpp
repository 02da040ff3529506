// The bytes of one connection: reads when the socket is readable, writes what waits in an Outbox. Both are loops over
// the system calls themselves; Asio is only asked to say when it is worth trying (docs/adr/0003-read-on-readiness.md).
// Not responsible for what the bytes mean, for deadlines, or for limits: its ConnectionEvents know.
// On the thread of the socket's executor, which also owns the ChunkPool, the ReadBuffer and the Outbox.
// Next files: read_buffer.hpp, common/base/outbox.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <vector>

#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/net/read_buffer.hpp"
#include "common/net/stream.hpp"

namespace baton::net {

// What a connection tells its owner. All are called from the event loop, except on_write_progress, which flush() calls
// too. Each may call append to the Outbox, flush() and close(); only on_closed may destroy the ConnectionIo.
class ConnectionEvents {
public:
    // Called first by each completion handler; what it returns is kept until the handler ends, also if that destroys
    // the ConnectionIo. For an owner whose event loop is run by one thread after the other, with calls from others in
    // between; who has a thread of his own needs none.
    [[nodiscard]] virtual std::unique_lock<std::mutex> enter() noexcept { return {}; }

    // Asked before what is ready is read or written. False: not yet, others have their turn; ConnectionIo::go_on() follows,
    // exactly once and whatever has happened by then. Not asked again before that.
    [[nodiscard]] virtual bool on_turn_begin() noexcept { return true; }

    // Bytes that arrived, in order; returns how many of them are done with. The rest is kept and comes again with more
    // bytes behind it. `readable` is never empty and is valid until the return; BorrowedBytes::retain() keeps parts of
    // it. After close() or shutdown_after_flush() (also from in here) it is not called again and the result is ignored.
    [[nodiscard]] virtual std::size_t on_bytes(BorrowedBytes readable) noexcept = 0;

    // Asked right after on_bytes left a rest: how many contiguous bytes, counted from the first byte of that rest, are
    // needed at least before on_bytes can do more. It is not called with fewer. A lower bound is fine (the size of a
    // frame header, then of the frame), and so is 0 for "cannot say: call me with whatever comes". The chunk for a
    // large frame is allocated by this number, so it must have been checked against a limit.
    [[nodiscard]] virtual std::size_t bytes_wanted() const noexcept = 0;

    // The end of a turn: everything that could be read, or written after waiting, has been handled. Here the runtime
    // flushes each connection that got output. Called also if the turn closed this connection, not once it is
    // finishing.
    virtual void on_turn_end() noexcept = 0;

    // Bytes were written; so many still wait in the Outbox (0: everything is with the kernel). For a session
    // that stopped at its high-water mark and can go on below the low one. Inside a flush(): a further flush() from
    // here is done when this has returned. Not called after shutdown_after_flush().
    virtual void on_write_progress(std::size_t unsent_bytes) noexcept = 0;

    // The end, exactly once for each ConnectionIo that was started, and never from inside a call of its owner: nothing
    // is outstanding any more and the ConnectionIo may be destroyed, also from in here. `reason` is what close() was
    // given, asio::error::eof if the peer closed, or the system's error. A turn of its own: whoever implements it ends
    // the turn.
    virtual void on_closed(std::error_code reason) noexcept = 0;

protected:
    ~ConnectionEvents() = default;
};

// Life:   (made) --start--> open --shutdown_after_flush--> finishing --+
//                             |                                        |
//                             +---------- close, eof, error -----------+--> closing --> on_closed --> (destroyed)
//
// At most one read wait and one write wait are outstanding. From close() on neither ends in a call of the events; when
// both are back, on_closed is called. The destructor asserts that nothing is outstanding: it may run before start() and
// after on_closed, never between.
class ConnectionIo {
public:
    // Fairness: after so many bytes other connections of the thread get their turn. A single read may exceed it.
    static constexpr std::size_t read_turn_bytes_max = 256 * 1024;
    static constexpr std::size_t flush_bytes_max = 4 * 1024 * 1024;

    // `socket` is connected and prepared. What is borrowed outlives this object.
    ConnectionIo(Socket socket, ReadBuffer& read_buffer, Outbox& outbox, ConnectionEvents& events) noexcept;
    ConnectionIo(const ConnectionIo&) = delete;
    ConnectionIo& operator=(const ConnectionIo&) = delete;
    ~ConnectionIo();

    // Starts reading, once. The first call of the events comes from the event loop, not from in here. `unread`: bytes that
    // the peer sent before, to whom the descriptor was taken from (release()).
    void start(Bytes unread = {}) noexcept;

    // Writes what is in the Outbox, as much as the socket takes now; the rest follows by itself when the socket takes
    // more. Meanwhile further calls do nothing. Call it once for each turn in which the Outbox got something.
    void flush() noexcept;

    // The turn that on_turn_begin() put off. From the event loop; may destroy this, as every completion handler may.
    void go_on() noexcept;

    // The orderly end: no further on_bytes, sends what is in the Outbox (nothing may be appended any more), then the
    // end-of-stream, waits for the peer's and closes. Bytes that still arrive are dropped; closing without reading them
    // would reset the connection and could cost the peer our last frames. A peer may take for ever: the caller sets a
    // deadline and calls close() when it has passed. on_closed gets no error if it went well.
    void shutdown_after_flush() noexcept;

    // The immediate end: the descriptor is closed before the return, what waits in the Outbox is not sent.
    // on_closed(reason) follows from the event loop. A second call changes nothing, the first reason stays.
    void close(std::error_code reason = {}) noexcept;

    // Takes the descriptor away, for a ConnectionIo of another thread. Only while open, with an empty Outbox and no write
    // outstanding. What was read and not used is appended to `unread`. Ends this object as close() does, also if it fails.
    [[nodiscard]] Result<Descriptor> release(std::vector<std::byte>& unread) noexcept;

    // Made or open: bytes can still be sent to the peer, as far as we know.
    [[nodiscard]] bool is_open() const noexcept { return state_ == State::made || state_ == State::open; }
    // The socket did not take everything: the rest is sent when it does.
    [[nodiscard]] bool is_write_waiting() const noexcept { return is_write_waiting_; }

    // Since the start.
    [[nodiscard]] std::uint64_t bytes_received() const noexcept { return bytes_received_; }
    [[nodiscard]] std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }

    [[nodiscard]] Executor executor() noexcept { return socket_.get_executor(); }

private:
    enum class State : std::uint8_t { made, open, finishing, closing, closed };

    void end_later() noexcept;

    void wait_readable() noexcept;
    void wait_writable() noexcept;
    [[nodiscard]] bool puts_off(bool& kind) noexcept;
    void on_readable() noexcept;
    void on_unread() noexcept;
    // Answers leave before the next wait is armed.
    void end_read_turn(bool was_open) noexcept;
    void on_writable() noexcept;

    // Reads until there is nothing more (true), or until the turn is over for fairness' sake (false).
    [[nodiscard]] bool read_turn() noexcept;
    // One system call. 0: nothing more is there, or the connection has been closed. `is_full`: more may be there.
    [[nodiscard]] std::size_t read_once(bool& is_full) noexcept;
    // First completes the remainder with `fresh` bytes, then offers the rest of them where they are.
    void hand_over(std::size_t into_remainder, BorrowedBytes fresh) noexcept;
    [[nodiscard]] std::size_t offer(BorrowedBytes readable) noexcept;

    // The remainder: a frame that was begun, in a chunk of its own, so that what follows is read behind it.
    [[nodiscard]] MutableBytes remainder_room() const noexcept;
    void append_remainder(Bytes bytes) noexcept;
    void reserve_remainder(std::size_t size) noexcept;
    void drop_remainder() noexcept;
    // Asks the events how many bytes they want; the remainder is, or will be, `size` bytes.
    void ask_wanted(std::size_t size) noexcept;

    // Writes until the outbox is empty, the socket is full (and will be waited for), or sending has failed.
    // `total` counts the bytes of one flush().
    void write_turn(std::size_t& total) noexcept;
    void on_send_error(std::error_code code) noexcept;
    void send_end() noexcept;
    // Called by each completion handler of a connection that is closing.
    void operation_ended() noexcept;

    Socket socket_;
    ReadBuffer& read_buffer_;
    Outbox& outbox_;
    ConnectionEvents& events_;

    ChunkRef remainder_;
    std::size_t remainder_begin_ = 0;
    std::size_t remainder_size_ = 0;
    std::size_t wanted_ = 0;  // 0, or more than remainder_size_.
    std::size_t unread_ = 0;  // Of another ConnectionIo: at the begin of the remainder, as if it had yet to arrive.

    std::uint64_t bytes_received_ = 0;
    std::uint64_t bytes_sent_ = 0;
    std::error_code close_reason_;
    std::error_code send_error_;  // Sending failed; what the peer had sent before is still read, then it is closed.

    State state_ = State::made;
    std::uint8_t outstanding_ = 0;  // Completion handlers that will still be called.
    bool is_read_waiting_ = false;
    bool is_write_waiting_ = false;
    bool is_read_put_off_ = false;  // Its handler has come and waits for go_on().
    bool is_write_put_off_ = false;
    bool is_flushing_ = false;
    bool is_flush_wanted_ = false;  // flush() was called from inside flush().
    bool is_end_sent_ = false;
};

}  // namespace baton::net

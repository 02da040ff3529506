// The loops over recvmsg and sendmsg. Sections: life, reading, writing.
#include "common/net/connection_io.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "common/base/assert.hpp"
#include "common/net/errc.hpp"

namespace baton::net {

namespace {

// For one system call: enough to fill a socket's buffer, small enough for the stack.
constexpr std::size_t gather_buffers_max = 256;
constexpr std::size_t gather_bytes_max = 1024 * 1024;

[[nodiscard]] ssize_t receive(int descriptor, std::span<iovec> buffers) noexcept {
    msghdr message{};
    message.msg_iov = buffers.data();
    message.msg_iovlen = buffers.size();
    ssize_t result = 0;
    do {
        result = ::recvmsg(descriptor, &message, MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    return result;
}

[[nodiscard]] ssize_t send(int descriptor, std::span<iovec> buffers) noexcept {
    msghdr message{};
    message.msg_iov = buffers.data();
    message.msg_iovlen = buffers.size();
    ssize_t result = 0;
    do {
        result = ::sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result;
}

[[nodiscard]] std::size_t total_size(std::span<const iovec> buffers) noexcept {
    std::size_t size = 0;
    for (const auto& buffer : buffers) {
        size += buffer.iov_len;
    }
    return size;
}

// Of the recycled sizes, unless that would waste more than half of it: a payload in it keeps all of it alive.
[[nodiscard]] ChunkRef allocate_for(ChunkPool& pool, std::size_t size) noexcept {
    if (size <= ChunkPool::small_chunk_size) {
        return pool.allocate_small();
    }
    if (size <= ChunkPool::medium_chunk_size && size > ChunkPool::medium_chunk_size / 2) {
        return pool.allocate_medium();
    }
    if (size <= pool.chunk_size() && size > pool.chunk_size() / 2) {
        return pool.allocate();
    }
    return pool.allocate(size);
}

}  // namespace

ConnectionIo::ConnectionIo(Socket socket, ReadBuffer& read_buffer, Outbox& outbox, ConnectionEvents& events) noexcept
    : socket_{std::move(socket)}, read_buffer_{read_buffer}, outbox_{outbox}, events_{events} {}

ConnectionIo::~ConnectionIo() {
    BATON_ASSERT_MSG(outstanding_ == 0, "a connection was destroyed before on_closed");
    BATON_ASSERT_MSG(state_ == State::made || state_ == State::closed, "a connection was destroyed before on_closed");
}

// --- Life ---------------------------------------------------------------------------------------------------------

void ConnectionIo::start(Bytes unread) noexcept {
    BATON_ASSERT(state_ == State::made);
    state_ = State::open;
    if (unread.empty()) {
        wait_readable();
        return;
    }
    reserve_remainder(unread.size());
    copy_bytes(remainder_.bytes(), unread);
    ++outstanding_;
    unread_ = unread.size();
    asio::post(socket_.get_executor(), [this] {
        const auto entered = events_.enter();
        if (!puts_off(is_read_put_off_)) {
            on_unread();
        }
    });
}

void ConnectionIo::shutdown_after_flush() noexcept {
    BATON_ASSERT(state_ != State::made);
    if (state_ != State::open) {
        return;
    }
    state_ = State::finishing;
    flush();
}

void ConnectionIo::close(std::error_code reason) noexcept {
    if (state_ == State::closing || state_ == State::closed) {
        return;
    }
    const bool was_started = state_ != State::made;
    state_ = was_started ? State::closing : State::closed;
    close_reason_ = reason;
    std::error_code ignored;
    socket_.close(ignored);  // Both waits end now, as cancelled; their handlers are still to come.
    if (was_started) {
        end_later();
    }
}

// With nothing outstanding nobody else would say that it is over.
void ConnectionIo::end_later() noexcept {
    if (outstanding_ == 0) {
        ++outstanding_;
        asio::post(socket_.get_executor(), [this] {
            const auto entered = events_.enter();
            --outstanding_;
            operation_ended();
        });
    }
}

Result<Descriptor> ConnectionIo::release(std::vector<std::byte>& unread) noexcept {
    BATON_ASSERT(state_ == State::open && outbox_.empty() && !is_write_waiting_);
    if (remainder_size_ > 0) {
        const auto* bytes = remainder_.bytes() + remainder_begin_;
        unread.insert(unread.end(), bytes, bytes + remainder_size_);
    }
    state_ = State::closing;
    auto executor = socket_.get_executor();
    auto descriptor = net::release(std::exchange(socket_, Socket{executor}));
    end_later();
    return descriptor;
}

void ConnectionIo::operation_ended() noexcept {
    BATON_ASSERT(state_ == State::closing);
    if (outstanding_ == 0) {
        drop_remainder();
        state_ = State::closed;
        events_.on_closed(close_reason_);  // May have destroyed this.
    }
}

// The handler counts as outstanding until then, so nothing of this goes meanwhile. What ends is not put off.
bool ConnectionIo::puts_off(bool& kind) noexcept {
    const bool is_put_off = is_read_put_off_ || is_write_put_off_;
    kind = is_put_off || (state_ != State::closing && !events_.on_turn_begin());
    return kind;
}

void ConnectionIo::go_on() noexcept {
    const auto entered = events_.enter();
    const bool reads = std::exchange(is_read_put_off_, false);
    BATON_ASSERT(reads || is_write_put_off_);
    if (std::exchange(is_write_put_off_, false)) {
        on_writable();  // With a read outstanding this lives on.
    }
    if (reads) {
        unread_ > 0 ? on_unread() : on_readable();
    }
}

// --- Reading ------------------------------------------------------------------------------------------------------

void ConnectionIo::wait_readable() noexcept {
    BATON_ASSERT(!is_read_waiting_);
    is_read_waiting_ = true;
    ++outstanding_;
    socket_.async_wait(Socket::wait_read, [this](std::error_code) {
        const auto entered = events_.enter();
        if (!puts_off(is_read_put_off_)) {
            on_readable();
        }
    });
    if (send_error_) {
        std::error_code ignored;
        socket_.cancel(ignored);  // Come back at once: read what is there, then close.
    }
}

void ConnectionIo::on_readable() noexcept {
    is_read_waiting_ = false;
    --outstanding_;
    if (state_ == State::closing) {
        operation_ended();
        return;
    }
    const bool was_open = state_ == State::open;
    const bool is_drained = read_turn();
    if (is_drained && send_error_) {
        close(send_error_);
    }
    end_read_turn(was_open);
}

void ConnectionIo::end_read_turn(bool was_open) noexcept {
    if (was_open) {
        events_.on_turn_end();
    }
    if (state_ == State::open || state_ == State::finishing) {
        wait_readable();
    }
}

// What another ConnectionIo had read, as if it had arrived now.
void ConnectionIo::on_unread() noexcept {
    --outstanding_;
    const auto size = std::exchange(unread_, 0);
    if (state_ == State::closing) {
        operation_ended();
        return;
    }
    const bool was_open = state_ == State::open;
    if (was_open) {
        hand_over(size, {});
    }
    end_read_turn(was_open);
}

bool ConnectionIo::read_turn() noexcept {
    std::size_t total = 0;
    bool is_full = true;
    // A read that did not fill the room has taken everything: what comes later makes the socket readable anew.
    while (is_full && (state_ == State::open || state_ == State::finishing)) {
        if (total >= read_turn_bytes_max) {
            return false;
        }
        total += read_once(is_full);
    }
    return true;
}

std::size_t ConnectionIo::read_once(bool& is_full) noexcept {
    const auto behind = state_ == State::open ? remainder_room() : MutableBytes{};
    const auto shared = read_buffer_.room();
    iovec buffers[] = {{behind.data(), behind.size()}, {shared.data(), shared.size()}};
    const auto result = receive(socket_.native_handle(), std::span{buffers}.subspan(behind.empty() ? 1 : 0));
    is_full = false;
    if (result < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            close(system_error(errno));
        }
        return 0;
    }
    if (result == 0) {
        close(is_end_sent_ ? std::error_code{} : asio::error::make_error_code(asio::error::eof));
        return 0;
    }

    const auto received = static_cast<std::size_t>(result);
    is_full = received == behind.size() + shared.size();
    bytes_received_ += received;
    if (state_ == State::open) {
        const auto into_remainder = std::min(received, behind.size());
        hand_over(into_remainder, read_buffer_.commit(received - into_remainder));
        if (state_ != State::open) {
            drop_remainder();
        }
        read_buffer_.finish();
    }
    return received;
}

void ConnectionIo::hand_over(std::size_t into_remainder, BorrowedBytes fresh) noexcept {
    remainder_size_ += into_remainder;
    bool has_grown = into_remainder > 0;
    while (remainder_size_ > 0) {
        const auto missing = wanted_ == 0 ? fresh.size : wanted_ - std::min(wanted_, remainder_size_);
        if (const auto moved = std::min(missing, fresh.size); moved > 0) {
            append_remainder(fresh.bytes().first(moved));
            fresh = fresh.sub(moved, fresh.size - moved);
            has_grown = true;
        }
        if (!has_grown || remainder_size_ < wanted_) {
            BATON_ASSERT(fresh.size == 0);
            return;
        }
        has_grown = false;
        const auto consumed = offer({&remainder_, remainder_.bytes() + remainder_begin_, remainder_size_});
        if (state_ != State::open) {
            return;
        }
        remainder_begin_ += consumed;
        remainder_size_ -= consumed;
        if (remainder_size_ > 0) {
            ask_wanted(remainder_size_);
        } else {
            drop_remainder();
        }
    }

    if (fresh.size == 0) {
        return;
    }
    const auto consumed = offer(fresh);
    if (state_ == State::open && consumed < fresh.size) {
        const auto rest = fresh.bytes().subspan(consumed);
        ask_wanted(rest.size());
        append_remainder(rest);
    }
}

std::size_t ConnectionIo::offer(BorrowedBytes readable) noexcept {
    const auto consumed = events_.on_bytes(readable);
    BATON_ASSERT(state_ != State::open || consumed <= readable.size);
    return consumed;
}

void ConnectionIo::ask_wanted(std::size_t size) noexcept {
    const auto wanted = events_.bytes_wanted();
    wanted_ = wanted > size ? wanted : 0;
    reserve_remainder(std::max(wanted, size));
}

MutableBytes ConnectionIo::remainder_room() const noexcept {
    if (remainder_size_ == 0) {
        return {};
    }
    const auto end = remainder_begin_ + remainder_size_;
    // Not beyond what completes the frame: the next one begins in the shared buffer, where it need not be moved.
    const auto room = wanted_ == 0 ? remainder_.capacity() - end : wanted_ - remainder_size_;
    BATON_ASSERT(room <= remainder_.capacity() - end);
    return {remainder_.bytes() + end, room};
}

void ConnectionIo::append_remainder(Bytes bytes) noexcept {
    const auto size = remainder_size_ + bytes.size();
    if (remainder_begin_ + size > remainder_.capacity()) {
        reserve_remainder(std::max(size, 2 * remainder_.capacity()));
    }
    copy_bytes(remainder_.bytes() + remainder_begin_ + remainder_size_, bytes);
    remainder_size_ = size;
}

void ConnectionIo::reserve_remainder(std::size_t size) noexcept {
    if (remainder_ && remainder_begin_ + size <= remainder_.capacity()) {
        return;
    }
    // Parts of the old chunk may live on in payloads: it is left as it is.
    auto larger = allocate_for(read_buffer_.pool(), size);
    if (remainder_size_ > 0) {
        copy_bytes(larger.bytes(), {remainder_.bytes() + remainder_begin_, remainder_size_});
    }
    remainder_ = std::move(larger);
    remainder_begin_ = 0;
}

void ConnectionIo::drop_remainder() noexcept {
    remainder_.reset();
    remainder_begin_ = 0;
    remainder_size_ = 0;
    wanted_ = 0;
}

// --- Writing ------------------------------------------------------------------------------------------------------

void ConnectionIo::flush() noexcept {
    BATON_ASSERT(state_ != State::made);
    if (is_flushing_) {
        is_flush_wanted_ = true;  // Called from on_write_progress below: done in its loop, not in its stack.
        return;
    }
    is_flushing_ = true;
    std::size_t total = 0;
    do {
        is_flush_wanted_ = false;
        if (is_write_waiting_ || send_error_ || (state_ != State::open && state_ != State::finishing)) {
            break;
        }
        const auto sent_before = bytes_sent_;
        write_turn(total);
        if (state_ == State::finishing && outbox_.empty()) {
            send_end();
        } else if (state_ == State::open && bytes_sent_ != sent_before) {
            events_.on_write_progress(outbox_.size_bytes());
        }
    } while (is_flush_wanted_);
    is_flushing_ = false;
}

void ConnectionIo::write_turn(std::size_t& total) noexcept {
    while (!outbox_.empty()) {
        if (total >= flush_bytes_max) {
            wait_writable();
            return;
        }
        iovec buffers[gather_buffers_max];
        const auto gathered = std::span{buffers}.first(outbox_.gather(buffers, gather_bytes_max));
        BATON_ASSERT(!gathered.empty());
        const auto result = send(socket_.native_handle(), gathered);
        if (result < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                wait_writable();
            } else {
                on_send_error(system_error(errno));
            }
            return;
        }
        const auto sent = static_cast<std::size_t>(result);
        const bool is_socket_full = sent < total_size(gathered);
        outbox_.consume(sent);
        bytes_sent_ += sent;
        total += sent;
        if (is_socket_full) {
            wait_writable();
            return;
        }
    }
}

void ConnectionIo::wait_writable() noexcept {
    BATON_ASSERT(!is_write_waiting_);
    is_write_waiting_ = true;
    ++outstanding_;
    socket_.async_wait(Socket::wait_write, [this](std::error_code) {
        const auto entered = events_.enter();
        if (!puts_off(is_write_put_off_)) {
            on_writable();
        }
    });
}

void ConnectionIo::on_writable() noexcept {
    is_write_waiting_ = false;
    --outstanding_;
    if (state_ == State::closing) {
        operation_ended();
        return;
    }
    const bool was_open = state_ == State::open;
    flush();
    if (was_open) {
        events_.on_turn_end();
    }
}

// The peer is gone, but what it sent before, for instance the reason, may still be in our socket. While a connection is
// open a read is waiting, or its handler is running and will wait again; it comes back at once and finds the end.
void ConnectionIo::on_send_error(std::error_code code) noexcept {
    if (state_ == State::open && (code == std::errc::broken_pipe || code == std::errc::connection_reset)) {
        send_error_ = code;
        if (is_read_waiting_) {
            std::error_code ignored;
            socket_.cancel(ignored);
        }
        return;
    }
    close(code);
}

void ConnectionIo::send_end() noexcept {
    if (is_end_sent_) {
        return;
    }
    if (::shutdown(socket_.native_handle(), SHUT_WR) != 0) {
        close(system_error(errno));
        return;
    }
    is_end_sent_ = true;
}

}  // namespace baton::net

#include "tests/sim/network.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::sim {

namespace {

// As net::ConnectionIo.
constexpr std::size_t gather_buffers_max = 256;
constexpr std::size_t gather_bytes_max = 1024 * 1024;

std::size_t total_size(std::span<const iovec> buffers) {
    std::size_t size = 0;
    for (const iovec& buffer : buffers) {
        size += buffer.iov_len;
    }
    return size;
}

}  // namespace

// --- Wire ---------------------------------------------------------------------------------------------------------

MonotonicTime Wire::arrival(Direction& direction) {
    direction.last_arrival = std::max(direction.last_arrival, scheduler_.now() + options_.delay.take(prng_));
    return direction.last_arrival;
}

std::size_t Wire::write(Side from, std::span<const iovec> buffers) {
    Direction& direction = to(other(from));
    const std::size_t offered = total_size(buffers);
    const std::size_t room = options_.capacity - std::min<std::size_t>(options_.capacity, direction.size);
    std::size_t taken = std::min(offered, room);
    if (taken > 1 && prng_.chance(options_.partial_percent, 100)) {
        taken = prng_.range(1, taken);
    }
    if (direction.is_reset || is_closed_[index(other(from))]) {
        return offered;  // Into the void; the end or the reset is on its way.
    }
    direction.size += taken;
    std::size_t left = taken;
    std::vector<std::byte> bytes;
    bytes.reserve(taken);
    for (const iovec& buffer : buffers) {
        const std::size_t size = std::min(left, buffer.iov_len);
        const auto* data = static_cast<const std::byte*>(buffer.iov_base);
        bytes.insert(bytes.end(), data, data + size);
        left -= size;
    }
    tap_->on_written(from, bytes);
    for (std::size_t begin = 0; begin < taken && !direction.is_cut;) {
        const std::size_t most = options_.segment_max == 0 ? taken : prng_.range(1, options_.segment_max);
        const std::size_t size = std::min(most, taken - begin);
        const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
        direction.segments.push_back({arrival(direction), {first, first + static_cast<std::ptrdiff_t>(size)}});
        begin += size;
    }
    if (!direction.segments.empty()) {
        wake_reader(other(from), direction.segments.front().arrival);
    }
    if (taken < offered) {
        direction.is_write_waiting = true;
        if (direction.size < options_.capacity) {
            wake_writer(from, options_.delay.take(prng_));
        }
    }
    return taken;
}

void Wire::wake_reader(Side side, MonotonicTime when) {
    Direction& direction = to(side);
    when = std::max({when, direction.read_not_before, scheduler_.now()});
    if (direction.wake_at && *direction.wake_at <= when) {
        return;  // Whoever reads then asks for the next one.
    }
    direction.wake_at = when;
    scheduler_.at(when, [self = shared_from_this(), side, when] {
        SimSocket* socket = self->sockets_[index(side)];
        if (self->to(side).wake_at == when) {
            self->to(side).wake_at.reset();
            if (socket != nullptr) {
                socket->on_readable();
            }
        }
    });
}

void Wire::wake_writer(Side side, Duration delay) {
    scheduler_.after(delay, [self = shared_from_this(), side] {
        Direction& direction = self->to(other(side));
        SimSocket* socket = self->sockets_[index(side)];
        if (socket != nullptr && std::exchange(direction.is_write_waiting, false)) {
            socket->on_writable();
        }
    });
}

Wire::Read Wire::read(Side side, std::span<const iovec> buffers) {
    Direction& direction = to(side);
    const MonotonicTime now = scheduler_.now();
    if (direction.is_reset) {
        return {.is_reset = true};
    }
    if (now < direction.read_not_before) {
        wake_reader(side, direction.read_not_before);
        return {};
    }
    std::size_t most = total_size(buffers);
    if (options_.read_max != 0) {
        most = std::min<std::size_t>(most, prng_.range(1, options_.read_max));
    }
    Read result;
    std::size_t buffer = 0;
    std::size_t position = 0;
    while (result.size < most && !direction.segments.empty() && direction.segments.front().arrival <= now) {
        Segment& segment = direction.segments.front();
        if (position == buffers[buffer].iov_len) {
            ++buffer;
            position = 0;
            continue;
        }
        const std::size_t size =
            std::min({segment.bytes.size() - segment.used, buffers[buffer].iov_len - position, most - result.size});
        std::memcpy(static_cast<std::byte*>(buffers[buffer].iov_base) + position, segment.bytes.data() + segment.used,
                    size);
        position += size;
        segment.used += size;
        result.size += size;
        if (segment.used == segment.bytes.size()) {
            direction.segments.pop_front();
        }
    }
    direction.size -= result.size;
    if (result.size > 0 && direction.is_write_waiting) {
        wake_writer(other(side), options_.delay.take(prng_));
    }
    if (!direction.segments.empty()) {
        wake_reader(side, direction.segments.front().arrival);
    } else if (direction.is_ended && result.size == 0 && direction.end_arrival <= now) {
        result.is_end = true;
    } else if (direction.is_ended && direction.end_arrival != MonotonicTime::max()) {
        wake_reader(side, direction.end_arrival);
    }
    return result;
}

void Wire::shut_down(Side from) {
    Direction& direction = to(other(from));
    if (direction.is_ended) {
        return;
    }
    direction.is_ended = true;
    direction.end_arrival = arrival(direction);
    if (direction.is_cut) {
        direction.end_arrival = MonotonicTime::max();
    } else if (direction.segments.empty()) {
        wake_reader(other(from), direction.end_arrival);
    }
}

void Wire::close(Side side) {
    if (std::exchange(is_closed_[index(side)], true)) {
        return;
    }
    shut_down(side);
    // Whoever writes to it will not be held up any more.
    Direction& direction = to(side);
    direction.segments.clear();
    direction.size = 0;
    if (direction.is_write_waiting) {
        wake_writer(other(side), options_.delay.take(prng_));
    }
}

void Wire::reset() {
    for (const Side side : {Side::client, Side::broker}) {
        Direction& direction = to(side);
        scheduler_.after(options_.delay.take(prng_), [self = shared_from_this(), side] {
            self->to(side).is_reset = true;
            if (SimSocket* socket = self->sockets_[index(side)]) {
                socket->on_readable();
            }
        });
        direction.is_cut = true;
    }
}

void Wire::cut(Side deaf) {
    Direction& direction = to(deaf);
    direction.is_cut = true;
    direction.segments.clear();
    if (direction.is_ended) {
        direction.end_arrival = MonotonicTime::max();
    }
}

void Wire::stall(Side reader, Duration time) {
    Direction& direction = to(reader);
    direction.read_not_before = std::max(direction.read_not_before, scheduler_.now() + time);
    wake_reader(reader, direction.read_not_before);
}

// --- SimSocket: life ------------------------------------------------------------------------------------------------

SimSocket::SimSocket(Scheduler& scheduler, std::shared_ptr<Wire> wire, Side side, net::ReadBuffer& read_buffer,
                     Outbox& outbox, net::ConnectionEvents& events)
    : scheduler_{scheduler},
      wire_{std::move(wire)},
      side_{side},
      read_buffer_{read_buffer},
      outbox_{outbox},
      events_{events} {
    wire_->attach(side_, *this);
}

SimSocket::~SimSocket() {
    wire_->detach(side_);
    wire_->close(side_);
}

void SimSocket::close(std::error_code reason) {
    if (std::exchange(state_, State::closed) == State::closed) {
        return;
    }
    close_reason_ = reason;
    wire_->close(side_);
    // From the event loop, and only if nobody has destroyed us before.
    scheduler_.after(Duration::zero(), [this, life = std::weak_ptr{life_}] {
        if (!life.expired()) {
            drop_remainder();
            events_.on_closed(close_reason_);
        }
    });
}

void SimSocket::shutdown_after_flush() {
    if (state_ == State::open) {
        state_ = State::finishing;
        flush();
    }
}

// --- SimSocket: reading
// -----------------------------------------------------------------------------------------------

void SimSocket::on_readable() {
    if (state_ == State::closed) {
        return;
    }
    const bool was_open = state_ == State::open;
    bool is_more = true;
    for (std::size_t total = 0; is_more && total < net::ConnectionIo::read_turn_bytes_max && state_ != State::closed;
         ++total) {
        is_more = read_once();
    }
    if (was_open) {
        events_.on_turn_end();
    }
}

bool SimSocket::read_once() {
    const auto behind = state_ == State::open ? remainder_room() : MutableBytes{};
    const auto shared = read_buffer_.room();
    iovec buffers[] = {{behind.data(), behind.size()}, {shared.data(), shared.size()}};
    const auto result = wire_->read(side_, std::span{buffers}.subspan(behind.empty() ? 1 : 0));
    if (result.is_reset) {
        close(std::make_error_code(std::errc::connection_reset));
        return false;
    }
    if (result.is_end) {
        close({});
        return false;
    }
    if (result.size == 0) {
        return false;
    }
    bytes_received_ += result.size;
    if (state_ == State::open) {
        const auto into_remainder = std::min(result.size, behind.size());
        const auto fresh = read_buffer_.commit(result.size - into_remainder);
        if (into_remainder > 0) {
            wire_->tap().on_read(side_, {behind.data(), into_remainder});
        }
        wire_->tap().on_read(side_, fresh.bytes());
        hand_over(into_remainder, fresh);
        read_buffer_.finish();
    }
    return true;
}

void SimSocket::hand_over(std::size_t into_remainder, BorrowedBytes fresh) {
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
            ask_wanted();
        } else {
            drop_remainder();
        }
    }
    if (fresh.size == 0) {
        return;
    }
    const auto consumed = offer(fresh);
    if (state_ == State::open && consumed < fresh.size) {
        append_remainder(fresh.bytes().subspan(consumed));
        ask_wanted();
    }
}

std::size_t SimSocket::offer(BorrowedBytes readable) {
    const auto consumed = events_.on_bytes(readable);
    BATON_ASSERT(state_ != State::open || consumed <= readable.size);
    return consumed;
}

void SimSocket::ask_wanted() {
    const auto wanted = events_.bytes_wanted();
    wanted_ = wanted > remainder_size_ ? wanted : 0;
    reserve_remainder(std::max(wanted, remainder_size_));
}

MutableBytes SimSocket::remainder_room() const {
    if (remainder_size_ == 0) {
        return {};
    }
    const auto end = remainder_begin_ + remainder_size_;
    const auto room = wanted_ == 0 ? remainder_.capacity() - end : wanted_ - remainder_size_;
    BATON_ASSERT(room <= remainder_.capacity() - end);
    return {remainder_.bytes() + end, room};
}

void SimSocket::append_remainder(Bytes bytes) {
    const auto size = remainder_size_ + bytes.size();
    if (remainder_begin_ + size > remainder_.capacity()) {
        reserve_remainder(std::max(size, 2 * remainder_.capacity()));
    }
    copy_bytes(remainder_.bytes() + remainder_begin_ + remainder_size_, bytes);
    remainder_size_ = size;
}

void SimSocket::reserve_remainder(std::size_t size) {
    if (remainder_ && remainder_begin_ + size <= remainder_.capacity()) {
        return;
    }
    auto larger = read_buffer_.pool().allocate(size);
    if (remainder_size_ > 0) {
        copy_bytes(larger.bytes(), {remainder_.bytes() + remainder_begin_, remainder_size_});
    }
    remainder_ = std::move(larger);
    remainder_begin_ = 0;
}

void SimSocket::drop_remainder() {
    remainder_.reset();
    remainder_begin_ = 0;
    remainder_size_ = 0;
    wanted_ = 0;
}

// --- SimSocket: writing
// -----------------------------------------------------------------------------------------------

void SimSocket::flush() {
    if (is_flushing_) {
        return;
    }
    is_flushing_ = true;
    bool has_written = false;
    while (!is_write_waiting_ && state_ != State::closed && !outbox_.empty()) {
        iovec buffers[gather_buffers_max];
        const auto gathered = std::span{buffers}.first(outbox_.gather(buffers, gather_bytes_max));
        BATON_ASSERT(!gathered.empty());
        const std::size_t offered = total_size(gathered);
        const std::size_t taken = wire_->write(side_, gathered);
        outbox_.consume(taken);
        has_written |= taken > 0;
        is_write_waiting_ = taken < offered;
    }
    is_flushing_ = false;
    if (state_ == State::finishing && outbox_.empty() && !std::exchange(is_end_sent_, true)) {
        wire_->shut_down(side_);
    } else if (state_ == State::open && has_written) {
        events_.on_write_progress(outbox_.size_bytes());
    }
}

void SimSocket::on_writable() {
    is_write_waiting_ = false;
    if (state_ == State::closed) {
        return;
    }
    const bool was_open = state_ == State::open;
    flush();
    if (was_open) {
        events_.on_turn_end();
    }
}

}  // namespace baton::sim

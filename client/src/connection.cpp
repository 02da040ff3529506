// See connection.hpp.
#include "client/src/connection.hpp"

#include <utility>

#include "common/base/assert.hpp"

namespace baton::client {

namespace {

// A turn goes on as long as the socket takes everything and there is more; then others get theirs.
constexpr int rounds_max = 64;

std::string text_of(const ConnectionFailure& failure) {
    return failure.text.empty() ? std::string{wire::to_string(failure.status)} : failure.text;
}

}  // namespace

Connection::Connection(const net::Executor& executor, net::Endpoint endpoint, const Backoff& backoff,
                       ClientProtocol& protocol, Outbox& outbox, net::ReadBuffer& read_buffer, const Clock& clock,
                       Prng& prng, ConnectionOwner& owner)
    : executor_{executor},
      endpoint_{std::move(endpoint)},
      backoff_{backoff},
      protocol_{protocol},
      outbox_{outbox},
      read_buffer_{read_buffer},
      clock_{clock},
      prng_{prng},
      owner_{owner},
      timer_{executor},
      connector_{executor} {}

// --- Connecting
// --------------------------------------------------------------------------------------------------------

void Connection::connect() {
    state_ = State::connecting;
    connector_.connect(endpoint_, attempt_timeout,
                       [this](Result<net::Socket> socket) {
                           const auto turn = owner_.enter_turn();
                           on_connect(std::move(socket));
                       });
}

void Connection::on_connect(Result<net::Socket> socket) {
    BATON_ASSERT(state_ == State::connecting);
    if (!socket) {
        owner_.on_attempt_failed(socket.error().message(), false);
        retry_later();
        end_turn();
        return;
    }
    state_ = State::open;
    was_ready_ = false;
    bytes_heard_ = 0;
    end_reason_.reset();
    net::ConnectionEvents& events = *this;
    io_.emplace(std::move(*socket), read_buffer_, outbox_, events);
    protocol_.on_connected(clock_.now());
    owner_.on_reached();
    io_->start();
    end_turn();
}

void Connection::retry_later() {
    state_ = State::waiting;
    set_timer(clock_.now() + backoff_.take(prng_));
}

// --- Turns
// -------------------------------------------------------------------------------------------------------------

std::size_t Connection::on_bytes(BorrowedBytes readable) noexcept {
    return protocol_.on_bytes(clock_.now(), readable);
}

void Connection::end_turn() noexcept {
    if (std::exchange(is_in_turn_, true)) {
        return;
    }
    write_all();
    check_end();
    owner_.on_turn_done();
    arm_timer();
    is_in_turn_ = false;
}

void Connection::write_all() {
    for (int round = 0; round < rounds_max; ++round) {
        owner_.collect();
        protocol_.finish_turn(clock_.now());
        const bool has_output = state_ == State::open && !outbox_.empty();
        if (has_output) {
            io_->flush();
        }
        // What the socket has not taken comes back as a turn when it has. What it has taken made room for more.
        if (!owner_.has_more() && (!has_output || !outbox_.empty())) {
            return;
        }
    }
    asio::post(executor_, [this, watch = life_.watch()] {
        if (!watch.is_gone()) {
            const auto turn = owner_.enter_turn();
            end_turn();
        }
    });
}

void Connection::check_end() {
    if (state_ != State::open) {
        return;
    }
    if (!was_ready_ && protocol_.is_ready()) {
        was_ready_ = true;
        backoff_.reset();
    }
    if (protocol_.failure()) {
        close_now(*protocol_.failure());
    } else if (protocol_.wants_close()) {
        say_goodbye({.status = wire::Status::draining, .is_retryable = true, .text = "the broker is going down"});
    }
}

// --- Ending
// ------------------------------------------------------------------------------------------------------------

void Connection::close_now(ConnectionFailure failure) {
    end_reason_ = std::move(failure);
    state_ = State::closing;
    io_->close();
}

void Connection::say_goodbye(ConnectionFailure failure) {
    end_reason_ = std::move(failure);
    state_ = State::closing;
    io_->shutdown_after_flush();
    set_timer(clock_.now() + goodbye_timeout);
}

void Connection::on_closed(std::error_code reason) noexcept {
    ConnectionFailure failure{.status = wire::Status::ok, .is_retryable = true, .text = {}};
    if (end_reason_) {
        failure = std::move(*end_reason_);
    } else if (protocol_.failure()) {
        failure = *protocol_.failure();
    } else if (reason == asio::error::eof || !reason) {
        failure.text = "the broker closed the connection";
    } else {
        failure.text = reason.message();
    }
    const std::string text = net::to_client_url(endpoint_) + ": " + text_of(failure);
    const bool was_ready = protocol_.is_ready();
    io_.reset();
    protocol_.on_disconnected(clock_.now());
    if (was_ready) {
        owner_.on_connection_lost(text);
    } else if (!is_finishing_) {  // Otherwise it is we who did not wait for its end.
        owner_.on_attempt_failed(text, !failure.is_retryable);
    }
    if (is_finishing_) {
        set_finished();
        return;
    }
    retry_later();
    end_turn();
}

void Connection::finish() {
    if (std::exchange(is_finishing_, true)) {
        return;
    }
    if (state_ == State::open) {
        say_goodbye({.status = wire::Status::ok, .is_retryable = true, .text = "closed by this client"});
    } else if (state_ != State::closing) {
        set_finished();
    }
}

void Connection::abort() {
    is_finishing_ = true;
    if (state_ == State::open) {
        close_now({.status = wire::Status::ok, .is_retryable = true, .text = "closed by this client"});
    } else if (state_ == State::closing) {
        io_->close();
    } else if (state_ != State::finished) {
        set_finished();
    }
}

void Connection::set_finished() {
    state_ = State::finished;
    connector_.cancel();
    ++timer_round_;
    timer_.cancel();
    owner_.on_finished();
}

// --- Time
// --------------------------------------------------------------------------------------------------------------

void Connection::arm_timer() {
    if (state_ != State::open) {
        return;
    }
    const auto next = protocol_.next_deadline();
    // An earlier setting stays: it finds nothing to do and sets the right one. So a busy connection leaves the timer
    // alone.
    if (next && (!timer_at_ || *next < *timer_at_)) {
        set_timer(*next);
    }
}

void Connection::set_timer(MonotonicTime when) {
    timer_at_ = when;
    timer_.expires_after(std::chrono::duration_cast<net::SteadyTimer::duration>(when - clock_.now()));
    timer_.async_wait([this, round = ++timer_round_, watch = life_.watch()](std::error_code) {
        if (watch.is_gone()) {
            return;
        }
        const auto turn = owner_.enter_turn();
        if (round == timer_round_) {
            on_timer();
        }
    });
}

void Connection::on_timer() {
    timer_at_.reset();
    switch (state_) {
        case State::waiting:
            connect();
            return;
        case State::closing:
            io_->close();
            return;
        case State::open:
            if (std::exchange(bytes_heard_, io_->bytes_received()) != io_->bytes_received()) {
                protocol_.on_heard(clock_.now());
            }
            protocol_.tick(clock_.now());
            end_turn();
            return;
        case State::connecting:
        case State::finished:
            return;
    }
}

}  // namespace baton::client

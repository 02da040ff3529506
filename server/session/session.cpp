#include "server/session/session.hpp"

#include <spdlog/spdlog.h>

#include <utility>

#include "common/net/asio.hpp"

namespace baton::session {

std::unique_ptr<runtime::Connection> Session::make(runtime::Shard& shard, net::Descriptor descriptor) {
    auto peer = net::peer_name(descriptor.number());
    auto socket = net::adopt(shard.executor(), std::move(descriptor));
    if (!socket) {
        spdlog::debug("connection from {} ended before it began: {}", peer, socket.error().message());
        return nullptr;
    }
    auto& state = shard.state();
    state.accepted.fetch_add(1, std::memory_order_relaxed);
    const bool is_refused =
        state.connections.fetch_add(1, std::memory_order_relaxed) >= state.limits.connections_max;
    return std::unique_ptr<Session>{new Session{shard, std::move(*socket), std::move(peer), is_refused}};
}

Session::Session(runtime::Shard& shard, net::Socket socket, std::string peer, bool is_refused)
    : shard_{shard},
      peer_{std::move(peer)},
      outbox_{shard.pool()},
      protocol_{shard.broker(), shard.pool(), outbox_, *this, is_refused},
      io_{std::move(socket), shard.read_buffer(), outbox_, *this} {}

Session::Session(runtime::Shard& shard, net::Socket socket, Moved moved)
    : shard_{shard},
      peer_{std::move(moved.peer)},
      outbox_{shard.pool()},
      protocol_{shard.broker(), shard.pool(), outbox_, *this, std::move(moved.greeting)},
      io_{std::move(socket), shard.read_buffer(), outbox_, *this},
      unread_{std::move(moved.unread)} {}

Session::~Session() {
    if (!has_moved_) {
        shard_.state().connections.fetch_sub(1, std::memory_order_relaxed);
    }
}

std::unique_ptr<runtime::Connection> Session::go_on(runtime::Shard& shard, Moved moved) {
    auto socket = net::adopt(shard.executor(), std::move(moved.descriptor));
    if (!socket) {
        spdlog::debug("session {} from {} ended while it moved: {}", moved.id.value(), moved.peer, socket.error().message());
        shard.state().connections.fetch_sub(1, std::memory_order_relaxed);
        return nullptr;
    }
    const auto before = moved.id.value();
    auto session = std::unique_ptr<Session>{new Session{shard, std::move(*socket), std::move(moved)}};
    spdlog::debug("session {} from {} goes on as session {}", before, session->peer_, session->protocol_.id().value());
    return session;
}

void Session::start() {
    spdlog::debug("session {} from {}", protocol_.id().value(), peer_);
    shard_.schedule(*this, protocol_.deadline());
    io_.start(std::exchange(unread_, {}));
}

// --- Moving to another shard -------------------------------------------------------------------------------------------

bool Session::move_to(std::uint32_t shard) noexcept {
    next_shard_ = shard_.better_shard(shard);
    return next_shard_ != nullptr;
}

/// At the end of the turn, outside of all calls of the protocol. This one ends as if its peer had gone.
void Session::move_away() noexcept {
    Moved moved{.descriptor = {}, .unread = {}, .greeting = protocol_.greeting(), .peer = peer_, .id = protocol_.id()};
    auto descriptor = io_.release(moved.unread);
    if (!descriptor) {
        is_end_logged_ = true;
        spdlog::warn("session {} from {} is closed: {}", protocol_.id().value(), peer_, descriptor.error().message());
        return;
    }
    has_moved_ = true;
    moved.descriptor = std::move(*descriptor);
    next_shard_->adopt([moved = std::move(moved)](runtime::Shard& shard) mutable { return go_on(shard, std::move(moved)); });
}

// --- The shard ---------------------------------------------------------------------------------------------------------

void Session::flush_turn() noexcept {
    if (is_finished_) {
        return;
    }
    const auto deadline_before = protocol_.deadline();
    protocol_.prepare_flush();
    schedule_if_earlier(deadline_before);
    io_.flush();
    protocol_.on_write_progress(outbox_.size_bytes());  // Also if the socket took nothing: the outbox may have grown.
    if (is_finishing_ && !is_finished_ && io_.is_open()) {
        is_finished_ = true;
        io_.shutdown_after_flush();
        shard_.schedule(*this, shard_.state().clock.now() + finish_timeout);
    }
}

/// A later one is found when the deadline comes.
void Session::schedule_if_earlier(MonotonicTime than) noexcept {
    if (protocol_.deadline() < than && !protocol_.is_closing()) {
        shard_.schedule(*this, protocol_.deadline());
    }
}

void Session::on_deadline(MonotonicTime now) noexcept {
    if (is_finished_) {
        return io_.close(std::make_error_code(std::errc::timed_out));
    }
    if (std::exchange(bytes_heard_, io_.bytes_received()) != io_.bytes_received()) {
        protocol_.on_heard();
    }
    protocol_.on_deadline(now);
    if (!protocol_.is_closing()) {
        shard_.schedule(*this, protocol_.deadline());
    }
}

void Session::begin_drain(std::uint32_t reconnect_after_ms) { protocol_.begin_drain(reconnect_after_ms); }

void Session::finish() noexcept {
    if (!protocol_.is_closing()) {
        protocol_.fail_connection(wire::Status::draining, "the broker is going down");
    }
}

void Session::abort() noexcept { io_.close(std::make_error_code(std::errc::operation_canceled)); }

// --- Bytes -------------------------------------------------------------------------------------------------------------

std::size_t Session::on_bytes(BorrowedBytes readable) noexcept {
    const auto deadline_before = protocol_.deadline();
    const auto used = protocol_.on_bytes(readable);
    schedule_if_earlier(deadline_before);  // Or HELLO has come: from now on the heartbeat counts.
    return used;
}

void Session::on_turn_end() noexcept {
    note_load();
    shard_.end_turn_of(*this);
    if (next_shard_ != nullptr && io_.is_open()) {
        move_away();
    }
}

/// What a peer says that only receives is never much: settlements and credit are what others wait for.
void Session::note_load() noexcept {
    constexpr std::uint64_t much = 8 * 1024;  // Of small messages: 30 µs.
    const auto received = io_.bytes_received();
    if (received != bytes_noted_) {
        brings_much = protocol_.has_had_sender() && received - bytes_noted_ > much;
        bytes_noted_ = received;
    }
}

void Session::on_write_progress(std::size_t unsent_bytes) noexcept { protocol_.on_write_progress(unsent_bytes); }

void Session::on_closed(std::error_code reason) noexcept {
    shard_.take_turn([this, reason] { end(reason); });
}

/// Thousands may end together, each with links, leases and a socket.
void Session::end(std::error_code reason) noexcept {
    if (is_end_logged_ || has_moved_) {
        // Said when it was decided.
    } else if (!reason || reason == asio::error::eof) {
        spdlog::debug("session {} from {} ended", protocol_.id().value(), peer_);
    } else {
        spdlog::debug("session {} from {} ended: {}", protocol_.id().value(), peer_, reason.message());
    }
    protocol_.on_disconnected();
    auto& shard = shard_;
    shard.remove(*this);  // Destroys this.
    shard.end_turn();
}

// --- SessionHost -------------------------------------------------------------------------------------------------------

void Session::output_ready() noexcept { shard_.mark_dirty(*this); }

void Session::close_after_flush(wire::Status reason, const std::string& text) noexcept {
    if (reason != wire::Status::draining) {
        spdlog::info("session {} from {} is closed: {}: {}", protocol_.id().value(), peer_, wire::to_string(reason), text);
    }
    is_end_logged_ = true;
    is_finishing_ = true;
    shard_.mark_dirty(*this);
}

}  // namespace baton::session

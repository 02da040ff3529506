// One connection after the other to the broker: connects, carries bytes between the socket and ClientProtocol, keeps
// its deadlines, and connects again. The only class of the client that meets a socket. Not responsible for what is sent
// (client_protocol) or for users (engine). On the I/O thread. Next file: engine.hpp.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "client/src/backoff.hpp"
#include "client/src/client_protocol.hpp"
#include "common/base/clock.hpp"
#include "common/base/outbox.hpp"
#include "common/base/prng.hpp"
#include "common/net/asio.hpp"
#include "common/net/connection_io.hpp"
#include "common/net/connector.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/read_buffer.hpp"

namespace baton::client {

class ConnectionOwner {
public:
    // For the duration of a handler.
    [[nodiscard]] virtual std::unique_lock<std::mutex> enter_turn() = 0;
    // Give the protocol what users have left since the last call.
    virtual void collect() = 0;
    // The protocol has said meanwhile that it takes more of that.
    [[nodiscard]] virtual bool has_more() const noexcept = 0;
    // Everything of this turn is written or waits for the socket.
    virtual void on_turn_done() = 0;
    // The attempt has got as far as a connection; the broker has said nothing yet.
    virtual void on_reached() = 0;
    // `is_hopeless`: the next attempt will end in the same way.
    virtual void on_attempt_failed(const std::string& reason, bool is_hopeless) = 0;
    // After WELCOME.
    virtual void on_connection_lost(const std::string& reason) = 0;
    // The last call, after finish().
    virtual void on_finished() = 0;

protected:
    ~ConnectionOwner() = default;
};

//   waiting --> connecting --> open --> closing --> waiting ...
//      finish() leads from everywhere to finished: from open through an orderly end of the stream.
class Connection final : private net::ConnectionEvents {
public:
    static constexpr Duration attempt_timeout = std::chrono::seconds{10};
    static constexpr Duration goodbye_timeout = std::chrono::milliseconds{500};

    Connection(const net::Executor& executor, net::Endpoint endpoint, const Backoff& backoff, ClientProtocol& protocol,
               Outbox& outbox, net::ReadBuffer& read_buffer, const Clock& clock, Prng& prng, ConnectionOwner& owner);

    void start() { connect(); }
    // Ends a turn: collects, lets the protocol write, flushes. For turns that did not begin with this connection.
    void end_turn() noexcept;
    // The broker asked us to stay away for so long.
    void stay_away(Duration least) noexcept { backoff_.stay_away(least); }
    // No further connection; the present one ends after what is in the outbox. Calls on_finished, perhaps at once.
    void finish();
    // As finish, but does not wait for the other side.
    void abort();

    // Open, nobody is in end_turn(), and what was written before is with the kernel.
    [[nodiscard]] bool is_between_turns() const noexcept {
        return state_ == State::open && !is_in_turn_ && !io_->is_write_waiting();
    }

    [[nodiscard]] const net::Endpoint& endpoint() const noexcept { return endpoint_; }

private:
    enum class State : std::uint8_t { waiting, connecting, open, closing, finished };

    std::unique_lock<std::mutex> enter() noexcept override { return owner_.enter_turn(); }
    std::size_t on_bytes(BorrowedBytes readable) noexcept override;
    std::size_t bytes_wanted() const noexcept override { return protocol_.bytes_wanted(); }
    void on_turn_end() noexcept override { end_turn(); }
    void on_write_progress(std::size_t /*unsent_bytes*/) noexcept override {}
    void on_closed(std::error_code reason) noexcept override;

    void connect();
    void on_connect(Result<net::Socket> socket);
    void retry_later();
    void write_all();
    void check_end();
    void close_now(ConnectionFailure failure);
    void say_goodbye(ConnectionFailure failure);
    void set_finished();
    void arm_timer();
    void set_timer(MonotonicTime when);
    void on_timer();

    net::Executor executor_;
    const net::Endpoint endpoint_;
    Backoff backoff_;
    ClientProtocol& protocol_;
    Outbox& outbox_;
    net::ReadBuffer& read_buffer_;
    const Clock& clock_;
    Prng& prng_;
    ConnectionOwner& owner_;

    State state_ = State::waiting;
    bool is_finishing_ = false;
    bool is_in_turn_ = false;
    bool was_ready_ = false;
    std::uint64_t bytes_heard_ = 0;                // Received when the last timer came.
    std::optional<ConnectionFailure> end_reason_;  // Why we are closing, if it was us.
    net::SteadyTimer timer_;
    std::optional<MonotonicTime> timer_at_;
    std::uint64_t timer_round_ = 0;  // A completion of an earlier setting is ignored.
    std::optional<net::ConnectionIo> io_;
    net::Connector connector_;
    net::LifeToken life_;
};

}  // namespace baton::client

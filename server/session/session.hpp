// A connection of the broker: its socket's bytes (net::ConnectionIo), its protocol (SessionProtocol) and its life, from
// the accepted descriptor to the last callback. The shard owns it.
// Not responsible for rules or frames. Thread: the shard's. Next file: session_protocol.hpp.
#pragma once

#include <memory>
#include <string>
#include <system_error>

#include "common/base/outbox.hpp"
#include "common/net/connection_io.hpp"
#include "common/net/stream.hpp"
#include "server/runtime/connection.hpp"
#include "server/runtime/shard.hpp"
#include "server/session/session_host.hpp"
#include "server/session/session_protocol.hpp"

namespace baton::session {

class Session final : public runtime::Connection, private net::ConnectionEvents, private SessionHost {
public:
    /// How long an orderly end may take before the socket is closed anyway.
    static constexpr Duration finish_timeout = std::chrono::seconds{2};

    /// For Shard::ConnectionFactory. Null if the peer has gone already.
    [[nodiscard]] static std::unique_ptr<runtime::Connection> make(runtime::Shard& shard, net::Descriptor descriptor);
    /// A session that has begun on another shard. It counts as one connection all the time.
    struct Moved {
        net::Descriptor descriptor;
        std::vector<std::byte> unread;
        SessionProtocol::Greeting greeting;
        std::string peer;
        channel::SessionId id{0};  ///< It had there.
    };
    [[nodiscard]] static std::unique_ptr<runtime::Connection> go_on(runtime::Shard& shard, Moved moved);

    ~Session() override;

    // runtime::Connection
    void start() override;
    void flush_turn() noexcept override;
    void go_on() noexcept override { io_.go_on(); }
    void on_deadline(MonotonicTime now) noexcept override;
    void begin_drain(std::uint32_t reconnect_after_ms) override;
    void finish() noexcept override;
    void abort() noexcept override;
    [[nodiscard]] bool is_flushed() const noexcept override { return outbox_.empty(); }

private:
    Session(runtime::Shard& shard, net::Socket socket, std::string peer, bool is_refused);
    Session(runtime::Shard& shard, net::Socket socket, Moved moved);
    void move_away() noexcept;

    // net::ConnectionEvents
    [[nodiscard]] bool on_turn_begin() noexcept override { return shard_.begin_turn_of(*this); }
    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable) noexcept override;
    [[nodiscard]] std::size_t bytes_wanted() const noexcept override { return protocol_.bytes_wanted(); }
    void on_turn_end() noexcept override;
    void on_write_progress(std::size_t unsent_bytes) noexcept override;
    void on_closed(std::error_code reason) noexcept override;
    void end(std::error_code reason) noexcept;

    // SessionHost
    void output_ready() noexcept override;
    void close_after_flush(wire::Status reason, const std::string& text) noexcept override;
    [[nodiscard]] bool move_to(std::uint32_t shard) noexcept override;

    void schedule_if_earlier(MonotonicTime than) noexcept;
    void note_load() noexcept;

    runtime::Shard& shard_;
    const std::string peer_;
    Outbox outbox_;
    SessionProtocol protocol_;
    net::ConnectionIo io_;
    runtime::Shard* next_shard_ = nullptr;  ///< Where it goes on.
    std::vector<std::byte> unread_;  ///< Came with it.
    std::uint64_t bytes_heard_ = 0;  ///< Received when the last deadline came,
    std::uint64_t bytes_noted_ = 0;  ///< and at the end of the last turn.
    bool has_moved_ = false;      ///< It goes on there: what ends here is no connection.
    bool is_end_logged_ = false;  ///< It was said why the broker closes.
    bool is_finishing_ = false;   ///< Close once the outbox is written.
    bool is_finished_ = false;    ///< The socket has been told.
};

}  // namespace baton::session

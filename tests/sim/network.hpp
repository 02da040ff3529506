// A network in memory: pairs of sockets whose bytes are delayed, split and joined, held up, cut off or lost in silence.
// SimSocket behaves as net::ConnectionIo does towards its owner, with the same contract for readable bytes and writes
// (common/net/connection_io.hpp); a Wire is what lies between two of them.
// Not responsible for what the bytes mean (wire_tap.hpp). One thread. Next file: broker.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/net/connection_io.hpp"
#include "common/net/read_buffer.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/scheduler.hpp"
#include "tests/sim/wire_tap.hpp"

namespace baton::sim {

class SimSocket;

class Wire : public std::enable_shared_from_this<Wire> {
public:
    Wire(Scheduler& scheduler, Prng& prng, const NetworkOptions& options, std::unique_ptr<WireTap> tap)
        : scheduler_{scheduler}, prng_{prng}, options_{options}, tap_{std::move(tap)} {}

    void attach(Side side, SimSocket& socket) { sockets_[index(side)] = &socket; }
    void detach(Side side) { sockets_[index(side)] = nullptr; }
    [[nodiscard]] bool is_open(Side side) const noexcept { return !is_closed_[index(side)]; }

    // --- What sockets do
    // How many bytes were taken; fewer than offered: `can_write` of the socket is called when it is worth another try.
    [[nodiscard]] std::size_t write(Side from, std::span<const iovec> buffers);
    // 0 bytes: nothing there, or the end (`is_end`), or a reset (`is_reset`).
    struct Read {
        std::size_t size = 0;
        bool is_end = false;
        bool is_reset = false;
    };
    [[nodiscard]] Read read(Side to, std::span<const iovec> buffers);
    void shut_down(Side from);  // Nothing more will be written.
    void close(Side side);

    // --- What goes wrong
    void reset();
    // What this side would hear from now on is lost without a trace; nor does it get anything out if `is_mute`.
    void cut(Side deaf);
    void stall(Side reader, Duration time);  // Does not read for a while.

    // The broker has let go of what it gave over this connection: what is still written was given before it gives that again.
    void give_up() noexcept { is_given_up_ = true; }
    [[nodiscard]] bool is_given_up() const noexcept { return is_given_up_ || !is_open(Side::broker); }
    [[nodiscard]] WireTap& tap() noexcept { return *tap_; }

private:
    struct Segment {
        MonotonicTime arrival;
        std::vector<std::byte> bytes;
        std::size_t used = 0;
    };
    struct Direction {
        std::deque<Segment> segments;
        std::size_t size = 0;  // Bytes under way.
        MonotonicTime last_arrival{};
        MonotonicTime read_not_before{};
        std::optional<MonotonicTime> wake_at;
        bool is_cut = false;
        bool is_ended = false;  // The writer has shut down; the end arrives behind the bytes.
        MonotonicTime end_arrival{};
        bool is_reset = false;
        bool is_write_waiting = false;
    };
    [[nodiscard]] static std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }
    [[nodiscard]] Direction& to(Side side) noexcept { return directions_[index(side)]; }
    [[nodiscard]] MonotonicTime arrival(Direction& direction);
    void wake_reader(Side side, MonotonicTime when);
    void wake_writer(Side side, Duration delay);

    Scheduler& scheduler_;
    Prng& prng_;
    const NetworkOptions& options_;
    std::unique_ptr<WireTap> tap_;
    std::array<SimSocket*, 2> sockets_{};
    std::array<Direction, 2> directions_;  // By the side that reads.
    std::array<bool, 2> is_closed_{};
    bool is_given_up_ = false;
};

class SimSocket {
public:
    SimSocket(Scheduler& scheduler, std::shared_ptr<Wire> wire, Side side, net::ReadBuffer& read_buffer, Outbox& outbox,
              net::ConnectionEvents& events);
    SimSocket(const SimSocket&) = delete;
    SimSocket& operator=(const SimSocket&) = delete;
    ~SimSocket();

    void flush();
    void shutdown_after_flush();
    void close(std::error_code reason = {});
    [[nodiscard]] bool is_open() const noexcept { return state_ == State::open; }
    [[nodiscard]] std::uint64_t bytes_received() const noexcept { return bytes_received_; }
    [[nodiscard]] Wire& wire() noexcept { return *wire_; }

    // --- From the wire
    void on_readable();
    void on_writable();

private:
    enum class State : std::uint8_t { open, finishing, closed };

    [[nodiscard]] bool read_once();
    void hand_over(std::size_t into_remainder, BorrowedBytes fresh);
    [[nodiscard]] std::size_t offer(BorrowedBytes readable);
    void ask_wanted();
    [[nodiscard]] MutableBytes remainder_room() const;
    void append_remainder(Bytes bytes);
    void reserve_remainder(std::size_t size);
    void drop_remainder();

    Scheduler& scheduler_;
    std::shared_ptr<Wire> wire_;
    const Side side_;
    net::ReadBuffer& read_buffer_;
    Outbox& outbox_;
    net::ConnectionEvents& events_;
    State state_ = State::open;
    std::error_code close_reason_;
    std::uint64_t bytes_received_ = 0;
    bool is_write_waiting_ = false;
    bool is_flushing_ = false;
    bool is_end_sent_ = false;
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);  // For what is scheduled: gone when we are.

    ChunkRef remainder_;
    std::size_t remainder_size_ = 0;
    std::size_t remainder_begin_ = 0;
    std::size_t wanted_ = 0;
};

}  // namespace baton::sim

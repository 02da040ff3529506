// The settings of a client, of a sender and of a receiver, and the events that a client reports.
// Plain values. Next file: client.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace baton {

using Milliseconds = std::chrono::milliseconds;

// Something that happened to the connection or to a link; none of them needs an answer.
struct ClientEvent {
    enum class Kind : std::uint8_t {
        connected,       // WELCOME has come. `text`: the address.
        disconnected,    // `text`: why. The library reconnects by itself.
        connect_failed,  // One attempt failed. `text`: why. The library goes on trying.
        blocked,         // `channel`'s sender gets no credit. `text`: the reason ("full", "memory"; with "disk_full"
                         // sends fail, with the others they wait).
        unblocked,       // It goes on.
        goaway,          // The broker is draining. `text`: what it says.
        link_failed,     // The sender or receiver of `channel` failed for good. `text`: why.
        abandoned,       // Closing ran out of time. `text`: what was left, with numbers.
    };
    Kind kind{};
    std::string channel;  // Text form of its name; empty if the event concerns the connection.
    std::string text;
};

[[nodiscard]] std::string_view name_of(ClientEvent::Kind kind) noexcept;

struct ClientOptions {
    // baton://host[:port], baton://[2001:db8::1]:port or baton+unix:///path. The default port is 22866.
    std::string url = "baton://localhost";
    std::string name{};  // What listings at the broker call this peer. Default: program name and process id.

    // How long a call may find the broker out of reach before it fails with cannot_connect. Meanwhile, and afterwards,
    // the library keeps trying.
    std::chrono::nanoseconds connect_timeout = std::chrono::seconds{30};
    Milliseconds heartbeat{10'000};  // Wished interval; the broker may shorten it.

    // Wait before attempt n: min(first * 2^n, max), of which a random half is taken off.
    Milliseconds reconnect_wait_first{50};
    Milliseconds reconnect_wait_max{2'000};

    // Limits of each sender: messages that are accepted and not yet confirmed. A single larger message is still
    // accepted when nothing else waits.
    std::size_t send_window_messages = 1'000;
    std::size_t send_window_bytes = 8U << 20U;

    // Limits of each receiver: messages that are here and not yet settled. Small, so that a slow receiver does not
    // hoard. (Messages that came in one frame count as equally large until the last of them is settled.)
    std::size_t receive_window_messages = 64;
    std::size_t receive_window_bytes = 4U << 20U;

    // The upper bound of close() and of the destructor of Client. In this time what is accepted is sent and confirmed,
    // and settlements are written; what is left is reported by an `abandoned` event.
    std::chrono::nanoseconds close_timeout = std::chrono::seconds{2};

    // Called on the library's I/O thread, one at a time, no lock held. It must return quickly, must not throw, and must
    // not call anything of this library that waits.
    std::function<void(const ClientEvent&)> on_event{};
};

// How sure the broker is of a message.
enum class ConfirmLevel : std::uint8_t {
    none = 0,        // Not at all; not a wish.
    received = 1,    // It is in the broker's memory: lost if the broker dies before it is on the disk.
    durable = 2,     // It is on the broker's disk.
    replicated = 3,  // Reserved; not a wish yet.
};

// "durable".
[[nodiscard]] std::string_view name_of(ConfirmLevel level) noexcept;

struct SenderOptions {
    bool create = true;               // Create the channel if it does not exist; false: not_found.
    std::size_t window_messages = 0;  // 0: as in ClientOptions.
    std::size_t window_bytes = 0;
    // Messages in one frame at most, 1 to 4,096; 0: 4,096. What is posted while the wire is busy goes out together; only for
    // measuring what that is worth.
    std::uint32_t batch_messages = 0;
    // When a message counts as confirmed. A memory channel knows only `received`, and confirms with that in any case.
    // `received` on a durable channel spares the wait for the disk, at the price of the last messages in a crash.
    ConfirmLevel confirm = ConfirmLevel::durable;
};

// Whether it is a pattern for keys, as ReceiverOptions::filter and SubscriptionSettings::filter take it: up to 1,024
// bytes of UTF-8, no word of it empty, and '>' only as the last.
[[nodiscard]] bool is_filter(std::string_view pattern) noexcept;

// Where a subscription begins that does not exist yet.
class StartFrom {
public:
    using Time = std::chrono::sys_time<std::chrono::microseconds>;
    enum class Kind : std::uint8_t { first, last, now, offset, time };

    [[nodiscard]] static StartFrom first() noexcept { return StartFrom{Kind::first}; }  // The oldest stored message.
    [[nodiscard]] static StartFrom last() noexcept { return StartFrom{Kind::last}; }    // The newest one.
    [[nodiscard]] static StartFrom now() noexcept { return StartFrom{Kind::now}; }  // What is published from now on.
    [[nodiscard]] static StartFrom at_offset(std::uint64_t offset) noexcept {
        StartFrom from{Kind::offset};
        from.offset_ = offset;
        return from;
    }
    // The first message that the broker accepted at this time or later.
    [[nodiscard]] static StartFrom at_time(std::chrono::system_clock::time_point time) noexcept {
        StartFrom from{Kind::time};
        from.time_ = std::chrono::floor<std::chrono::microseconds>(time);
        return from;
    }

    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] Time time() const noexcept { return time_; }
    // "first" or {"offset":7}, as JSON: what Client::admin takes as the `from` of subscription.create.
    [[nodiscard]] std::string json() const;

private:
    explicit StartFrom(Kind kind) noexcept : kind_{kind} {}

    Kind kind_;
    std::uint64_t offset_ = 0;
    Time time_{};
};

struct ReceiverOptions {
    bool create = true;
    std::size_t window_messages = 0;  // 0: as in ClientOptions.
    std::size_t window_bytes = 0;
    // Ask for a message only while somebody waits in receive(), one for each who waits, and send back what comes too
    // late. Nothing is held in advance; each message costs a round trip. window_messages does not matter then.
    bool on_demand = false;

    // Topics and streams only; a queue refuses these three (`refused`, status unsupported).
    // Name of the subscription (any bytes). It is made if it does not exist, outlives its receivers, and gives each
    // message to one of those that share it. Empty: one for this receiver alone, gone with it. When the connection
    // breaks, a receiver without a name goes on in a stream behind what it has done; in a topic it misses what is
    // published until it is attached again.
    std::string subscription{};
    // Where a subscription begins that this receiver makes. Nothing: a topic with what comes now (it knows nothing
    // else), a stream with the first message.
    std::optional<StartFrom> from{};
    // Pattern for the key: words separated by '.'; '*' stands for one word, '>' at the end for one or more. Empty: all
    // messages. Part of a named subscription: another one than it has is `refused` (incompatible_options).
    std::string filter{};

    // How long each delivery belongs to us without being extended, 100ms to 24h; zero: as the channel says. The library
    // extends it in good time as long as the delivery is here, so it is how fast others get our messages when this
    // process hangs, not how fast we must be.
    Milliseconds lease{0};
    // As long as this receiver is attached the subscription (or queue) gives messages only to one of its receivers, the
    // one that is attached longest; the next takes over when it ends.
    bool exclusive = false;
};

}  // namespace baton

// Sends messages into one channel, one at a time or many at once.
// Any thread, also several at once: each message is numbered when it is accepted, and keeps that order.
// Next file: receiver.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <baton/error.hpp>
#include <baton/message.hpp>
#include <baton/options.hpp>
#include <baton/wait_limit.hpp>

namespace baton {

namespace client {
class SenderEndpoint;
}

struct SendReceipt {
    std::uint64_t sequence = 0;  // Counts the messages of this sender, from 1.
    // What the broker said: `received` on a memory channel, whatever was asked for.
    ConfirmLevel level = ConfirmLevel::none;
};

// Messages [first, first + count) were not accepted by the broker and are not stored. (With the status storage_failed
// nobody can know: they are not confirmed, and may be on the disk.)
struct Refusal {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    ClientError error;
};

struct FlushReport {
    std::uint64_t confirmed_up_to = 0;        // Every message up to this number is decided.
    std::vector<Refusal> refused;             // Those that were refused since the last flush; in order.
    ConfirmLevel level = ConfirmLevel::none;  // Of the last confirm.

    [[nodiscard]] bool all_stored() const noexcept { return refused.empty(); }
};

// Handles are cheap to copy and share one link. A connection that breaks is replaced and what was not confirmed is sent
// again under the same numbers, so nothing is lost or doubled; the calls below only wait longer.
//
// Destroying the last handle closes the link once everything accepted is confirmed, in the background; it does not
// wait.
class Sender {
public:
    Sender(const Sender&) noexcept;
    Sender(Sender&&) noexcept;
    Sender& operator=(const Sender&) noexcept;
    Sender& operator=(Sender&&) noexcept;
    ~Sender();

    // Returns when the broker has confirmed the message: on a durable channel when it is on the disk, unless
    // SenderOptions::confirm says otherwise. While the broker's disk is full, send and post do not wait for space: they
    // fail with `refused` (status_name() "disk_full", retryable), and so does what waited for credit; when there is
    // space again the next call works. Throws: message_too_large, bad_argument, refused, draining,
    // not_found, closed, superseded; and cannot_connect, timed_out, blocked, interrupted. When the error says
    // is_accepted(), the message stays accepted and may still arrive (flush() tells); otherwise there was no room for
    // it in the window, or the limits of the broker were not known yet, and it was not taken.
    SendReceipt send(const Message& message, const WaitLimit& limit = WaitLimit::forever());
    Expected<SendReceipt> send(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept;

    // Accepts a message for sending and returns its number; waits only while the window is full. When the limit is
    // reached the message is not accepted. A refusal by the broker shows in the next flush(). While nobody asks (by send,
    // flush, unconfirmed or confirmed_up_to, for 64 messages) the broker confirms when it suits it, within 20 ms.
    std::uint64_t post(const Message& message, const WaitLimit& limit = WaitLimit::forever());
    Expected<std::uint64_t> post(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept;
    // Never waits; nothing if the window is full. Throws what does not depend on waiting.
    std::optional<std::uint64_t> try_post(const Message& message);

    // Returns when everything that was accepted before this call is decided, and says what was refused. When it throws,
    // nothing is taken from the report of the next flush().
    FlushReport flush(const WaitLimit& limit = WaitLimit::forever());
    Expected<FlushReport> flush(const WaitLimit& limit, std::nothrow_t) noexcept;

    // Accepted and not yet decided.
    [[nodiscard]] std::size_t unconfirmed() const noexcept;
    // Decided, whether stored or refused.
    [[nodiscard]] std::uint64_t confirmed_up_to() const noexcept;
    // Why the broker takes nothing at present: "full for 5.2s"; empty if it is not blocked.
    [[nodiscard]] std::string blocked() const;
    [[nodiscard]] const std::string& channel() const noexcept;  // Its name, raw bytes.

    // flush(), then no more sends through any copy of this handle. The limit bounds both.
    FlushReport close(const WaitLimit& limit = WaitLimit::forever());

private:
    friend class client_access;
    explicit Sender(std::shared_ptr<client::SenderEndpoint> endpoint) noexcept;

    std::shared_ptr<client::SenderEndpoint> endpoint_;
};

}  // namespace baton

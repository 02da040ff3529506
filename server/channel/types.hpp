// The values that channels, the runtime and sessions exchange: addresses, slices, settlements, credit, reasons.
// Plain data: nothing here owns a resource but `Slice`, which holds a counted reference to immutable message bytes.
// Not here: rules (channel.hpp), bytes on the wire (common/wire), threads (server/runtime).
// Next file: channel_events.hpp, what a channel says back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/clock.hpp"
#include "common/base/payload.hpp"
#include "common/base/strong_id.hpp"

namespace baton::channel {

struct SessionIdTag;
/// One peer's session; never reused while the broker lives.
using SessionId = StrongId<SessionIdTag, std::uint64_t>;

/// Position of a message in its channel, from 1; 64 bits, never reused.
using Offset = std::uint64_t;

/// Where an attachment lives: a session and the 16-bit link number that the peer chose. A session does not reuse a
/// number before the channel has reported the old link closed, so the pair identifies the link.
struct LinkAddress {
    SessionId session{0};
    std::uint16_t link = 0;
    friend auto operator<=>(const LinkAddress&, const LinkAddress&) = default;
};

/// Names a sender across reconnects: 128 random bits chosen by the client. All zero: anonymous, no duplicate detection.
struct ProducerId {
    std::array<std::byte, 16> bytes{};
    friend auto operator<=>(const ProducerId&, const ProducerId&) = default;
    [[nodiscard]] bool is_anonymous() const noexcept { return *this == ProducerId{}; }
};

/// How far a message had got when it was confirmed. Numbers are those of the wire.
enum class ConfirmLevel : std::uint8_t { received = 1, durable = 2, replicated = 3 };

/// What a receiver decided (docs/protocol.md, section 10). Numbers are those of the wire.
enum class Outcome : std::uint8_t { done = 1, give_back = 2, retry = 3, reject = 4, extend = 5, started = 6 };

/// A settlement of `count` consecutive messages that were delivered with the same attempt number.
struct SettleRange {
    Offset first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;
    Outcome outcome = Outcome::done;
    std::uint32_t argument = 0;  ///< Milliseconds: of retry (retry_by_back_off: as the channel says), of extend (0: a lease).
};
inline constexpr std::uint32_t retry_by_back_off = UINT32_MAX;

/// Absolute credit, counted since the link was attached: the peer may go on until its totals reach these.
struct Credit {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const Credit&, const Credit&) = default;
};

/// Some consecutive messages of one stored batch, cut at message boundaries; what a receiver is given.
struct Slice {
    Offset first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;      ///< The same for all messages of a slice.
    bool redelivered = false;       ///< At least one of them has been delivered before.
    std::uint16_t batch_flags = 0;  ///< As in batch.hpp; the CRC's only if the slice is the whole batch as published.
    std::uint32_t crc32c = 0;       ///< Of `messages`, valid with has_crc.
    WallTime time{};                ///< When the broker accepted the batch.
    Payload messages;               ///< The messages region (batch.hpp), without the batch header.
};

/// Why something does not make progress. Kept with "since when" by each waiting sender, receiver and channel head.
enum class WaitReason : std::uint8_t {
    none = 0,               ///< Not waiting.
    empty = 1,              ///< Receiver: nothing is ready in the channel.
    no_message_credit = 2,  ///< Receiver: has all the unsettled messages that it allows.
    no_byte_credit = 3,     ///< Receiver: has all the unsettled bytes that it allows.
    slow_reader = 4,        ///< Receiver: its socket does not take what is already queued for it.
    full = 5,               ///< Sender: the channel holds as many messages or bytes as its limit allows.
    memory = 6,             ///< Sender: the broker's total memory limit is reached.
    draining = 7,           ///< Anyone: the broker is going down in order.
    no_receiver = 8,        ///< Ready messages: nobody is attached.
    receivers_busy = 9,     ///< Ready messages: every receiver is out of credit or slow.
    in_flight = 10,         ///< Messages: all are with receivers, none settled yet.
    loading = 11,           ///< Receiver, ready messages: the next ones are being read from the disk.
    committing = 12,        ///< Ready messages: none; those that came last are on their way to the disk.
    disk_full = 13,         ///< Sender: the broker's disk is full.
    storage_failed = 14,    ///< Anyone: the broker's disk failed.
    damaged = 15,           ///< Anyone: the channel's files are damaged.
    delayed = 16,           ///< Messages: the time of the next one has not come.
    key_busy = 17,          ///< Messages: others with their keys are with receivers or wait to be tried again.
    standby = 18,           ///< Receiver: another one has the subscription to itself.
};
[[nodiscard]] std::string_view to_string(WaitReason reason) noexcept;

/// A waiting party's reason and since when (monotonic).
struct Wait {
    WaitReason reason = WaitReason::none;
    MonotonicTime since{};
};

}  // namespace baton::channel

template <>
struct std::hash<baton::channel::LinkAddress> {
    std::size_t operator()(const baton::channel::LinkAddress& address) const noexcept {
        return std::hash<std::uint64_t>{}(address.session.value() * 65537U + address.link);
    }
};

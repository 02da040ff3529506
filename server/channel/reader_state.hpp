// A reader of a channel at rest: how far it has come, and what is different about single messages: those behind its cursor
// that it still wants, those in front of it that it is done with, those that wait for a time or are quarantined.
// Plain values. Next file: durable_records.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/channel/channel_options.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Of one channel; 0: the only reader of a queue. Those of the subscriptions of links are not on the disk.
using ReaderId = std::uint32_t;
inline constexpr ReaderId queue_reader = 0;
inline constexpr ReaderId first_link_reader = 1U << 31U;

/// A named subscription.
struct SubscriptionSettings {
    ReaderId id = queue_reader;
    std::string name;
    std::string filter;  ///< Empty: all messages.
    Overflow overflow = Overflow::block;
    std::uint64_t backlog_max = 0;  ///< Ready messages before `overflow` acts; 0: no limit.
    friend bool operator==(const SubscriptionSettings&, const SubscriptionSettings&) = default;
};

/// Why a message is quarantined. Numbers are those of records.
enum class QuarantineReason : std::uint8_t { rejected = 1, attempts = 2, expired = 3 };

/// What people may want to know of a quarantined message.
struct QuarantineNote {
    QuarantineReason reason = QuarantineReason::rejected;
    WallTime time{};
    std::string note;      ///< What the receiver said.
    std::string receiver;  ///< Its name.
    friend bool operator==(const QuarantineNote&, const QuarantineNote&) = default;
};

/// Numbers are those of records. Kept: ready, and given once more however old it is. Placed: ready, its time has come, and so that
/// its block need not be read its priority and the end of its time to live are known; only in saved states.
enum class ReaderEntryKind : std::uint8_t { settled = 1, ready = 2, waiting = 3, quarantined = 4, kept = 5, placed = 6 };

/// Messages first .. end - 1 of one reader.
struct ReaderEntry {
    Offset first = 0;
    Offset end = 0;
    ReaderEntryKind kind = ReaderEntryKind::ready;
    std::uint8_t priority = 0;                   ///< Placed.
    bool is_new = false;                         ///< Placed: it was never given to anybody.
    std::uint32_t attempt = 1;                   ///< The next one.
    WallTime due{};                              ///< Waiting: until then. Placed: it expires then; zero: never.
    std::shared_ptr<const QuarantineNote> note;  ///< Quarantined.

    [[nodiscard]] bool is_alive() const noexcept { return kind != ReaderEntryKind::settled; }
    /// Not ready: what retention and purges leave to the reader.
    [[nodiscard]] bool is_put_aside() const noexcept {
        return kind == ReaderEntryKind::quarantined || (kind == ReaderEntryKind::waiting && due != WallTime{});
    }
    friend bool operator==(const ReaderEntry& a, const ReaderEntry& b) noexcept {
        return a.first == b.first && a.end == b.end && a.is_like(b);
    }
    /// Apart from the range.
    [[nodiscard]] bool is_like(const ReaderEntry& other) const noexcept {
        return kind == other.kind && attempt == other.attempt && due == other.due && priority == other.priority &&
               is_new == other.is_new &&
               (note == other.note || (note && other.note && *note == *other.note));
    }
};

struct ReaderState {
    SubscriptionSettings settings;
    Offset cursor = 1;  ///< Everything at or after it is wanted and was never given, but for the entries.
    std::vector<ReaderEntry> entries;  ///< In order, without overlaps. Behind the cursor all that is alive.
    friend bool operator==(const ReaderState&, const ReaderState&) = default;
};

}  // namespace baton::channel

// What is let in: limits for what is stored, and the parking place for what came under credit that was already granted
// but has no room yet. Parked messages are not decided and not confirmed; they are stored in the order in which they
// came, across all senders, as room appears. Sequence numbers are checked before (channel_messages.cpp), credit before
// that (sender_gate.hpp). One owner, the channel. Next file: producer_table.hpp.
#pragma once

#include <cstdint>

#include "common/base/clock.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/dedupe_window.hpp"
#include "server/channel/errc.hpp"
#include "server/channel/journal.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/ring.hpp"
#include "server/channel/sender.hpp"

namespace baton::channel {

/// Published messages that are not decided yet.
struct Pending {
    Sender* sender = nullptr;
    std::uint64_t first_sequence = 0;
    std::uint32_t count = 0;
    std::uint32_t crc32c = 0;
    std::uint16_t flags = 0;
    Payload messages;  ///< The messages region.
    bool has_room = false;  ///< It was set aside: limits do not matter any more.

    /// Takes these messages off; the checksum is lost with them.
    void drop_front(Cut cut) noexcept;
};

/// Who can make room when the channel drops its oldest messages.
class RoomMaker {
public:
    RoomMaker() = default;
    RoomMaker(const RoomMaker&) = delete;
    RoomMaker& operator=(const RoomMaker&) = delete;
    virtual ~RoomMaker() = default;
    /// Drops the oldest messages that nobody holds until so many messages and bytes have room, and no more; returns for how many
    /// messages there is room now that had none.
    [[nodiscard]] virtual std::uint64_t make_room(std::uint64_t messages, std::uint64_t bytes) = 0;
    /// Messages that could be dropped for it.
    [[nodiscard]] virtual std::uint64_t droppable() const noexcept = 0;
};

struct IntakeLimits {
    std::uint64_t messages_max = 0;      ///< Stored.
    std::uint64_t bytes_max = 0;         ///< Stored, as they are in message regions.
    std::uint64_t message_size_max = 0;  ///< Properties and payload of one message.
    Overflow overflow = Overflow::block;
    bool is_stream = false;  ///< Makes room itself, afterwards.
};

struct IntakeCounters {
    std::uint64_t published = 0;  ///< Stored.
    std::uint64_t refused = 0;
    std::uint64_t duplicates = 0;  ///< By message id.
    std::uint64_t dropped = 0;     ///< For lack of room (drop_newest); confirmed and not stored.
    std::uint64_t unwanted = 0;    ///< There was no subscription; confirmed and not stored.
};

class Intake {
public:
    /// All outlive the intake; `journal` is null for a memory channel.
    Intake(MessageLog& log, Journal* journal, ChannelEvents& events, const Clock& clock, DedupeWindow& dedupe,
           RoomMaker& room_maker, const IntakeLimits& limits) noexcept
        : log_{log},
          journal_{journal},
          events_{events},
          clock_{clock},
          dedupe_{dedupe},
          room_maker_{room_maker},
          limits_{limits} {}

    /// Stores what has room, refuses what can never be stored, parks the rest. Confirms nothing itself: afterwards the
    /// sender's `decided` says how far it got.
    void offer(Pending pending) noexcept;
    /// Sets room aside for these messages all together, if each of them can be stored at once or is dropped as the channel's
    /// `overflow` says: then `has_room` may be set. Otherwise `too_large` (they never fit) or `full`, and nothing is changed.
    /// Nobody is dropped for them before they are stored.
    [[nodiscard]] std::error_code set_room_aside(Pending& pending) noexcept;
    /// Gives it back; before they are offered, or instead.
    void give_room_back(const Pending& pending) noexcept;
    /// Stores what had room set aside, or drops what could not, whatever the limits are by now.
    void take_step(Pending pending) noexcept;
    /// Stores parked messages as far as there is room, and confirms them.
    void apply_parked() noexcept;
    /// Refuses whole: decided, not stored. Comes before the confirm that covers it.
    void refuse(Pending& pending, Errc reason) noexcept;
    /// Tells the sender of a refusal.
    void tell_refusal(const Sender& sender, const Refusal& refusal) noexcept;
    /// Refuses and confirms everything that is parked.
    void refuse_parked(Errc reason) noexcept;
    /// The sender is going away: what it has parked is forgotten, neither decided nor confirmed.
    void forget(Sender& sender) noexcept;

    void set_limits(const IntakeLimits& limits) noexcept { limits_ = limits; }
    /// Says that all up to `decided` is decided, as far as it came on this link; of a durable channel, as soon as it is
    /// committed.
    void confirm(const Sender& sender) noexcept;

    /// Room for more, after what is stored and parked. Full: none of one kind.
    [[nodiscard]] Credit free_room() const noexcept;
    [[nodiscard]] std::uint64_t parked_messages() const noexcept { return parked_messages_; }
    [[nodiscard]] const IntakeCounters& counters() const noexcept { return counters_; }

private:
    [[nodiscard]] bool admit(Pending& pending) noexcept;
    [[nodiscard]] bool has_room_for(const Pending& pending) const noexcept;
    [[nodiscard]] bool could_have_room_for(const Pending& pending) const noexcept;
    [[nodiscard]] Cut fitting(const Pending& pending, Cut wanted) const noexcept;
    [[nodiscard]] Cut part_of_stream(const Pending& pending, Cut wanted) const noexcept;
    [[nodiscard]] Cut new_front(const Pending& pending) const;
    [[nodiscard]] bool make_room(const Pending& pending, Cut wanted);
    void drop_duplicates(Pending& pending);
    void drop_or_refuse(Pending& pending, std::uint64_t& counter) noexcept;
    void remember_ids(Bytes region);
    [[nodiscard]] std::uint64_t message_bytes_max(const Pending& pending) const noexcept;
    void store(Pending& pending, Cut cut) noexcept;
    void append(const Pending& pending, std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c,
                Payload messages) noexcept;
    void append_visible(const BatchHeader& header, bool has_rules, Payload messages) noexcept;
    [[nodiscard]] Cut joined_max() const noexcept;
    void refuse_too_large(Pending& pending) noexcept;
    void park(Pending pending) noexcept;
    void count_parked(Sender& sender, std::uint64_t messages, std::uint64_t bytes, bool is_more) noexcept;

    MessageLog& log_;
    Journal* const journal_;
    ChannelEvents& events_;
    const Clock& clock_;
    DedupeWindow& dedupe_;
    RoomMaker& room_maker_;
    IntakeLimits limits_;
    IntakeCounters counters_;
    OnDemandRing<Pending> parked_;
    std::uint64_t parked_messages_ = 0;
    std::uint64_t parked_bytes_ = 0;
    std::uint64_t aside_messages_ = 0;  // Room that is set aside.
    std::uint64_t aside_bytes_ = 0;
};

}  // namespace baton::channel

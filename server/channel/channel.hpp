// A queue channel in memory: the rules for publishing, choosing a receiver, settling, giving back and forgetting.
// No I/O, no threads: bytes and values in, events out through ChannelEvents. One owner: a shard calls everything here.
// Publish, store and dispatch are three visible steps: `publish` decides and applies (store), `dispatch` gives.
// The implementation: channel.cpp (links and life), channel_messages.cpp (publish, settle, dispatch),
// channel_report.cpp (questions). Next files: message_log.hpp (order), in_flight.hpp (waiting for settlements),
// redelivery_set.hpp (what came back), dispatcher.hpp (choice of a receiver), intake.hpp (limits), producer_table.hpp
// (duplicates), sender_gate.hpp (sender credit and the reasons why it is withheld).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/batch.hpp"
#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/dispatcher.hpp"
#include "server/channel/errc.hpp"
#include "server/channel/intake.hpp"
#include "server/channel/producer_table.hpp"
#include "server/channel/sender_gate.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Settings of one channel. Limits are exact for what is stored: what arrives beyond them under credit that was already
/// granted is parked unconfirmed until there is room, and the sender is told `blocked: full`.
struct ChannelOptions {
    std::uint64_t messages_max = 10'000'000;                 ///< Stored messages (ready and in flight), at least 1.
    std::uint64_t bytes_max = 512ULL * 1024 * 1024;          ///< Stored bytes (message regions), at least 1.
    std::uint64_t message_size_max = 64ULL * 1024 * 1024;    ///< Properties and payload of one message, in bytes.
    std::uint32_t producers_max = 10'000;                    ///< Producers remembered for duplicate detection.
    Duration producer_retention = std::chrono::minutes{10};  ///< How long one is remembered after its last link closed.
    Credit sender_window{65'536, 4ULL * 1024 * 1024};        ///< Most credit that one sender can have outstanding.
    bool is_durable = false;  ///< Survives the broker; cannot change while the channel exists.
    friend bool operator==(const ChannelOptions&, const ChannelOptions&) = default;
};

/// What `baton channel show` prints of one link.
struct LinkReport {
    LinkAddress address;
    bool is_sender = false;
    Wait wait;
    std::uint64_t in_flight = 0;  ///< Receiver: unsettled messages. Sender: parked messages.
    std::uint64_t in_flight_bytes = 0;
    std::uint64_t started = 0;  ///< Receiver: of those in flight, marked as started.
    Credit credit_left;         ///< What the peer may still send (sender) or still takes (receiver).
    std::uint64_t total = 0;    ///< Messages published by / delivered to this link since it was attached.
};

struct ChannelStats {
    std::uint64_t ready = 0, in_flight = 0, parked = 0;  ///< Messages.
    std::uint64_t bytes = 0;                             ///< Stored bytes of message regions.
    std::uint64_t published = 0, duplicates = 0, refused = 0, delivered = 0, redelivered = 0, settled = 0, purged = 0;
    Offset next_offset = 1;       ///< Of the next message that is published.
    Offset oldest_offset = 0;     ///< Of the oldest message that is stored; 0 if none.
    WallTime oldest_time{};       ///< When the oldest stored message was accepted.
    std::uint64_t producers = 0;  ///< Remembered for duplicate detection.
    Wait wait;                    ///< Why ready messages are not given out (channel head).
    std::vector<LinkReport> links;
};

/// A message as `peek` shows it. `message` is valid until the visitor returns.
struct PeekedMessage {
    enum class State : std::uint8_t { ready, in_flight };
    Offset offset = 0;
    std::uint32_t attempt = 1;  ///< The attempt that is under way, or would be next.
    State state = State::ready;
    WallTime time{};
    MessageView message;
};

class Channel {
public:
    /// `events`, `clock` and `budget` outlive the channel.
    Channel(std::string name, const ChannelOptions& options, ChannelEvents& events, const Clock& clock,
            MemoryBudget& budget);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel();

    // --- Links -------------------------------------------------------------------------------------------------

    /// Attaches a sender and returns the last sequence number that is decided for this producer (0 if unknown or
    /// anonymous). An older link with the same producer id is closed first (`Errc::superseded`). The first credit
    /// is sent by `announce_credit`, so that the runtime can report the attachment before it. If the producer table has
    /// no place the link exists, takes nothing, and `announce_credit` closes it (`Errc::too_many_producers`).
    [[nodiscard]] std::uint64_t attach_sender(const LinkAddress& link, const ProducerId& producer);
    /// Attaches a receiver without credit.
    void attach_receiver(const LinkAddress& link);
    /// Sends the sender its first credit, or its `blocked` state.
    void announce_credit(const LinkAddress& sender);
    /// Ends a link: a receiver's messages go back to their old places (one attempt is counted for the started ones
    /// only), a sender's parked messages are forgotten, unconfirmed. Reports `closed` without an error. Unknown: no-op.
    void detach(const LinkAddress& link);

    // --- Messages ----------------------------------------------------------------------------------------------

    /// Takes a batch (with its header, as on the wire) whose first message has `first_sequence`. Anonymous senders
    /// number from 1 as well. Decides (duplicates, gaps, limits), stores what has room, parks the rest.
    /// The batch has passed check_batch. `is_assembled`: it is one message that arrived in fragments, which costs one
    /// message and no bytes of the sender's credit.
    void publish(const LinkAddress& sender, std::uint64_t first_sequence, Payload batch, bool is_assembled = false);
    /// Applies settlements in order. With `receipt` != 0 `settled` is reported afterwards.
    void settle(const LinkAddress& receiver, std::span<const SettleRange> ranges, std::uint64_t receipt);
    /// The receiver's absolute credit. Lower than before is allowed and only stops further deliveries.
    void set_credit(const LinkAddress& receiver, Credit limit);
    /// The receiver's socket does not keep up (true) or does again (false).
    void set_slow(const LinkAddress& receiver, bool is_slow);
    /// Reports `state` for this link, ordered after all deliveries made so far. Runs `dispatch` first.
    void query(const LinkAddress& link);

    /// Gives ready messages to receivers with credit: least loaded first, fair among equals. Returns quickly when there
    /// is nothing to do. The runtime calls it at the end of each turn in which `needs_dispatch()`.
    void dispatch();
    [[nodiscard]] bool needs_dispatch() const noexcept;
    /// Clock pulse (10 to 50 ms): re-examines senders blocked on memory, forgets old producers.
    void tick();

    // --- Life --------------------------------------------------------------------------------------------------

    /// From now on new messages are refused with `Errc::draining` and nothing more is dispatched; settlements go on.
    void begin_drain();
    /// Closes every link with this reason; used before the channel is destroyed.
    void close(Errc reason);

    // --- Questions and administration -----------------------------------------------------------------------------

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const ChannelOptions& options() const noexcept { return options_; }
    [[nodiscard]] ChannelStats stats() const;
    /// Applies new limits at once; lower ones do not drop anything, they block until there is room again.
    void reconfigure(const ChannelOptions& options);
    /// Forgets all ready messages (not those in flight) and returns how many.
    std::uint64_t purge();
    /// Visits stored messages in offset order from `from`, until the visitor returns false.
    void peek(Offset from, const std::function<bool(const PeekedMessage&)>& visitor) const;

private:
    template <class Link>
    using Links = std::unordered_map<LinkAddress, std::unique_ptr<Link>>;

    // Links.
    [[nodiscard]] Sender* find_sender(const LinkAddress& link) const noexcept;
    [[nodiscard]] Receiver* find_receiver(const LinkAddress& link) const noexcept;
    void end_sender(Sender& sender, std::error_code reason);
    void end_receiver(Receiver& receiver, std::error_code reason);
    void attach_producer(Sender& sender, const ProducerId& id);

    // Messages.
    void close_sender(Sender& sender, Errc reason);
    void take_in(Sender& sender, Pending pending);
    void settle_range(Receiver& receiver, const SettleRange& range);
    void refresh(Receiver& receiver);

    // What follows from a change; each public function ends with one of them.
    void room_changed();
    void state_changed();
    void note_head_wait();

    // Questions.
    [[nodiscard]] std::uint64_t ready() const noexcept { return returned_.messages() + log_.fresh(); }
    [[nodiscard]] Room room() const noexcept;
    [[nodiscard]] WaitReason head_reason() const noexcept;
    [[nodiscard]] Offset oldest_offset() const noexcept;
    void report_links(std::vector<LinkReport>& links) const;

    std::string name_;
    ChannelOptions options_;
    ChannelEvents& events_;
    const Clock& clock_;

    // Messages: everything that refers to stored batches comes after the log.
    MessageLog log_;
    RedeliverySet returned_;
    Intake intake_;
    Dispatcher dispatcher_;

    // Links: senders refer to producers.
    ProducerTable producers_;
    SenderGate gate_;
    Links<Sender> senders_;
    Links<Receiver> receivers_;

    Settlement settlement_;  // Used during settle only.
    Wait head_wait_;
    std::uint64_t duplicates_ = 0, delivered_ = 0, redelivered_ = 0, settled_ = 0, purged_ = 0;
    bool is_draining_ = false;
    bool may_dispatch_ = false;  // Something changed since the last dispatch.
};

}  // namespace baton::channel

// A channel: a log with one reader (queue) or several (topic, stream). Senders, publishing, links, limits, retention; what
// becomes of a message for one reader is in subscription.hpp.
// No I/O, no threads: bytes and values in, events out through ChannelEvents. One owner: a shard calls everything here.
// Publish, store and dispatch are three visible steps: `publish` decides and applies (store), `dispatch` gives.
// The implementation: channel.cpp (links and life), channel_messages.cpp (publish, settle, dispatch),
// channel_subscriptions.cpp (readers, moving), channel_report.cpp (questions), channel_durable.cpp (what only durable channels do),
// channel_save.cpp, channel_restore.cpp, channel_steps.cpp (this channel's part of a step).
// Next files: message_log.hpp (order), subscription.hpp (readers), intake.hpp (limits), producer_table.hpp and
// dedupe_window.hpp (duplicates), sender_gate.hpp (sender credit and the reasons why it is withheld), journal.hpp (the commit log).
//
// A durable channel decides in the same way. What it decides is submitted to the commit log; messages are given out,
// and senders are confirmed, when that is committed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/batch.hpp"
#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/channel_image.hpp"
#include "server/channel/channel_options.hpp"
#include "server/channel/compaction.hpp"
#include "server/channel/dedupe_window.hpp"
#include "server/channel/errc.hpp"
#include "server/channel/intake.hpp"
#include "server/channel/journal.hpp"
#include "server/channel/link_table.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/producer_table.hpp"
#include "server/channel/relocation.hpp"
#include "server/channel/ring.hpp"
#include "server/channel/sender_gate.hpp"
#include "server/channel/state_slices.hpp"
#include "server/channel/subscription.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// What `baton channel show` prints of one link.
struct LinkReport {
    LinkAddress address;
    bool is_sender = false;
    Wait wait;
    WaitReason source = WaitReason::none;  ///< Receiver: why its subscription gives nothing.
    std::uint64_t in_flight = 0;  ///< Receiver: unsettled messages. Sender: parked messages.
    std::uint64_t in_flight_bytes = 0;
    std::uint64_t started = 0;  ///< Receiver: of those in flight, marked as started.
    Credit credit_left;         ///< What the peer may still send (sender) or still takes (receiver).
    std::uint64_t total = 0;    ///< Messages published by / delivered to this link since it was attached.
};

struct SubscriptionReport {
    SubscriptionSettings settings;
    bool is_lasting = false;
    bool holds_up_senders = false;  ///< Its backlog is at its limit, and `overflow` is "block".
    std::uint64_t ready = 0, delayed = 0, in_flight = 0, quarantined = 0;  ///< Messages.
    std::uint64_t missed = 0;                                              ///< Given up by retention before they were read.
    Offset next_offset = 1;                                                ///< Where it goes on.
    std::uint64_t receivers = 0;
    SubscriptionCounters counters;
    Wait wait;
};

struct ChannelStats {
    /// Messages. Of topics and streams: of the subscription that has most of them.
    std::uint64_t ready = 0, in_flight = 0, parked = 0;
    std::uint64_t delayed = 0, quarantined = 0;
    std::uint64_t stored = 0;
    std::uint64_t committing = 0;                        ///< Messages that are not committed yet.
    std::uint64_t bytes = 0;                             ///< Stored bytes of message regions.
    std::uint64_t resident_bytes = 0;                    ///< Of those, bytes in memory.
    std::uint64_t published = 0, duplicates = 0, refused = 0, delivered = 0, redelivered = 0, settled = 0, purged = 0;
    std::uint64_t retried = 0, rejected = 0, expired = 0, dropped = 0, leases_ended = 0, moved = 0;
    std::uint64_t trimmed = 0;   ///< Streams: given up by retention.
    std::uint64_t compacted = 0;  ///< Streams: removed by compaction.
    std::uint64_t keys = 0;       ///< Streams that are compacted: keys whose newest message is known.
    std::uint64_t unwanted = 0;  ///< Topics: came when there was no subscription.
    Offset last_dropped_first = 0;  ///< The last range of messages that were dropped for lack of room; 0: none.
    std::uint64_t last_dropped_count = 0;
    Offset next_offset = 1;       ///< Of the next message that is published.
    Offset oldest_offset = 0;     ///< Of the oldest message that is stored; 0 if none.
    WallTime oldest_time{};       ///< When the oldest stored message was accepted.
    std::uint64_t producers = 0;  ///< Remembered for duplicate detection.
    Wait wait;                    ///< Why ready messages are not given out (channel head).
    std::vector<LinkReport> links;
    std::vector<SubscriptionReport> subscriptions;  ///< Not all if `has_more_subscriptions`: Channel::subscriptions() has them.
    bool has_more_subscriptions = false;
};

/// A batch that is in the log only: the record that would write it again.
struct LoggedBatch {
    std::vector<std::byte> head;
    Payload messages;
};

/// How far somebody has got with what is in the log only.
struct LoggedSlices {
    std::shared_ptr<LoggedPlace> place;
    commit::Index end = 0;  ///< The last record that belongs to it.
};

/// A message as `peek` shows it. `message` is valid until the visitor returns.
struct PeekedMessage {
    using State = MessageState;
    Offset offset = 0;
    std::uint32_t attempt = 1;  ///< The attempt that is under way, or would be next.
    State state = State::ready;
    WallTime time{};
    MessageView message;
    WallTime due{};                              ///< Delayed: until then.
    std::shared_ptr<const QuarantineNote> note;  ///< Quarantined: why.
    const Receiver* receiver = nullptr;          ///< In flight: with whom.
};

/// Where a new subscription begins.
struct StartPosition {
    enum class Kind : std::uint8_t { standard, first, last, next, offset, time };
    Kind kind = Kind::standard;  ///< Topic: next; stream: first.
    Offset offset = 0;
    WallTime time{};
};

/// What a receiver asks for.
struct ReceiverRequest {
    std::string subscription;        ///< Name; empty: one of this link alone (topic, stream), or the queue.
    StartPosition from;
    std::string filter;              ///< Empty: all messages, or as the subscription has it.
    Duration lease{};                ///< Zero: the channel's.
    bool is_exclusive = false;
    std::string name;                ///< What the peer calls itself.
};

/// One step while the broker runs.
using StepId = std::uint64_t;

/// What a step sends to one channel.
struct StepMessages {
    ProducerId producer;       ///< Of the steps of one client, one after the other.
    std::uint64_t number = 0;  ///< Of the step: larger than those before it.
    Payload batch;             ///< With its header; has passed check_batch.
};

/// What makes a channel durable. `log` outlives the channel.
struct Durability {
    commit::CommitLog* log = nullptr;
    commit::StreamId stream{0};
};

/// Reads a block from the disk at once: its body, or empty if it cannot be read.
using BlockReader = std::function<Payload(const commit::BlockRef&)>;

class Channel final : private RoomMaker {
public:
    /// `events`, `clock` and `budget` outlive the channel. With a log it is durable, whatever the options say.
    Channel(std::string name, const SharedOptions& options, ChannelEvents& events, const Clock& clock,
            MemoryBudget& budget, const Durability& durability = {});
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() override;

    // --- Links -------------------------------------------------------------------------------------------------

    /// Attaches a sender and returns the last sequence number that is decided for this producer (0 if unknown or
    /// anonymous). An older link with the same producer id is closed first (`Errc::superseded`). The first credit
    /// is sent by `announce_credit`, so that the runtime can report the attachment before it. If the producer table has
    /// no place the link exists, takes nothing, and `announce_credit` closes it (`Errc::too_many_producers`).
    /// A durable channel returns the last one that is committed; what was decided after it is confirmed when it comes
    /// again. `confirm`: `received` is told as soon as a message is here. `must_store`: see Sender.
    [[nodiscard]] std::uint64_t attach_sender(const LinkAddress& link, const ProducerId& producer,
                                              ConfirmLevel confirm = ConfirmLevel::durable,
                                              bool must_store = false);
    /// Attaches a receiver without credit. Not done: `not_supported` (this kind has no such thing), `incompatible_options`
    /// (the subscription has another filter), `bad_filter`, `in_use` (too many subscriptions).
    [[nodiscard]] std::error_code attach_receiver(const LinkAddress& link, const ReceiverRequest& request);
    /// How long a delivery belongs to such a receiver: what it asks for, at most as long as one can be extended.
    [[nodiscard]] Duration lease_of(const ReceiverRequest& request) const noexcept {
        return request.lease > Duration{} ? std::min(request.lease, options_->lease_max) : options_->lease;
    }
    /// Sends the sender its first credit, or its `blocked` state.
    void announce_credit(const LinkAddress& sender);
    /// A large message of the sender waits for memory before it is sent, or not any more.
    void set_waits_for_room(const LinkAddress& sender, bool waits);
    /// Ends a link: a receiver's messages go back to their old places (one attempt is counted for the started ones
    /// only), a sender's parked messages are forgotten, unconfirmed. Reports `closed` without an error. Unknown: no-op. While a
    /// settlement of very many messages of a receiver is being applied it goes on, and `closed` is reported behind it.
    void detach(const LinkAddress& link);

    // --- Messages ----------------------------------------------------------------------------------------------

    /// Takes a batch (with its header, as on the wire) whose first message has `first_sequence`. Anonymous senders
    /// number from 1 as well. Decides (duplicates, gaps, limits), stores what has room, parks the rest.
    /// The batch has passed check_batch. `is_assembled`: it is one message that arrived in fragments, which costs one
    /// message and no bytes of the sender's credit.
    void publish(const LinkAddress& sender, std::uint64_t first_sequence, Payload batch, bool is_assembled = false);
    /// Applies settlements in order. With `receipt` != 0 `settled` is reported afterwards. `note`: why, for people.
    /// Of very many messages only the first are settled at once, as far as the work (Subscription::settle) is limited, and the
    /// rest in the steps of dispatch(). What the link asks for behind that comes behind it; its leases do not end before.
    void settle(const LinkAddress& receiver, std::span<const SettleRange> ranges, std::uint64_t receipt,
                std::string_view note = {}, std::uint64_t work = settled_at_once);
    static constexpr std::uint64_t settled_at_once = 2'048;
    // --- Steps: a part is checked and set aside, and then done or given back, whatever has happened meanwhile ------------------

    /// Sets room aside. What is refused is as it was: `full` (nothing waits for room), `too_large`, `draining`, `superseded` (a
    /// sender is attached with this producer id), `disk_full`, `storage_failed`, `damaged`, `bad_batch`. `step_known`: this
    /// step, or a later one of its producer, was done before. `step_under_way`: that is not certain yet.
    [[nodiscard]] std::error_code begin_step(StepId id, const StepMessages& messages);
    /// Takes what is to be settled out of the receiver's hands; `lost_lease` if it does not hold all of it with these attempt
    /// numbers. Their outcome is `done`, whatever they say. `noted`: the reader of which records will tell, if any will.
    [[nodiscard]] std::error_code begin_step(StepId id, const LinkAddress& receiver, std::span<const SettleRange> ranges,
                                             std::optional<ReaderId>& noted);
    /// All that was begun under this id. Unknown: no-op.
    void finish_step(StepId id, bool is_done);

    /// The receiver's absolute credit. Lower than before is allowed and only stops further deliveries.
    void set_credit(const LinkAddress& receiver, Credit limit);
    /// The receiver's socket does not keep up (true) or does again (false).
    void set_slow(const LinkAddress& receiver, bool is_slow);
    /// Reports `state` for this link, ordered after all deliveries made so far. Runs `dispatch` first.
    void query(const LinkAddress& link);

    /// Gives ready messages to receivers with credit, as far as the budget allows: least loaded first, fair among equals.
    /// Returns quickly when there is nothing to do. The runtime calls it at the end of each turn in which `needs_dispatch()`.
    void dispatch(StepBudget& budget);
    void dispatch() {
        StepBudget budget;
        dispatch(budget);
    }
    /// Also if a step's budget was spent before everything was given.
    [[nodiscard]] bool needs_dispatch() const noexcept {
        return has_to_compact() || !settling_.empty() || !leaving_.empty() || has_to_trim_ || has_due_ ||
               (may_dispatch_ && !is_draining_ && (fan_out_left_ > 0 || turns_.woken() > 0));
    }
    [[nodiscard]] bool has_links() const noexcept { return !senders_.empty() || !receivers_.empty(); }
    /// Clock pulse: leases, delays, expiry, retention; re-examines senders blocked on memory, forgets old producers. Wanted every
    /// 10 to 50 ms from next_pulse() on, and seldom otherwise.
    void tick();
    /// A part of it: some of the batches that keep more memory than the limits allow are copied, as far as somebody wants them.
    void pack_remnants(const MessageLog::RemnantLimits& limits = {});
    /// When time brings something here that is not to be late; in the past: with each pulse. max(): nothing does.
    [[nodiscard]] MonotonicTime next_pulse() const noexcept;

    // --- Life --------------------------------------------------------------------------------------------------

    /// From now on new messages are refused with `Errc::draining` and nothing more is dispatched; settlements go on.
    void begin_drain();
    /// Before it is destroyed: from now on nothing is given or taken. What receivers hold goes with it.
    void close(Errc reason);
    /// Then: closes every link with this reason, and destroys what is in it, so many batches and messages; a link counts as
    /// `items_per_link`. True: nothing is left. Nothing else may be called any more.
    bool dismantle(std::uint64_t& items);
    static constexpr std::uint64_t items_per_link = 8;

    // --- Questions and administration -----------------------------------------------------------------------------

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const ChannelOptions& options() const noexcept { return *options_; }
    [[nodiscard]] ChannelStats stats() const;
    /// Some of them, as cheap as they are; as there.
    struct Totals {
        std::uint64_t ready = 0, in_flight = 0, bytes = 0, published = 0, delivered = 0;
    };
    [[nodiscard]] Totals totals() const noexcept;
    [[nodiscard]] static SubscriptionReport report_of(const Subscription& reader);
    /// Those of a topic or stream with ids behind `after`, in the order of their ids: named ones first; the first `limit` of them.
    [[nodiscard]] std::vector<SubscriptionReport> subscriptions(ReaderId after, std::size_t limit) const;
    /// Messages that receivers hold.
    [[nodiscard]] std::uint64_t in_flight() const noexcept;
    /// Applies new limits at once; lower ones do not drop anything, they block until there is room again.
    void reconfigure(const SharedOptions& options);
    /// Forgetting all ready messages (not those in flight) of every reader, of a stream all, in steps: what is visible when it
    /// begins.
    struct Purge {
        Sweep sweep;                ///< Of the reader whose turn it is.
        std::size_t readers = 0;    ///< That are left, that one included: from the last one on, so that none is passed over when
                                    ///< one goes away.
        std::uint64_t of_reader = 0;
        std::uint64_t messages = 0;  ///< Of the reader that had most; of a stream all that are stored.
        bool is_over = false;
    };
    [[nodiscard]] Purge begin_purge() noexcept {
        log_.seal();
        return {.sweep = {.end = log_.visible_end()}, .readers = readers_.size()};
    }
    /// `runs`: as Subscription::drop_some. Reads blocks that have to be cut; afterwards the channel may be damaged.
    void purge_some(Purge& purge, std::uint64_t runs, const BlockReader& read);
    /// Subscription::drop_some, likewise.
    std::uint64_t drop_some(Subscription& reader, MessageState state, Sweep& sweep, std::uint64_t& runs, const BlockReader& read);
    /// Subscription::drop, likewise.
    std::uint64_t drop(Subscription& reader, MessageState state, std::span<const Offset> offsets, Sweep& sweep,
                       const BlockReader& read);
    /// Visits messages of a reader in this state (or in any) in offset order from `from`, until the visitor returns false.
    /// `read` is for those that are not in memory; without it, or where it fails, they are passed over. Null: of a topic or
    /// stream everything that is stored, as ready.
    void peek(const Subscription* reader, std::optional<MessageState> state, Offset from,
              const std::function<bool(const PeekedMessage&)>& visitor, const BlockReader& read = {}) const;
    /// Of a queue, or of a topic or stream without regard to subscriptions.
    void peek(Offset from, const std::function<bool(const PeekedMessage&)>& visitor, const BlockReader& read = {}) const {
        peek(queue_or_null(), std::nullopt, from, visitor, read);
    }

    // --- Subscriptions -----------------------------------------------------------------------------------------------

    /// The reader of a queue (empty name), or the subscription with this name; null if there is none.
    [[nodiscard]] Subscription* find_subscription(std::string_view name) noexcept;
    [[nodiscard]] const Subscription* queue_or_null() const noexcept {
        return options_->kind == Kind::queue && !readers_.empty() ? readers_.front().get() : nullptr;
    }
    /// Makes a named subscription, or gives an existing one these settings (another filter: `incompatible_options`).
    /// `settings.id` does not matter. Errors as for attach_receiver.
    [[nodiscard]] std::error_code subscribe(const SubscriptionSettings& settings, const StartPosition& from);
    /// Forgets the subscription and what only it wanted; its receivers are closed (`not_found`). The number of messages that it
    /// still wanted, in whatever state.
    std::uint64_t unsubscribe(Subscription& subscription);
    /// After an administrator changed something in one of them.
    void subscription_changed();
    /// Where what is published from now on begins, for those that are given out.
    [[nodiscard]] Offset visible_end() const noexcept { return log_.visible_end(); }
    /// So many subscriptions, named and others.
    static constexpr std::size_t subscriptions_max = 100'000;

    // --- Durable channels -------------------------------------------------------------------------------------------

    [[nodiscard]] bool is_durable() const noexcept { return journal_ != nullptr; }
    [[nodiscard]] commit::StreamId stream() const noexcept { return journal_->stream(); }
    /// Not empty: the channel is quarantined, and why. It must not be attached to.
    [[nodiscard]] const std::string& damage() const noexcept { return damage_->text; }
    /// Quarantines it: closes its links with `Errc::damaged`; from now on nothing is given or taken.
    void mark_damaged(const std::string& reason);

    /// A new channel: its settings are submitted.
    void submit_settings();
    /// It will be forgotten: that is submitted. Before close().
    void submit_deleted();
    /// At the end of each turn in which `has_notes()`: submits what was settled and started in it.
    void write_notes();
    [[nodiscard]] bool has_notes() const noexcept;
    /// The log has got further: gives out what became visible, answers who waited.
    void on_committed();
    /// Something was submitted that is not committed, and somebody or something waits for it.
    [[nodiscard]] bool is_committing() const noexcept {
        return journal_ != nullptr && (log_.uncommitted() > 0 || journal_->is_anybody_waiting());
    }
    /// The log's condition has changed. Failed: every sender is closed. Full: what is parked is refused, as is what
    /// comes.
    void on_condition();

    /// Makes this new channel what the image says, in one step (channel_restore.hpp: in several). False: it is damaged.
    [[nodiscard]] bool install(const ChannelImage& image, const BlockReader& read);
    /// All that it has on the disk.
    [[nodiscard]] std::vector<commit::BlockRef> blocks() const;
    /// What has to be saved, without what is in the log only: slice by slice (state_slices.hpp). A slice uses up about so many
    /// entries at most; each is a run of messages, an id, a block or a reader.
    [[nodiscard]] StateSlices begin_state() const;
    void add_to_state(StateSlices& slices, std::uint64_t& entries) const;
    /// All at once.
    [[nodiscard]] ChannelState state() const;
    /// What is in the log only, batch by batch in the order of the records, as far as they have been submitted by now, also
    /// what is not committed yet. With a state that is begun afterwards, and what is submitted meanwhile, all of the channel.
    [[nodiscard]] LoggedSlices begin_logged();
    /// A batch uses up two entries. True: that were all. Not after the channel is gone.
    [[nodiscard]] static bool add_logged(LoggedSlices& slices, std::uint64_t& entries, std::vector<LoggedBatch>& batches);

    /// Batches that are in the log only and whose records are before `below`, at most about `bytes_max` bytes of them;
    /// with `keep_ahead` only untouched ones that no reader will want soon. They stay where they are
    /// until `finish_relocation`. One relocation at a time, of so many batches at most; empty if there is nothing to move, or, with
    /// `keep_ahead`, if nothing was found among the batches that one call looks at: the next one goes on behind them.
    static constexpr std::size_t relocated_at_once = 16'384;
    /// Messages that are placed at once so that their blocks can leave memory.
    static constexpr std::uint64_t placed_at_once = 4'096;
    static constexpr std::size_t looked_at_for_relocation = 32'768;
    [[nodiscard]] RelocationPlan begin_relocation(commit::Index below, std::optional<KeepAhead> keep_ahead,
                                                  std::uint64_t bytes_max);
    /// Where the blocks of the plan are now, in its order; none if they could not be written.
    void finish_relocation(std::span<const commit::BlockRef> blocks);
    [[nodiscard]] bool is_relocating() const noexcept { return !relocation_->batches.empty(); }
    /// The index of the oldest record that must stay in the log; UINT64_MAX if none.
    [[nodiscard]] commit::Index oldest_record() const noexcept;
    /// Bytes of messages whose records are before `below`, at most `bytes_max` (then there may be more).
    [[nodiscard]] std::uint64_t bytes_in_log(commit::Index below, std::uint64_t bytes_max) const noexcept;
    /// Submits these once more, so that they are at the end of the log.
    void move_in_log(commit::Index below);

    /// Drops messages from memory that are on the disk and far from being given: at least `bytes` if there are so many.
    /// Returns the bytes dropped.
    std::uint64_t evict(std::uint64_t bytes, KeepAhead keep);
    [[nodiscard]] std::uint64_t resident_bytes() const noexcept { return log_.resident_bytes(); }
    /// Blocks that a receiver will want soon and that are not in memory. Each is returned once.
    [[nodiscard]] std::vector<commit::BlockRef> take_wanted_blocks(std::uint64_t ahead_bytes, bool is_memory_short = false);
    [[nodiscard]] bool wants_blocks(std::uint64_t ahead_bytes, bool is_memory_short = false) const;
    /// A wanted block has been read; empty: it could not be, and the channel is damaged.
    void on_block_read(const commit::BlockRef& ref, const Payload& body);
    /// It could not be read for now, and is wanted again.
    void on_block_postponed(const commit::BlockRef& ref) noexcept;

    // Compaction: blocks of which little remains are copied without what was removed.

    /// Bytes in blocks of messages that were removed, as far as is known.
    [[nodiscard]] std::uint64_t dead_bytes() const noexcept { return log_.dead_bytes(); }
    void visit_blocks(const std::function<void(const commit::BlockRef&, std::uint64_t dead_bytes)>& visitor) const {
        log_.visit_blocks(visitor);
    }
    /// What has been removed of first .. end - 1.
    [[nodiscard]] OffsetSet removed_in(Offset first, Offset end) const;
    /// See MessageLog.
    void replace_block(const commit::BlockRef& old_ref, const commit::BlockRef& new_ref, std::uint64_t dead_bytes) {
        log_.replace_block(old_ref, new_ref, dead_bytes);
    }
    [[nodiscard]] std::vector<commit::BlockRef> take_dead_blocks() noexcept { return log_.take_dead_blocks(); }

private:
    friend class ChannelRestore;  // Makes it of an image.

    // Links.
    [[nodiscard]] Sender* find_sender(const LinkAddress& link) const noexcept { return senders_.find(link); }
    [[nodiscard]] Receiver* find_receiver(const LinkAddress& link) const noexcept { return receivers_.find(link); }
    void end_sender(Sender& sender, std::error_code reason);
    void end_receiver(Receiver& receiver, std::error_code reason);
    void remove_receiver(Receiver& receiver, std::error_code reason);
    void attach_producer(Sender& sender, const ProducerId& id);
    [[nodiscard]] std::uint64_t last_confirmable(const Sender& sender) const noexcept;

    // Steps.
    struct StepSending {
        ProducerId producer;
        std::uint64_t number = 0;
        Pending pending;
    };
    struct StepSettling {
        ReaderId reader = queue_reader;
        std::vector<Offset> held;
    };
    struct StepPart {
        std::vector<StepSending> sendings;
        std::vector<StepSettling> settlings;
    };
    /// Messages that are not given yet only because a write is under way.
    [[nodiscard]] std::uint64_t coming_from_disk() const noexcept;
    [[nodiscard]] std::error_code check_step() const noexcept;
    [[nodiscard]] std::error_code check_known(const StepMessages& messages) noexcept;
    [[nodiscard]] bool is_held_up() const noexcept;

    // Messages.
    void settle_late(Receiver& receiver, std::uint64_t& work);
    bool tick_due(std::uint64_t& messages);
    void give(StepBudget& budget);
    void settle_all_late(Receiver& receiver);
    void settle_some(std::uint64_t& work);
    void drop_late(Receiver& receiver);
    void answer_receipt(const LinkAddress& link, std::uint64_t receipt);
    void close_sender(Sender& sender, Errc reason);
    void examine_senders();
    void tell_again(Sender& sender, std::uint64_t first, std::uint64_t last);
    void take_in(Sender& sender, Pending pending);
    void messages_visible();
    void wake_readers();
    void fan_out(std::uint64_t& messages);
    void give_ruled(const std::vector<StoredBatch*>& batches);
    void set_compaction();
    void compact();
    [[nodiscard]] std::uint64_t compaction_budget() const noexcept;
    void on_removed(Offset offset);
    [[nodiscard]] bool has_to_compact() const noexcept {
        return compaction_ && !is_draining_ && damage().empty() && compaction_->has_more();
    }
    void cut_off(Subscription& reader);
    void trim(std::uint64_t& batches);
    void trim_at_once();
    std::uint64_t trim_oldest();
    [[nodiscard]] bool presses_on_memory() const noexcept;
    void trim_purged(Purge& purge, std::uint64_t runs);
    template <class Drop>
    std::uint64_t drop_with(const Sweep& sweep, const BlockReader& read, Drop drop);
    void close_all(std::error_code reason);
    void close_one();

    // Subscriptions.
    [[nodiscard]] SubscriptionContext subscription_context() noexcept;
    Subscription& add_reader(SubscriptionSettings settings, const StartPosition& from);
    void remove_reader(Subscription& reader);
    /// Whoever holds messages: also what is left of those that have ended.
    template <class Visit>
    void visit_holders(Visit visit) const {
        for (const auto& reader : readers_) {
            visit(*reader);
        }
        for (std::size_t i = 0; i < leaving_.size(); ++i) {
            visit(*leaving_[i]);
        }
    }
    void forget_leaving(std::uint64_t& items);
    [[nodiscard]] std::error_code check_request(const ReceiverRequest& request) const;
    [[nodiscard]] Offset offset_of(const StartPosition& from) const noexcept;
    [[nodiscard]] std::uint64_t make_room(std::uint64_t messages, std::uint64_t bytes) override;
    [[nodiscard]] std::uint64_t droppable() const noexcept override;
    [[nodiscard]] std::optional<Run> oldest_ready() const;
    bool recount(StoredBatch& batch);
    void keep_backlog_limit(Subscription& reader, std::vector<Subscription*>& too_slow);

    // Durable channels.
    [[nodiscard]] bool add_ids(StateSlices& slices, std::uint64_t& entries) const;
    [[nodiscard]] bool add_blocks(StateSlices& slices, std::uint64_t& entries) const;
    [[nodiscard]] bool add_removed(StateSlices& slices, std::uint64_t& entries) const;
    [[nodiscard]] bool add_readers(StateSlices& slices, std::uint64_t& entries) const;
    [[nodiscard]] const Subscription* next_to_save(StateSlices& slices) const noexcept;
    [[nodiscard]] OffsetSet wanted_soon(KeepAhead keep) const;
    [[nodiscard]] std::vector<StoredBatch*> choose_to_relocate(commit::Index below, std::optional<KeepAhead> keep_ahead,
                                                               std::uint64_t bytes_max);
    [[nodiscard]] std::optional<OffsetSet> wanted_of(const StoredBatch& batch) const;
    [[nodiscard]] SettingsRecord settings() const;
    [[nodiscard]] Offset trimmed_end() const noexcept;
    std::uint64_t evict_evictable(std::uint64_t bytes, const OffsetSet& wanted);
    bool place_some(const OffsetSet& wanted);
    [[nodiscard]] bool can_place(StoredBatch& batch, std::uint64_t& budget) const;
    [[nodiscard]] bool place(StoredBatch& batch, std::uint64_t& budget);
    [[nodiscard]] MessageLog::RunsAtRest runs_at_rest();
    [[nodiscard]] bool may_want_blocks() const noexcept {
        return damage().empty() && (log_.has_awaited() || log_.has_evicted_ahead());
    }

    // What follows from a change; each public function ends with one of them.
    void apply_parked();
    void room_changed();
    void state_changed();
    void note_head_wait();
    void note_head_wait_now();
    void note_places();

    // Questions.
    /// Of a queue; else of the reader that has most.
    [[nodiscard]] std::uint64_t ready() const noexcept;
    [[nodiscard]] auto ready_count() const noexcept {
        return [this] { return ready(); };
    }
    [[nodiscard]] Room room() const noexcept;
    [[nodiscard]] WaitReason head_reason() const noexcept;
    [[nodiscard]] Offset oldest_offset() const noexcept;
    void report_links(std::vector<LinkReport>& links) const;

    std::string name_;
    SharedOptions options_;
    ChannelEvents& events_;
    const Clock& clock_;
    MemoryBudget& budget_;

    const std::unique_ptr<Journal> journal_;  // Null: a memory channel.
    struct Damage {
        std::string text;
        std::shared_ptr<const ChannelState> frozen;  // As it was when it was installed.
    };
    OnDemand<Damage> damage_;

    // Messages: everything that refers to stored batches comes after the log.
    MessageLog log_;
    std::unique_ptr<Compaction> compaction_;  // Null: the channel was never compacted in this life of the broker.
    OffsetSet noted_removed_;                 // What the disk does not know yet.
    struct Relocation {
        std::vector<std::vector<StoredBatch*>> batches;  // By block of the plan; pinned.
        std::shared_ptr<LoggedPlace> place;  // Where the next one with `keep_ahead` goes on. Null: at the oldest.
    };
    OnDemand<Relocation> relocation_;
    DedupeWindow dedupe_;
    Intake intake_;
    Prng prng_;
    ReaderTurns turns_;  // Before the readers, which refer to it.
    std::vector<std::unique_ptr<Subscription>> readers_;  // Of a queue exactly one.
    OnDemandRing<std::unique_ptr<Subscription>> leaving_;  // Nobody's any more; what they held goes in steps.
    std::size_t fan_out_next_ = 0;  // Of many readers, who is told next that more has become visible;
    std::size_t fan_out_left_ = 0;  // so many are not told yet.
    OnDemandMap<std::unordered_map<std::string, Subscription*>> by_name_;  // Those that have one.
    ReaderId next_lasting_ = 1;
    ReaderId next_of_link_ = first_link_reader;
    bool has_backlog_limits_ = false;  // Some reader has one.
    bool has_to_trim_ = false;  // More than one step does.
    bool has_due_ = false;      // So is what is due.
    Offset noted_trim_ = 1;    // As the disk knows it.
    std::uint64_t trimmed_ = 0;

    OnDemandMap<std::map<StepId, StepPart>> steps_;  // What is set aside.
    std::vector<LinkAddress> settling_;  // Receivers with settlements that come later, in turn.

    // Links: senders refer to producers.
    ProducerTable producers_;
    SenderGate gate_;
    LinkTable<Sender> senders_;
    LinkTable<Receiver> receivers_;

    OnDemandRing<LinkAddress> closing_;  // Of a channel that is closed: links that have not heard of it.
    Errc close_reason_{};

    Wait head_wait_;
    bool is_head_noted_ = true;
    OnDemand<SubscriptionCounters> ended_;  // Of readers that are gone.
    std::uint64_t duplicates_ = 0;
    bool is_draining_ = false;
    bool may_dispatch_ = false;  // Something changed since the last dispatch.
};

}  // namespace baton::channel

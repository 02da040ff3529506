// One reader of a channel with its receivers: the only one of a queue, or a subscription of a topic or stream. Everything
// about a message between being published and being settled: waiting for its time, ready, with a receiver, tried again,
// quarantined, expired.
// The implementation: subscription.cpp (receivers, giving, time), subscription_settle.cpp (what receivers decide, attempts,
// quarantine), subscription_admin.cpp (questions, what administrators do, restoring), subscription_save.cpp (what a checkpoint
// has of it), subscription_move.cpp (on its way to another channel), subscription_step.cpp (what a step is about to settle).
// Not here: publishing and senders (channel.hpp), which receiver gets what (dispatcher.hpp).
// One owner, the channel. Next files: ready_messages.hpp, schedule.hpp, key_order.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "common/base/prng.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/channel_options.hpp"
#include "server/channel/dispatcher.hpp"
#include "server/channel/journal.hpp"
#include "server/channel/key_filter.hpp"
#include "server/channel/key_order.hpp"
#include "server/channel/message_rules.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/reader_image.hpp"
#include "server/channel/reader_turns.hpp"
#include "server/channel/ready_messages.hpp"
#include "server/channel/receiver.hpp"
#include "server/channel/schedule.hpp"
#include "server/channel/waiting_heap.hpp"

namespace baton::channel {

/// What a subscription shares with its channel; all of it outlives the subscription.
struct SubscriptionContext {
    MessageLog& log;
    ChannelEvents& events;
    const Clock& clock;
    const SharedOptions& options;  ///< May become others.
    Prng& prng;
    ReaderTurns& turns;
    const MemoryBudget* memory;  ///< Of the broker. Null: nothing that a subscription holds can leave it.
};

enum class MessageState : std::uint8_t { ready, delayed, in_flight, quarantined };

struct SubscriptionCounters {
    std::uint64_t delivered = 0, redelivered = 0, settled = 0, purged = 0;
    std::uint64_t retried = 0;        ///< Retried by a receiver's decision.
    std::uint64_t rejected = 0;       ///< Quarantined by a receiver's decision.
    std::uint64_t quarantined = 0;    ///< All that were.
    std::uint64_t expired = 0;        ///< Dropped or quarantined because of their age, or late.
    std::uint64_t leases_ended = 0;   ///< Messages that were taken back.
    std::uint64_t dropped = 0;        ///< For lack of room, or by an administrator.
    std::uint64_t moved = 0;          ///< To another channel.
    Offset last_dropped_first = 0;    ///< The last range of those that were dropped for lack of room; 0: none.
    std::uint64_t last_dropped_count = 0;

    /// The sums of both; the last range that was dropped is the other's, if it has one.
    void add(const SubscriptionCounters& other) noexcept;
};

/// Work on all messages of a state with offsets below `end`, in steps: how far it has got. What comes to the state behind
/// `next` while it goes on is not looked at again; ready messages have no such place, they are taken as they lie.
struct Sweep {
    Offset end = UINT64_MAX;
    Offset next = 0;
    bool is_over = false;
    std::optional<commit::BlockRef> wanted{};  ///< It has to be read before it can go on.
};

/// Which messages are to be moved, and how much of them at once.
struct MoveWish {
    std::optional<MessageState> state;   ///< Nothing: all that nobody holds.
    std::span<const Offset> offsets;     ///< These,
    bool is_all = false;                 ///< or all of `from` .. `until` - 1.
    Offset from = 0;
    Offset until = 0;
    std::uint64_t messages_max = 0;
    std::uint64_t bytes_max = 0;         ///< In message regions; one message may be larger.
};

/// Messages that were taken out in order to be moved. Their bytes are there until `finish_move`.
struct MoveStep {
    struct Part {
        Run run;
        MessageState state = MessageState::ready;
        WallTime due{};                              ///< Delayed by its own properties: until then; else zero.
        std::shared_ptr<const QuarantineNote> note;  ///< Quarantined.
    };
    std::vector<Part> parts;  ///< In the order of offsets, or as they were named.
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    Offset next = 0;          ///< Of `offsets`: so many were looked at. Of all: go on from here.
    bool is_end = false;      ///< Nothing more is to be moved.
    std::optional<commit::BlockRef> wanted;  ///< It has to be read before there is more.
};

class Subscription {
public:
    Subscription(const SubscriptionContext& context, SubscriptionSettings settings);
    ~Subscription() { forget_ruled(); }
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    [[nodiscard]] ReaderId id() const noexcept { return settings_.id; }
    [[nodiscard]] const SubscriptionSettings& settings() const noexcept { return settings_; }
    void set_settings(const SubscriptionSettings& settings) noexcept { settings_ = settings; }
    /// Named ones and that of a queue; not that of one link.
    [[nodiscard]] bool is_lasting() const noexcept { return settings_.id < first_link_reader; }
    [[nodiscard]] LogCursor& cursor() noexcept { return ready_.cursor(); }
    [[nodiscard]] const LogCursor& cursor() const noexcept { return ready_.cursor(); }
    /// The channel's options have changed.
    void options_changed();

    // --- Receivers ---------------------------------------------------------------------------------------------------

    void attach(Receiver& receiver);
    /// What it held goes back; the receiver can be destroyed.
    void detach(Receiver& receiver);
    /// All of them, with what they hold: the channel is about to be destroyed.
    void abandon_receivers() noexcept { receivers_.clear(); }
    /// Destroys what is in it, so many messages. True: there is nothing left. Nothing else may be called any more.
    bool dismantle(std::uint64_t& items);
    /// Its credit or slowness has changed.
    void refresh(Receiver& receiver);
    [[nodiscard]] const std::vector<Receiver*>& receivers() const noexcept { return receivers_; }
    void begin_drain();

    // --- Messages ----------------------------------------------------------------------------------------------------

    /// These batches with rules have become visible. Before the reader is given anything more it takes out the messages that do
    /// not take their turn: look_ahead().
    void add_ruled(std::span<StoredBatch* const> batches);
    /// Of a range of very many messages the first ones, as far as the work is limited: uses up a run of messages each, or a message
    /// where each has to be moved. Returns the rest, which is still in the receiver's hands: of no messages if that was all.
    [[nodiscard]] SettleRange settle(Receiver& receiver, const SettleRange& range, std::string_view note, std::uint64_t& work);
    /// Takes what the receiver holds of these ranges out of its hands for a step; false, and nothing is changed, if it does
    /// not hold all of it with these attempt numbers. `held`: the first offsets of what was taken, for finish_step().
    [[nodiscard]] bool begin_step(Receiver& receiver, std::span<const SettleRange> ranges, std::vector<Offset>& held);
    /// It is settled; or the receiver has it again, and if that is gone it goes back.
    void finish_step(std::span<const Offset> held, bool is_done);
    /// More has become visible.
    void messages_visible();
    /// Puts what came back, and what does not take its turn, where it belongs, for at most so many messages. False: there is more;
    /// until then the reader gets nothing, so that nothing overtakes.
    bool look_ahead(std::uint64_t& messages);
    [[nodiscard]] bool needs_dispatch() const noexcept;
    /// Gives what there is, as far as the budget allows; if that is not all it is woken again.
    void dispatch(StepBudget& budget);
    /// What time has brought, for at most so many messages, and when it will bring more.
    void tick(std::uint64_t& messages);
    /// Before any are dropped for lack of room: what is not wanted, or waits for its time, is not among those that nobody holds.
    void look_before_drop();
    /// The run that begins with the oldest of those that nobody holds, in memory or not; nothing if there are none.
    [[nodiscard]] std::optional<Run> oldest_ready() const;
    /// Forgets those that nobody holds and that have offsets below `end`, because there is no room.
    void drop_before(Offset end);
    /// Compaction has removed this message, which the subscription may have taken out of the log: it goes unless somebody has it,
    /// or it is in quarantine.
    void forget_removed(Offset offset);
    /// Retention is about to give this batch up: what is ready of it goes. What was put aside stays (in quarantine, or waiting
    /// for its time), and so does what receivers have, until it comes back.
    void forget_given_up(const StoredBatch& batch);
    /// A filter is asked about as much as may matter to `backlog_max`, for at most so many messages. False: there is more.
    bool look_at_backlog(std::uint64_t& messages);
    /// What is on the disk has to be read for that, or for fairness.
    [[nodiscard]] bool has_backlog_to_read() const noexcept {
        return (has_backlog_to_look_at() || looks_at_all()) && log_.fresh(cursor()) > 0 && log_.readable(cursor()) == 0;
    }
    /// Those that nobody holds beyond `backlog_max` go, the newest of them first, or the oldest.
    void keep_backlog_limit();
    /// With a filter, what it was not asked about does not count.
    [[nodiscard]] bool is_over_backlog() const noexcept {
        if (settings_.backlog_max == 0 || !ruled_.empty()) {
            return false;
        }
        return ready() - not_looked_at() > settings_.backlog_max;
    }
    /// Ready messages that the filter was not asked about: fresh ones, and after a restart others.
    [[nodiscard]] std::uint64_t not_looked_at() const noexcept {
        return filter_.matches_all() ? 0 : log_.fresh(cursor()) + ready_.awaited().unseen.messages();
    }

    // --- Administration ------------------------------------------------------------------------------------------------

    /// Everything that it holds and wants, before it is destroyed, of so many messages and batches. Nothing is noted. True: that
    /// were all, and its cursor is gone; else it is to be called again.
    [[nodiscard]] bool forget_some(std::uint64_t& items);
    /// From quarantine back to ready, with the first attempt: those of these that are there. How many it were.
    std::uint64_t retry(std::span<const Offset> offsets);
    /// Forgets those of these that are in this state, which is not `in_flight`: behind the first `sweep.next` of them, and until a
    /// block is needed that is not in memory. How many it were.
    std::uint64_t drop(MessageState state, std::span<const Offset> offsets, Sweep& sweep);
    /// Both for all messages of a sweep, a step, which uses up at most so many runs of messages. How many messages it were.
    std::uint64_t retry_some(Sweep& sweep, std::uint64_t& runs);
    std::uint64_t drop_some(MessageState state, Sweep& sweep, std::uint64_t& runs);
    /// Takes messages out, the first that are wished for: nobody gets them before `finish_move`.
    [[nodiscard]] MoveStep begin_move(const MoveWish& wish);
    /// A message that was taken out is in another channel and forgotten here; or else it is again what it was.
    void finish_move(Offset offset, bool is_moved);
    /// Where messages are that are not in their place in the log, in the order of offsets from `from` on: all up to some
    /// offset, about `limit` runs.
    struct Entry {
        Run run;
        MessageState state = MessageState::ready;
        WallTime due{};
        std::shared_ptr<const QuarantineNote> note;
        const Receiver* receiver = nullptr;
    };
    [[nodiscard]] std::vector<Entry> entries(std::optional<MessageState> state, Offset from, std::size_t limit) const;
    [[nodiscard]] std::optional<Entry> find(Offset offset) const;
    /// Adds the runs with offsets first .. end - 1 that are in quarantine, wait for a time or behind a busy key, or are ready and
    /// not in memory, to be changed.
    void add_at_rest(Offset first, Offset end, std::vector<Run*>& runs);
    [[nodiscard]] bool has_at_rest(Offset offset) const noexcept {
        return quarantine_.contains(offset) || schedule_.find(offset) != nullptr || ready_.is_resting(offset) ||
               keys_->is_waiting(offset);
    }
    /// Of this batch, which is in memory and visible: how many ready messages would rest if they were placed; and places them. A
    /// filter is asked about those that it was not asked about. Not where messages are given by key, nor what a fair channel has
    /// not looked at.
    [[nodiscard]] std::uint64_t placeable(StoredBatch& batch) const;
    void place(StoredBatch& batch);
    /// A block with these messages is in memory again: what was awaited of it can be given.
    void block_arrived(Offset first, Offset end);
    /// The same of one that ends: what it holds of them is only counted.
    void count_at_rest(Offset first, Offset end) noexcept;
    /// Blocks that have to be read next for what is ready, in the order in which it is given, or will be soon: as far as `bytes`
    /// reach together with what is ready in memory, at most so many, without those under way; one at least if nothing else can be
    /// given. `is_memory_short`: nothing is read ahead of its time, and for what is late only while receivers hold little: whatever
    /// they hold may keep a whole block.
    [[nodiscard]] std::vector<StoredBlock*> awaited_blocks(std::uint64_t bytes, std::size_t blocks_max, bool is_memory_short) const;
    /// Adds the runs of this batch that it holds, in no order.
    void add_held(const StoredBatch& batch, std::vector<Run>& held) const;

    // --- Questions -----------------------------------------------------------------------------------------------------

    /// Messages that nobody holds and whose time has come, also those behind a busy key.
    [[nodiscard]] std::uint64_t ready() const noexcept { return ready_.total() + keys_->messages(); }
    [[nodiscard]] std::uint64_t delayed() const noexcept { return schedule_.messages(); }
    [[nodiscard]] std::uint64_t quarantined() const noexcept { return quarantine_.size(); }
    /// With receivers, on their way back from them or to another channel, or about to be settled by a step.
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return in_flight_ + moving_messages_; }
    [[nodiscard]] const SubscriptionCounters& counters() const noexcept { return *counters_; }
    /// Times to live that are looked after: of all messages here that have one, and of some that are gone.
    [[nodiscard]] std::size_t expiries() const noexcept { return expiries_.size(); }
    [[nodiscard]] bool wants_messages() const noexcept { return dispatcher_.has_candidates(); }
    /// Also when it wants nothing now: others were given while something was late, whose turn comes next.
    [[nodiscard]] bool wants_awaited() const noexcept {
        return wants_messages() || owes_late_ || (looks_at_all() && ready_.has_unseen());
    }
    [[nodiscard]] bool is_blocked_on_disk() const noexcept {
        return ready_.count() == 0 && !ready_.has_placed_here() &&
               (ready_.has_resting() || (log_.fresh(cursor()) > 0 && log_.readable(cursor()) == 0));
    }
    [[nodiscard]] const Wait& head_wait() const noexcept { return head_wait_; }
    void note_head_wait();
    /// A ready message whose key is with another one.
    [[nodiscard]] bool is_behind_key(Offset offset) const noexcept { return keys_->is_waiting(offset); }
    /// Its backlog is at its limit, and nobody may send until it is smaller.
    [[nodiscard]] bool holds_up_senders() const noexcept {
        return is_over_backlog() && settings_.overflow == Overflow::block;
    }
    [[nodiscard]] Offset oldest_offset() const noexcept;
    /// The subscription that has it to itself, if one has.
    [[nodiscard]] bool is_exclusive() const noexcept { return context_.options->is_exclusive || exclusive_receivers_ > 0; }
    /// For ReaderTurns.
    [[nodiscard]] ReaderTurn& turn() noexcept { return turn_; }
    [[nodiscard]] bool is_ordered() const noexcept { return context_.options->is_ordered_by_key; }

    // --- Durable channels ------------------------------------------------------------------------------------------------

    [[nodiscard]] ReaderNotes& notes() noexcept { return notes_.edit(); }
    [[nodiscard]] bool has_notes() const noexcept { return is_noting_ && notes_->is_needed(cursor().offset()); }
    /// The reader's state is saved: from now on changes are noted.
    void begin_notes() noexcept {
        is_noting_ = true;
        notes_.edit().reader = settings_.id;
        notes_.edit().written_cursor = cursor().offset();
    }
    /// For a saved state with this cursor, which is the reader's or was: adds to `saved` what is different about the messages with
    /// offsets from `from` on and below `end`, as far as the budget of runs of messages allows. Returns where to go on; `end`: it
    /// is all.
    [[nodiscard]] Offset add_entries(std::vector<ReaderEntry>& saved, Offset cursor, Offset from, Offset end,
                                     std::uint64_t& budget) const;
    /// These messages are given up: of those that wait for their time it is noted that the reader has them still.
    void note_waiting(Offset first, Offset end);
    /// About how many of them are of one message each.
    [[nodiscard]] std::size_t single_entries() const noexcept {
        return schedule_.waiting().size() + quarantine_.size() + keys_->messages() + cursor().skipped().size();
    }
    /// Restoring. `newest`: the time of the newest message: until then the broker was there.
    void begin_restore(WallTime newest) noexcept { present_until_ = newest; }
    void end_restore() {
        present_until_.reset();
        note_next_due();
    }
    /// Messages of a restored batch that this reader wants and has behind its cursor, or picked. In the order of offsets.
    void restore(const ReaderEntry& entry, StoredBatch& batch, Offset first, Offset end);
    /// Before that, with order by key: the key of a message that waits to be tried again and will not be in memory.
    void restore_key(Offset offset, std::uint64_t key) { keys_.edit().set_away(offset, key); }
    /// Gives it up: it holds nothing, and the log is cleared.
    void clear() noexcept;

private:
    // For the channel: something is to be given, to be noted, to be done later.
    void wake() {
        may_dispatch_ = true;
        context_.turns.wake(*this);
    }
    void note_change() { is_noting_ ? context_.turns.note_change(*this) : void(); }
    void note_due(MonotonicTime at) { context_.turns.note_due(*this, at); }
    void note_next_due();
    void note_lease_end(std::uint32_t end);
    [[nodiscard]] bool has_age_limit() const noexcept {
        return context_.options->age_max > Duration{} && context_.options->kind != Kind::stream;
    }
    void put_off(const Run& message, const Schedule::Due& due, bool has_key);
    [[nodiscard]] bool may_rest(const Run& active);
    void admit_due(const Run& message, bool has_key);

    void apply_options();
    void begin_order();

    // Receivers.
    void refresh_all();

    // The way to ready.
    /// How far: until there is something to give, or to the end.
    enum class Reach : bool { as_wanted, everything };
    void absorb(std::uint64_t& budget, Reach reach = Reach::as_wanted);
    [[nodiscard]] bool can_absorb() const noexcept {
        return ready_.is_absorbing() && (is_unseen_next() ? ready_.has_unseen_here() : log_.readable(cursor()) > 0);
    }
    /// The lower offset first.
    [[nodiscard]] bool is_unseen_next() const noexcept { return ready_.first_unseen() < cursor().offset(); }
    /// Of a fair channel, also while its receivers have all that they asked for: whoever always takes the next one of the tenants
    /// that are known would keep back the others.
    [[nodiscard]] bool looks_at_all() const noexcept { return ready_.is_fair() && !receivers_.empty() && !is_draining_; }
    void absorb_unseen(std::uint64_t& bytes);
    template <class Wants>
    void absorb_head(std::uint64_t& budget, std::uint64_t& bytes, Wants wants);
    [[nodiscard]] bool absorb_before_giving(std::uint64_t& budget);
    void route(const Run& message, const MessageView& view);
    void admit(const Run& message, Bytes properties);
    void admit_arrived(const Run& message);
    [[nodiscard]] bool is_late(const Run& message, const MessageRules& rules) const noexcept;
    void come_back(Run run);
    void come_back_whole(Run run);
    void come_back_later(Ring<Run> runs);
    bool take_back(std::uint64_t& messages);
    bool take_ruled(std::uint64_t& messages);
    void forget_ruled() noexcept;
    [[nodiscard]] std::optional<Run> take_any();
    template <class Keep>
    void keep_what_stays(Run run, Keep keep);
    void make_ready(const Run& run);
    void put_if_young(const Run& run);
    [[nodiscard]] bool matches(Bytes properties) const noexcept;

    // Away.
    /// Whether a message is the one of its key that the others wait for. It is not before it is admitted, and not in quarantine.
    enum class Key : bool { free, held };
    void forget(const Run& run, Key key);
    void release_keys(const Run& run);
    void release_key(std::uint64_t key);
    void quarantine(const Run& run, QuarantineReason reason, std::string_view note, const Receiver* receiver, Key key);
    void expire(const Run& run, Key key);
    void note_drop(Offset first, std::uint64_t count);
    void note_drops(const Run& run, bool is_fresh, std::vector<Run>& drops) const;
    /// It seems to be over its limit, and what is known to be wanted is not.
    [[nodiscard]] bool has_backlog_to_look_at() const noexcept {
        return settings_.backlog_max > 0 && !filter_.matches_all() && ready() > settings_.backlog_max && !is_over_backlog();
    }
    std::uint64_t absorb_some(std::uint64_t messages);
    void drop_oldest(std::uint64_t count);
    void drop_newest(std::uint64_t count);
    [[nodiscard]] bool has_attempts_left(const Run& run) const noexcept;
    [[nodiscard]] Duration back_off(std::uint32_t attempt) noexcept;
    void retry_later(Run run, const Schedule::Due& due);
    void note_entry(const Run& run, ReaderEntryKind kind, WallTime due = {},
                    std::shared_ptr<const QuarantineNote> note = {});

    // Time.
    [[nodiscard]] std::optional<Duration> life_left(const Run& message) const noexcept;
    void schedule_expiry(const Run& message);
    void schedule_own_expiry(const Run& message);
    void add_expiry(Offset offset, Duration left);
    [[nodiscard]] Schedule::Now now() const noexcept { return {context_.clock.now(), context_.clock.wall_now()}; }
    bool release_due(std::uint64_t& budget);
    bool end_rests(std::uint64_t& budget);
    [[nodiscard]] bool may_leave(const Run& message) const noexcept;
    bool admit_late(std::uint64_t& messages);
    void admit_placed(std::uint64_t& messages);
    [[nodiscard]] bool can_admit_placed() const noexcept {
        return ready_.has_placed_here() && (ready_.count() == 0 || ready_.is_fair());
    }
    void place_one(Run message);
    void prepare_place(Run& message) const noexcept;
    /// In a fair channel that needs memory what is ready is placed at once: everything is looked at before its turn comes.
    [[nodiscard]] bool is_placed_at_once(const Run& message) const noexcept;
    void forget_wanted() noexcept;
    void end_leases();
    bool expire_due(std::uint64_t& budget);
    [[nodiscard]] std::optional<Run> head_with_age() const;
    bool expire_old(std::uint64_t& budget);
    bool expire_old_ready(std::uint64_t& budget);
    bool expire_old_behind_keys(std::uint64_t& budget);
    [[nodiscard]] std::optional<Duration> time_left(const Run& run) const noexcept;
    [[nodiscard]] bool lives_on(const Run& run);
    void note_age_check();
    /// Not in their places in the log, and ready.
    [[nodiscard]] bool has_taken_to_check() const noexcept { return ready_.taken() > 0 || keys_->messages() > 0; }

    [[nodiscard]] WaitReason head_reason() const noexcept;
    struct Chosen {
        Run run;
        Key key;
    };
    [[nodiscard]] std::optional<Chosen> take_chosen(MessageState state, Offset offset, Sweep& sweep);
    [[nodiscard]] std::optional<Chosen> take_held(MessageState state, Offset offset);
    bool retry_one(Offset offset);
    void put_retried(const Run& message);
    /// What is ready and not in memory has not been admitted, unless its key became free while it was not.
    [[nodiscard]] Key key_of_ready(const Run& run) const noexcept {
        const bool is_admitted = run.batch->is_resident ? !run.is_unseen : keys_->is_away(run.first);
        return is_admitted && !run.is_placed ? Key::held : Key::free;
    }
    /// Nor has what waits and is not in memory.
    [[nodiscard]] Key key_of_waiting(const Schedule::Waiting& waiting) const noexcept {
        return waiting.has_key && !waiting.run.is_keyless ? key_of_ready(waiting.run) : Key::free;
    }
    [[nodiscard]] std::optional<Chosen> take_ready_before(Sweep& sweep);
    [[nodiscard]] std::optional<Chosen> take_oldest_before(Offset end);
    std::uint64_t drop_ready(Sweep& sweep, std::uint64_t& runs);
    [[nodiscard]] std::optional<Offset> next_of(MessageState state, Offset from) const noexcept;

    // Moving.
    struct Moving {
        Run run;
        MessageState state = MessageState::ready;
        Key key = Key::free;
        Schedule::Due due;  // Delayed.
        std::shared_ptr<const QuarantineNote> note;
        LinkAddress receiver{};  // In flight: a step has taken it from this one.
    };
    void begin_move_of_all(const MoveWish& wish, MoveStep& step);
    [[nodiscard]] bool move_fresh(const MoveWish& wish, Offset end, MoveStep& step);
    [[nodiscard]] bool move_one(const MoveWish& wish, Offset offset, MoveStep& step);
    void note_unseen(MoveStep& step) const;
    void take_out(const Run& message, MessageState state, MoveStep& step);
    void add_moving(Moving moving, MoveStep& step);
    void put_back(const Moving& moving);
    [[nodiscard]] std::vector<ReaderEntry> held_entries(Offset from, std::uint64_t& budget, Offset& end) const;
    void restore_waiting(const Run& message, Bytes properties, WallTime due);
    void restore_at_rest(const ReaderEntry& entry, const Run& message);
    void restore_active_at_rest(Run message, WallTime due);
    void restore_placed(const ReaderEntry& entry, Run message);

    SubscriptionContext context_;
    ReaderTurn turn_;
    MessageLog& log_;
    SubscriptionSettings settings_;
    KeyFilter filter_;
    ReadyMessages ready_;
    OnDemand<KeyOrder> keys_;
    Schedule schedule_;
    struct Quarantined {
        Run run;
        std::shared_ptr<const QuarantineNote> note;
    };
    void put_into_quarantine(const Run& message, std::shared_ptr<const QuarantineNote> note);
    [[nodiscard]] std::optional<Quarantined> take_out_of_quarantine(Offset offset);
    OnDemandMap<std::map<Offset, Quarantined>> quarantine_;  // One message each.
    OnDemandMap<std::map<Offset, Moving>> moving_;           // By their first offsets. In flight: of steps.
    std::uint64_t moving_messages_ = 0;
    Dispatcher dispatcher_;
    std::vector<Receiver*> receivers_;  // In the order in which they were attached.
    std::uint32_t exclusive_receivers_ = 0;
    std::uint64_t in_flight_ = 0;  // Of all receivers.

    struct Expiry {
        MonotonicTime at{};
        Offset offset = 0;
        [[nodiscard]] bool operator<(const Expiry& other) const noexcept {  // For a heap with the earliest first.
            return at > other.at;
        }
    };
    std::vector<Ring<Run>> coming_back_;  // Out of their receivers' hands, each in the order of offsets; counted as in flight.
    OnDemandRing<StoredBatch*> ruled_;    // Pinned, not looked at yet;
    Cut ruled_done_;                      // of the first one so much is.

    WaitingHeap<Expiry> expiries_;      // Of messages with a TTL; may be settled meanwhile.
    std::uint32_t next_lease_end_ = UINT32_MAX;  // None ends before it.
    std::size_t expiry_turn_ = 0;       // Which of them is looked at next, whether it matters any more.
    std::size_t lease_turn_ = 0;                 // Whose leases are looked at next, when it takes several steps;
    std::uint32_t earliest_lease_end_ = UINT32_MAX;  // none of those before it ends before this.
    MonotonicTime next_age_check_{};
    Offset age_check_from_ = 0;  // Where it goes on.

    OnDemand<ReaderNotes> notes_;
    bool is_noting_ = false;
    bool was_ordered_ = false;  // When the options were looked at last.
    std::optional<WallTime> present_until_;  // While it is restored.
    bool is_draining_ = false;
    bool has_left_ = false;  // Its cursor is gone.
    bool may_dispatch_ = true;  // Something has changed since the last dispatch.
    Wait head_wait_;
    struct Scratch {
        Settlement settlement;      // During settle only.
        std::vector<Run> released;  // Their keys are free now; during release_keys only.
    };
    OnDemand<Scratch> scratch_;
    bool is_releasing_ = false;
    bool owes_late_ = false;
    Offset absorb_until_ = 0;  // At once: something in front of it has a time.
    Offset absorb_goal_ = 0;        // Where the channel is fair: what is in front of it is looked at before more is given.
    OnDemand<SubscriptionCounters> counters_;
};

/// How long ago it was accepted.
[[nodiscard]] Duration age_of(const StoredBatch& batch, const Clock& clock) noexcept;
/// The properties of a run of one message; empty if it has none.
[[nodiscard]] Bytes properties_of(const Run& message) noexcept;

}  // namespace baton::channel

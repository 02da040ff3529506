// Messages: publish (decide and store), settle, dispatch. Links and life are in channel.cpp.
#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

namespace {

// Readers that are visited in one step. More of them are told of new messages over several.
constexpr std::size_t readers_per_step = 512;
// Readers that are asked why they wait with every settlement. Of more of them the clock pulse asks.
constexpr std::size_t readers_noted_at_once = 16;
// Of one receiver; whoever sends more has all of them applied at once.
constexpr std::size_t late_settlements_max = 16'384;
// A reader that has little to do at a time.
constexpr std::size_t due_per_step = 2048;
// Of what they have to do: 1 to 2 ms where nobody has looked at it for long, as with the first of a million. The rest of a step is
// for what is ready.
constexpr std::uint64_t due_messages_per_step = StepBudget::messages_max / 4;
/// What one step may look at and copy, a millisecond or so. Where there are more readers and receivers nobody is asked at all.
constexpr std::uint64_t remnants_budget = 4096;
constexpr std::size_t holders_asked_max = 16'384;

}  // namespace

// --- Publish ---------------------------------------------------------------------------------------------------------

void Channel::publish(const LinkAddress& link, std::uint64_t first_sequence, Payload batch, bool is_assembled) {
    Sender* sender = find_sender(link);
    if (sender == nullptr || sender->is_rejected) {
        return;  // Closed meanwhile; the peer learns it from the close.
    }
    const auto header = decode_batch_header(batch.bytes());
    if (!header || header->messages_size != batch.size() - batch_header_size || (is_assembled && header->count != 1)) {
        return close_sender(*sender, Errc::bad_batch);
    }
    if (!gate_.use(*sender, is_assembled ? Credit{1, 0} : Credit{header->count, batch.size()})) {
        return close_sender(*sender, Errc::over_credit);
    }
    if (journal_ != nullptr && journal_->log().condition() == commit::Condition::failed) {
        return close_sender(*sender, Errc::storage_failed);
    }
    if (first_sequence == 0 || first_sequence > std::numeric_limits<std::uint64_t>::max() - header->count) {
        return close_sender(*sender, Errc::sequence_gap);
    }
    if (sender->accepts_any_start) {
        sender->accepts_any_start = false;
        sender->decided = sender->received = first_sequence - 1;
    }
    if (first_sequence - 1 > sender->received) {
        if (!sender->accepts_gap) {
            return close_sender(*sender, Errc::sequence_gap);
        }
        sender->decided = sender->received = first_sequence - 1;
    }
    const std::uint64_t last_sequence = first_sequence + header->count - 1;
    if (sender->accepts_gap && last_sequence > sender->received) {
        sender->accepts_gap = false;
    }
    sender->sent = std::max(sender->sent, last_sequence);
    tell_again(*sender, first_sequence, last_sequence);
    take_in(*sender, {.sender = sender,
                      .first_sequence = first_sequence,
                      .count = header->count,
                      .crc32c = header->crc32c,
                      .flags = header->flags,
                      .messages = batch.slice(batch_header_size, header->messages_size)});
    if (sender->decided >= first_sequence) {
        intake_.confirm(*sender);
    }
    if (journal_ == nullptr) {
        messages_visible();
    }
    gate_.examine(*sender, room(), ready_count(), clock_.now());
    state_changed();
}

// Readers whose place is at the end may go on; messages that do not take their turn are taken out.
void Channel::messages_visible() {
    if (options_->kind == Kind::stream) {
        compact();  // First: it may make the room that is needed.
        trim_at_once();
    }
    if (log_.has_ruled()) {
        give_ruled(log_.take_ruled());
    }
    wake_readers();
}

// A part of what there is to do; the rest in the next turn.
void Channel::compact() {
    if (!has_to_compact()) {
        return;
    }
    compaction_->look(compaction_budget());
    wake_readers();  // What they would have been given next may be gone.
}

// Messages in one step: each that is removed costs something for every reader.
std::uint64_t Channel::compaction_budget() const noexcept {
    constexpr std::uint64_t readers_at_once = 16;
    constexpr std::uint64_t messages_max = 1024;
    constexpr std::uint64_t messages_min = 16;
    return std::max(messages_min, messages_max * readers_at_once / (readers_at_once + readers_.size()));
}

void Channel::on_removed(Offset offset) {
    if (journal_ != nullptr) {
        add_range(noted_removed_, offset, offset + 1);
    }
    for (const auto& reader : readers_) {
        reader->forget_removed(offset);
    }
}

void Channel::wake_readers() {
    fan_out_left_ = readers_.size();
    may_dispatch_ = true;
    if (readers_.size() <= readers_per_step) {
        std::uint64_t at_once = StepBudget::messages_at_once;
        fan_out(at_once);
    }
}

// In a circle, so that nobody is last each time. Ends with who has more to look at than the step allows.
void Channel::fan_out(std::uint64_t& messages) {
    std::vector<Subscription*> too_slow;
    for (std::size_t step = readers_per_step; step > 0 && fan_out_left_ > 0; --step, --fan_out_left_) {
        fan_out_next_ = fan_out_next_ < readers_.size() ? fan_out_next_ : 0;
        Subscription& reader = *readers_[fan_out_next_];
        reader.messages_visible();
        if (!reader.look_ahead(messages)) {
            break;
        }
        const bool is_looked_at = reader.look_at_backlog(messages);
        keep_backlog_limit(reader, too_slow);
        if (!is_looked_at) {
            break;
        }
        ++fan_out_next_;
    }
    for (Subscription* reader : too_slow) {
        cut_off(*reader);
    }
}

void Channel::keep_backlog_limit(Subscription& reader, std::vector<Subscription*>& too_slow) {
    if (reader.is_over_backlog()) {
        reader.keep_backlog_limit();
        reader.settings().overflow == Overflow::disconnect ? too_slow.push_back(&reader) : void();
    }
}

void Channel::give_ruled(const std::vector<StoredBatch*>& batches) {
    for (const auto& reader : readers_) {
        reader->add_ruled(batches);
    }
}

// Its receivers are too slow for it. Those of one link take it along.
void Channel::cut_off(Subscription& reader) {
    const std::vector<Receiver*> receivers = reader.receivers();
    for (Receiver* receiver : receivers) {
        end_receiver(*receiver, Errc::slow_subscriber);
    }
}

// Of what comes again, refusals: as duplicates they would be confirmed. What a link sends first says what the producer has
// heard of; later on the link may end before it hears more.
void Channel::tell_again(Sender& sender, std::uint64_t first, std::uint64_t last) {
    if (sender.producer == nullptr) {
        return;
    }
    auto& refused = sender.producer->refused;
    if (!std::exchange(sender.has_published, true)) {
        std::erase_if(refused, [&](const Refusal& refusal) { return refusal.first + refusal.count <= first; });
    }
    for (const Refusal& refusal : refused) {
        const std::uint64_t begin = std::max(refusal.first, first);
        const std::uint64_t end = std::min(refusal.first + refusal.count, last + 1);
        if (begin < end) {
            intake_.tell_refusal(sender, {begin, static_cast<std::uint32_t>(end - begin), refusal.reason});
        }
    }
}

// Drops what was received before, then decides or parks the rest. A duplicate of a parked message is dropped, too, and
// confirmed when the parked one is.
void Channel::take_in(Sender& sender, Pending pending) {
    const std::uint64_t known = sender.received - (pending.first_sequence - 1);
    if (known >= pending.count) {
        duplicates_ += pending.count;
        return;
    }
    if (known > 0) {
        duplicates_ += known;
        pending.drop_front(cut_count(pending.messages.bytes(), static_cast<std::uint32_t>(known)));
    }
    sender.received = pending.first_sequence + pending.count - 1;
    if (is_draining_) {
        intake_.refuse(pending, Errc::draining);
    } else if (journal_ != nullptr && journal_->log().condition() == commit::Condition::full) {
        intake_.refuse(pending, Errc::disk_full);
    } else {
        intake_.offer(std::move(pending));
    }
}

void Channel::close_sender(Sender& sender, Errc reason) {
    end_sender(sender, reason);
    room_changed();
}

// --- Settle ----------------------------------------------------------------------------------------------------------

void Channel::settle(const LinkAddress& link, std::span<const SettleRange> ranges, std::uint64_t receipt,
                     std::string_view note, std::uint64_t work) {
    Receiver* receiver = find_receiver(link);
    if (receiver == nullptr || receiver->ending) {
        return;
    }
    auto& late = receiver->late_settlements;
    const bool was_late = !late.empty();
    std::shared_ptr<const std::string> kept;
    for (const SettleRange& range : ranges) {
        const SettleRange rest = late.empty() ? receiver->subscription->settle(*receiver, range, note, work) : range;
        if (rest.count > 0) {
            if (!kept) {
                kept = std::make_shared<const std::string>(note);
            }
            late.push_back({.range = rest, .note = kept});
        }
    }
    if (receipt != 0) {
        late.empty() ? answer_receipt(link, receipt) : late.push_back({.range{}, .receipt = receipt});
    }
    if (late.size() > late_settlements_max) {
        settle_all_late(*receiver);
    } else if (!was_late && !late.empty()) {
        settling_.push_back(link);
    }
    room_changed();
}

void Channel::answer_receipt(const LinkAddress& link, std::uint64_t receipt) {
    if (journal_ != nullptr) {
        journal_->answer_later(link, receipt);
    } else {
        events_.settled(link, receipt);
    }
}

// In their order, as far as the work is limited.
void Channel::settle_late(Receiver& receiver, std::uint64_t& work) {
    auto& late = receiver.late_settlements;
    while (!late.empty()) {
        LateSettlement& first = late.front();
        if (first.receipt != 0) {
            answer_receipt(receiver.address, first.receipt);
        } else if (work > 0) {
            first.range = receiver.subscription->settle(receiver, first.range, *first.note, work);
        }
        if (first.range.count > 0) {
            return;
        }
        late.pop_front();
    }
    std::erase(settling_, receiver.address);
    if (receiver.ending) {
        remove_receiver(receiver, *receiver.ending);
    }
}

// Nobody will ask what became of these messages. Receipts are answered.
void Channel::drop_late(Receiver& receiver) {
    auto& late = receiver.late_settlements;
    for (; !late.empty(); late.pop_front()) {
        late.front().receipt != 0 ? answer_receipt(receiver.address, late.front().receipt) : void();
    }
    std::erase(settling_, receiver.address);
}

void Channel::settle_all_late(Receiver& receiver) {
    if (!receiver.late_settlements.empty()) {
        std::uint64_t all = UINT64_MAX;
        settle_late(receiver, all);
    }
}

void Channel::settle_some(std::uint64_t& work) {
    if (settling_.empty()) {
        return;
    }
    while (!settling_.empty() && work > 0) {
        settle_late(*find_receiver(settling_.front()), work);
    }
    room_changed();
}

// --- Dispatch --------------------------------------------------------------------------------------------------------

void Channel::set_credit(const LinkAddress& link, Credit limit) {
    if (Receiver* receiver = find_receiver(link)) {
        receiver->limit = limit;
        receiver->subscription->refresh(*receiver);
        state_changed();
    }
}

void Channel::set_slow(const LinkAddress& link, bool is_slow) {
    if (Receiver* receiver = find_receiver(link)) {
        receiver->is_slow = is_slow;
        receiver->subscription->refresh(*receiver);
        state_changed();
    }
}

// Whoever knows that a message is in the channel (a confirm as received, a step that was answered) and looks whether it
// is empty shall not hear that it is, only because it is not on the disk yet. What no write is under way for does not
// come soon.
std::uint64_t Channel::coming_from_disk() const noexcept {
    return journal_ != nullptr && journal_->log().condition() == commit::Condition::open ? log_.uncommitted() : 0;
}

void Channel::query(const LinkAddress& link) {
    dispatch();
    if (const Receiver* receiver = find_receiver(link)) {
        const Subscription& reader = *receiver->subscription;
        const std::uint64_t coming = coming_from_disk();
        Wait wait = receiver->wait;
        if (wait.reason == WaitReason::empty && reader.is_blocked_on_disk()) {
            wait.reason = WaitReason::loading;
        } else if (wait.reason == WaitReason::empty && coming > 0) {
            wait.reason = WaitReason::committing;
        }
        events_.state(link, {wait, reader.ready() + coming, receiver->in_flight.messages(), reader.delayed()});
    } else if (const Sender* sender = find_sender(link)) {
        std::uint64_t delayed = 0;
        for (const auto& reader : readers_) {
            delayed = std::max(delayed, reader->delayed());
        }
        events_.state(link, {sender->wait, ready(), 0, delayed});
    }
}

// Who was woken first goes first, and behind all the others when it was stopped: a step that does not come to the end goes on
// there.
void Channel::dispatch(StepBudget& budget) {
    compact();
    settle_some(budget.messages);
    if (has_due_) {
        tick_due(budget.messages);
    }
    give(budget);
    if (has_due_) {
        budget.messages = 0;  // A step that is used up is followed by another turn.
    }
}

void Channel::give(StepBudget& budget) {
    if (has_to_trim_) {
        trim(budget.messages);
    }
    if (!leaving_.empty()) {
        forget_leaving(budget.messages);
        room_changed();
    }
    if (!may_dispatch_ || is_draining_) {
        return;
    }
    fan_out(budget.messages);
    for (std::size_t woken = turns_.woken(); woken > 0 && !budget.is_spent(); --woken) {
        turns_.take_woken().dispatch(budget);
    }
    turns_.drop_idle();
    may_dispatch_ = fan_out_left_ > 0 || turns_.woken() > 0;
    note_head_wait();
}

void Channel::tick() {
    const MonotonicTime now = clock_.now();
    if (options_->producer_retention <= now.time_since_epoch()) {
        producers_.forget_detached_before(now - options_->producer_retention);
    }
    dedupe_.forget_old(now);
    std::uint64_t messages = StepBudget::messages_max;
    const bool has_ticked = tick_due(messages);
    trim(messages);
    if (compaction_ && !is_draining_ && damage().empty()) {
        compaction_->tick(compaction_budget());
    }
    pack_remnants();
    apply_parked();
    gate_.examine_short(room(), ready_count(), now);
    turns_.drop_idle();
    may_dispatch_ = may_dispatch_ || turns_.woken() > 0;
    if (!is_head_noted_) {
        note_head_wait_now();
    } else if (has_ticked && !needs_dispatch()) {
        note_head_wait();  // What waited for its time is ready, perhaps for nobody.
    }
}

// What is due together and is more than one step does goes on with the next turn. True: something was due.
bool Channel::tick_due(std::uint64_t& messages) {
    const MonotonicTime now = clock_.now();
    std::uint64_t part = std::min(messages, due_messages_per_step);
    messages -= part;
    bool has_ticked = false;
    std::vector<Subscription*> too_slow;
    for (std::size_t left = due_per_step; left > 0 && part > 0; --left) {
        Subscription* reader = turns_.take_due(now);
        if (reader == nullptr) {
            break;
        }
        has_ticked = true;
        reader->tick(part);
        keep_backlog_limit(*reader, too_slow);
    }
    has_due_ = part == 0;
    messages += part;
    for (Subscription* reader : too_slow) {
        cut_off(*reader);
    }
    return has_ticked;
}

void Channel::pack_remnants(const MessageLog::RemnantLimits& limits) {
    const std::size_t all = readers_.size() + leaving_.size() + receivers_.size();
    if (all > holders_asked_max) {
        return;
    }
    std::uint64_t budget = remnants_budget;
    log_.pack_remnants(limits, budget, [&](const StoredBatch& batch, std::vector<Run>& held) {
        visit_holders([&](const Subscription& reader) { reader.add_held(batch, held); });
        const std::uint64_t looked_at = options_->fair_by.empty() ? 0 : batch.count;
        budget -= std::min<std::uint64_t>(budget, all + held.size() + looked_at);
    });
}

// Memory, and blocks that are to be read, become free without a word to this channel.
MonotonicTime Channel::next_pulse() const noexcept {
    if (intake_.parked_messages() > 0 || gate_.has_short() || compaction_ || !is_head_noted_ || may_want_blocks() ||
        log_.has_remnants_to_pack()) {
        return {};
    }
    MonotonicTime next = std::min(turns_.next_due(), dedupe_.next_end());
    if (options_->kind == Kind::stream && options_->age_max > Duration{} && log_.oldest_kept() != nullptr) {
        next = std::min(next, clock_.now() + (options_->age_max - age_of(*log_.oldest_kept(), clock_)));
    }
    return next;
}

// --- Limits ------------------------------------------------------------------------------------------------------------

// A stream gives its oldest messages up, batch by batch. They are small beside its limits (Intake::fitting), or older than
// these; so the last one stays, rather than that nothing does.
void Channel::trim(std::uint64_t& batches) {
    has_to_trim_ = false;
    if (options_->kind != Kind::stream) {
        return;
    }
    for (const StoredBatch* oldest = log_.oldest_kept(); oldest != nullptr && oldest->end() <= log_.visible_end();
         oldest = log_.oldest_kept()) {
        const bool is_old = options_->age_max > Duration{} && age_of(*oldest, clock_) >= options_->age_max;
        const bool is_too_much =
            log_.messages() > options_->messages_max || log_.bytes() > options_->bytes_max || presses_on_memory();
        if (!is_old && (!is_too_much || log_.messages() == oldest->live())) {
            return;
        }
        if (batches == 0) {
            has_to_trim_ = true;
            return;
        }
        // Each reader is asked what it has of it.
        constexpr std::uint64_t readers_per_batch = 4;
        const std::uint64_t work = 1 + (oldest->held > 0 ? readers_.size() / readers_per_batch : 0);
        batches -= std::min(batches, work);
        trimmed_ += trim_oldest();
    }
}

void Channel::trim_at_once() {
    std::uint64_t at_once = StepBudget::messages_at_once;
    trim(at_once);
}

// How many messages went with it.
std::uint64_t Channel::trim_oldest() {
    const StoredBatch& oldest = *log_.oldest_kept();
    if (journal_ != nullptr && oldest.cursors > 0) {
        note_places();
    }
    if (journal_ != nullptr && oldest.has_rules) {
        for (const auto& reader : readers_) {
            reader->note_waiting(oldest.base, oldest.end());
        }
    }
    if (oldest.held > 0) {
        for (const auto& reader : readers_) {
            reader->forget_given_up(oldest);
        }
    }
    const std::uint64_t messages = oldest.live();
    log_.trim_oldest();
    return messages;
}

// A stream in memory that is among those that fill it: nothing else would ever make room there.
bool Channel::presses_on_memory() const noexcept {
    return journal_ == nullptr && log_.bytes() > budget_.limit() / 16 && !budget_.can_overdraw(budget_.limit() / 8);
}

// The oldest messages of the channel go, for each reader that has not been given them: below an offset all, and no more than are
// in the way. Not of a subscription because of another one that is slower: its older ones are in nobody's way.
std::uint64_t Channel::make_room(std::uint64_t messages, std::uint64_t bytes) {
    const std::uint64_t before = log_.messages();
    std::uint64_t all = UINT64_MAX;
    forget_leaving(all);  // That is room, too.
    if (log_.has_ruled()) {
        give_ruled(log_.take_ruled());  // They came a moment ago.
    }
    for (const auto& reader : readers_) {
        reader->look_before_drop();
    }
    const auto missing = [&]() -> std::uint64_t {
        if (log_.messages() + messages > options_->messages_max) {
            return log_.messages() + messages - options_->messages_max;
        }
        return log_.bytes() + bytes > options_->bytes_max ? 1 : 0;
    };
    if (log_.front() != nullptr) {
        recount(*log_.front());
    }
    for (std::uint64_t count = missing(); count > 0 && droppable() > 0; count = missing()) {
        const auto oldest = oldest_ready();
        if (!oldest) {
            break;
        }
        StoredBatch& batch = *oldest->batch;
        if (recount(batch)) {
            continue;
        }
        const Offset end = std::min(oldest->first + count, batch.end());
        MessageLog::pin(batch);
        for (const auto& reader : readers_) {
            reader->drop_before(end);
        }
        log_.unpin(batch) ? static_cast<void>(recount(batch)) : void();
    }
    return before - std::min(before, log_.messages());
}

// What nobody has in hand: where a receiver of one subscription has all of it, the others keep theirs.
std::uint64_t Channel::droppable() const noexcept {
    std::uint64_t least = log_.messages();
    for (const auto& reader : readers_) {
        const std::uint64_t kept = reader->in_flight() + reader->delayed() + reader->quarantined();
        least = std::min(least, log_.messages() - std::min(kept, log_.messages()));
    }
    return least;
}

std::optional<Run> Channel::oldest_ready() const {
    std::optional<Run> oldest;
    for (const auto& reader : readers_) {
        const auto run = reader->oldest_ready();
        oldest = run && (!oldest || run->first < oldest->first) ? run : oldest;
    }
    return oldest;
}

bool Channel::recount(StoredBatch& batch) {
    if (batch.is_exact || batch.count == 1) {
        return false;
    }
    std::vector<Run> held;
    if (batch.held > 0 && batch.is_resident) {
        visit_holders([&](const Subscription& reader) { reader.add_held(batch, held); });
    } else if (batch.held > 0) {
        std::vector<Run*> runs;
        runs_at_rest()(batch.base, batch.end(), runs);
        for (const Run* run : runs) {
            run->batch == &batch ? held.push_back(*run) : void();
        }
    }
    return log_.recount(batch, held);
}

// --- What follows from a change --------------------------------------------------------------------------------------

void Channel::apply_parked() {
    if (intake_.parked_messages() == 0) {
        return;
    }
    intake_.apply_parked();
    if (journal_ == nullptr) {
        messages_visible();
    }
}

void Channel::room_changed() {
    apply_parked();
    gate_.examine_short(room(), ready_count(), clock_.now());
    state_changed();
}

void Channel::state_changed() {
    may_dispatch_ = true;
    turns_.drop_idle();
    if (!needs_dispatch()) {  // Otherwise the dispatch decides: a wait that goes on must not begin anew.
        note_head_wait();
    }
}

// Of many readers the one that has most to do is looked for with the clock pulse.
void Channel::note_head_wait() {
    is_head_noted_ = readers_.size() <= readers_noted_at_once;
    if (is_head_noted_) {
        note_head_wait_now();
    }
}

void Channel::note_head_wait_now() {
    is_head_noted_ = true;
    for (const auto& reader : readers_) {
        reader->note_head_wait();  // Those without receivers have no dispatch that would do it.
    }
    const WaitReason reason = head_reason();
    if (reason != head_wait_.reason) {
        head_wait_ = {reason, clock_.now()};
    }
}

std::uint64_t Channel::ready() const noexcept {
    std::uint64_t most = 0;
    for (const auto& reader : readers_) {
        most = std::max(most, reader->ready());
    }
    return most;
}

// A subscription lets nothing more in.
bool Channel::is_held_up() const noexcept {
    return has_backlog_limits_ && std::ranges::any_of(readers_, [](const auto& reader) { return reader->holds_up_senders(); });
}

Room Channel::room() const noexcept {
    const Credit free = intake_.free_room();
    return {.is_congested = journal_ != nullptr && journal_->log().is_congested(),
            .is_disk_full = journal_ != nullptr && journal_->log().condition() == commit::Condition::full,
            .is_full = free.messages == 0 || free.bytes == 0 || intake_.parked_messages() > 0 || is_held_up(),
            .is_draining = is_draining_,
            .free = free};
}

}  // namespace baton::channel

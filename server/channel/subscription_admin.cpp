// Questions, what administrators do, restoring. Receivers, giving and time are in subscription.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

namespace {

// The first of those that reach beyond `from`.
std::vector<Run> runs_from(const Ring<Run>& all, Offset from, std::size_t count) {
    std::vector<Run> runs;
    for (std::size_t i = find_run(all, from); i < all.size() && runs.size() < count; ++i) {
        runs.push_back(all[i]);
    }
    return runs;
}

}  // namespace

// --- Questions -----------------------------------------------------------------------------------------------------------

std::vector<Subscription::Entry> Subscription::entries(std::optional<MessageState> state, Offset from,
                                                       std::size_t limit) const {
    std::vector<Entry> found;
    Offset end = UINT64_MAX;  // Up to here every source was read.
    const auto wants = [&](MessageState wanted) { return !state || *state == wanted; };
    const auto add_runs = [&](const std::vector<Run>& runs, MessageState kind, const Receiver* receiver) {
        std::size_t count = 0;
        for (const Run& run : runs) {
            if (run.end() <= from) {
                continue;
            }
            if (++count > limit) {
                end = std::min(end, run.first);
                break;
            }
            found.push_back({.run = run, .state = kind, .due{}, .note{}, .receiver = receiver});
        }
    };
    if (wants(MessageState::ready)) {
        add_runs(ready_.runs(from, limit + 1), MessageState::ready, nullptr);
        add_runs(keys_->waiting(from, limit + 1), MessageState::ready, nullptr);
    }
    if (wants(MessageState::in_flight)) {
        for (const Receiver* receiver : receivers_) {
            add_runs(runs_from(receiver->in_flight.runs(), from, limit + 1), MessageState::in_flight, receiver);
        }
    }
    if (wants(MessageState::in_flight)) {
        for (const Ring<Run>& held : coming_back_) {
            add_runs(runs_from(held, from, limit + 1), MessageState::in_flight, nullptr);
        }
        std::vector<Run> runs;
        for (const auto& entry : moving_) {
            runs.push_back(entry.second.run);
        }
        add_runs(runs, MessageState::in_flight, nullptr);
    }
    std::size_t count = 0;
    for (auto at = schedule_.waiting().lower_bound(from); wants(MessageState::delayed) && at != schedule_.waiting().end();
         ++at) {
        if (++count > limit) {
            end = std::min(end, at->first);
            break;
        }
        found.push_back({.run = at->second.run,
                         .state = MessageState::delayed,
                         .due = Schedule::wall_of(at->second.due, context_.clock),
                         .note{}});
    }
    count = 0;
    for (auto at = quarantine_.lower_bound(from); wants(MessageState::quarantined) && at != quarantine_.end(); ++at) {
        if (++count > limit) {
            end = std::min(end, at->first);
            break;
        }
        found.push_back(
            {.run = at->second.run, .state = MessageState::quarantined, .due{}, .note = at->second.note});
    }
    std::erase_if(found, [&](const Entry& entry) { return entry.run.first >= end; });
    std::ranges::sort(found, {}, [](const Entry& entry) { return entry.run.first; });
    return found;
}

std::optional<Subscription::Entry> Subscription::find(Offset offset) const {
    const auto found = entries(std::nullopt, offset, 1);
    const auto entry = std::ranges::find_if(
        found, [&](const Entry& candidate) { return candidate.run.first <= offset && offset < candidate.run.end(); });
    return entry != found.end() ? std::optional{*entry} : std::nullopt;
}

void Subscription::add_held(const StoredBatch& batch, std::vector<Run>& held) const {
    const Offset end = batch.end();
    const auto add = [&](const Run& run) {
        if (run.batch == &batch) {  // What retention has given up may lie where a block is now.
            held.push_back(run);
        }
    };
    const auto add_from = [&](const auto& all) {
        for (auto at = all.lower_bound(batch.base); at != all.end() && at->first < end; ++at) {
            add(at->second.run);
        }
    };
    const auto add_from_ring = [&](const Ring<Run>& runs) {
        for (std::size_t i = find_run(runs, batch.base); i < runs.size() && runs[i].first < end; ++i) {
            add(runs[i]);
        }
    };
    add_from(quarantine_);
    add_from(schedule_.waiting());
    add_from(moving_);
    for (const Receiver* receiver : receivers_) {
        add_from_ring(receiver->in_flight.runs());
    }
    for (const Ring<Run>& runs : coming_back_) {
        add_from_ring(runs);
    }
    keys_->visit_waiting(batch.base, end, add);
    ready_.visit(batch, add);
}

// --- On the disk and back ------------------------------------------------------------------------------------------------

void Subscription::add_at_rest(Offset first, Offset end, std::vector<Run*>& runs) {
    for (auto at = quarantine_.lower_bound(first); at != quarantine_.end() && at->first < end; ++at) {
        runs.push_back(&at->second.run);
    }
    schedule_.add(first, end, runs);
    ready_.add_resting(first, end, runs);
    keys_.is_made() ? keys_.edit().add(first, end, runs) : void();
}

void Subscription::count_at_rest(Offset first, Offset end) noexcept {
    for (auto at = quarantine_.lower_bound(first); at != quarantine_.end() && at->first < end; ++at) {
        MessageLog::rest(*at->second.run.batch, at->second.run.count);
    }
    schedule_.count_resting(first, end);
    ready_.count_resting(first, end);
    keys_->count_resting(first, end);
}

std::uint64_t Subscription::placeable(StoredBatch& batch) const {
    if (is_ordered() || !ruled_.empty()) {
        return 0;
    }
    std::uint64_t count = ready_.count_of(batch);
    if (!ready_.is_fair() && batch.end() > cursor().offset()) {
        for (const Run& run : log_.fresh_of(cursor(), batch)) {
            count += run.count;
        }
    }
    return count;
}

void Subscription::place(StoredBatch& batch) {
    if (ready_.is_fair()) {
        return ready_.place_of(batch, [this](Run& message) { prepare_place(message); });
    }
    for (Run run : ready_.take_of(batch)) {
        while (run.count > 0) {
            place_one(run.take_one());
        }
    }
    if (batch.end() <= cursor().offset()) {
        return;
    }
    for (const Run& fresh : log_.fresh_of(cursor(), batch)) {
        const Cut before{static_cast<std::uint32_t>(fresh.first - batch.base), fresh.position};
        for (Run run = log_.pick(ready_.cursor(), batch, before, {fresh.count, fresh.bytes}); run.count > 0;) {
            const Run one = run.take_one();
            filter_.matches_all() || matches(properties_of(one)) ? place_one(one) : forget(one, Key::free);
        }
    }
    note_change();
}

void Subscription::place_one(Run message) {
    prepare_place(message);
    ready_.place(message);
}

bool Subscription::is_placed_at_once(const Run& message) const noexcept {
    const MemoryBudget* memory = context_.memory;
    return memory != nullptr && ready_.is_fair() && !is_ordered() && memory->used() > memory->limit() / 2 && message.count == 1 &&
           message.batch->is_resident;
}

void Subscription::prepare_place(Run& message) const noexcept {
    const MessageRules rules = message.batch->has_rules ? rules_of(properties_of(message)) : MessageRules{};
    message.priority = rules.priority;
    if (rules.ttl && !message.is_kept) {
        const Duration left = *rules.ttl - age_of(*message.batch, context_.clock);
        message.set_expires({context_.clock.wall_now().us + std::chrono::duration_cast<std::chrono::microseconds>(left).count()});
    }
}

void Subscription::block_arrived(Offset first, Offset end) {
    count_at_rest(first, end);
    for (const Run& run : ready_.take_arrived(first, end)) {
        wake();
        owes_late_ = false;
        schedule_own_expiry(run);  // After a restart nobody has looked at it.
        admit_arrived(run);
    }
}

namespace {

// Each block at most once.
class BlockChoice {
public:
    BlockChoice(std::uint64_t bytes, std::size_t blocks_max) noexcept : left_{bytes}, blocks_left_{blocks_max} {}

    [[nodiscard]] bool has_room() const noexcept { return left_ > 0 && blocks_left_ > 0; }
    void make_room_for_one() noexcept { left_ = std::max<std::uint64_t>(left_, 1); }
    /// Each message that rests in it is looked at when it comes: of small ones that costs more than their bytes.
    void add(StoredBlock* block, const commit::BlockRef& ref) {
        constexpr std::uint64_t least_message = 256;
        const std::uint64_t size = std::max<std::uint64_t>(ref.size, (ref.end - ref.first) * least_message);
        if (block != nullptr && std::ranges::find(blocks_, block) != blocks_.end()) {
            return;
        }
        if (block != nullptr && !block->is_loading) {
            blocks_.push_back(block);
        }
        left_ -= std::min(left_, size);
        --blocks_left_;
    }
    /// Up to one that is in memory.
    void add_all(const ReadySet& awaited) {
        for (auto at = awaited.runs().begin(); at != awaited.runs().end() && has_room() && !at->second.batch->is_resident;) {
            at = add_block_of(awaited, at->second);
        }
    }
    /// The same, behind those that are in memory, which count.
    void add_behind(const ReadySet& awaited) {
        for (auto at = awaited.runs().begin(); at != awaited.runs().end() && has_room();) {
            const Run& run = at->second;
            if (!run.batch->is_resident) {
                at = add_block_of(awaited, run);
            } else {
                left_ -= std::min<std::uint64_t>(left_, run.batch->size);
                at = awaited.runs().lower_bound(run.batch->end());
            }
        }
    }
    /// Of the next tenants the first ones, before what is behind them.
    void add_turns(const FairLane& lane) {
        constexpr std::size_t tenants_max = 64;
        lane.visit_turns(tenants_max, [this](const ReadySet& messages) {
            const Run& head = messages.head();
            has_room() && !head.batch->is_resident ? add(head.batch->block, head.batch->block->ref) : void();
        });
        lane.visit_turns(tenants_max, [this](const ReadySet& messages) { add_behind(messages); });
    }
    [[nodiscard]] std::vector<StoredBlock*> take() noexcept { return std::move(blocks_); }

private:
    std::map<Offset, Run>::const_iterator add_block_of(const ReadySet& awaited, const Run& run) {
        StoredBlock* block = run.batch->block;
        add(block, block->ref);
        return awaited.runs().lower_bound(block->ref.end);
    }

    std::vector<StoredBlock*> blocks_;
    std::uint64_t left_;
    std::size_t blocks_left_;
};

// Messages with receivers while memory is short, of a subscription for which something is late.
constexpr std::uint64_t held_while_short = 16;

}  // namespace

std::vector<StoredBlock*> Subscription::awaited_blocks(std::uint64_t bytes, std::size_t blocks_max, bool is_memory_short) const {
    const ReadyMessages::Awaited& awaited = ready_.awaited();
    const std::uint64_t here = ready_.here();
    const std::uint64_t bytes_here = here * (log_.bytes() / std::max<std::uint64_t>(log_.messages(), 1));
    if (!wants_messages()) {  // But for one that is late.
        bytes = blocks_max = 1;
    }
    BlockChoice choice{bytes - std::min(bytes, bytes_here), blocks_max};
    if (wants_messages()) {
        ready_.count() == 0 || ready_.is_fair() ? choice.make_room_for_one() : void();
        // Where nothing can be given before those have been looked at, what is placed behind them must not take their room.
        ready_.count() == 0 && !ready_.is_fair() ? choice.add_all(awaited.unseen) : void();
        for (const auto& lane : awaited.in_place) {
            choice.add_behind(lane.second);
        }
        ready_.visit_tenants([&](const FairLane& lane) { choice.add_turns(lane); });
    }
    if (wants_messages() || looks_at_all()) {
        ready_.has_unseen() && looks_at_all() ? choice.make_room_for_one() : void();
        choice.add_all(awaited.unseen);
    }
    const bool may_read_late = !is_memory_short || in_flight() < held_while_short;
    if (!awaited.late.empty() && !awaited.is_late_here && may_read_late) {
        here == 0 || owes_late_ ? choice.make_room_for_one() : void();
        choice.add_all(awaited.late);
    }
    for (const Schedule::Wanted& wanted : schedule_.wanted()) {
        if (is_memory_short || !choice.has_room() || !wants_messages()) {
            break;
        }
        choice.add(log_.evicted_block(wanted.ref), wanted.ref);
    }
    return choice.take();
}

Offset Subscription::oldest_offset() const noexcept {
    Offset oldest = log_.fresh(cursor()) > 0 ? cursor().offset() : UINT64_MAX;
    const auto offer = [&](Offset offset) { oldest = std::min(oldest, offset); };
    for (const Run& run : ready_.runs(0, 1)) {
        offer(run.first);
    }
    for (const Receiver* receiver : receivers_) {
        receiver->in_flight.empty() ? void() : offer(receiver->in_flight.runs().front().first);
    }
    for (const Ring<Run>& runs : coming_back_) {
        offer(runs.front().first);
    }
    schedule_.waiting().empty() ? void() : offer(schedule_.waiting().begin()->first);
    quarantine_.empty() ? void() : offer(quarantine_.begin()->first);
    moving_.empty() ? void() : offer(moving_.begin()->first);
    return oldest == UINT64_MAX ? 0 : oldest;
}

// --- Administration ------------------------------------------------------------------------------------------------------

// Also those that have not been looked at.
std::optional<Subscription::Chosen> Subscription::take_ready_before(Sweep& sweep) {
    if (const auto run = keys_.edit().take_before(sweep.end)) {
        return Chosen{*run, Key::free};
    }
    if (const auto run = ready_.take_before(sweep.end)) {
        return Chosen{*run, key_of_ready(*run)};
    }
    LogCursor& cursor = ready_.cursor();
    if (log_.fresh(cursor) == 0 || cursor.offset() >= sweep.end) {
        return std::nullopt;
    }
    const Run head = log_.fresh_head(cursor);
    if (head.end() <= sweep.end) {
        return Chosen{log_.take_fresh(cursor, {head.count, head.bytes}), Key::free};
    }
    if (!head.batch->is_resident) {
        sweep.wanted = head.batch->block->ref;
        return std::nullopt;
    }
    return Chosen{log_.take_fresh(cursor, cut_count(head.region(), static_cast<std::uint32_t>(sweep.end - head.first))),
                  Key::free};
}

std::uint64_t Subscription::drop_ready(Sweep& sweep, std::uint64_t& runs) {
    std::uint64_t count = 0;
    sweep.wanted.reset();
    if (!look_ahead(runs)) {
        return 0;
    }
    for (; runs > 0; --runs) {
        const auto chosen = take_ready_before(sweep);
        if (!chosen) {
            sweep.is_over = !sweep.wanted;
            break;
        }
        count += chosen->run.count;
        forget(chosen->run, chosen->key);
    }
    counters_.edit().purged += count;
    for (Receiver* receiver : receivers_) {
        receiver->is_passed_over = false;  // Nobody waits for byte credit for a message that is gone.
    }
    refresh_all();
    return count;
}

// Some of what it holds, in no order.
std::optional<Run> Subscription::take_any() {
    while (!coming_back_.empty() && coming_back_.back().empty()) {
        coming_back_.pop_back();
    }
    if (!coming_back_.empty()) {
        const Run run = coming_back_.back().front();
        coming_back_.back().pop_front();
        return run;
    }
    if (!schedule_.waiting().empty()) {
        return schedule_.take(schedule_.waiting().begin()->first)->run;
    }
    if (!quarantine_.empty()) {
        return take_out_of_quarantine(quarantine_.begin()->first)->run;
    }
    if (!moving_.empty()) {
        return moving_.extract(moving_.begin()).mapped().run;
    }
    const auto run = keys_.edit().take_before(UINT64_MAX);
    return run ? run : ready_.take_before(UINT64_MAX);
}

bool Subscription::forget_some(std::uint64_t& items) {
    forget_wanted();
    has_left_ = has_left_ || log_.remove_cursor(cursor(), items);
    if (!has_left_) {
        return false;
    }
    for (; items > 0; --items) {
        if (!ruled_.empty()) {
            log_.unpin(*ruled_.front());
            ruled_.pop_front();
        } else if (const auto run = take_any()) {
            log_.forget(*run);
        } else {
            return true;
        }
    }
    return false;
}

bool Subscription::dismantle(std::uint64_t& items) {
    forget_ruled();
    for (; items > 0; --items) {
        if (!take_any()) {
            return true;
        }
    }
    return false;
}

// False: it is not in quarantine.
bool Subscription::retry_one(Offset offset) {
    auto quarantined = take_out_of_quarantine(offset);
    if (!quarantined) {
        return false;
    }
    Run& run = quarantined->run;
    run.attempt = 1;
    run.is_kept = true;
    note_entry(run, ReaderEntryKind::kept);
    wake();
    put_retried(run);
    return true;
}

void Subscription::put_retried(const Run& message) {
    const bool is_looked_at = is_ordered() && message.batch->is_resident;
    const std::uint64_t key = is_looked_at ? number_of(key_of(properties_of(message))) : 0;
    if (key == 0 || keys_.edit().admit(message, key)) {
        ready_.put(message);
    }
}

std::uint64_t Subscription::retry(std::span<const Offset> offsets) {
    std::uint64_t count = 0;
    for (const Offset offset : offsets) {
        count += retry_one(offset) ? 1 : 0;
    }
    return count;
}

std::uint64_t Subscription::retry_some(Sweep& sweep, std::uint64_t& runs) {
    std::uint64_t count = 0;
    for (; runs > 0; --runs, ++count) {
        const auto next = next_of(MessageState::quarantined, sweep.next);
        if (!next || *next >= sweep.end) {
            sweep.is_over = true;
            break;
        }
        static_cast<void>(retry_one(*next));
        sweep.next = *next + 1;
    }
    return count;
}

std::optional<Offset> Subscription::next_of(MessageState state, Offset from) const noexcept {
    if (state == MessageState::quarantined) {
        const auto found = quarantine_.lower_bound(from);
        return found != quarantine_.end() ? std::optional{found->first} : std::nullopt;
    }
    const auto found = schedule_.waiting().lower_bound(from);
    return found != schedule_.waiting().end() ? std::optional{found->first} : std::nullopt;
}

// Nothing, and nothing is wanted: it is not there in this state.
std::optional<Subscription::Chosen> Subscription::take_chosen(MessageState state, Offset offset, Sweep& sweep) {
    if (auto held = take_held(state, offset); held || state != MessageState::ready) {
        return held;
    }
    LogCursor& cursor = ready_.cursor();
    auto fresh = log_.fresh_run(cursor, nullptr, offset);
    if (!fresh || fresh->first > offset) {
        return std::nullopt;
    }
    if (!fresh->batch->is_resident) {
        sweep.wanted = fresh->batch->block->ref;
        return std::nullopt;
    }
    const Run one = fresh->message_at(offset);
    return Chosen{log_.pick(cursor, *one.batch,
                            {static_cast<std::uint32_t>(one.first - one.batch->base), one.position},
                            {one.count, one.bytes}),
                  Key::free};
}

// Of those that are not in their place in the log.
std::optional<Subscription::Chosen> Subscription::take_held(MessageState state, Offset offset) {
    switch (state) {
        case MessageState::ready: {
            if (const auto run = ready_.take_at(offset)) {
                return Chosen{*run, key_of_ready(*run)};
            }
            const auto run = keys_.edit().take_at(offset);
            return run ? std::optional{Chosen{*run, Key::free}} : std::nullopt;
        }
        case MessageState::delayed: {
            const auto waiting = schedule_.take(offset);
            return waiting ? std::optional{Chosen{waiting->run, key_of_waiting(*waiting)}} : std::nullopt;
        }
        case MessageState::quarantined: {
            const auto quarantined = take_out_of_quarantine(offset);
            return quarantined ? std::optional{Chosen{quarantined->run, Key::free}} : std::nullopt;
        }
        case MessageState::in_flight:
            break;
    }
    return std::nullopt;
}

void Subscription::forget_removed(Offset offset) {
    for (const MessageState state : {MessageState::ready, MessageState::delayed}) {
        if (const auto held = take_held(state, offset)) {
            return forget(held->run, held->key);
        }
    }
}

void Subscription::forget_given_up(const StoredBatch& batch) {
    std::vector<Offset> offsets;
    const auto add = [&](const Run& run) {
        for (Offset offset = run.first; run.batch == &batch && !run.is_kept && offset < run.end(); ++offset) {
            offsets.push_back(offset);
        }
    };
    // Those behind a key first: one that is forgotten makes the next one ready.
    keys_->visit_waiting(batch.base, batch.end(), add);
    ready_.visit(batch, add);
    for (const Offset offset : offsets) {
        if (const auto held = take_held(MessageState::ready, offset)) {
            ready_.cursor().add_missed(1);
            forget(held->run, held->key);
        }
    }
    offsets.empty() ? void() : refresh_all();
}

std::uint64_t Subscription::drop(MessageState state, std::span<const Offset> offsets, Sweep& sweep) {
    std::uint64_t count = 0;
    sweep.wanted.reset();
    for (; sweep.next < offsets.size(); ++sweep.next) {
        const auto chosen = take_chosen(state, offsets[sweep.next], sweep);
        if (sweep.wanted) {
            break;
        }
        if (chosen) {
            ++count;
            ++counters_.edit().dropped;
            forget(chosen->run, chosen->key);
        }
    }
    refresh_all();
    return count;
}

std::uint64_t Subscription::drop_some(MessageState state, Sweep& sweep, std::uint64_t& runs) {
    if (state == MessageState::ready) {
        return drop_ready(sweep, runs);
    }
    std::uint64_t count = 0;
    for (; runs > 0; --runs, ++count) {
        const auto next = next_of(state, sweep.next);
        if (!next || *next >= sweep.end) {
            sweep.is_over = true;
            break;
        }
        const auto chosen = take_held(state, *next);
        ++counters_.edit().dropped;
        forget(chosen->run, chosen->key);
        sweep.next = *next + 1;
    }
    refresh_all();
    return count;
}

// --- Durable channels ----------------------------------------------------------------------------------------------------

void Subscription::clear() noexcept {
    static_cast<void>(ready_.take_all());
    keys_.reset();
    schedule_ = {};
    quarantine_.clear();
    moving_.clear();
    moving_messages_ = 0;
    coming_back_.clear();
    forget_ruled();
    absorb_until_ = 0;
    expiries_.clear();
}

void Subscription::restore(const ReaderEntry& entry, StoredBatch& batch, Offset first, Offset end) {
    Run run = log_.restored_run(batch, first, end, entry.attempt);
    run.was_delivered = !entry.is_new;
    run.is_kept = entry.kind == ReaderEntryKind::kept;
    const bool has_properties = (batch.flags & batch_has_properties) != 0;
    const std::uint32_t attempts_max = context_.options->attempts_max;
    const bool has_attempts_left = attempts_max == 0 || entry.attempt <= attempts_max;
    if (entry.kind != ReaderEntryKind::quarantined && !has_attempts_left) {
        // It was started for the last time when the broker died. That attempt has failed.
        run.attempt = attempts_max;
        for (Offset offset = first; keys_.is_made() && offset < end; ++offset) {
            static_cast<void>(keys_.edit().end_away(offset));
        }
        return quarantine(run, QuarantineReason::attempts, "the broker ended while it was being worked on", nullptr, Key::free);
    }
    if (entry.kind == ReaderEntryKind::ready && !batch.has_rules && !is_ordered() && !ready_.is_fair() && filter_.matches_all()) {
        return ready_.put(run);
    }
    while (run.count > 0) {
        const Run one = run.take_one();
        if (!batch.is_resident) {
            restore_at_rest(entry, one);
            continue;
        }
        MessageCursor cursor{one.region(), has_properties};
        MessageView view;
        static_cast<void>(cursor.next(view));
        if (entry.kind == ReaderEntryKind::quarantined) {
            put_into_quarantine(one, entry.note);
        } else if (entry.kind == ReaderEntryKind::waiting && entry.attempt > 1) {
            schedule_own_expiry(one);
            restore_waiting(one, view.properties, entry.due);
        } else if (entry.kind == ReaderEntryKind::kept) {
            admit(one, view.properties);
        } else if (!matches(view.properties)) {
            forget(one, Key::free);  // The cursor had passed it, and that it was forgotten is not known any more.
        } else if (entry.kind == ReaderEntryKind::placed || (entry.kind == ReaderEntryKind::waiting && entry.due == WallTime{})) {
            schedule_own_expiry(one);
            admit(one, view.properties);  // Its time had come before.
        } else {
            route(one, view);
        }
    }
}

// Its block stays on the disk. A first attempt waits because of the message's own properties: whatever they are, until then.
void Subscription::restore_at_rest(const ReaderEntry& entry, const Run& message) {
    if (entry.kind == ReaderEntryKind::quarantined) {
        return put_into_quarantine(message, entry.note);
    }
    if (entry.kind == ReaderEntryKind::placed) {
        return restore_placed(entry, message);
    }
    if (entry.kind == ReaderEntryKind::ready) {  // Its key is asked for when somebody wants messages.
        return ready_.put_unseen(message);
    }
    if (entry.kind == ReaderEntryKind::waiting && is_ordered()) {
        return restore_active_at_rest(message, entry.due);
    }
    const bool is_own_time = entry.attempt == 1;
    const std::int64_t left = entry.due.us - context_.clock.wall_now().us;
    if (entry.kind == ReaderEntryKind::waiting && left > 0) {
        Run waiting = message;
        waiting.was_delivered = !is_own_time;
        is_own_time ? put_off(waiting, {.at{}, .wall = entry.due}, false)
                    : put_off(waiting, {.at = context_.clock.now() + std::chrono::microseconds{left}, .wall{}}, true);
    } else if (entry.kind == ReaderEntryKind::waiting && is_own_time && context_.options->drops_late && present_until_ &&
               present_until_->us < entry.due.us) {
        expire(message, Key::free);
    } else {
        ready_.put(message);
    }
}

// It is to be tried again, and restore_key() has been told its key, if it has one.
void Subscription::restore_active_at_rest(Run message, WallTime due) {
    message.was_delivered = true;
    const auto key = keys_.edit().end_away(message.first);
    const std::int64_t left = due.us - context_.clock.wall_now().us;
    if (left <= 0) {
        return ready_.put_unseen(message);
    }
    const bool has_key = key && keys_.edit().try_claim(*key);
    has_key ? keys_.edit().set_away(message.first, *key) : void();
    put_off(message, {.at = context_.clock.now() + std::chrono::microseconds{left}, .wall{}}, has_key);
}

void Subscription::restore_placed(const ReaderEntry& entry, Run message) {
    const std::int64_t left = entry.due.us - context_.clock.wall_now().us;
    const bool has_end = entry.due != WallTime{};
    if (has_end && left <= 0) {
        return expire(message, Key::free);
    }
    message.priority = entry.priority;
    message.set_expires(entry.due);
    message.is_placed = true;
    ready_.put(message);
    if (has_end) {
        add_expiry(message.first, std::chrono::microseconds{left});
    }
}

// What is due by now is in its place before anybody can be given what is behind it.
void Subscription::restore_waiting(const Run& message, Bytes properties, WallTime due) {
    const std::int64_t left = due.us - context_.clock.wall_now().us;
    if (left <= 0) {
        return admit(message, properties);
    }
    const std::uint64_t key = is_ordered() ? number_of(key_of(properties)) : 0;
    const bool has_key = key != 0 && keys_.edit().try_claim(key);
    put_off(message, {.at = context_.clock.now() + std::chrono::microseconds{left}, .wall{}}, has_key || key == 0);
}

}  // namespace baton::channel

// What receivers decide, attempts, quarantine. Receivers, giving and time are in subscription.cpp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/errc.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

namespace {

// To let go of the key of a message costs as much as so many messages: it is in places that nobody has looked at for long.
constexpr std::uint64_t work_of_key = 4;

}  // namespace

SettleRange Subscription::settle(Receiver& receiver, const SettleRange& range, std::string_view note, std::uint64_t& work) {
    SettleRange rest = range;
    if (range.count == 0) {
        return rest;
    }
    Settlement& settlement = scratch_.edit().settlement;
    settlement.clear();
    const std::uint64_t weight = is_ordered() ? work_of_key : 1;
    SettleLimit limit{.left = work / weight + (work % weight > 0 ? 1 : 0),
                      .is_by_message = range.outcome != Outcome::done || is_ordered()};
    const std::uint64_t allowed = limit.left;
    std::uint32_t count = 0;
    InFlight& held = receiver.in_flight;
    const std::uint64_t held_before = held.messages();
    switch (range.outcome) {
        case Outcome::done:
            count = held.take(range, settlement, limit);
            counters_.edit().settled += held_before - held.messages();
            for (const Run& run : settlement.held) {
                forget(run, Key::held);
            }
            break;
        case Outcome::give_back:
            count = held.take(range, settlement, limit);
            for (const Run& run : settlement.held) {
                come_back(run);
            }
            break;
        case Outcome::retry:
            count = held.take(range, settlement, limit);
            for (const Run& run : settlement.held) {
                counters_.edit().retried += run.count;
                if (run.attempt < std::numeric_limits<std::uint32_t>::max() && has_attempts_left(run)) {
                    const Duration wait = range.argument == retry_by_back_off
                                              ? back_off(run.attempt)
                                              : Duration{std::chrono::milliseconds{range.argument}};
                    const Schedule::Due due{.at = context_.clock.now() + wait, .wall{}};
                    keep_what_stays(run, [&](const Run& kept) { retry_later(kept, due); });
                } else {
                    quarantine(run, QuarantineReason::attempts, note, &receiver, Key::held);
                }
            }
            break;
        case Outcome::reject:
            count = held.take(range, settlement, limit);
            for (const Run& run : settlement.held) {
                counters_.edit().rejected += run.count;
                quarantine(run, QuarantineReason::rejected, note, &receiver, Key::held);
            }
            break;
        case Outcome::extend: {
            const Duration wished = std::chrono::milliseconds{range.argument};
            const std::uint32_t end = lease_end(context_.clock.now(), range.argument == 0 ? receiver.lease : wished);
            limit.is_by_message = false;
            count = held.extend(range, end, settlement, limit);
            for (const Run& run : settlement.held) {
                note_lease_end(run.lease_end);
                log_.note_remnant(*run.batch);
            }
            break;
        }
        case Outcome::started:
            limit.is_by_message = false;
            count = held.start(range, settlement, limit);
            if (is_noting_) {
                for (const Run& run : settlement.held) {
                    notes_.edit().note_started(run.first, run.count, run.attempt);
                }
                note_change();
            }
            break;
        default:  // Any other value from the network.
            context_.events.settle_refused(receiver.address, range, Errc::unsupported_outcome);
            rest.count = 0;
            return rest;
    }
    work -= std::min(work, (allowed - limit.left) * weight);
    rest.first += count;
    rest.count -= count;
    in_flight_ -= held_before - held.messages();
    for (const SettleRange& lost : settlement.lost) {
        context_.events.settle_refused(receiver.address, lost, Errc::lost_lease);
    }
    refresh(receiver);
    return rest;
}

// Whether there may be one more attempt after the one that is under way.
bool Subscription::has_attempts_left(const Run& run) const noexcept {
    const std::uint32_t attempts_max = context_.options->attempts_max;
    return attempts_max == 0 || run.attempt < attempts_max;
}

// Of what nobody holds any more: what compaction has removed meanwhile is not given again.
template <class Keep>
void Subscription::keep_what_stays(Run run, Keep keep) {
    if (run.batch->removed == 0) {
        return keep(run);
    }
    while (run.count > 0) {
        const Run one = run.take_one();
        log_.is_removed(one) ? forget(one, Key::held) : keep(one);
    }
}

// Nobody holds it any more, and nothing was decided. Only what was started has cost an attempt.
void Subscription::come_back(Run run) {
    wake();
    keep_what_stays(run, [this](const Run& rest) { come_back_whole(rest); });
}

// What a receiver held: a few at once, of very many the rest in steps.
void Subscription::come_back_later(Ring<Run> runs) {
    if (!runs.empty()) {
        coming_back_.push_back(std::move(runs));
        std::uint64_t at_once = StepBudget::messages_at_once;
        look_ahead(at_once);
    }
}

// True: all of them.
bool Subscription::take_back(std::uint64_t& messages) {
    while (!coming_back_.empty()) {
        Ring<Run>& runs = coming_back_.front();
        while (!runs.empty() && messages > 0) {
            const Run& first = runs.front();
            const bool is_one_thing = !first.is_started && !first.batch->has_rules && first.batch->removed == 0 && !has_age_limit();
            const bool is_whole = is_one_thing || first.count <= messages;
            const Run run = is_whole ? first
                                     : runs.front().take_front(cut_count(first.region(), static_cast<std::uint32_t>(messages)));
            is_whole ? runs.pop_front() : void();
            messages -= is_one_thing ? 1 : run.count;
            in_flight_ -= run.count;
            come_back(run);
        }
        if (!runs.empty()) {
            return false;
        }
        coming_back_.erase(coming_back_.begin());
    }
    return true;
}

void Subscription::come_back_whole(Run run) {
    if (run.is_started && !has_attempts_left(run)) {
        return quarantine(run, QuarantineReason::attempts,
                          "it came back undecided: its lease or its receiver ended, or it was given back", nullptr, Key::held);
    }
    if (run.is_started && run.attempt < std::numeric_limits<std::uint32_t>::max()) {
        ++run.attempt;
    }
    run.is_kept = run.is_kept && !run.is_started;  // Nobody has had it yet.
    run.is_started = false;
    run.was_delivered = true;
    run.lease_end = run.lease_cap = 0;
    if (run.batch->is_trimmed && !run.is_kept) {
        ready_.cursor().add_missed(run.count);
        return forget(run, Key::held);  // Retention has given it up meanwhile.
    }
    log_.note_remnant(*run.batch);
    if (!std::exchange(run.is_keyless, false) || !is_ordered()) {
        return make_ready(run);
    }
    while (run.count > 0) {
        const Run one = run.take_one();
        schedule_own_expiry(one);
        admit(one, properties_of(one));
    }
}

Duration Subscription::back_off(std::uint32_t attempt) noexcept {
    const ChannelOptions& options = *context_.options;
    const double factor = std::max(options.retry_factor_percent, 100U) / 100.0;
    const double first = std::chrono::duration<double>{options.retry_first}.count();
    const double longest = std::chrono::duration<double>{options.retry_max}.count();
    const double wait = std::min(first * std::pow(factor, std::min(attempt, 1000U) - 1), longest);
    const double random = static_cast<double>(context_.prng.below(1'000'001)) / 1e6;
    const double part = 1.0 - random * std::min(options.retry_jitter_percent, 100U) / 100.0;
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{wait * part});
}

void Subscription::retry_later(Run run, const Schedule::Due& due) {
    ++run.attempt;
    run.is_started = run.is_kept = false;
    run.was_delivered = true;
    run.lease_end = run.lease_cap = 0;
    const bool has_key = !std::exchange(run.is_keyless, false);
    note_entry(run, ReaderEntryKind::waiting, Schedule::wall_of(due, context_.clock));
    while (run.count > 0) {
        const Run one = run.take_one();
        const auto left = life_left(one);
        if (left && *left <= Duration{}) {
            expire(one, has_key ? Key::held : Key::free);
        } else {
            schedule_own_expiry(one);
            put_off(one, due, has_key);
        }
    }
}

void Subscription::note_entry(const Run& run, ReaderEntryKind kind, WallTime due,
                              std::shared_ptr<const QuarantineNote> note) {
    if (is_noting_) {
        note_change();
        notes_.edit().note({.first = run.first,
                     .end = run.end(),
                     .kind = kind,
                     .attempt = run.attempt,
                     .due = due,
                     .note = std::move(note)});
    }
}

// --- Away ----------------------------------------------------------------------------------------------------------------

// This reader is done with it.
void Subscription::forget(const Run& run, Key key) {
    if (is_noting_) {
        notes_.edit().note_settled(run.first, run.count);
        note_change();
    }
    if (key == Key::held && is_ordered()) {
        release_keys(run);
    }
    log_.forget(run);
}

// These messages do not hold up the others with their keys any more.
void Subscription::release_keys(const Run& run) {
    if (run.is_keyless) {
        return;
    }
    if (const auto key = keys_.edit().end_away(run.first)) {
        release_key(*key);
    } else if (run.batch->is_resident && (run.batch->flags & batch_has_properties) != 0) {
        MessageCursor cursor{run.region(), true};
        MessageView view;
        while (cursor.next(view)) {
            release_key(number_of(key_of(view.properties)));
        }
    }
    // Those that are too old release their keys in turn: here, and not one inside the other.
    if (std::exchange(is_releasing_, true)) {
        return;
    }
    for (auto& released = scratch_.edit().released; !released.empty();) {
        const Run next = released.back();
        released.pop_back();
        wake();
        // What is not in memory holds up nobody but its key until it has been read.
        next.batch->is_resident ? put_if_young(next) : ready_.put_late(next);
    }
    is_releasing_ = false;
}

void Subscription::release_key(std::uint64_t key) {
    if (key == 0) {
        return;
    }
    if (const auto next = keys_.edit().release(key)) {
        scratch_.edit().released.push_back(*next);
    }
}

void Subscription::quarantine(const Run& run, QuarantineReason reason, std::string_view text, const Receiver* receiver,
                              Key key) {
    const auto note = std::make_shared<const QuarantineNote>(
        QuarantineNote{.reason = reason,
                       .time = context_.clock.wall_now(),
                       .note = std::string{text},
                       .receiver = receiver != nullptr ? receiver->name : std::string{}});
    counters_.edit().quarantined += run.count;
    log_.note_remnant(*run.batch);
    note_entry(run, ReaderEntryKind::quarantined, {}, note);
    Run rest = run;
    rest.is_started = rest.is_kept = rest.is_unseen = rest.is_keyless = false;
    rest.was_delivered = true;
    rest.end_placed();
    while (rest.count > 0) {
        const Run one = rest.take_one();
        put_into_quarantine(one, note);
    }
    if (key == Key::held && is_ordered()) {
        release_keys(run);
    }
}

void Subscription::put_into_quarantine(const Run& message, std::shared_ptr<const QuarantineNote> note) {
    MessageLog::rest(*message.batch, message.count);
    quarantine_.emplace(message.first, Quarantined{message, std::move(note)});
}

std::optional<Subscription::Quarantined> Subscription::take_out_of_quarantine(Offset offset) {
    auto node = quarantine_.extract(offset);
    if (node.empty()) {
        return std::nullopt;
    }
    MessageLog::end_rest(*node.mapped().run.batch, node.mapped().run.count);
    return std::move(node.mapped());
}

void Subscription::expire(const Run& run, Key key) {
    counters_.edit().expired += run.count;
    if (context_.options->quarantines_expired) {
        quarantine(run, QuarantineReason::expired, {}, nullptr, key);
    } else {
        forget(run, key);
    }
}

void Subscription::note_drop(Offset first, std::uint64_t count) {
    SubscriptionCounters& counters = counters_.edit();
    counters.dropped += count;
    if (counters.last_dropped_first + counters.last_dropped_count != first) {
        counters.last_dropped_first = first;
        counters.last_dropped_count = 0;
    }
    counters.last_dropped_count += count;
}

// Of what the filter was not asked about, those that are wanted. On the disk that is not known.
void Subscription::note_drops(const Run& run, bool is_fresh, std::vector<Run>& drops) const {
    if (!is_fresh || filter_.matches_all() || !run.batch->is_resident) {
        return drops.push_back(run);
    }
    for (Run rest = run; rest.count > 0;) {
        const Run one = rest.take_one();
        matches(properties_of(one)) ? drops.push_back(one) : void();
    }
}

void Subscription::look_before_drop() {
    std::uint64_t at_once = StepBudget::messages_at_once;
    static_cast<void>(take_back(at_once));
    std::uint64_t all = UINT64_MAX;
    static_cast<void>(take_ruled(all));
    if (!filter_.matches_all() || cursor().offset() < absorb_until_) {
        constexpr std::uint64_t looked_at = 1'024;
        absorb_some(looked_at);
    }
}

// Outside of dispatch(). How many messages are left of so many.
std::uint64_t Subscription::absorb_some(std::uint64_t messages) {
    const Offset before = cursor().offset();
    absorb(messages, Reach::everything);
    if (cursor().offset() != before) {
        note_change();
        wake();
    }
    return messages;
}

std::optional<Run> Subscription::oldest_ready() const {
    auto oldest = ready_.oldest();
    const auto waiting = keys_->waiting(0, 1);
    return waiting.empty() || (oldest && oldest->first < waiting.front().first) ? oldest : waiting.front();
}

// The first messages of a block that is on the disk go without a look at it.
std::optional<Subscription::Chosen> Subscription::take_oldest_before(Offset end) {
    Sweep sweep{.end = end};
    if (auto chosen = take_ready_before(sweep); chosen || !sweep.wanted) {
        return chosen;
    }
    Run head = log_.fresh_head(cursor());
    const Run front = head.take_front(static_cast<std::uint32_t>(end - head.first));
    return Chosen{log_.take_fresh(ready_.cursor(), {front.count, front.bytes}), Key::free};
}

void Subscription::drop_before(Offset end) {
    std::vector<Run> drops;
    bool has_dropped = false;
    for (Offset fresh = cursor().offset();; fresh = cursor().offset()) {
        const auto chosen = take_oldest_before(end);
        if (!chosen) {
            break;
        }
        has_dropped = true;
        note_drops(chosen->run, cursor().offset() != fresh && chosen->run.first >= fresh, drops);
        forget(chosen->run, chosen->key);
    }
    std::ranges::sort(drops, {}, &Run::first);  // Told as one range if they are one.
    for (const Run& run : drops) {
        note_drop(run.first, run.count);
    }
    for (Receiver* receiver : receivers_) {
        if (has_dropped && std::exchange(receiver->is_passed_over, false)) {
            refresh(*receiver);  // It does not wait for byte credit for a message that is gone.
        }
    }
}

void Subscription::drop_oldest(std::uint64_t count) {
    while (count > 0) {
        const auto oldest = oldest_ready();
        if (!oldest) {
            return;
        }
        const std::uint64_t before = ready();
        drop_before(oldest->first + count);
        count -= std::min(count, before - ready());  // Some may have expired behind them, when their keys were free.
    }
}

// What lies in its place in the log, from the last batch on backwards, and what does not. Not what lies there on the disk, or
// where a filter was not asked.
void Subscription::drop_newest(std::uint64_t count) {
    while (count > 0) {
        const Offset taken = std::max(ready_.newest_taken(), keys_->newest());
        const auto tail = filter_.matches_all() ? log_.fresh_tail(cursor()) : std::nullopt;
        const bool has_tail = tail && tail->batch->is_resident && tail->end() > taken;
        if (!has_tail && taken == 0) {
            return;
        }
        if (!has_tail) {
            const auto chosen = take_held(MessageState::ready, taken);
            note_drop(taken, 1);
            forget(chosen->run, chosen->key);
            --count;
            continue;
        }
        Run run = *tail;
        if (run.count > count) {
            static_cast<void>(run.take_front(static_cast<std::uint32_t>(run.count - count)));
        }
        count -= run.count;
        const Cut before{static_cast<std::uint32_t>(run.first - run.batch->base), run.position};
        const Run dropped = log_.pick(ready_.cursor(), *run.batch, before, {run.count, run.bytes});
        note_drop(dropped.first, dropped.count);
        forget(dropped, Key::free);
    }
}

bool Subscription::look_at_backlog(std::uint64_t& messages) {
    if (!has_backlog_to_look_at()) {
        return true;
    }
    messages = absorb_some(messages);
    return !can_absorb();
}

void Subscription::keep_backlog_limit() {
    if (!is_over_backlog()) {
        return;
    }
    const std::uint64_t excess = ready() - not_looked_at() - settings_.backlog_max;
    if (settings_.overflow == Overflow::drop_oldest) {
        drop_oldest(excess);
    } else if (settings_.overflow == Overflow::drop_newest) {
        drop_newest(excess);
    }
}

}  // namespace baton::channel

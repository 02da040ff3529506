// Receivers, giving, and what time brings. What receivers decide is in subscription_settle.cpp.
#include "server/channel/subscription.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::channel {

namespace {

// Where each message is looked at: as far as it takes to find one that can be given, and at most so many of them, or so many
// bytes from there, at once. What they keep in memory lies that close together. Fairness needs to see everything.
constexpr std::uint64_t absorbed_ahead = 4'096;
constexpr std::uint64_t absorbed_bytes = 256 * 1024;
// Whose leases are looked at with one clock pulse.
constexpr std::size_t runs_per_step = 8'192;

// What comes next is placed, and not before the fresh messages in front of it.
bool is_placed_behind_fresh(const ReadyMessages& ready) {
    const auto& in_place = ready.awaited().in_place;
    return !in_place.empty() && in_place.begin()->first == 0 && ready.total() > ready.taken() &&
           ready.cursor().offset() < in_place.begin()->second.head().first;
}

// Nothing can be given before the next unseen or fresh message has been looked at, though others are here.
bool is_waiting_for_a_look(const ReadyMessages& ready) {
    if (ready.count() > 0) {
        return false;
    }
    const auto oldest = ready.oldest();
    const bool is_next = oldest && (oldest->first == ready.cursor().offset() || oldest->first == ready.first_unseen());
    return is_next || is_placed_behind_fresh(ready);
}

// Nothing: it is known when the messages have been read.
std::optional<Duration> known_age(const StoredBatch& batch, const Clock& clock) noexcept {
    return batch.is_resident || batch.time != WallTime{} ? std::optional{age_of(batch, clock)} : std::nullopt;
}

}  // namespace

Duration age_of(const StoredBatch& batch, const Clock& clock) noexcept {
    if (batch.accepted != MonotonicTime{}) {
        return clock.now() - batch.accepted;
    }
    return std::chrono::microseconds{std::max<std::int64_t>(clock.wall_now().us - batch.time.us, 0)};
}

Bytes properties_of(const Run& message) noexcept {
    if ((message.batch->flags & batch_has_properties) == 0) {
        return {};
    }
    MessageCursor cursor{message.region(), true};
    MessageView view;
    return cursor.next(view) ? view.properties : Bytes{};
}

void SubscriptionCounters::add(const SubscriptionCounters& other) noexcept {
    for (const auto member : {&SubscriptionCounters::delivered, &SubscriptionCounters::redelivered,
                              &SubscriptionCounters::settled, &SubscriptionCounters::purged, &SubscriptionCounters::retried,
                              &SubscriptionCounters::rejected, &SubscriptionCounters::quarantined,
                              &SubscriptionCounters::expired, &SubscriptionCounters::leases_ended,
                              &SubscriptionCounters::dropped, &SubscriptionCounters::moved}) {
        this->*member += other.*member;
    }
    if (other.last_dropped_count > 0) {
        last_dropped_first = other.last_dropped_first;
        last_dropped_count = other.last_dropped_count;
    }
}

Subscription::Subscription(const SubscriptionContext& context, SubscriptionSettings settings)
    : context_{context},
      log_{context.log},
      settings_{std::move(settings)},
      ready_{context.log},
      dispatcher_{context.events},
      head_wait_{WaitReason::none, context.clock.now()} {
    if (!settings_.filter.empty()) {
        filter_ = KeyFilter::parse(settings_.filter).value_or(KeyFilter{});
    }
    apply_options();
}

void Subscription::options_changed() {
    apply_options();
    note_next_due();
}

void Subscription::apply_options() {
    TenantWeights weights;
    for (const auto& [tenant, weight] : context_.options->fair_weights) {
        weights[number_of(as_bytes(tenant))] = weight;
    }
    const bool was_ordered = std::exchange(was_ordered_, is_ordered());
    const bool is_looked_at = is_ordered() || !context_.options->fair_by.empty() || !filter_.matches_all() || ready_.has_unseen();
    ready_.set_mode(is_looked_at, context_.options->fair_by, std::move(weights));
    if (was_ordered && !is_ordered()) {
        for (const Run& run : keys_.edit().take_all()) {
            ready_.put(run);
        }
        keys_.reset();
    } else if (is_ordered() && !was_ordered) {
        begin_order();
    }
    refresh_all();
}

// What is ready is looked at with its key before it is given. What somebody has, or waits to be tried again, counts for no key:
// of one key they may be several.
void Subscription::begin_order() {
    for (Run run : ready_.take_all()) {
        if (!run.batch->is_resident) {
            ready_.put(run);  // It is looked at when it has been read.
            continue;
        }
        while (run.count > 0) {
            ready_.put_unseen(run.take_one());
        }
    }
    for (Receiver* receiver : receivers_) {
        receiver->in_flight.set_keyless();
    }
    for (Ring<Run>& runs : coming_back_) {
        set_keyless(runs);
    }
    std::vector<Run*> waiting;
    schedule_.add(0, UINT64_MAX, waiting);
    for (Run* run : waiting) {
        run->is_keyless = true;
    }
    for (auto& [first, moving] : moving_) {
        moving.run.is_keyless = true;
    }
}

// --- Receivers -----------------------------------------------------------------------------------------------------------

void Subscription::attach(Receiver& receiver) {
    const bool was_exclusive = is_exclusive();
    receiver.subscription = this;
    receivers_.push_back(&receiver);
    exclusive_receivers_ += receiver.is_exclusive ? 1 : 0;
    is_exclusive() != was_exclusive ? refresh_all() : refresh(receiver);
    wake();
}

void Subscription::detach(Receiver& receiver) {
    const bool was_exclusive = is_exclusive();
    come_back_later(receiver.in_flight.take_all());
    dispatcher_.remove(receiver);
    const auto place = std::ranges::find(receivers_, &receiver);
    const bool was_first = place == receivers_.begin();
    lease_turn_ -= static_cast<std::size_t>(place - receivers_.begin()) < lease_turn_ ? 1 : 0;
    receivers_.erase(place);
    exclusive_receivers_ -= receiver.is_exclusive ? 1 : 0;
    if (was_exclusive && !is_exclusive()) {
        refresh_all();
    } else if (was_exclusive && was_first && !receivers_.empty()) {
        refresh(*receivers_.front());  // It stood by.
    }
    wake();
}

void Subscription::refresh(Receiver& receiver) {
    const MonotonicTime now = context_.clock.now();
    if (receiver.ending) {
        dispatcher_.remove(receiver);
    } else if (is_draining_) {
        dispatcher_.remove(receiver);
        set_wait(receiver.wait, WaitReason::draining, now);
    } else if (is_exclusive() && !receivers_.empty() && receivers_.front() != &receiver) {
        dispatcher_.remove(receiver);
        set_wait(receiver.wait, WaitReason::standby, now);
    } else {
        dispatcher_.refresh(receiver, now);
    }
    wake();
}

void Subscription::refresh_all() {
    for (Receiver* receiver : receivers_) {
        refresh(*receiver);
    }
}

void Subscription::begin_drain() {
    is_draining_ = true;
    refresh_all();
}

// --- The way to ready ----------------------------------------------------------------------------------------------------

bool Subscription::matches(Bytes properties) const noexcept {
    return filter_.matches_all() || filter_.matches(as_text(key_of(properties)));
}

// Where each message has to be looked at this happens when it is absorbed; but not soon if something in front of it has to be read
// for that. Then a time counts at once all the same, and a priority as soon as it has been looked at.
void Subscription::add_ruled(std::span<StoredBatch* const> batches) {
    wake();
    if ((is_ordered() || ready_.is_fair()) && !ready_.has_unseen() && !log_.has_evicted_ahead()) {
        for (const StoredBatch* batch : batches) {
            absorb_until_ = std::max(absorb_until_, batch->end());
        }
        return;
    }
    for (StoredBatch* batch : batches) {
        MessageLog::pin(*batch);
        ruled_.push_back(batch);
    }
}

bool Subscription::look_ahead(std::uint64_t& messages) {
    const bool is_done = take_back(messages) && take_ruled(messages);
    if (!is_done) {
        wake();
        note_due(context_.clock.now() + Duration{1});  // Also where nothing is given any more. Not in this pulse.
    }
    return is_done;
}

// True: all of them.
bool Subscription::take_ruled(std::uint64_t& messages) {
    LogCursor& place = ready_.cursor();
    while (!ruled_.empty()) {
        StoredBatch& batch = *ruled_.front();
        Cut& done = ruled_done_;
        const auto [before, part] = batch.part_from(done);
        done = before;
        MessageCursor cursor{part, true};
        MessageView view;
        std::uint32_t position = 0;
        while (batch.end() > place.offset() && done.count < batch.count && messages > 0 && cursor.next(view)) {
            const Cut one{1, static_cast<std::uint32_t>(cursor.position()) - position};
            const Offset offset = batch.base + done.count;
            if (offset >= place.offset() && rules_of(view.properties).any() && matches(view.properties) &&
                !overlaps(place.skipped(), offset, offset + 1) && !log_.is_removed(offset)) {
                route(log_.pick(place, batch, done, one), view);
            }
            position += one.bytes;
            done = {done.count + 1, done.bytes + one.bytes};
            --messages;
        }
        if (batch.end() > place.offset() && done.count < batch.count) {
            if (messages == 0) {
                return false;
            }
            if (batch.pieces) {
                continue;  // With the next piece.
            }
        }
        ruled_.pop_front();
        ruled_done_ = {};
        log_.unpin(batch);
    }
    return true;
}

void Subscription::forget_ruled() noexcept {
    for (; !ruled_.empty(); ruled_.pop_front()) {
        log_.unpin(*ruled_.front());
    }
    ruled_done_ = {};
}

// The subscription holds the message. Nobody was given it, as far as its rules are concerned.
void Subscription::route(const Run& message, const MessageView& view) {
    const MessageRules rules = message.batch->has_rules ? rules_of(view.properties) : MessageRules{};
    if (rules.ttl) {
        schedule_expiry(message);
    }
    const Duration age = age_of(*message.batch, context_.clock);
    const WallTime wall = context_.clock.wall_now();
    Run waiting = message;
    waiting.was_delivered = false;
    if (rules.not_before && rules.not_before->us > wall.us) {
        put_off(waiting, {.at{}, .wall = *rules.not_before}, false);
    } else if (rules.delay && *rules.delay > age) {
        put_off(waiting, {.at = context_.clock.now() + (*rules.delay - age), .wall{}}, false);
    } else if (is_late(message, rules)) {
        expire(message, Key::free);
    } else {
        admit(message, view.properties);
    }
}

// Its time came while the broker was not there, as far as anybody can tell, and it was not given since.
bool Subscription::is_late(const Run& message, const MessageRules& rules) const noexcept {
    if (!present_until_ || !context_.options->drops_late || (!rules.delay && !rules.not_before) || message.attempt > 1) {
        return false;
    }
    const std::int64_t delay =
        rules.delay ? std::chrono::duration_cast<std::chrono::microseconds>(*rules.delay).count() : 0;
    return std::max(rules.not_before ? rules.not_before->us : 0, message.batch->time.us + delay) > present_until_->us;
}

// Its time has come; only its key, or its tenant, can hold it up.
void Subscription::admit(const Run& came, Bytes properties) {
    Run message = came;
    message.is_keyless = false;  // From now on it counts.
    const bool has_line = is_ordered() || ready_.is_fair();
    if (has_line && (present_until_ || cursor().offset() <= message.first || ready_.first_unseen() < message.first)) {
        // Behind those whose keys or tenants are not known yet, and those to be tried again, which have theirs. Also later on: what
        // was delayed is known at once after a restart, what is in front of it is not.
        return ready_.put_unseen(message);
    }
    if (is_ordered()) {
        const std::uint64_t key = number_of(key_of(properties));
        if (key != 0 && !keys_.edit().admit(message, key)) {
            log_.note_remnant(*message.batch);
            note_age_check();
            return;
        }
    }
    put_if_young(message);
}

// It is in memory again, and can be given as far as anybody knew.
void Subscription::admit_arrived(const Run& message) {
    if (keys_.is_made() && keys_.edit().end_away(message.first)) {
        return put_if_young(message);
    }
    admit(message, properties_of(message));
}

void Subscription::absorb(std::uint64_t& budget, Reach reach) {
    if (!ready_.is_absorbing()) {
        return;
    }
    const bool sees_everything =
        reach == Reach::everything || ready_.is_fair() || has_backlog_to_look_at();
    std::uint64_t bytes = 0;
    const auto wants = [&] {
        const std::uint64_t here = ready_.here();
        return sees_everything || here == 0 || is_waiting_for_a_look(ready_) || cursor().offset() < absorb_until_ ||
               (bytes > 0 && bytes < absorbed_bytes && here < absorbed_ahead);
    };
    while (budget > 0 && can_absorb() && wants()) {
        if (is_unseen_next()) {
            budget -= std::min<std::uint64_t>(budget, 2);
            absorb_unseen(bytes);
        } else {
            absorb_head(budget, bytes, wants);
        }
    }
}

// Its rules, if it has any, were looked at when it was restored.
void Subscription::absorb_unseen(std::uint64_t& bytes) {
    const Run message = ready_.take_unseen();
    bytes += message.bytes;
    const Bytes properties = properties_of(message);
    matches(properties) ? admit(message, properties) : forget(message, Key::free);
}

// Of the batch at the cursor.
template <class Wants>
void Subscription::absorb_head(std::uint64_t& budget, std::uint64_t& bytes, Wants wants) {
    LogCursor& cursor = ready_.cursor();
    const Run head = log_.fresh_head(cursor);
    const bool has_properties = (head.batch->flags & batch_has_properties) != 0;
    if (!has_properties && filter_.matches_all() && !ready_.is_fair()) {
        ready_.put(log_.take_fresh(cursor, {head.count, head.bytes}));  // Without keys there is no order to keep.
        budget -= std::min<std::uint64_t>(budget, head.count);
        bytes += head.bytes;
        return;
    }
    const std::uint64_t cost = is_ordered() ? 2 : 1;  // Its key is looked up among a million, and it gets a node.
    MessageCursor messages{head.region(), has_properties};
    MessageView view;
    std::uint32_t position = 0;
    for (std::uint32_t left = head.count; left > 0 && budget > 0 && wants() && messages.next(view); --left) {
        budget -= std::min(budget, cost);
        const Cut one{1, static_cast<std::uint32_t>(messages.position()) - position};
        position += one.bytes;
        bytes += one.bytes;
        const Run message = log_.take_fresh(cursor, one);
        if (matches(view.properties)) {
            route(message, view);
        } else {
            forget(message, Key::free);
        }
    }
}

// Fairness needs to see whom it is to be fair to: what is there when it begins is looked at before more is given. What comes
// meanwhile is looked at in the next round, so that senders who are faster than that do not stop the giving. False: not all of it.
bool Subscription::absorb_before_giving(std::uint64_t& budget) {
    if (!ready_.is_fair()) {
        return true;
    }
    if (cursor().offset() >= absorb_goal_) {
        absorb_goal_ = log_.visible_end();
    }
    absorb(budget);
    return !can_absorb() || (cursor().offset() >= absorb_goal_ && !ready_.has_unseen());
}

// Messages that were given to somebody, or wait, and can be given again. Their keys are theirs still.
void Subscription::make_ready(const Run& run) {
    if (!run.batch->has_rules && context_.options->age_max == Duration{}) {
        return ready_.put(run);
    }
    Run rest = run;
    while (rest.count > 0) {
        const Run one = rest.take_one();
        schedule_own_expiry(one);
        put_if_young(one);
    }
}

void Subscription::put_if_young(const Run& run) {
    if (const auto left = life_left(run); left && *left <= Duration{} && !run.is_kept) {
        return expire(run, Key::held);
    }
    if (const std::uint32_t most = context_.options->attempts_max; most > 0 && run.attempt > most && !run.is_kept) {
        Run last = run;
        last.attempt = most;
        return quarantine(last, QuarantineReason::attempts, "attempts_max is lower now", nullptr, Key::held);
    }
    is_placed_at_once(run) ? place_one(run) : ready_.put(run);
    note_age_check();
}

void Subscription::note_age_check() {
    if (has_age_limit()) {
        note_due(std::max(next_age_check_, context_.clock.now()));
    }
}

// --- Dispatch ------------------------------------------------------------------------------------------------------------

bool Subscription::needs_dispatch() const noexcept {
    if (!may_dispatch_ || is_draining_) {
        return false;
    }
    if (!coming_back_.empty() || !ruled_.empty()) {
        return true;
    }
    if (can_absorb()) {
        return dispatcher_.has_candidates() || looks_at_all() || cursor().offset() < absorb_until_;
    }
    return dispatcher_.has_candidates() && (ready_.count() > 0 || ready_.has_late_here() || ready_.has_placed_here());
}

void Subscription::messages_visible() {
    wake();
    if (has_age_limit()) {
        note_due(context_.clock.now());
    }
}

void Subscription::dispatch(StepBudget& budget) {
    if (!needs_dispatch()) {
        return;
    }
    may_dispatch_ = false;
    if (!look_ahead(budget.messages) || !admit_late(budget.messages)) {
        return;
    }
    const Offset before = cursor().offset();
    // Whoever comes between two pulses is not given what has expired meanwhile.
    if (expire_due(budget.messages) || expire_old(budget.messages) || !absorb_before_giving(budget.messages)) {
        cursor().offset() != before ? note_change() : void();
        return wake();
    }
    const MonotonicTime now = context_.clock.now();
    do {
        absorb(budget.messages);
        admit_placed(budget.messages);
        const auto given = dispatcher_.run(ready_, budget.slices, now);
        if (given.messages > 0) {
            in_flight_ += given.messages;
            SubscriptionCounters& counters = counters_.edit();
            counters.delivered += given.messages;
            counters.redelivered += given.redelivered;
            note_lease_end(given.lease_end);
            owes_late_ = !ready_.awaited().late.empty();
        }
    } while (!budget.is_spent() && dispatcher_.has_candidates() &&
             (can_admit_placed() ||
              (ready_.is_absorbing() && can_absorb() && (ready_.here() == 0 || is_waiting_for_a_look(ready_)))));
    if (cursor().offset() != before) {
        note_change();
    }
    if ((budget.messages == 0 && (log_.readable(cursor()) > 0 || can_absorb() || can_admit_placed())) ||
        (budget.slices == 0 && ready_.count() > 0)) {
        wake();  // The rest in the next turn.
    }
    note_head_wait();
}

void Subscription::note_head_wait() {
    const WaitReason reason = head_reason();
    if (reason != head_wait_.reason) {
        head_wait_ = {reason, context_.clock.now()};
    }
}

// Why ready messages are not given out. Only when no dispatch is due: then nobody can take them.
WaitReason Subscription::head_reason() const noexcept {
    if (ready() == 0) {
        if (in_flight() > 0) {
            return WaitReason::in_flight;
        }
        if (delayed() > 0) {
            return WaitReason::delayed;
        }
        return log_.uncommitted() > 0 ? WaitReason::committing : WaitReason::none;
    }
    if (is_draining_) {
        return WaitReason::draining;
    }
    if (receivers_.empty()) {
        return WaitReason::no_receiver;
    }
    if (!dispatcher_.has_candidates()) {
        return WaitReason::receivers_busy;
    }
    if (is_blocked_on_disk()) {
        return WaitReason::loading;
    }
    return ready_.total() == 0 ? WaitReason::key_busy : WaitReason::receivers_busy;
}

// --- Time ----------------------------------------------------------------------------------------------------------------

void Subscription::tick(std::uint64_t& messages) {
    bool has_more = !look_ahead(messages);
    has_more = release_due(messages) || has_more;
    has_more = end_rests(messages) || has_more;
    end_leases();
    has_more = expire_due(messages) || has_more;
    has_more = expire_old(messages) || has_more;
    note_change();
    if (has_more) {  // At once, also where the time stands still; not in the same step.
        return note_due(context_.clock.now() + Duration{messages == 0 ? 0 : 1});
    }
    note_next_due();
}

// Perhaps before that, and not in the pulse that goes on.
void Subscription::note_next_due() {
    const MonotonicTime now = context_.clock.now();
    MonotonicTime next = schedule_.next_time(now);
    if (!expiries_.empty()) {
        next = std::min(next, expiries_.front().at);
    }
    if (const auto head = has_age_limit() ? head_with_age() : std::nullopt) {
        const Duration age = age_of(*head->batch, context_.clock);
        next = std::min(next, now + std::max(context_.options->age_max - age, Duration{}));
    }
    if (has_age_limit() && has_taken_to_check()) {
        next = std::min(next, next_age_check_);
    }
    if (next_lease_end_ != UINT32_MAX) {
        next = std::min(next, MonotonicTime{next_lease_end_ * lease_step});
    }
    note_due(std::max(next, now + Duration{1}));
}

void Subscription::note_lease_end(std::uint32_t end) {
    next_lease_end_ = std::min(next_lease_end_, end);
    earliest_lease_end_ = std::min(earliest_lease_end_, end);
    if (end != UINT32_MAX) {
        note_due(MonotonicTime{end * lease_step});
    }
}

void Subscription::put_off(const Run& message, const Schedule::Due& due, bool has_key) {
    const bool is_active = has_key && !message.is_keyless && is_ordered();
    note_due(schedule_.put(message, due, has_key, !is_active || may_rest(message), now()));
    log_.note_remnant(*message.batch);
}

// Others with its key wait for it. The key is remembered, since it is asked for when the message goes. What has rules is read at
// each start, for its times.
bool Subscription::may_rest(const Run& active) {
    if (context_.memory == nullptr || active.batch->has_rules) {
        return false;
    }
    if (active.batch->is_resident) {
        const std::uint64_t key = number_of(key_of(properties_of(active)));
        key != 0 ? keys_.edit().set_away(active.first, key) : void();
    }
    return true;
}

bool Subscription::release_due(std::uint64_t& budget) {
    const Schedule::Now time = now();
    for (; schedule_.has_due(time); --budget) {
        if (budget == 0) {
            return true;
        }
        const auto waiting = schedule_.take_due(time);
        if (!waiting) {
            break;
        }
        wake();
        Run run = waiting->run;
        const bool is_keyless = std::exchange(run.is_keyless, false);
        const bool has_key = waiting->has_key && !is_keyless;
        if (context_.options->drops_late && run.attempt == 1) {
            note_entry(run, ReaderEntryKind::waiting, {});  // Its time came while the broker was there.
        }
        if (run.batch->is_resident && run.batch->has_rules && run.batch->accepted == MonotonicTime{}) {
            schedule_expiry(run);  // It was on the disk during a restart, and nobody has looked at it.
        }
        if (!run.batch->is_resident || may_leave(run)) {
            ready_.put_late(run);  // Looked at when it is there, and wanted.
            continue;
        }
        admit_due(run, has_key);
    }
    return false;
}

void Subscription::admit_due(const Run& message, bool has_key) {
    if (!has_key) {
        return admit(message, properties_of(message));
    }
    keys_.is_made() ? static_cast<void>(keys_.edit().end_away(message.first)) : void();
    put_if_young(message);
}

// What is due, and wanted by nobody now: its order among others is asked for when somebody comes.
bool Subscription::may_leave(const Run& message) const noexcept {
    const StoredBatch& batch = *message.batch;
    const bool is_on_disk = batch.index != 0 || batch.block != nullptr;
    return is_on_disk && context_.options->kind != Kind::stream && !is_ordered() && !wants_messages() &&
           (!batch.has_rules || rules_of(properties_of(message)).priority == 0);
}

// False: there is more, and nothing is given before.
bool Subscription::admit_late(std::uint64_t& messages) {
    if (!ready_.has_late_here() || !dispatcher_.has_candidates()) {
        return true;
    }
    for (const Run& run : ready_.take_late_here(messages)) {
        --messages;
        admit_arrived(run);
    }
    if (!ready_.has_late_here()) {
        return true;
    }
    wake();
    return false;
}

// As many as are given together, if nothing else can be given.
void Subscription::admit_placed(std::uint64_t& messages) {
    constexpr std::uint64_t admitted_bytes = 64 * 1024;
    if (messages == 0 || !dispatcher_.has_candidates() || !can_admit_placed()) {
        return;
    }
    if (ready_.is_fair()) {
        messages -= ready_.end_places(std::min(messages, runs_per_step), admitted_bytes);
        return;
    }
    const std::vector<Run> next = ready_.take_placed_here(std::min(messages, runs_per_step), admitted_bytes);
    messages -= next.size();
    for (const Run& run : next) {
        admit_arrived(run);
    }
}

// True: there is more.
bool Subscription::end_rests(std::uint64_t& budget) {
    const std::size_t before = schedule_.wanted().size();
    const bool is_all = schedule_.end_rests(now(), budget);
    log_.await(static_cast<std::int64_t>(schedule_.wanted().size()) - static_cast<std::int64_t>(before));
    return !is_all;
}

void Subscription::forget_wanted() noexcept {
    log_.await(-static_cast<std::int64_t>(schedule_.wanted().size()));
    schedule_.forget_wanted();
}

void Subscription::end_leases() {
    const std::uint32_t now = lease_time(context_.clock.now());
    if (next_lease_end_ > now) {
        return;
    }
    if (lease_turn_ == 0) {
        earliest_lease_end_ = UINT32_MAX;
    }
    std::size_t runs = runs_per_step;
    while (lease_turn_ < receivers_.size()) {
        Receiver& receiver = *receivers_[lease_turn_];
        if (!receiver.late_settlements.empty()) {  // It has spoken in time. Looked at again with the next pulse.
            earliest_lease_end_ = now;
            ++lease_turn_;
            continue;
        }
        const std::uint64_t before = receiver.in_flight.messages();
        Ring<Run> ended;
        const auto next = receiver.in_flight.take_ended(now, runs, ended);
        if (!ended.empty()) {
            counters_.edit().leases_ended += before - receiver.in_flight.messages();
            come_back_later(std::move(ended));
            refresh(receiver);
        }
        if (!next) {
            return;  // It goes on here with the next pulse.
        }
        earliest_lease_end_ = std::min(earliest_lease_end_, *next);
        ++lease_turn_;
    }
    lease_turn_ = 0;
    next_lease_end_ = earliest_lease_end_;
}

// How long this message has to live; nothing: for ever.
std::optional<Duration> Subscription::life_left(const Run& message) const noexcept {
    std::optional<Duration> life;
    if (message.batch->has_rules) {
        life = rules_of(properties_of(message)).ttl;
    }
    if (has_age_limit()) {
        life = std::min(life.value_or(Duration::max()), context_.options->age_max);
    }
    return life ? std::optional{*life - age_of(*message.batch, context_.clock)} : std::nullopt;
}

void Subscription::schedule_expiry(const Run& message) {
    if (const auto left = life_left(message)) {
        add_expiry(message.first, *left);
    }
}

// Only if it has a time to live itself.
void Subscription::schedule_own_expiry(const Run& message) {
    if (message.batch->has_rules && rules_of(properties_of(message)).ttl) {
        schedule_expiry(message);
    }
}

// Most messages are settled long before. Their entries go a few at a time; so do those of what receivers hold, which get another
// one when they come back.
void Subscription::add_expiry(Offset offset, Duration left) {
    constexpr std::size_t few = 1'024;
    if (expiries_.size() >= few) {
        expiries_.clean(2, expiry_turn_, [this](const Expiry& expiry) {
            return !ready_.has(expiry.offset) && schedule_.find(expiry.offset) == nullptr && !is_behind_key(expiry.offset);
        });
    }
    expiries_.push({context_.clock.now() + std::max(left, Duration{}), offset});  // Behind that: it may not be in its place yet.
    note_due(expiries_.front().at);
}

// Whoever holds the message may finish it; it is looked at again when it comes back.
bool Subscription::expire_due(std::uint64_t& budget) {
    const MonotonicTime now = context_.clock.now();
    for (; !expiries_.empty() && expiries_.front().at <= now; --budget) {
        if (budget == 0) {
            return true;
        }
        const Offset offset = expiries_.pop().offset;
        if (const auto run = ready_.take_at(offset)) {
            lives_on(*run) ? ready_.put(*run) : expire(*run, key_of_ready(*run));
            wake();  // What comes next may fit a receiver that had too little byte credit for this one.
        } else if (const auto* delayed = schedule_.find(offset)) {
            if (!lives_on(delayed->run)) {
                const auto waiting = schedule_.take(offset);
                expire(waiting->run, key_of_waiting(*waiting));
            }
        } else if (is_behind_key(offset) && !lives_on(keys_->waiting(offset, 1).front())) {
            expire(keys_.edit().take_at(offset).value(), Key::free);
            wake();
        }
    }
    return false;
}

// What was to end now may have longer, because the channel allows a greater age than it did: then it is looked at again.
bool Subscription::lives_on(const Run& run) {
    if (run.is_kept) {
        return true;
    }
    const auto left = time_left(run);
    if (left && *left > Duration{}) {
        add_expiry(run.first, *left);
    }
    return !left || *left > Duration{};
}

// As life_left. Of one that is not in memory: by what is known without its properties.
std::optional<Duration> Subscription::time_left(const Run& run) const noexcept {
    if (run.batch->is_resident) {
        return life_left(run);
    }
    if (!run.is_placed || run.expires() == WallTime{}) {
        return Duration{};
    }
    const Duration left = std::chrono::microseconds{run.expires().us - context_.clock.wall_now().us};
    const auto age = has_age_limit() ? known_age(*run.batch, context_.clock) : std::nullopt;
    return age ? std::min(left, context_.options->age_max - *age) : left;
}

// What is next in the log, if it can expire as it lies there: a block on the disk does as a whole, and not into quarantine.
std::optional<Run> Subscription::head_with_age() const {
    if (log_.fresh(cursor()) == 0) {
        return std::nullopt;
    }
    const Run head = log_.fresh_head(cursor());
    const bool can_expire = head.batch->is_resident || (head.batch->time != WallTime{} && filter_.matches_all() &&
                                                        !context_.options->quarantines_expired);
    return can_expire ? std::optional{head} : std::nullopt;
}

// The channel's own limit: by age the messages are in order.
bool Subscription::expire_old(std::uint64_t& budget) {
    if (!has_age_limit()) {
        return false;
    }
    LogCursor& cursor = ready_.cursor();
    for (auto head = head_with_age(); head && age_of(*head->batch, context_.clock) >= context_.options->age_max;
         head = head_with_age()) {
        if (budget == 0) {
            return true;
        }
        if (!filter_.matches_all()) {
            head = head->take_one();
        } else if (head->batch->is_resident && head->count > budget) {
            head = head->take_front(static_cast<std::uint32_t>(budget));
        }
        budget -= std::min<std::uint64_t>(budget, head->count);
        const Run old = log_.take_fresh(cursor, {head->count, head->bytes});
        wake();
        if (filter_.matches_all() || matches(properties_of(old))) {
            expire(old, Key::free);
        } else {
            forget(old, Key::free);
        }
    }
    if (!has_taken_to_check() || context_.clock.now() < next_age_check_) {
        return false;
    }
    if (expire_old_ready(budget) || expire_old_behind_keys(budget)) {
        return true;
    }
    next_age_check_ = context_.clock.now() + std::chrono::seconds{1};
    return false;
}

bool Subscription::expire_old_ready(std::uint64_t& budget) {
    constexpr std::size_t runs_max = 64;
    for (Offset from = age_check_from_;;) {
        const std::vector<Run> oldest = ready_.runs(from, runs_max);
        for (const Run& run : oldest) {
            age_check_from_ = from;
            if (budget == 0) {
                return true;
            }
            const auto age = known_age(*run.batch, context_.clock);
            const bool is_passed_over = run.is_kept || !age;
            budget -= is_passed_over ? 1 : 0;
            if (age && *age < context_.options->age_max) {
                age_check_from_ = 0;
                return false;
            }
            for (Offset offset = is_passed_over ? run.end() : run.first; offset < run.end(); ++offset) {
                if (budget == 0) {
                    return true;
                }
                --budget;
                if (const auto message = ready_.take_at(offset)) {
                    expire(*message, key_of_ready(*message));
                    wake();
                }
            }
            from = run.end();
        }
        if (oldest.empty()) {
            age_check_from_ = 0;
            return false;
        }
    }
}

// By age they are in order. However busy the key: its message may be with a receiver for as long as that extends its lease.
bool Subscription::expire_old_behind_keys(std::uint64_t& budget) {
    constexpr std::size_t runs_max = 64;
    for (Offset from = 0;;) {
        const std::vector<Run> oldest = keys_->waiting(from, runs_max);
        for (const Run& message : oldest) {
            if (budget == 0) {
                return true;
            }
            --budget;
            const auto age = known_age(*message.batch, context_.clock);
            if (age && *age < context_.options->age_max) {
                return false;
            }
            if (age && !message.is_kept) {
                expire(keys_.edit().take_at(message.first).value(), Key::free);
                wake();
            }
            from = message.end();
        }
        if (oldest.empty()) {
            return false;
        }
    }
}

}  // namespace baton::channel

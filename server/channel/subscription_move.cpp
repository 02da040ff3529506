// Moving messages to another channel. What is taken out is in nobody's hands: no receiver gets it, it does not expire, and
// what is saved of it is what it was. Then it is forgotten, or put back. What administrators do otherwise is in
// subscription_admin.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

namespace {

// Messages that are looked at before others get their turn.
constexpr std::uint64_t absorbed_per_step = 10'000;
constexpr std::size_t entries_at_once = 1'000;

bool has_room(const MoveWish& wish, const MoveStep& step, std::uint64_t bytes) noexcept {
    return step.parts.empty() || (step.messages < wish.messages_max && step.bytes + bytes <= wish.bytes_max);
}

// Else it has to be read before there is more.
bool is_in_memory(const Run& message, MoveStep& step) {
    if (!message.batch->is_resident) {
        step.wanted = message.batch->block->ref;
    }
    return message.batch->is_resident;
}

}  // namespace

MoveStep Subscription::begin_move(const MoveWish& wish) {
    MoveStep step;
    step.next = wish.is_all ? wish.from : 0;
    std::uint64_t budget = absorbed_per_step;
    if (!look_ahead(budget)) {
        return step;
    }
    if (!wish.state || *wish.state == MessageState::ready) {
        absorb(budget, Reach::everything);
    }
    if (wish.is_all) {
        begin_move_of_all(wish, step);
    } else {
        while (step.next < wish.offsets.size() && move_one(wish, wish.offsets[step.next], step)) {
            ++step.next;
        }
        step.is_end = step.next == wish.offsets.size();
    }
    for (Receiver* receiver : receivers_) {
        receiver->is_passed_over = false;  // Nobody waits for byte credit for a message that is gone.
    }
    refresh_all();
    return step;
}

// What is not in its place in the log, and what is, in the order of offsets.
void Subscription::begin_move_of_all(const MoveWish& wish, MoveStep& step) {
    const bool with_ready = !wish.state || *wish.state == MessageState::ready;
    while (step.next < wish.until) {
        const auto listed = entries(wish.state, step.next, entries_at_once);
        for (const Entry& entry : listed) {
            if (with_ready && !move_fresh(wish, std::min(entry.run.first, wish.until), step)) {
                return;
            }
            if (entry.run.first >= wish.until) {
                step.is_end = true;
                return;
            }
            Run rest = entry.run;
            if (entry.state == MessageState::in_flight || rest.end() <= step.next) {
                step.next = std::max(step.next, rest.end());
                continue;
            }
            if (rest.first < step.next) {
                static_cast<void>(rest.take_front(static_cast<std::uint32_t>(step.next - rest.first)));
            }
            while (rest.count > 0 && rest.first < wish.until) {
                const Run one = rest.take_one();
                if (!has_room(wish, step, one.bytes) || !is_in_memory(one, step)) {
                    return;
                }
                take_out(one, entry.state, step);
                step.next = one.first + 1;
            }
        }
        if (listed.empty()) {
            if (with_ready && !move_fresh(wish, wish.until, step)) {
                return;
            }
            break;
        }
    }
    step.is_end = true;
}

// From the log, up to this offset. False: the step ends here.
bool Subscription::move_fresh(const MoveWish& wish, Offset end, MoveStep& step) {
    LogCursor& cursor = ready_.cursor();
    while (log_.fresh(cursor) > 0 && cursor.offset() < end) {
        if (log_.readable(cursor) == 0) {
            step.wanted = log_.fresh_head(cursor).batch->block->ref;
            return false;
        }
        if (ready_.is_absorbing()) {  // Its turn comes when it has been looked at.
            note_unseen(step);
            return false;
        }
        const Run head = log_.fresh_head(cursor);
        Cut cut = cut_front(head.region(),
                            {.count = std::min(wish.messages_max - std::min(wish.messages_max, step.messages), end - head.first),
                             .bytes = wish.bytes_max - std::min(wish.bytes_max, step.bytes),
                             .message_bytes = UINT64_MAX});
        if (cut.count == 0 && step.parts.empty()) {
            cut = cut_count(head.region(), 1);
        }
        if (cut.count == 0) {
            return false;
        }
        const Run run = log_.take_fresh(cursor, cut);
        step.next = std::max(step.next, run.end());
        add_moving({.run = run, .due{}, .note{}}, step);
    }
    return true;
}

// What has to be looked at in front of everything fresh has to be read for it.
void Subscription::note_unseen(MoveStep& step) const {
    if (ready_.has_unseen() && !ready_.has_unseen_here()) {
        step.wanted = ready_.awaited().unseen.head().batch->block->ref;
    }
}

// False: it has to wait for the next step.
bool Subscription::move_one(const MoveWish& wish, Offset offset, MoveStep& step) {
    if (const auto entry = find(offset)) {
        if (entry->state == MessageState::in_flight || (wish.state && *wish.state != entry->state)) {
            return true;
        }
        const Run one = entry->run.message_at(offset);
        if (!has_room(wish, step, one.bytes) || !is_in_memory(one, step)) {
            return false;
        }
        take_out(one, entry->state, step);
        return true;
    }
    if (wish.state && *wish.state != MessageState::ready) {
        return true;
    }
    const auto fresh = log_.fresh_run(cursor(), nullptr, offset);
    if (!fresh || fresh->first > offset) {
        return true;
    }
    if (ready_.is_absorbing()) {
        log_.readable(cursor()) > 0 ? note_unseen(step) : void(step.wanted = log_.fresh_head(cursor()).batch->block->ref);
        return false;
    }
    if (!fresh->batch->is_resident) {
        step.wanted = fresh->batch->block->ref;
        return false;
    }
    const Run one = fresh->message_at(offset);
    if (!has_room(wish, step, one.bytes)) {
        return false;
    }
    const Cut before{static_cast<std::uint32_t>(one.first - one.batch->base), one.position};
    add_moving({.run = log_.pick(ready_.cursor(), *one.batch, before, {one.count, one.bytes}), .due{}, .note{}}, step);
    return true;
}

// A message that the subscription holds, in this state.
void Subscription::take_out(const Run& message, MessageState state, MoveStep& step) {
    const Offset offset = message.first;
    Moving moving{.run = message, .state = state, .due{}, .note{}};
    if (state == MessageState::quarantined) {
        const auto quarantined = take_out_of_quarantine(offset);
        BATON_ASSERT(quarantined);
        moving.run = quarantined->run;
        moving.note = quarantined->note;
    } else if (state == MessageState::delayed) {
        const auto waiting = schedule_.take(offset);
        BATON_ASSERT(waiting);
        moving.due = waiting->due;
        moving.run = waiting->run;
        moving.key = waiting->has_key ? Key::held : Key::free;
    } else if (auto ready = ready_.take_at(offset)) {
        moving.run = *ready;
        moving.key = key_of_ready(*ready);
    } else {
        const auto waiting = keys_.edit().take_at(offset);
        BATON_ASSERT(waiting);
        moving.run = *waiting;
    }
    add_moving(std::move(moving), step);
}

void Subscription::add_moving(Moving moving, MoveStep& step) {
    const bool has_own_time = moving.state == MessageState::delayed && !moving.run.was_delivered;
    step.parts.push_back({.run = moving.run,
                          .state = moving.state,
                          .due = has_own_time ? Schedule::wall_of(moving.due, context_.clock) : WallTime{},
                          .note = moving.note});
    note_change();
    moving_messages_ += moving.run.count;
    step.messages += moving.run.count;
    step.bytes += moving.run.bytes;
    const Offset first = moving.run.first;
    moving_.emplace(first, std::move(moving));
}

void Subscription::finish_move(Offset offset, bool is_moved) {
    auto found = moving_.upper_bound(offset);
    if (found == moving_.begin() || (--found)->second.run.end() <= offset) {
        return;  // Everything was forgotten meanwhile.
    }
    auto node = moving_.extract(found);
    Moving& all = node.mapped();
    Moving one = all;
    if (all.run.first < offset) {
        Moving before = all;
        before.run = all.run.take_front(static_cast<std::uint32_t>(offset - all.run.first));
        moving_.emplace(before.run.first, std::move(before));
    }
    one.run = all.run.take_one();
    if (all.run.count > 0) {
        node.key() = all.run.first;
        moving_.insert(std::move(node));
    }
    --moving_messages_;
    if (is_moved) {
        ++counters_.edit().moved;
        forget(one.run, one.key);
    } else {
        put_back(one);
    }
}

void Subscription::put_back(const Moving& moving) {
    wake();
    const Run& run = moving.run;
    if (moving.state == MessageState::quarantined) {
        return put_into_quarantine(run, moving.note);
    }
    schedule_own_expiry(run);  // What was scheduled may have passed meanwhile.
    if (moving.state == MessageState::delayed) {
        put_off(run, moving.due, moving.key == Key::held);
    } else if (run.is_unseen) {
        ready_.put_unseen(run);
    } else if (moving.key == Key::held || !is_ordered()) {
        put_if_young(run);
    } else {
        admit(run, properties_of(run));
    }
}

}  // namespace baton::channel

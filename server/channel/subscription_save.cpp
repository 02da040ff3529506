// What a saved state has of a reader, in slices of offsets (state_slices.hpp).
#include <algorithm>
#include <iterator>
#include <utility>

#include "server/channel/run_merge.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

namespace {

bool try_join(ReaderEntry& before, const ReaderEntry& entry) {
    if (before.end != entry.first || !before.is_like(entry)) {
        return false;
    }
    before.end = entry.end;
    return true;
}

// Entries of one place, in their order, up to where the others have come.
class EntryCollector {
public:
    EntryCollector(std::vector<ReaderEntry>& entries, std::uint64_t limit, std::uint64_t& runs, Offset& end,
                   bool drops_late) noexcept
        : entries_{entries}, limit_{limit}, runs_{runs}, end_{end}, drops_late_{drops_late} {}

    /// False: nothing behind it is wanted of this place.
    [[nodiscard]] bool takes(const Run& run) noexcept {
        if (run.first >= end_) {
            return false;
        }
        if (count_ == limit_) {
            end_ = run.first;
            return false;
        }
        return true;
    }
    void add(const Run& run, ReaderEntryKind kind, std::uint32_t attempt, WallTime due = {},
             std::shared_ptr<const QuarantineNote> note = {}) {
        add_entry({.first = run.first,
                   .end = run.end(),
                   .kind = kind == ReaderEntryKind::ready && run.is_kept ? ReaderEntryKind::kept : kind,
                   .attempt = attempt,
                   .due = due,
                   .note = std::move(note)});
    }
    // Late ones, whose time has come before they were in memory, need not be read either. Where what is late after a restart is
    // dropped, the others say with the same time, 0, that theirs had come before. With order by key late ones are ready like all
    // others that may have to wait behind one.
    void add_ready(const Run& run, bool is_ordered) {
        if (run.is_placed && !run.is_kept) {
            return add_entry({.first = run.first,
                              .end = run.end(),
                              .kind = ReaderEntryKind::placed,
                              .priority = run.priority,
                              .is_new = !run.was_delivered,
                              .attempt = run.attempt,
                              .due = run.expires(),
                              .note{}});
        }
        const bool is_late = !is_ordered && !run.batch->is_resident && !run.is_kept && !run.is_unseen;
        add(run, is_late || has_come(run) ? ReaderEntryKind::waiting : ReaderEntryKind::ready, run.attempt);
    }
    // What was started has an attempt behind it.
    void add_held(Run run) {
        run.is_kept = run.is_kept && !run.is_started;  // It is given once.
        const bool has_to_say = has_come(run) && !run.is_started;
        add(run, has_to_say ? ReaderEntryKind::waiting : ReaderEntryKind::ready, run.attempt + (run.is_started ? 1 : 0));
    }
    // A message that waits because of its own properties is ready for whoever reads them again. It need not be read if it is in a
    // block: then its time is in the state.
    void add_waiting(const Run& run, WallTime due) {
        const bool has_time = run.was_delivered || run.batch->block != nullptr || run.batch->is_trimmed;
        add(run, has_time ? ReaderEntryKind::waiting : ReaderEntryKind::ready, run.attempt, has_time ? due : WallTime{});
    }

private:
    void add_entry(ReaderEntry entry) {
        ++count_;
        ++runs_;
        if (count_ == 1 || !try_join(entries_.back(), entry)) {
            entries_.push_back(std::move(entry));
        }
    }
    [[nodiscard]] bool has_come(const Run& run) const noexcept {
        return drops_late_ && run.attempt == 1 && run.batch->has_rules && !run.is_kept;
    }

    std::vector<ReaderEntry>& entries_;
    const std::uint64_t limit_;
    std::uint64_t& runs_;
    Offset& end_;
    const bool drops_late_;
    std::uint64_t count_ = 0;
};

}  // namespace

// What is not fresh and not settled, of the messages from `from` on: of each place where they may be at most so many runs as the
// budget has. `end` goes down to where one of them has more.
std::vector<ReaderEntry> Subscription::held_entries(Offset from, std::uint64_t& budget, Offset& end) const {
    std::vector<ReaderEntry> held;
    const std::uint64_t limit = budget;
    std::uint64_t count = 0;
    const auto collector = [&] { return EntryCollector{held, limit, count, end, context_.options->drops_late}; };
    auto waiting = collector();
    for (auto at = schedule_.waiting().lower_bound(from); at != schedule_.waiting().end() && waiting.takes(at->second.run); ++at) {
        waiting.add_waiting(at->second.run, Schedule::wall_of(at->second.due, context_.clock));
    }
    auto quarantined = collector();
    for (auto at = quarantine_.lower_bound(from); at != quarantine_.end() && quarantined.takes(at->second.run); ++at) {
        quarantined.add(at->second.run, ReaderEntryKind::quarantined, at->second.run.attempt, {}, at->second.note);
    }
    const auto add_ready = [&](const std::vector<Run>& runs) {
        auto ready = collector();
        for (auto at = runs.begin(); at != runs.end() && ready.takes(*at); ++at) {
            ready.add_ready(*at, is_ordered());
        }
    };
    const std::size_t one_more = std::min<std::uint64_t>(limit, SIZE_MAX - 1) + 1;
    add_ready(ready_.runs(from, one_more));
    add_ready(keys_->waiting(from, one_more));
    RunMerge in_hand{from};
    for (const Receiver* receiver : receivers_) {
        in_hand.add(receiver->in_flight.runs());
    }
    for (const Ring<Run>& runs : coming_back_) {
        in_hand.add(runs);
    }
    auto of_receivers = collector();
    for (const Run* run = in_hand.next(); run != nullptr && of_receivers.takes(*run); run = in_hand.next()) {
        of_receivers.add_held(*run);
    }
    auto moving = collector();  // Until they are gone they are what they were.
    auto at = moving_.upper_bound(from);
    at = at != moving_.begin() && std::prev(at)->second.run.end() > from ? std::prev(at) : at;
    for (; at != moving_.end() && moving.takes(at->second.run); ++at) {
        const auto& [run, state, key, due, note, receiver] = at->second;
        if (note) {
            moving.add(run, ReaderEntryKind::quarantined, run.attempt, {}, note);
        } else if (state == MessageState::delayed) {
            moving.add_waiting(run, Schedule::wall_of(due, context_.clock));
        } else if (state == MessageState::in_flight) {
            moving.add_held(run);
        } else {
            moving.add_ready(run, is_ordered());
        }
    }
    if (!std::ranges::is_sorted(held, {}, &ReaderEntry::first)) {
        std::ranges::sort(held, {}, &ReaderEntry::first);
    }
    budget -= std::min(budget, count);
    return held;
}

Offset Subscription::add_entries(std::vector<ReaderEntry>& saved, Offset saved_cursor, Offset from, Offset end,
                                 std::uint64_t& budget) const {
    if (from >= end) {
        return end;
    }
    const Offset now = cursor().offset();
    const OffsetSet& skipped = cursor().skipped();
    const std::uint64_t holes_max = budget;
    const std::vector<ReaderEntry> held = held_entries(from, budget, end);
    const std::size_t before = saved.size();
    // None is on both sides of the cursor: in front of it and behind it they mean different things.
    const auto add_part = [&](const ReaderEntry& entry, Offset first, Offset stop) {
        if (first >= stop) {
            return;
        }
        ReaderEntry part = entry;
        part.first = first;
        part.end = stop;
        if (saved.size() == before || first == saved_cursor || !try_join(saved.back(), part)) {
            saved.push_back(std::move(part));
        }
    };
    const auto add = [&](const ReaderEntry& entry, Offset first, Offset stop) {
        add_part(entry, first, std::min(stop, saved_cursor));
        add_part(entry, std::max(first, saved_cursor), stop);
    };
    // What is not held: settled behind the cursor, which the state says in front of its own; and if it was passed over.
    const ReaderEntry settled{.kind = ReaderEntryKind::settled, .note{}};
    auto hole = first_beyond(skipped, std::max(from, now));
    std::uint64_t holes = 0;
    for (auto last = hole; last != skipped.end() && last->first < end; ++last) {
        if (holes++ == holes_max) {
            end = last->first;
        }
    }
    const auto add_settled = [&](Offset first, Offset stop) {
        add(settled, std::max(first, saved_cursor), std::min(stop, now));
        for (; hole != skipped.end() && hole->first < stop; ++hole) {
            add(settled, std::max({first, now, hole->first}), std::min(stop, hole->second));
            if (hole->second > stop) {
                return;
            }
        }
    };
    Offset at = from;
    for (const ReaderEntry& entry : held) {
        if (entry.first >= end) {
            break;
        }
        add_settled(at, entry.first);
        add(entry, std::max(entry.first, at), std::min(entry.end, end));
        at = std::max(at, entry.end);  // It may reach across messages that compaction has removed.
    }
    add_settled(at, end);
    budget -= std::min(budget, holes + 1);
    return end;
}

void Subscription::note_waiting(Offset first, Offset end) {
    const auto& waiting = schedule_.waiting();
    for (auto at = waiting.lower_bound(first); at != waiting.end() && at->first < end; ++at) {
        note_entry(at->second.run, ReaderEntryKind::waiting, Schedule::wall_of(at->second.due, context_.clock));
    }
}

}  // namespace baton::channel

#include "server/channel/schedule.hpp"

#include <algorithm>

#include "common/base/assert.hpp"

namespace baton::channel {

namespace {

WallTime later(WallTime time, Duration by) noexcept {
    return {time.us + std::chrono::duration_cast<std::chrono::microseconds>(by).count()};
}

MonotonicTime monotonic(MonotonicTime at, const Schedule::Now&) noexcept { return at; }
MonotonicTime monotonic(WallTime at, const Schedule::Now& now) noexcept {
    return now.time + std::chrono::microseconds{at.us - now.wall.us};
}

bool is_at(const Schedule::Due& due, MonotonicTime at) noexcept { return !due.wall && due.at == at; }
bool is_at(const Schedule::Due& due, WallTime at) noexcept { return due.wall == at; }

}  // namespace

MonotonicTime Schedule::put(const Run& run, const Due& due, bool has_key, bool may_rest, const Now& now) {
    BATON_ASSERT(run.count == 1);
    const bool is_far = due.wall ? later(now.wall, soon) < *due.wall : now.time + soon < due.at;
    const bool rests = may_rest && (is_far || !run.batch->is_resident);  // Its block is wanted when the rest ends.
    const bool is_new = waiting_.insert_or_assign(run.first, Waiting{run, due, has_key, rests}).second;
    BATON_ASSERT(is_new);
    if (rests) {
        MessageLog::rest(*run.batch, 1);
    }
    if (due.wall) {
        (rests ? resting_.edit().by_wall : by_wall_).push({*due.wall, run.first});
        return now.time;
    }
    (rests ? resting_.edit().by_time : by_time_).push({due.at, run.first});
    return rests ? due.at - soon : due.at;
}

std::optional<Schedule::Waiting> Schedule::take(Offset offset) {
    const auto found = waiting_.find(offset);
    if (found == waiting_.end()) {
        return std::nullopt;
    }
    const Waiting waiting = found->second;
    if (waiting.rests) {
        MessageLog::end_rest(*waiting.run.batch, 1);
    }
    waiting_.erase(found);
    if (waiting_.empty()) {
        by_time_.clear();
        by_wall_.clear();
        if (resting_.is_made()) {
            resting_.edit().by_time.clear();
            resting_.edit().by_wall.clear();
        }
    }
    return waiting;
}

template <class Time>
Schedule::Waiting* Schedule::current(const Entry<Time>& entry) noexcept {
    const auto found = waiting_.find(entry.offset);
    return found != waiting_.end() && is_at(found->second.due, entry.at) ? &found->second : nullptr;
}

template <class Time>
std::optional<Schedule::Waiting> Schedule::pop(WaitingHeap<Entry<Time>>& heap, Time now) {
    while (!heap.empty() && heap.front().at <= now) {
        const Entry<Time> entry = heap.pop();
        if (current(entry) != nullptr) {
            return take(entry.offset);
        }
    }
    return std::nullopt;
}

std::optional<Schedule::Waiting> Schedule::take_due(const Now& now) {
    std::optional<Waiting> waiting = pop(by_time_, now.time);
    waiting = waiting ? waiting : pop(by_wall_, now.wall);
    if (!waiting && resting_.is_made()) {  // Those for which no more blocks could be read ahead.
        waiting = pop(resting_.edit().by_time, now.time);
        waiting = waiting ? waiting : pop(resting_.edit().by_wall, now.wall);
    }
    return waiting;
}

bool Schedule::has_due(const Now& now) const noexcept {
    const auto has = [](const auto& heap, auto time) { return !heap.empty() && heap.front().at <= time; };
    return has(by_time_, now.time) || has(by_wall_, now.wall) || has(resting_->by_time, now.time) ||
           has(resting_->by_wall, now.wall);
}

MonotonicTime Schedule::next_time(MonotonicTime now) const noexcept {
    if (!by_wall_.empty() || !resting_->by_wall.empty()) {
        return now;
    }
    MonotonicTime next = !by_time_.empty() ? by_time_.front().at : MonotonicTime::max();
    if (!resting_->by_time.empty()) {
        next = std::min(next, resting_->by_time.front().at - soon);
    }
    for (const Wanted& one : wanted()) {
        next = std::min(next, one.until);
    }
    return next;
}

const Schedule::Waiting* Schedule::find(Offset offset) const noexcept {
    const auto found = waiting_.find(offset);
    return found != waiting_.end() ? &found->second : nullptr;
}

void Schedule::add(Offset first, Offset end, std::vector<Run*>& runs) {
    for (auto at = waiting_.lower_bound(first); at != waiting_.end() && at->first < end; ++at) {
        runs.push_back(&at->second.run);
    }
}

void Schedule::count_resting(Offset first, Offset end) const noexcept {
    for (auto at = waiting_.lower_bound(first); at != waiting_.end() && at->first < end; ++at) {
        if (at->second.rests) {
            MessageLog::rest(*at->second.run.batch, 1);
        }
    }
}

WallTime Schedule::wall_of(const Due& due, const Clock& clock) noexcept {
    if (due.wall) {
        return *due.wall;
    }
    return {clock.wall_now().us + std::chrono::duration_cast<std::chrono::microseconds>(due.at - clock.now()).count()};
}

// --- Ahead of its time ---------------------------------------------------------------------------------------------------------

bool Schedule::end_rests(const Now& now, std::uint64_t& messages) {
    if (!resting_.is_made()) {
        return true;
    }
    Resting& resting = resting_.edit();
    std::erase_if(resting.wanted, [&](const Wanted& one) { return one.until <= now.time; });
    return end_rests(resting.by_time, by_time_, now.time + soon, now, messages) &&
           end_rests(resting.by_wall, by_wall_, later(now.wall, soon), now, messages);
}

template <class Time>
bool Schedule::end_rests(WaitingHeap<Entry<Time>>& resting, WaitingHeap<Entry<Time>>& soon_due, Time end, const Now& now,
                         std::uint64_t& messages) {
    while (!resting.empty() && resting.front().at <= end) {
        const Entry<Time> entry = resting.front();
        if (messages == 0) {
            return false;
        }
        --messages;
        if (Waiting* waiting = current(entry); waiting != nullptr && waiting->rests) {
            StoredBatch& batch = *waiting->run.batch;
            if (!batch.is_resident && !want(batch.block->ref, monotonic(entry.at, now))) {
                return true;
            }
            waiting->rests = false;
            MessageLog::end_rest(batch, 1);
            soon_due.push(entry);
        }
        static_cast<void>(resting.pop());
    }
    return true;
}

// False: there are too many already.
bool Schedule::want(const commit::BlockRef& ref, MonotonicTime until) {
    std::vector<Wanted>& wanted = resting_.edit().wanted;
    const auto found = std::ranges::find(wanted, ref, &Wanted::ref);
    if (found != wanted.end()) {
        found->until = std::max(found->until, until);
        return true;
    }
    if (wanted.size() == blocks_max) {
        return false;
    }
    wanted.push_back({ref, until});
    return true;
}

}  // namespace baton::channel

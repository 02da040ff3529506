#include "server/channel/schedule.hpp"

#include "common/base/assert.hpp"

namespace baton::channel {

void Schedule::put(const Run& run, const Due& due, bool has_key) {
    BATON_ASSERT(run.count == 1);
    const bool is_new = waiting_.insert_or_assign(run.first, Waiting{run, due, has_key}).second;
    BATON_ASSERT(is_new);
    if (due.wall) {
        by_wall_.push({*due.wall, run.first});
    } else {
        by_time_.push({due.at, run.first});
    }
}

std::optional<Schedule::Waiting> Schedule::take(Offset offset) {
    const auto found = waiting_.find(offset);
    if (found == waiting_.end()) {
        return std::nullopt;
    }
    const Waiting waiting = found->second;
    waiting_.erase(found);
    if (waiting_.empty()) {
        by_time_.clear();
        by_wall_.clear();
    }
    return waiting;
}

bool Schedule::is_current(const Entry<MonotonicTime>& entry) const noexcept {
    const Waiting* waiting = find(entry.offset);
    return waiting != nullptr && !waiting->due.wall && waiting->due.at == entry.at;
}

bool Schedule::is_current(const Entry<WallTime>& entry) const noexcept {
    const Waiting* waiting = find(entry.offset);
    return waiting != nullptr && waiting->due.wall == entry.at;
}

template <class Time>
std::optional<Schedule::Waiting> Schedule::pop(WaitingHeap<Entry<Time>>& heap, Time now) {
    while (!heap.empty() && heap.front().at <= now) {
        const Entry<Time> entry = heap.pop();
        if (is_current(entry)) {
            return take(entry.offset);
        }
    }
    return std::nullopt;
}

std::optional<Schedule::Waiting> Schedule::take_due(MonotonicTime now, WallTime wall) {
    if (auto waiting = pop(by_time_, now)) {
        return waiting;
    }
    return pop(by_wall_, wall);
}

bool Schedule::has_due(MonotonicTime now, WallTime wall) const noexcept {
    return (!by_time_.empty() && by_time_.front().at <= now) || (!by_wall_.empty() && by_wall_.front().at <= wall);
}

const Schedule::Waiting* Schedule::find(Offset offset) const noexcept {
    const auto found = waiting_.find(offset);
    return found != waiting_.end() ? &found->second : nullptr;
}

WallTime Schedule::wall_of(const Due& due, const Clock& clock) noexcept {
    if (due.wall) {
        return *due.wall;
    }
    return {clock.wall_now().us + std::chrono::duration_cast<std::chrono::microseconds>(due.at - clock.now()).count()};
}

}  // namespace baton::channel

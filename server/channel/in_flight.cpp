#include "server/channel/in_flight.hpp"

#include <algorithm>
#include <limits>

#include "common/base/assert.hpp"

namespace baton::channel {

namespace {

// To find the middle of a run one has to walk over the lengths before it. A run leaves a cut behind it every so many
// messages of such a walk, so that settling a long run from its far end is not quadratic.
constexpr std::uint32_t walk_max = 1024;
// Runs that are taken out of the middle have the others moved, which is so many times quicker than what is done with a run.
constexpr std::size_t moves_per_run = 16;

void add_lost(Settlement& out, const SettleRange& range, Offset first, Offset end) {
    if (!out.lost.empty() && out.lost.back().first + out.lost.back().count == first) {
        out.lost.back().count += static_cast<std::uint32_t>(end - first);
        return;
    }
    out.lost.push_back({.first = first,
                        .count = static_cast<std::uint32_t>(end - first),
                        .attempt = range.attempt,
                        .outcome = range.outcome});
}

}  // namespace

void set_keyless(Ring<Run>& runs) noexcept {
    for (std::size_t i = 0; i < runs.size(); ++i) {
        runs[i].is_keyless = true;
    }
}

std::size_t find_run(const Ring<Run>& runs, Offset offset) noexcept {
    if (runs.empty() || runs.front().end() > offset) {
        return 0;  // By far the most frequent: messages are settled in order.
    }
    std::size_t low = 1;
    std::size_t high = runs.size();
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if (runs[middle].end() > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void InFlight::add(const Run& run) noexcept {
    BATON_ASSERT(run.count > 0 && !run.is_started);
    messages_ += run.count;
    bytes_ += run.bytes;
    Run* const last = runs_.empty() ? nullptr : &runs_.back();
    if (last != nullptr && last->end() <= run.first) {
        if (!last->try_append(run)) {
            runs_.push_back(run);
        }
        return;
    }
    const std::size_t index = find_run(runs_, run.first);
    BATON_ASSERT(index == runs_.size() || runs_[index].first >= run.end());
    insert(index, run);
}

void InFlight::put_back(const Run& run) noexcept {
    messages_ += run.count;
    bytes_ += run.bytes;
    started_ += run.is_started ? run.count : 0;
    const std::size_t index = find_run(runs_, run.first);
    BATON_ASSERT(index == runs_.size() || runs_[index].first >= run.end());
    insert(index, run);
}

// Cuts the run at `index` so that one begins at `first` and ends at `end`, both inside it; returns the index of that.
std::size_t InFlight::isolate(std::size_t index, Offset first, Offset end) noexcept {
    while (runs_[index].first < first) {
        const auto before = std::min<Offset>(first - runs_[index].first, walk_max);
        const Run front = runs_[index].take_front(static_cast<std::uint32_t>(before));
        insert(index, front);
        ++index;
    }
    if (Run& run = runs_[index]; end < run.end()) {
        const Run front = run.take_front(static_cast<std::uint32_t>(end - first));
        insert(index, front);
    }
    return index;
}

// Calls `found(index)` for each run that lies in the range and has its attempt number, after cutting it out; `found`
// returns the index of the run to go on with. Ranges come from the network: any value must be safe. Returns how many messages
// of the range it came to.
template <class Found>
std::uint32_t InFlight::visit(const SettleRange& range, Settlement& out, SettleLimit& limit, Found found) noexcept {
    if (range.count == 0) {
        return 0;
    }
    if (range.first > std::numeric_limits<Offset>::max() - range.count) {
        out.lost.push_back(range);
        return range.count;
    }
    const Offset end = range.first + range.count;
    Offset at = range.first;
    std::size_t index = find_run(runs_, at);
    while (at < end && limit.left > 0) {
        if (index == runs_.size() || runs_[index].first >= end) {
            add_lost(out, range, at, end);
            --limit.left;
            return range.count;
        }
        const Run& run = runs_[index];
        if (run.first > at) {
            add_lost(out, range, at, run.first);
            at = run.first;
        }
        Offset stop = std::min(run.end(), end);
        if (run.attempt == range.attempt) {
            if (limit.is_by_message && stop - at > limit.left) {
                stop = at + limit.left;
            }
            limit.left -= limit.is_by_message ? stop - at : 1;
            index = found(isolate(index, at, stop));
        } else {
            add_lost(out, range, at, stop);
            --limit.left;
            ++index;
        }
        at = stop;
    }
    return static_cast<std::uint32_t>(at - range.first);
}

std::uint32_t InFlight::take(const SettleRange& range, Settlement& out, SettleLimit& limit) noexcept {
    const std::uint64_t asked = limit.left;
    if (asked > 0 && asked < runs_.size() / moves_per_run) {
        const std::size_t before = find_run(runs_, range.first);
        const std::size_t behind = runs_.size() - find_run(runs_, range.first + range.count);
        limit.left = std::max<std::uint64_t>(asked, std::min(before, behind) / moves_per_run);
    }
    const std::uint64_t allowed = limit.left;
    std::size_t dead_from = 0;  // Runs that are taken are erased together, as long as they are neighbours.
    std::size_t dead = 0;
    const std::uint32_t count = visit(range, out, limit, [&](std::size_t index) {
        if (dead > 0 && dead_from + dead != index) {
            erase(dead_from, dead);
            index -= dead;
            dead = 0;
        }
        dead_from = dead == 0 ? index : dead_from;
        ++dead;
        const Run& run = runs_[index];
        uncount(run);
        out.held.push_back(run);
        return index + 1;
    });
    erase(dead_from, dead);
    limit.left = asked - std::min(asked, allowed - limit.left);
    return count;
}

std::uint32_t InFlight::start(const SettleRange& range, Settlement& out, SettleLimit& limit) noexcept {
    return visit(range, out, limit, [&](std::size_t index) {
        if (!runs_[index].is_started) {
            runs_[index].is_started = true;
            started_ += runs_[index].count;
            out.held.push_back(runs_[index]);
        }
        return index + 1;
    });
}

std::uint32_t InFlight::extend(const SettleRange& range, std::uint32_t lease_end, Settlement& out,
                               SettleLimit& limit) noexcept {
    return visit(range, out, limit, [&](std::size_t index) {
        runs_[index].lease_end = std::min(lease_end, runs_[index].lease_cap);
        earliest_ = std::min(earliest_, runs_[index].lease_end);
        out.held.push_back(runs_[index]);
        return index + 1;
    });
}

std::optional<std::uint32_t> InFlight::take_ended(std::uint32_t now, std::size_t& runs_max, Ring<Run>& out) noexcept {
    earliest_ = looked_at_ == 0 ? UINT32_MAX : earliest_;
    const std::size_t stop = looked_at_ + std::min(runs_max, runs_.size() - looked_at_);
    runs_max -= stop - looked_at_;
    std::size_t kept = looked_at_;
    for (std::size_t i = looked_at_; i < stop; ++i) {
        if (runs_[i].lease_end <= now) {
            uncount(runs_[i]);
            out.push_back(runs_[i]);
            continue;
        }
        earliest_ = std::min(earliest_, runs_[i].lease_end);
        if (kept != i) {
            runs_[kept] = runs_[i];
        }
        ++kept;
    }
    runs_.erase(kept, stop - kept);
    looked_at_ = kept < runs_.size() ? kept : 0;
    return looked_at_ == 0 && kept == runs_.size() ? std::optional{earliest_} : std::nullopt;
}

void InFlight::insert(std::size_t index, const Run& run) noexcept {
    runs_.insert(index, run);
    looked_at_ += index < looked_at_ ? 1 : 0;
    earliest_ = std::min(earliest_, run.lease_end);
}

void InFlight::erase(std::size_t index, std::size_t count) noexcept {
    runs_.erase(index, count);
    looked_at_ -= index < looked_at_ ? std::min(count, looked_at_ - index) : 0;
}

Ring<Run> InFlight::take_all() noexcept {
    Ring<Run> all;
    all.swap(runs_);
    messages_ = bytes_ = started_ = 0;
    looked_at_ = 0;
    return all;
}

void InFlight::uncount(const Run& run) noexcept {
    messages_ -= run.count;
    bytes_ -= run.bytes;
    started_ -= run.is_started ? run.count : 0;
}

}  // namespace baton::channel

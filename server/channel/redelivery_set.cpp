#include "server/channel/redelivery_set.hpp"

#include <limits>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/in_flight.hpp"

namespace baton::channel {

namespace {

// Below this many runs it is cheaper to insert each than to build the whole set anew.
constexpr std::size_t merge_from = 8;

Run given_back(Run run) noexcept {
    if (run.is_started && run.attempt < std::numeric_limits<std::uint32_t>::max()) {
        ++run.attempt;
    }
    run.is_started = false;
    run.was_delivered = true;
    return run;
}

}  // namespace

void RedeliverySet::append(const Run& run) noexcept {
    if (runs_.empty() || !runs_.back().try_append(run)) {
        runs_.push_back(run);
    }
}

void RedeliverySet::put(Run run) noexcept {
    run = given_back(run);
    messages_ += run.count;
    const std::size_t index = find_run(runs_, run.first);
    BATON_ASSERT(index == runs_.size() || runs_[index].first >= run.end());
    if (index > 0 && runs_[index - 1].try_append(run)) {
        return;
    }
    runs_.insert(index, run);
}

void RedeliverySet::put_all(const Ring<Run>& runs) noexcept {
    if (runs.size() < merge_from) {
        for (std::size_t i = 0; i < runs.size(); ++i) {
            put(runs[i]);
        }
        return;
    }
    Ring<Run> old;
    old.swap(runs_);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < runs.size(); ++i) {
        const Run run = given_back(runs[i]);
        while (kept < old.size() && old[kept].first < run.first) {
            append(old[kept++]);
        }
        append(run);
        messages_ += run.count;
    }
    while (kept < old.size()) {
        append(old[kept++]);
    }
}

Run RedeliverySet::take(Cut cut) noexcept {
    messages_ -= cut.count;
    Run& head = runs_.front();
    const Run taken = head.take_front(cut);
    if (head.count == 0) {
        runs_.pop_front();
    }
    return taken;
}

std::uint64_t RedeliverySet::purge(MessageLog& log) noexcept {
    for (std::size_t i = 0; i < runs_.size(); ++i) {
        log.forget(runs_[i]);
    }
    runs_.clear();
    return std::exchange(messages_, 0);
}

}  // namespace baton::channel

// Merging as it goes (the usual case: in order) and once more, sorted, when taken.
#include "client/src/settlements.hpp"

#include <algorithm>
#include <tuple>

#include "common/base/assert.hpp"

namespace baton::client {

namespace {

bool continues(const wire::Settlement& range, const wire::Settlement& next) noexcept {
    return range.outcome == next.outcome && range.attempt == next.attempt && range.argument == next.argument &&
           range.first + range.count == next.first;
}

}  // namespace

void Settlements::add(std::uint64_t offset, std::uint32_t attempt, Outcome outcome) noexcept {
    add(wire::Settlement{
        .first = offset, .count = 1, .attempt = attempt, .outcome = static_cast<std::uint8_t>(outcome), .argument = 0});
}

void Settlements::add(const wire::Settlement& range) noexcept {
    BATON_ASSERT(range.count >= 1);
    if (range.outcome == static_cast<std::uint8_t>(Outcome::started)) {
        append(started_, range);
        return;
    }
    if (range.outcome == static_cast<std::uint8_t>(Outcome::extend)) {
        append(extended_, range);
        return;
    }
    if (range.outcome == static_cast<std::uint8_t>(Outcome::done)) {
        forget(started_, range);
    }
    forget(extended_, range);
    append(settled_, range);
}

void Settlements::append(std::vector<wire::Settlement>& ranges, const wire::Settlement& range) noexcept {
    if (!ranges.empty() && continues(ranges.back(), range)) {
        ranges.back().count += range.count;
    } else {
        ranges.push_back(range);
    }
}

// What is started is few: the messages that user threads work on at this moment.
void Settlements::forget(std::vector<wire::Settlement>& ranges, const wire::Settlement& settled) noexcept {
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        wire::Settlement& range = ranges[i];
        const std::uint64_t range_end = range.first + range.count;
        const std::uint64_t begin = std::max(range.first, settled.first);
        const std::uint64_t end = std::min(range_end, settled.first + settled.count);
        if (begin >= end) {
            continue;
        }
        wire::Settlement behind = range;
        behind.first = end;
        behind.count = static_cast<std::uint32_t>(range_end - end);
        range.count = static_cast<std::uint32_t>(begin - range.first);
        if (behind.count != 0) {
            ranges.insert(ranges.begin() + static_cast<std::ptrdiff_t>(++i), behind);
        }
    }
    std::erase_if(ranges, [](const wire::Settlement& range) { return range.count == 0; });
}

std::span<const wire::Settlement> Settlements::take() noexcept {
    taken_.clear();
    merge(started_);
    taken_.insert(taken_.end(), started_.begin(), started_.end());
    merge(extended_);
    taken_.insert(taken_.end(), extended_.begin(), extended_.end());
    merge(settled_);
    taken_.insert(taken_.end(), settled_.begin(), settled_.end());
    clear();
    return taken_;
}

void Settlements::merge(std::vector<wire::Settlement>& ranges) noexcept {
    if (ranges.size() < 2) {
        return;
    }
    std::ranges::sort(ranges, [](const wire::Settlement& a, const wire::Settlement& b) {
        return std::tie(a.outcome, a.attempt, a.argument, a.first) <
               std::tie(b.outcome, b.attempt, b.argument, b.first);
    });
    std::size_t kept = 0;
    for (std::size_t i = 1; i < ranges.size(); ++i) {
        if (continues(ranges[kept], ranges[i])) {
            ranges[kept].count += ranges[i].count;
        } else {
            ranges[++kept] = ranges[i];
        }
    }
    ranges.resize(kept + 1);
}

void Settlements::clear() noexcept {
    started_.clear();
    extended_.clear();
    settled_.clear();
}

}  // namespace baton::client

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
    const bool is_done = range.outcome == static_cast<std::uint8_t>(Outcome::done);
    for (std::uint32_t i = 0; is_done && i < range.count && !started_.empty(); ++i) {
        forget(started_, range.first + i);
    }
    for (std::uint32_t i = 0; i < range.count && !extended_.empty(); ++i) {
        forget(extended_, range.first + i);
    }
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
void Settlements::forget(std::vector<wire::Settlement>& ranges, std::uint64_t offset) noexcept {
    const auto found = std::ranges::find_if(ranges, [offset](const wire::Settlement& range) {
        return offset >= range.first && offset - range.first < range.count;
    });
    if (found == ranges.end()) {
        return;
    }
    wire::Settlement behind = *found;
    behind.first = offset + 1;
    behind.count = static_cast<std::uint32_t>(found->first + found->count - behind.first);
    found->count = static_cast<std::uint32_t>(offset - found->first);
    const auto at = found->count == 0 ? ranges.erase(found) : found + 1;
    if (behind.count != 0) {
        ranges.insert(at, behind);
    }
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

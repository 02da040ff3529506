#include "server/channel/offset_set.hpp"

#include <algorithm>
#include <iterator>

namespace baton::channel {

void add_range(OffsetSet& set, Offset first, Offset end) {
    auto after = set.upper_bound(first);
    if (after != set.end() && after->first == end) {
        end = after->second;
        after = set.erase(after);
    }
    if (after != set.begin() && std::prev(after)->second == first) {
        std::prev(after)->second = end;
    } else {
        set.emplace_hint(after, first, end);
    }
}

std::uint64_t overlap(const OffsetSet& set, Offset first, Offset end) noexcept {
    std::uint64_t count = 0;
    auto range = set.upper_bound(first);
    if (range != set.begin()) {
        --range;
    }
    for (; range != set.end() && range->first < end; ++range) {
        const Offset low = std::max(range->first, first);
        const Offset high = std::min(range->second, end);
        count += low < high ? high - low : 0;
    }
    return count;
}

void cut_out(OffsetSet& set, Offset first, Offset end) {
    auto range = set.upper_bound(first);
    if (range != set.begin()) {
        --range;
    }
    while (range != set.end() && range->first < end) {
        const auto [low, high] = *range;
        if (high <= first) {
            ++range;
            continue;
        }
        range = set.erase(range);
        if (low < first) {
            set.emplace(low, first);
        }
        if (high > end) {
            set.emplace(end, high);
        }
    }
}

bool overlaps(const OffsetSet& set, Offset first, Offset end) noexcept {
    const auto after = set.lower_bound(end);
    return after != set.begin() && std::prev(after)->second > first;
}

}  // namespace baton::channel

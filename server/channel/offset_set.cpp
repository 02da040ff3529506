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

OffsetSet::const_iterator first_beyond(const OffsetSet& set, Offset from) noexcept {
    const auto after = set.upper_bound(from);
    return after != set.begin() && std::prev(after)->second > from ? std::prev(after) : after;
}

std::uint64_t overlap(const OffsetSet& set, Offset first, Offset end) noexcept {
    std::uint64_t count = 0;
    for (auto range = first_beyond(set, first); range != set.end() && range->first < end; ++range) {
        const Offset low = std::max(range->first, first);
        const Offset high = std::min(range->second, end);
        count += low < high ? high - low : 0;
    }
    return count;
}

void cut_out(OffsetSet& set, Offset first, Offset end) {
    auto range = first_beyond(set, first);
    while (range != set.end() && range->first < end) {
        const auto [low, high] = *range;
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

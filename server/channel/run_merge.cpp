#include "server/channel/run_merge.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

namespace baton::channel {

void RunMerge::add(const Place& place) {
    places_.push_back(place);
    std::ranges::push_heap(places_, std::less<>{});
}

void RunMerge::add(const std::map<Offset, Run>& runs) {
    auto at = runs.upper_bound(from_);
    if (at != runs.begin() && std::prev(at)->second.end() > from_) {
        --at;
    }
    if (at != runs.end()) {
        add(Place{.run = &at->second, .map = &runs, .at = at});
    }
}

void RunMerge::add(const Ring<Run>& runs) {
    const std::size_t index = find_run(runs, from_);
    if (index < runs.size()) {
        add(Place{.run = &runs[index], .ring = &runs, .index = index});
    }
}

bool RunMerge::Place::advance() noexcept {
    if (ring != nullptr) {
        run = ++index < ring->size() ? &(*ring)[index] : nullptr;
    } else {
        run = ++at != map->end() ? &at->second : nullptr;
    }
    return run != nullptr;
}

const Run* RunMerge::next() {
    if (places_.empty()) {
        return nullptr;
    }
    std::ranges::pop_heap(places_, std::less<>{});
    Place& lowest = places_.back();
    const Run* run = lowest.run;
    if (lowest.advance()) {
        std::ranges::push_heap(places_, std::less<>{});
    } else {
        places_.pop_back();
    }
    return run;
}

std::vector<Run> RunMerge::take(std::size_t limit) {
    std::vector<Run> runs;
    for (; limit > 0; --limit) {
        const Run* run = next();
        if (run == nullptr) {
            break;
        }
        runs.push_back(*run);
    }
    return runs;
}

}  // namespace baton::channel

#include "server/channel/ready_set.hpp"

#include <iterator>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::channel {

void ReadySet::put(const Run& run) {
    messages_ += run.count;
    auto after = runs_.lower_bound(run.first);
    BATON_ASSERT(after == runs_.end() || after->first >= run.end());
    if (after != runs_.begin()) {
        Run& before = std::prev(after)->second;
        BATON_ASSERT(before.end() <= run.first);
        if (before.try_append(run)) {
            if (after != runs_.end() && before.try_append(after->second)) {
                runs_.erase(after);
            }
            return;
        }
    }
    Run& placed = runs_.emplace_hint(after, run.first, run)->second;
    if (after != runs_.end() && placed.try_append(after->second)) {
        runs_.erase(after);
    }
}

Run ReadySet::take(Cut cut) noexcept {
    messages_ -= cut.count;
    auto node = runs_.extract(runs_.begin());
    const Run taken = node.mapped().take_front(cut);
    if (node.mapped().count > 0) {
        node.key() = node.mapped().first;
        runs_.insert(runs_.begin(), std::move(node));
    }
    return taken;
}

std::optional<Run> ReadySet::take_at(Offset offset) {
    auto found = runs_.upper_bound(offset);
    if (found == runs_.begin() || (--found)->second.end() <= offset) {
        return std::nullopt;
    }
    Run rest = found->second;
    found = runs_.erase(found);
    if (rest.first < offset) {
        const Run before = rest.take_front(static_cast<std::uint32_t>(offset - rest.first));
        runs_.emplace_hint(found, before.first, before);
    }
    const Run taken = rest.take_one();
    if (rest.count > 0) {
        runs_.emplace_hint(found, rest.first, rest);
    }
    --messages_;
    return taken;
}

void ReadySet::take_from(Offset from, Offset end, std::vector<Run>& taken) {
    for (auto at = runs_.lower_bound(from); at != runs_.end() && at->first < end; at = runs_.erase(at)) {
        messages_ -= at->second.count;
        taken.push_back(at->second);
    }
}

std::optional<Run> ReadySet::take_before(Offset end) noexcept {
    if (empty() || head().first >= end) {
        return std::nullopt;
    }
    Run run = head();
    return take(run.end() <= end ? Cut{run.count, run.bytes}
                                 : cut_count(run.region(), static_cast<std::uint32_t>(end - run.first)));
}

}  // namespace baton::channel

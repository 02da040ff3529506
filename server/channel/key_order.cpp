#include "server/channel/key_order.hpp"

#include "common/base/assert.hpp"

namespace baton::channel {

namespace {

// Nearly always at the end. It may be there still, from before it was taken.
void insert(Ring<Offset>& line, Offset offset) {
    std::size_t low = 0;
    std::size_t high = line.size();
    if (high > 0 && line.back() < offset) {
        low = high;
    }
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if (line[middle] < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == line.size() || line[low] != offset) {
        line.insert(low, offset);
    }
}

}  // namespace

bool KeyOrder::admit(const Run& message, std::uint64_t key) {
    BATON_ASSERT(message.count == 1);
    const auto [entry, is_free] = keys_.try_emplace(key);
    if (!is_free) {
        Ring<Offset>& line = entry->second;
        while (line.size() > waiting_.size() && !waiting_.contains(line.front())) {
            line.pop_front();  // It was dropped, perhaps with many others, while the key was busy.
        }
        insert(line, message.first);
        waiting_.emplace(message.first, message);
        MessageLog::rest(*message.batch, 1);
    }
    return is_free;
}

std::optional<Run> KeyOrder::release(std::uint64_t key) {
    Ring<Offset>* const line = keys_.find(key);
    if (line == nullptr) {
        return std::nullopt;
    }
    while (!line->empty()) {
        const Offset next = line->front();
        line->pop_front();
        if (auto message = take_at(next)) {
            if (!message->batch->is_resident) {
                away_.emplace(next, key);
            }
            return message;
        }
    }
    keys_.erase(key);
    return std::nullopt;
}

std::optional<std::uint64_t> KeyOrder::end_away(Offset offset) {
    const auto node = away_.extract(offset);
    return node.empty() ? std::nullopt : std::optional{node.mapped()};
}

std::optional<Run> KeyOrder::take_at(Offset offset) {
    const auto node = waiting_.extract(offset);
    if (node.empty()) {
        return std::nullopt;
    }
    MessageLog::end_rest(*node.mapped().batch, 1);
    return node.mapped();
}

std::optional<Run> KeyOrder::take_before(Offset end) {
    return waiting_.empty() || waiting_.begin()->first >= end ? std::nullopt : take_at(waiting_.begin()->first);
}

void KeyOrder::add(Offset first, Offset end, std::vector<Run*>& runs) {
    for (auto at = waiting_.lower_bound(first); at != waiting_.end() && at->first < end; ++at) {
        runs.push_back(&at->second);
    }
}

void KeyOrder::count_resting(Offset first, Offset end) const noexcept {
    visit_waiting(first, end, [](const Run& run) { MessageLog::rest(*run.batch, 1); });
}

std::vector<Run> KeyOrder::waiting(Offset from, std::size_t limit) const {
    std::vector<Run> all;
    for (auto at = waiting_.lower_bound(from); at != waiting_.end() && all.size() < limit; ++at) {
        all.push_back(at->second);
    }
    return all;
}

std::vector<Run> KeyOrder::take_all() {
    std::vector<Run> all = waiting();
    for (const Run& run : all) {
        MessageLog::end_rest(*run.batch, 1);
    }
    waiting_.clear();
    keys_.visit([](Ring<Offset>& line) { line.clear(); });
    return all;
}

}  // namespace baton::channel

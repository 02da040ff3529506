#include "server/channel/key_order.hpp"

#include <algorithm>

namespace baton::channel {

bool KeyOrder::admit(const Run& message, std::uint64_t key) {
    const auto [found, is_free] = keys_.try_emplace(key);
    if (!is_free) {
        found->second.put(message);
        messages_ += message.count;
    }
    return is_free;
}

std::optional<Run> KeyOrder::release(std::uint64_t key) {
    const auto found = keys_.find(key);
    if (found == keys_.end()) {
        return std::nullopt;
    }
    ReadySet& waiting = found->second;
    if (waiting.empty()) {
        keys_.erase(found);
        return std::nullopt;
    }
    --messages_;
    return waiting.take_at(waiting.head().first);
}

std::optional<Run> KeyOrder::take_at(Offset offset) {
    for (auto& entry : keys_) {
        if (auto taken = entry.second.take_at(offset)) {
            --messages_;
            return taken;
        }
    }
    return std::nullopt;
}

std::optional<Run> KeyOrder::take_at(Offset offset, std::uint64_t key) {
    const auto found = keys_.find(key);
    auto taken = found != keys_.end() ? found->second.take_at(offset) : std::nullopt;
    messages_ -= taken ? 1 : 0;
    return taken;
}

std::vector<Run> KeyOrder::waiting(Offset from, std::size_t limit) const {
    std::vector<Run> all;
    for (const auto& entry : keys_) {
        entry.second.append_runs(from, limit, all);
    }
    std::ranges::sort(all, {}, &Run::first);
    return all;
}

std::vector<Run> KeyOrder::take_all() {
    std::vector<Run> all = waiting();
    for (auto& entry : keys_) {
        entry.second = {};
    }
    messages_ = 0;
    return all;
}

}  // namespace baton::channel

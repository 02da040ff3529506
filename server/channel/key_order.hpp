// Order by key: of each key one message is *active*: ready, with a receiver, or waiting to be tried again. The others wait
// behind it, in order, and hold up nobody else. Keys are numbers of texts (message_rules.hpp). One owner.
// Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/channel/ready_set.hpp"

namespace baton::channel {

class KeyOrder {
public:
    /// True: the key was free, and this message is the active one now. False: it is here and waits.
    [[nodiscard]] bool admit(const Run& message, std::uint64_t key);
    /// True: the key was free, and a message that is not ready is the active one now.
    [[nodiscard]] bool try_claim(std::uint64_t key) { return keys_.try_emplace(key).second; }
    /// The active message of the key is gone: returns the next one, which is active now.
    [[nodiscard]] std::optional<Run> release(std::uint64_t key);
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// The same of a message with this key.
    [[nodiscard]] std::optional<Run> take_at(Offset offset, std::uint64_t key);
    /// Everything that waits; the active ones stay active.
    [[nodiscard]] std::vector<Run> take_all();

    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::size_t keys() const noexcept { return keys_.size(); }
    /// In the order of offsets, from `from` on; at least the first `limit` of them.
    [[nodiscard]] std::vector<Run> waiting(Offset from = 0, std::size_t limit = SIZE_MAX) const;

private:
    std::unordered_map<std::uint64_t, ReadySet> keys_;  // With an active message; what waits behind it.
    std::uint64_t messages_ = 0;
};

}  // namespace baton::channel

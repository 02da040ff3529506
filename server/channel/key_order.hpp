// Order by key: of each key one message is *active*: ready, with a receiver, or waiting to be tried again. The others wait
// behind it, in order, and hold up nobody else. Keys are numbers of texts (message_rules.hpp). One owner.
// Nothing here is linear in the keys, of which there may be a million, but what returns all of them.
// Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "server/channel/key_table.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

class KeyOrder {
public:
    /// True: the key was free, and this message is the active one now. False: it is here and waits. A run of one message.
    [[nodiscard]] bool admit(const Run& message, std::uint64_t key);
    /// True: the key was free, and a message that is not ready is the active one now.
    [[nodiscard]] bool try_claim(std::uint64_t key) { return keys_.try_emplace(key).second; }
    /// The active message of the key is gone: returns the next one, which is active now.
    [[nodiscard]] std::optional<Run> release(std::uint64_t key);
    /// Removes and returns the message with this offset, if it waits here.
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// Removes and returns the first that waits, if its offset is below `end`.
    [[nodiscard]] std::optional<Run> take_before(Offset end);
    /// Everything that waits; the active ones stay active.
    [[nodiscard]] std::vector<Run> take_all();

    [[nodiscard]] std::uint64_t messages() const noexcept { return waiting_.size(); }
    [[nodiscard]] std::size_t keys() const noexcept { return keys_.size(); }
    /// In the order of offsets, from `from` on; the first `limit` of them.
    [[nodiscard]] std::vector<Run> waiting(Offset from = 0, std::size_t limit = SIZE_MAX) const;
    /// Those with offsets `from` .. `end` - 1.
    template <class Visit>
    void visit_waiting(Offset from, Offset end, Visit visit) const {
        for (auto at = waiting_.lower_bound(from); at != waiting_.end() && at->first < end; ++at) {
            visit(at->second);
        }
    }

private:
    std::map<Offset, Run> waiting_;
    // With an active message: the offsets of those behind it, in order, and of some that were taken since.
    KeyTable<Ring<Offset>> keys_;
};

}  // namespace baton::channel

// Order by key: of each key one message is *active*: ready, with a receiver, or waiting to be tried again. The others wait
// behind it, in order, and hold up nobody else. Keys are numbers of texts (message_rules.hpp). One owner.
// What waits here *rests* (MessageLog::rest), however many they are: their bytes need not be in memory. One that becomes the
// active one while it is not is *away* until it has been read: only this remembers its key. So is one that waits to be tried again,
// in memory or not, until it is ready.
// Nothing here is linear in the keys, of which there may be a million, but what returns all of them.
// Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "server/channel/steady_table.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

class KeyOrder {
public:
    /// True: the key was free, and this message is the active one now. False: it is here and waits. A run of one message.
    [[nodiscard]] bool admit(const Run& message, std::uint64_t key);
    /// True: the key was free, and a message that is not ready is the active one now.
    [[nodiscard]] bool try_claim(std::uint64_t key) { return keys_.try_emplace(key).second; }
    /// The active message of the key is gone: returns the next one, which is active now. Not in memory: it is away.
    [[nodiscard]] std::optional<Run> release(std::uint64_t key);
    /// The active message of this key: from now on its bytes need not be there to say which key it is.
    void set_away(Offset offset, std::uint64_t key) { away_.insert_or_assign(offset, key); }
    [[nodiscard]] bool is_away(Offset offset) const noexcept { return away_.contains(offset); }
    /// The key of a message that is away, and is not any more; nothing: it is not.
    [[nodiscard]] std::optional<std::uint64_t> end_away(Offset offset);
    /// Removes and returns the message with this offset, if it waits here.
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// Removes and returns the first that waits, if its offset is below `end`.
    [[nodiscard]] std::optional<Run> take_before(Offset end);
    /// Everything that waits; the active ones stay active.
    [[nodiscard]] std::vector<Run> take_all();

    /// The last one that waits; 0: none does.
    [[nodiscard]] Offset newest() const noexcept { return waiting_.empty() ? 0 : waiting_.rbegin()->first; }
    [[nodiscard]] std::uint64_t messages() const noexcept { return waiting_.size(); }
    [[nodiscard]] std::size_t keys() const noexcept { return keys_.size(); }
    [[nodiscard]] bool is_waiting(Offset offset) const noexcept { return waiting_.contains(offset); }
    /// Adds the runs of first .. end - 1 that wait, to be changed but for their offsets.
    void add(Offset first, Offset end, std::vector<Run*>& runs);
    /// Their batches have come into memory: what waits rests there.
    void count_resting(Offset first, Offset end) const noexcept;
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
    std::map<Offset, std::uint64_t> away_;  // Active: their keys.
    // With an active message: the offsets of those behind it, in order, and of some that were taken since.
    KeyTable<Ring<Offset>> keys_;
};

}  // namespace baton::channel

// Compaction of a stream: of each key only the newest message stays. Looks at every message once, in order, with a cursor of its
// own; so it also finds out again, after a restart or when the setting is switched on, what the newest of each key is.
// Messages without a key stay. One with a key and an empty body is a *tombstone*: it takes the older ones away like every
// other, and goes itself when it has been seen for long enough.
// Not here: holes in the log (message_holes.cpp), their memory (message_remnants.cpp),
// space on the disk (server/runtime/compactor.hpp).
// One owner, the channel. Next file: message_log.hpp.
//
// Memory: an entry for each key that has a message, about 100 bytes and the key.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "common/base/clock.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/steady_table.hpp"

namespace baton::channel {

class Compaction {
public:
    /// This message has been removed; called from inside of look() and tick().
    using OnRemoved = std::function<void(Offset)>;

    /// All outlive it. Off until it is switched on.
    Compaction(MessageLog& log, const Clock& clock, OnRemoved on_removed);
    Compaction(const Compaction&) = delete;
    Compaction& operator=(const Compaction&) = delete;

    /// On: begins with the oldest message, if it was off. Off: what was removed stays so; the keys are forgotten in ticks.
    void set(bool is_on, Duration tombstone_age);
    /// Something is to be looked at that is in memory.
    [[nodiscard]] bool has_more() const noexcept { return is_looking_ && log_.readable(cursor_) > 0; }
    /// Looks at so many messages at most.
    void look(std::uint64_t messages_max);
    /// Removes tombstones whose time is over, so many at most; forgets some of the keys whose messages retention has given up.
    void tick(std::uint64_t messages_max);
    /// With its channel it comes to its end. Forgets keys, one for each of `items`, which it uses up. True: all of them.
    [[nodiscard]] bool dismantle(std::uint64_t& items) noexcept;
    /// Null: it does not look.
    [[nodiscard]] const LogCursor* cursor() const noexcept { return is_looking_ ? &cursor_ : nullptr; }

    [[nodiscard]] std::uint64_t keys() const noexcept { return is_looking_ ? index_.size() : 0; }
    [[nodiscard]] std::uint64_t removed() const noexcept { return removed_; }  ///< In this life of the broker.

private:
    /// The newest message of a key. In a list in the order of offsets.
    struct Entry {
        Offset offset = 0;
        std::uint32_t bytes = 0;  ///< In the region.
        Entry* older = nullptr;
        Entry* newer = nullptr;
        const std::string* key = nullptr;
    };
    struct Tombstone {
        Entry* entry = nullptr;
        MonotonicTime accepted{};
    };

    void start();
    void look_at(Offset offset, std::uint32_t bytes, const MessageView& message, const StoredBatch& batch);
    void remove(Offset offset, std::uint32_t bytes);
    void forget(Entry& entry);
    void link(Entry& entry) noexcept;

    MessageLog& log_;
    const Clock& clock_;
    const OnRemoved on_removed_;
    LogCursor cursor_;
    bool is_on_ = false;       // As the settings say.
    bool is_looking_ = false;  // Not yet, while what it knew from before is being forgotten.
    bool is_known_ = false;    // There may be entries.
    Duration tombstone_age_{};
    TextTable<Entry> index_;
    LinkedList<Entry, &Entry::older, &Entry::newer> by_offset_;
    std::map<Offset, Tombstone> tombstones_;
    std::uint64_t removed_ = 0;
};

}  // namespace baton::channel

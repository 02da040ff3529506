#include "server/channel/compaction.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_rules.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

namespace {

/// Keys that are forgotten in one tick.
constexpr std::size_t steps_per_tick = 2048;

}  // namespace

Compaction::Compaction(MessageLog& log, const Clock& clock, OnRemoved on_removed)
    : log_{log}, clock_{clock}, on_removed_{std::move(on_removed)} {}

void Compaction::set(bool is_on, Duration tombstone_age) {
    tombstone_age_ = tombstone_age;
    is_on_ = is_on;
    if (is_on && !is_looking_ && !is_known_) {
        start();
    } else if (!is_on && is_looking_) {
        is_looking_ = false;
        log_.remove_cursor(cursor_);
    }
}

void Compaction::start() {
    is_looking_ = is_known_ = true;
    log_.add_cursor_at(cursor_, 1);
}

void Compaction::look(std::uint64_t messages_max) {
    while (is_looking_ && messages_max > 0 && log_.readable(cursor_) > 0) {
        const Run head = log_.fresh_head(cursor_);
        StoredBatch& batch = *head.batch;
        log_.track(batch);
        if ((batch.flags & batch_has_properties) == 0) {
            log_.forget(log_.take_fresh(cursor_, {head.count, head.bytes}));  // Nothing in it has a key.
            --messages_max;
            continue;
        }
        const bool is_all = head.count <= messages_max;
        const Cut cut = is_all ? Cut{head.count, head.bytes}
                               : cut_count(head.region(), static_cast<std::uint32_t>(messages_max));
        messages_max -= cut.count;
        const Run run = log_.take_fresh(cursor_, cut);
        MessageCursor messages{run.region(), true};
        MessageView message;
        std::size_t position = 0;
        for (Offset offset = run.first; messages.next(message); ++offset) {
            look_at(offset, static_cast<std::uint32_t>(messages.position() - position), message, batch);
            position = messages.position();
        }
        log_.forget(run);
    }
}

void Compaction::look_at(Offset offset, std::uint32_t bytes, const MessageView& message, const StoredBatch& batch) {
    const std::string_view key = as_text(key_of(message.properties));
    if (key.empty()) {
        return;
    }
    const auto [place, is_new] = index_.try_emplace(key);
    Entry& entry = place->second;
    if (is_new) {
        entry.key = &place->first;
    } else {
        const Entry older = entry;
        by_offset_.erase(entry);
        tombstones_.erase(older.offset);
        remove(older.offset, older.bytes);
    }
    entry.offset = offset;
    entry.bytes = bytes;
    link(entry);
    if (message.payload.empty()) {
        tombstones_.emplace_hint(tombstones_.end(), offset, Tombstone{&entry, clock_.now() - age_of(batch, clock_)});
    }
}

void Compaction::remove(Offset offset, std::uint32_t bytes) {
    if (!log_.remove(offset, bytes)) {
        return;  // Retention was faster.
    }
    ++removed_;
    on_removed_(offset);
}

void Compaction::tick(std::uint64_t messages_max) {
    if (!is_looking_) {
        for (std::size_t i = 0; i < steps_per_tick && by_offset_.first() != nullptr; ++i) {
            forget(*by_offset_.first());
        }
        is_known_ = is_known_ && (log_.untrack(steps_per_tick) || by_offset_.first() != nullptr);
        if (is_on_ && !is_known_) {
            start();
        }
        return;
    }
    const Offset kept = log_.oldest_kept() != nullptr ? log_.oldest_kept()->base : log_.next_offset();
    for (std::size_t i = 0; i < steps_per_tick && by_offset_.first() != nullptr && by_offset_.first()->offset < kept; ++i) {
        forget(*by_offset_.first());
    }
    const MonotonicTime now = clock_.now();
    for (; messages_max > 0 && !tombstones_.empty(); --messages_max) {
        const auto [entry, accepted] = tombstones_.begin()->second;
        if (now - accepted < tombstone_age_) {
            break;
        }
        const Entry gone = *entry;
        forget(*entry);
        remove(gone.offset, gone.bytes);
    }
}

// --- Keys ----------------------------------------------------------------------------------------------------------------

void Compaction::forget(Entry& entry) {
    tombstones_.erase(entry.offset);
    by_offset_.erase(entry);
    index_.erase(*entry.key);
}

bool Compaction::dismantle(std::uint64_t& items) noexcept {
    by_offset_.clear();
    for (; items > 0 && !tombstones_.empty(); --items) {
        tombstones_.erase(tombstones_.begin());
    }
    return index_.clear_some(items);
}

void Compaction::link(Entry& entry) noexcept {
    BATON_ASSERT(by_offset_.last() == nullptr || by_offset_.last()->offset < entry.offset);
    by_offset_.insert(entry);
}

}  // namespace baton::channel

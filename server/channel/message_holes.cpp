// MessageLog, part three: what compaction removes out of the middle of a stream. What is removed, and when, is decided in
// compaction.cpp.
#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_log.hpp"

namespace baton::channel {

// --- Cursors and holes -------------------------------------------------------------------------------------------------

/// Behind the removed messages that `at` is one of; else `at`.
Offset MessageLog::end_of_removed(Offset at) const noexcept {
    const auto after = removed_.upper_bound(at);
    return after != removed_.begin() && std::prev(after)->second > at ? std::prev(after)->second : at;
}

/// The first one in from .. end - 1; else `end`.
Offset MessageLog::next_removed(Offset from, Offset end) const noexcept {
    const auto next = removed_.lower_bound(from);
    return next != removed_.end() ? std::min(next->first, end) : end;
}

// The cursor has moved forward from this offset.
void MessageLog::count_passed(LogCursor& cursor, Offset from) noexcept {
    if (cursor.batch_ == nullptr) {
        cursor.removed_ahead_ = 0;
    } else if (cursor.removed_ahead_ > 0) {
        cursor.removed_ahead_ -= overlap(removed_, from, cursor.offset_);
    }
}

// To the next message that is fresh. In a block that is not in memory it stays at the beginning.
void MessageLog::pass_holes(LogCursor& cursor) noexcept {
    while (true) {
        if (!cursor.skipped_.empty() && cursor.skipped_.begin()->first <= cursor.offset_) {
            const auto [first, end] = *cursor.skipped_.begin();
            cursor.skipped_.erase(cursor.skipped_.begin());
            cursor.skipped_messages_ -= end - first;
            if (end > cursor.offset_) {
                advance_to(cursor, end);
            }
            continue;
        }
        if (cursor.batch_ == nullptr || cursor.batch_->removed == 0 || !cursor.batch_->is_resident) {
            return;
        }
        const Offset end = std::min(end_of_removed(cursor.offset_), cursor.batch_->end());
        if (end == cursor.offset_) {
            return;
        }
        advance_to(cursor, end);
    }
}

// --- Removing ----------------------------------------------------------------------------------------------------------

void MessageLog::track(StoredBatch& batch) {
    if (!batch.is_tracked) {
        BATON_ASSERT(keep_ == Keep::until_trimmed);
        batch.is_tracked = true;
        tracked_.emplace_hint(tracked_.end(), batch.base, &batch);
    }
}

bool MessageLog::untrack(std::size_t count) noexcept {
    for (; count > 0 && !tracked_.empty(); --count) {
        tracked_.begin()->second->is_tracked = false;
        tracked_.erase(tracked_.begin());
    }
    return !tracked_.empty();
}

StoredBatch* MessageLog::tracked_batch(Offset offset) const noexcept {
    const auto after = tracked_.upper_bound(offset);
    StoredBatch* batch = after != tracked_.begin() ? std::prev(after)->second : nullptr;
    return batch != nullptr && offset < batch->end() && !batch->is_trimmed ? batch : nullptr;
}

bool MessageLog::remove(Offset offset, std::uint32_t bytes) {
    StoredBatch* batch = tracked_batch(offset);
    if (batch == nullptr || is_removed(offset)) {
        return false;
    }
    BATON_ASSERT(offset < visible_end_ && batch->remaining > 0);
    add_range(removed_, offset, offset + 1);
    bytes = std::min(bytes, batch->size - batch->removed_bytes);
    ++batch->removed;
    batch->removed_bytes += bytes;
    --batch->remaining;
    --messages_;
    bytes_ -= bytes;
    if (batch->block != nullptr) {
        batch->block->dead_bytes += bytes;
        dead_bytes_ += bytes;
    }
    for (LogCursor* cursor : cursors_) {
        if (cursor->offset_ > offset) {
            continue;
        }
        if (overlaps(cursor->skipped_, offset, offset + 1)) {
            cut_out(cursor->skipped_, offset, offset + 1);
            --cursor->skipped_messages_;
        }
        ++cursor->removed_ahead_;
        if (cursor->offset_ == offset) {
            pass_holes(*cursor);
        }
    }
    if (batch->removed == batch->count) {
        if (batch->held > 0) {
            leave_disk(*batch);
        }
        give_up(*batch);
    } else if (batch->is_resident && is_halved(batch->live() + 1ULL, batch->live())) {
        note_remnant(*batch);
    }
    return true;
}

// Who holds something of it needs it as long as the broker lives: the disk need not keep it.
void MessageLog::leave_disk(StoredBatch& batch) noexcept {
    if (batch.index != 0 && batch.block == nullptr) {
        leave_log(batch);
    }
    leave_block(batch);
    batch.index = 0;
}

void MessageLog::forget_removed_before_kept() noexcept {
    const Offset kept = kept_ != nullptr ? kept_->base : next_offset_;
    while (!removed_.empty() && removed_.begin()->first < kept) {
        const Offset end = removed_.begin()->second;
        removed_.erase(removed_.begin());
        if (end > kept) {
            removed_.emplace_hint(removed_.begin(), kept, end);
        }
    }
}

Offset MessageLog::last_kept() const noexcept {
    for (const StoredBatch* batch = batches_.last(); batch != nullptr; batch = batch->previous) {
        if (batch->is_trimmed || batch->base >= visible_end_) {
            continue;
        }
        const Offset last = std::min(batch->end(), visible_end_) - 1;
        const auto after = removed_.upper_bound(last);
        const bool is_hole = after != removed_.begin() && std::prev(after)->second > last;
        return is_hole ? std::prev(after)->first - 1 : last;
    }
    return 0;
}

std::vector<Run> MessageLog::live_runs(StoredBatch& batch) const {
    std::vector<Run> runs;
    if (batch.pieces && (batch.removed == 0 || keep_ == Keep::until_settled)) {
        for (const BatchPiece& piece : *batch.pieces) {
            runs.push_back({.batch = &batch,
                            .first = batch.base + piece.index,
                            .count = piece.count,
                            .position = piece.position,
                            .bytes = piece.bytes});
        }
        return runs;
    }
    Run rest{.batch = &batch, .first = batch.base, .count = batch.count, .bytes = batch.size};
    while (rest.count > 0) {
        if (const Offset hole_end = std::min(end_of_removed(rest.first), rest.end()); hole_end > rest.first) {
            static_cast<void>(rest.take_front(cut_of(rest, hole_end)));
            continue;
        }
        runs.push_back(rest.take_front(cut_of(rest, next_removed(rest.first, rest.end()))));
    }
    return runs;
}

// The messages of the run before this offset.
Cut MessageLog::cut_of(const Run& run, Offset end) noexcept {
    if (end == run.end()) {
        return {run.count, run.bytes};
    }
    const auto index = static_cast<std::uint32_t>(run.first - run.batch->base);
    const auto count = static_cast<std::uint32_t>(end - run.first);
    return {count, run.batch->bytes_between(index, run.position, index + count)};
}

std::uint32_t MessageLog::removed_bytes_in(const StoredBatch& batch) const noexcept {
    if (batch.removed == 0) {
        return 0;
    }
    std::uint32_t live = 0;
    for (const Run& run : live_runs(const_cast<StoredBatch&>(batch))) {
        live += run.bytes;
    }
    return batch.size - live;
}

// --- Blocks --------------------------------------------------------------------------------------------------------------

// The node that stands for a whole block has all of the offsets between its ends.
void MessageLog::cover_block(StoredBatch& batch) noexcept {
    const commit::BlockRef& ref = batch.block->ref;
    if (batch.cursors > 0) {
        for (LogCursor* cursor : cursors_) {
            if (cursor->batch_ == &batch) {
                cursor->removed_ahead_ += overlap(removed_, ref.first, cursor->offset_);
                cursor->offset_ = ref.first;
            }
        }
    }
    if (batch.is_tracked) {
        tracked_.erase(batch.base);
        tracked_.emplace(ref.first, &batch);
    }
    const bool is_mark = batch.is_mark;
    unmark(batch, nullptr);
    batch.base = ref.first;
    is_mark ? mark(batch) : void();
    batch.count = static_cast<std::uint32_t>(ref.end - ref.first);
    batch.removed = static_cast<std::uint32_t>(overlap(removed_, ref.first, ref.end));
    batch.remaining = batch.live();
}

void MessageLog::visit_blocks(const std::function<void(const commit::BlockRef&, std::uint64_t)>& visitor) const {
    for (const auto& entry : resident_blocks_) {
        visitor(entry.second->ref, entry.second->dead_bytes);
    }
    for (const auto* stand_ins : {&evicted_, &at_rest_}) {
        for (const auto& entry : *stand_ins) {
            visitor(entry.second->block->ref, entry.second->block->dead_bytes);
        }
    }
}

void MessageLog::replace_block(const commit::BlockRef& old_ref, const commit::BlockRef& new_ref, std::uint64_t dead_bytes) {
    BATON_ASSERT(old_ref.first == new_ref.first && old_ref.end == new_ref.end);
    StoredBlock* block = evicted_block(old_ref);
    const auto resident = resident_blocks_.find(old_ref.first);
    if (block == nullptr && resident != resident_blocks_.end() && resident->second->ref == old_ref) {
        block = resident->second;
    }
    if (block == nullptr) {
        dead_blocks_.push_back(new_ref);
        return;
    }
    dead_blocks_.push_back(std::exchange(block->ref, new_ref));
    block->is_loading = false;  // Who is reading the old one finds nothing to bring it to.
    dead_bytes = std::min(dead_bytes, block->dead_bytes);
    block->dead_bytes -= dead_bytes;
    dead_bytes_ -= dead_bytes;
}

// --- From an image -------------------------------------------------------------------------------------------------------

void MessageLog::restore_removed(const OffsetSet& removed) {
    removed_ = removed;
    cut_out(removed_, visible_end_, UINT64_MAX);
    forget_removed_before_kept();
    if (removed_.empty()) {
        return;
    }
    std::vector<std::pair<Offset, std::uint64_t>> ahead;  // Of each range, in reverse: its first, and all from there on.
    std::uint64_t all = 0;
    for (auto range = removed_.rbegin(); range != removed_.rend(); ++range) {
        all += range->second - range->first;
        ahead.emplace_back(range->first, all);
    }
    for (LogCursor* cursor : cursors_) {
        const OffsetSet skipped = cursor->skipped_;
        for (const auto& [first, end] : skipped) {
            cut_out_of(cursor->skipped_, first, end);
        }
        cursor->skipped_messages_ = 0;
        for (const auto& [first, end] : cursor->skipped_) {
            cursor->skipped_messages_ += end - first;
        }
        const Offset at = cursor->offset_;
        const auto behind = std::ranges::partition_point(ahead, [&](const auto& range) { return range.first >= at; });
        cursor->removed_ahead_ = behind != ahead.begin() ? std::prev(behind)->second : 0;
        cursor->removed_ahead_ += removed_.contains(at) ? 0 : end_of_removed(at) - at;
    }
    for (StoredBatch* batch = batches_.first(); batch != nullptr;) {
        StoredBatch* next = batch->next;
        if (!batch->is_trimmed) {
            restore_holes(*batch);
        }
        batch = next;
    }
    for (LogCursor* cursor : cursors_) {
        pass_holes(*cursor);
    }
}

// What was removed of first .. end - 1.
void MessageLog::cut_out_of(OffsetSet& skipped, Offset first, Offset end) const {
    for (auto range = removed_.lower_bound(first); range != removed_.end() && range->first < end; ++range) {
        cut_out(skipped, range->first, range->second);
    }
    if (const Offset hole_end = end_of_removed(first); hole_end > first) {
        cut_out(skipped, first, hole_end);
    }
}

void MessageLog::restore_holes(StoredBatch& batch) noexcept {
    const auto removed = static_cast<std::uint32_t>(overlap(removed_, batch.base, batch.end()));
    batch.removed = removed;
    batch.removed_bytes = batch.is_resident ? removed_bytes_in(batch) : 0;
    batch.remaining -= removed;
    messages_ -= removed;
    bytes_ -= batch.removed_bytes;
    if (batch.block != nullptr && batch.is_resident) {
        batch.block->dead_bytes += batch.removed_bytes;
        dead_bytes_ += batch.removed_bytes;
    }
    if (batch.live() == 0) {
        give_up(batch);
    }
}

}  // namespace baton::channel

// MessageLog, part two: where the batches of a durable channel are. In the log, in blocks of segments, in memory.
#include <algorithm>
#include <iterator>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_log.hpp"

namespace baton::channel {

// --- In the log only ---------------------------------------------------------------------------------------------------

void MessageLog::set_record(StoredBatch& batch, commit::Index index) noexcept {
    BATON_ASSERT(batch.block == nullptr && index > batch.index);
    BATON_ASSERT(newest_in_log_ == nullptr || index > newest_in_log_->index);
    if (batch.index != 0) {
        leave_log(batch);
    }
    batch.index = index;
    batch.older = std::exchange(newest_in_log_, &batch);
    (batch.older != nullptr ? batch.older->newer : oldest_in_log_) = &batch;
}

void MessageLog::leave_log(StoredBatch& batch) noexcept {
    (batch.older != nullptr ? batch.older->newer : oldest_in_log_) = batch.newer;
    (batch.newer != nullptr ? batch.newer->older : newest_in_log_) = batch.older;
    batch.older = batch.newer = nullptr;
}

bool MessageLog::unpin(StoredBatch& batch) noexcept {
    BATON_ASSERT(batch.pins > 0);
    --batch.pins;
    if (batch.remaining > 0) {
        return true;
    }
    release(&batch);
    return false;
}

// --- In a block --------------------------------------------------------------------------------------------------------

void MessageLog::set_block(const std::vector<StoredBatch*>& batches, const commit::BlockRef& ref) noexcept {
    if (batches.empty()) {
        dead_blocks_.push_back(ref);
        return;
    }
    auto* block = new StoredBlock{.ref = ref};
    for (StoredBatch* batch : batches) {
        BATON_ASSERT(batch->block == nullptr && batch->base >= ref.first && batch->end() <= ref.end);
        if (batch->index != 0) {
            leave_log(*batch);
        }
        batch->block = block;
        ++block->batches;
        block->has_rules = block->has_rules || batch->has_rules;
        block->time = std::max(block->time, batch->time);
        if (batch->base == ref.first) {
            block->first = batch;
        }
    }
    resident_blocks_.emplace(ref.first, block);
}

void MessageLog::leave_block(StoredBatch& batch) noexcept {
    StoredBlock* block = std::exchange(batch.block, nullptr);
    if (block == nullptr) {
        return;
    }
    if (block->first == &batch) {
        block->first = nullptr;
    }
    if (--block->batches > 0) {
        return;
    }
    dead_blocks_.push_back(block->ref);
    resident_blocks_.erase(block->ref.first);
    delete block;
}

std::vector<commit::BlockRef> MessageLog::blocks() const {
    std::vector<commit::BlockRef> refs;
    refs.reserve(resident_blocks_.size() + evicted_.size());
    for (const auto& entry : resident_blocks_) {
        refs.push_back(entry.second->ref);
    }
    for (const auto& entry : evicted_) {
        refs.push_back(entry.second->block->ref);
    }
    std::ranges::sort(refs, {}, &commit::BlockRef::first);
    return refs;
}

std::vector<WallTime> MessageLog::block_times() const {
    std::map<Offset, WallTime> times;
    for (const auto& entry : resident_blocks_) {
        times.emplace_hint(times.end(), entry.second->ref.first, entry.second->time);
    }
    for (const auto& entry : evicted_) {
        times.emplace(entry.second->block->ref.first, entry.second->block->time);
    }
    std::vector<WallTime> in_order;
    in_order.reserve(times.size());
    std::ranges::transform(times, std::back_inserter(in_order), [](const auto& entry) { return entry.second; });
    return in_order;
}

std::vector<Offset> MessageLog::ruled_blocks() const {
    std::vector<Offset> firsts;
    for (const auto& [first, block] : resident_blocks_) {
        if (block->has_rules) {
            firsts.push_back(first);
        }
    }
    return firsts;
}

// --- Out of memory and back --------------------------------------------------------------------------------------------

bool MessageLog::is_untouched(const StoredBatch& batch) const noexcept {
    if (batch.held > 0 || batch.is_picked || batch.has_rules || batch.remaining % batch.count != 0 ||
        batch.end() > visible_end_) {
        return false;
    }
    return batch.cursors == 0 || std::ranges::none_of(cursors_, [&](const LogCursor* cursor) {
               return cursor->batch_ == &batch && cursor->index_ > 0;
           });
}

Offset MessageLog::offset_ahead(Offset from, std::uint64_t bytes) const noexcept {
    return from + bytes / std::max<std::uint64_t>(messages_ > 0 ? bytes_ / messages_ : 1, 1);
}

OffsetSet MessageLog::wanted_soon(std::uint64_t keep_bytes) const {
    std::vector<Offset> offsets;
    offsets.reserve(cursors_.size());
    for (const LogCursor* cursor : cursors_) {
        offsets.push_back(cursor->offset_);
    }
    std::ranges::sort(offsets);
    OffsetSet wanted;
    for (const Offset offset : offsets) {
        const Offset end = offset_ahead(offset, keep_bytes);
        if (!wanted.empty() && wanted.rbegin()->second >= offset) {
            wanted.rbegin()->second = std::max(wanted.rbegin()->second, end);
        } else if (offset < end) {
            wanted.emplace_hint(wanted.end(), offset, end);
        }
    }
    return wanted;
}

bool overlaps(const OffsetSet& set, Offset first, Offset end) noexcept {
    const auto after = set.lower_bound(end);
    return after != set.begin() && std::prev(after)->second > first;
}

// Neighbours without a gap, each untouched, and wanted by equally many: so that one node can stand for all of them.
bool MessageLog::is_evictable(const StoredBlock& block) const noexcept {
    const StoredBatch* batch = block.first;
    if (batch == nullptr || block.has_rules) {
        return false;
    }
    const std::uint64_t wanted = batch->remaining / batch->count;
    for (Offset at = block.ref.first; at < block.ref.end; batch = batch->next) {
        if (batch == nullptr || batch->base != at || batch->block != &block || batch->pins > 0 ||
            !is_untouched(*batch) || batch->remaining / batch->count != wanted ||
            (batch != block.first && batch->cursors > 0) || batch->is_exact != block.first->is_exact ||
            batch->is_trimmed) {
            return false;
        }
        at = batch->end();
    }
    return true;
}

std::vector<StoredBlock*> MessageLog::evictable(std::uint64_t keep_bytes, std::uint64_t bytes_max) const {
    std::vector<StoredBlock*> found;
    const OffsetSet wanted = wanted_soon(keep_bytes);
    std::uint64_t bytes = 0;
    for (auto at = resident_blocks_.rbegin(); at != resident_blocks_.rend() && bytes < bytes_max; ++at) {
        StoredBlock* block = at->second;
        if (keep_ == Keep::until_settled && block->ref.end <= lowest_cursor()) {
            break;  // What all readers have behind them and still hold.
        }
        if (!overlaps(wanted, block->ref.first, block->ref.first + 1) && is_evictable(*block)) {
            found.push_back(block);
            bytes += block->ref.size;
        }
    }
    return found;
}

std::uint64_t MessageLog::evict(StoredBlock& block) noexcept {
    BATON_ASSERT(is_evictable(block));
    StoredBatch* first = block.first;
    std::uint64_t bytes = first->size;
    // The first node stands for all; the others go.
    while (first->end() < block.ref.end) {
        StoredBatch* next = first->next;
        first->remaining += next->remaining;
        first->count += next->count;
        first->size += next->size;
        bytes += next->size;
        first->accepted = next->accepted;
        next->block = nullptr;
        --block.batches;
        first->next = next->next;
        (next->next != nullptr ? next->next->previous : back_) = first;
        next->remaining = 0;
        release(next);
    }
    BATON_ASSERT(first->end() == block.ref.end && block.batches == 1);
    first->time = block.time;  // It is as old as its newest message.
    first->flags = 0;
    first->crc32c = 0;
    first->messages = {};
    first->is_resident = false;
    resident_bytes_ -= bytes;
    resident_blocks_.erase(block.ref.first);
    evicted_.emplace(first->base, first);
    return bytes;
}

std::vector<StoredBlock*> MessageLog::missing_ahead(const LogCursor& cursor, std::uint64_t bytes) const {
    std::vector<StoredBlock*> missing;
    const Offset end = offset_ahead(cursor.offset_, bytes);
    for (auto at = evicted_.lower_bound(cursor.offset_); at != evicted_.end(); ++at) {
        StoredBatch* batch = at->second;
        if (batch->base >= end && batch->base > cursor.offset_) {
            break;
        }
        if (!batch->block->is_loading) {
            missing.push_back(batch->block);
        }
    }
    return missing;
}

StoredBlock* MessageLog::evicted_block(const commit::BlockRef& ref) const noexcept {
    const auto found = evicted_.find(ref.first);
    return found != evicted_.end() && found->second->block->ref == ref ? found->second->block : nullptr;
}

bool MessageLog::restore_block(const commit::BlockRef& ref, const Payload& body) noexcept {
    StoredBlock* block = evicted_block(ref);
    if (block == nullptr) {
        return true;
    }
    StoredBatch* stand_in = evicted_.find(ref.first)->second;
    // First everything is checked, then everything is changed.
    struct Entry {
        BatchHeader header;
        Payload messages;
    };
    std::vector<Entry> entries;
    Offset at = ref.first;
    std::uint64_t size = 0;
    for (std::size_t position = 0; position < body.size();) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header || header->base_offset != at) {
            return false;
        }
        entries.push_back({*header, body.slice(position + batch_header_size, header->messages_size)});
        at += header->count;
        size += header->messages_size;
        position += batch_header_size + header->messages_size;
    }
    if (at != ref.end) {
        return false;
    }
    StoredBatch* first = nullptr;
    const std::uint64_t wanted = stand_in->remaining / stand_in->count;
    for (Entry& entry : entries) {
        StoredBatch* batch = new_batch();
        batch->base = entry.header.base_offset;
        batch->count = entry.header.count;
        batch->remaining = batch->count * wanted;
        batch->is_exact = stand_in->is_exact;
        batch->size = entry.header.messages_size;
        batch->flags = entry.header.flags;
        batch->crc32c = entry.header.crc32c;
        batch->time = {entry.header.time_us};
        batch->messages = std::move(entry.messages);
        batch->index = stand_in->index;
        batch->block = block;
        ++block->batches;
        insert_before(stand_in, batch);
        first = first != nullptr ? first : batch;
    }
    first->cursors = std::exchange(stand_in->cursors, 0);
    if (first->cursors > 0) {
        for (LogCursor* cursor : cursors_) {
            cursor->batch_ = cursor->batch_ == stand_in ? first : cursor->batch_;
        }
    }
    BATON_ASSERT(uncommitted_ != stand_in);
    kept_ = kept_ == stand_in ? first : kept_;
    --block->batches;
    block->first = first;
    block->is_loading = false;
    stand_in->block = nullptr;
    evicted_.erase(ref.first);
    resident_blocks_.emplace(ref.first, block);
    resident_bytes_ += size;
    bytes_ = bytes_ - stand_in->size + size;  // After a restart the size of a block's messages is only estimated.
    (stand_in->previous != nullptr ? stand_in->previous->next : front_) = stand_in->next;
    (stand_in->next != nullptr ? stand_in->next->previous : back_) = stand_in->previous;
    release(stand_in);
    return true;
}

void MessageLog::insert_before(StoredBatch* place, StoredBatch* batch) noexcept {
    batch->next = place;
    batch->previous = std::exchange(place->previous, batch);
    (batch->previous != nullptr ? batch->previous->next : front_) = batch;
}

// --- From an image -----------------------------------------------------------------------------------------------------

void MessageLog::begin_at(Offset next_offset) noexcept {
    BATON_ASSERT(next_offset >= next_offset_);
    next_offset_ = next_offset;
}

StoredBatch& MessageLog::append_restored(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                                         Payload messages) noexcept {
    StoredBatch& batch = append_uncommitted(count, flags, crc32c, time, std::move(messages));
    uncommitted_ = nullptr;
    return batch;
}

StoredBatch& MessageLog::append_evicted(const commit::BlockRef& ref, std::uint32_t region_bytes, WallTime time) noexcept {
    StoredBatch& batch = link_at_end(static_cast<std::uint32_t>(ref.end - ref.first), region_bytes);
    batch.block = new StoredBlock{.ref = ref, .batches = 1, .first = &batch, .time = time};
    batch.time = time;
    batch.is_resident = false;
    evicted_.emplace(batch.base, &batch);
    return batch;
}

void MessageLog::finish_restore(Offset next_offset) noexcept {
    begin_at(next_offset);
    visible_end_ = next_offset;
    for (LogCursor* cursor : ended_) {
        cursor->offset_ = next_offset;
    }
}

void MessageLog::place_restored(LogCursor& cursor, Offset offset, OffsetSet skipped) noexcept {
    advance_to(cursor, offset);
    cursor.offset_ = std::max(cursor.offset_, offset);
    cursor.skipped_ = std::move(skipped);
    cursor.skipped_messages_ = 0;
    for (const auto& [first, end] : cursor.skipped_) {
        cursor.skipped_messages_ += end - first;
    }
    pass_skipped(cursor);
}

Run MessageLog::restored_run(StoredBatch& batch, Offset first, Offset end, std::uint32_t attempt) noexcept {
    const auto before = static_cast<std::uint32_t>(first - batch.base);
    Run run{.batch = &batch,
            .first = batch.base,
            .count = batch.count,
            .attempt = attempt,
            .bytes = batch.size,
            .was_delivered = true};
    if (before > 0) {
        static_cast<void>(run.take_front(before));
    }
    if (run.end() > end) {
        run = run.take_front(static_cast<std::uint32_t>(end - first));
    }
    hold(batch, run.count);
    return run;
}

void MessageLog::drop_restored(StoredBatch& batch, Offset first, Offset end) noexcept {
    const auto count = static_cast<std::uint32_t>(end - first);
    if (first == batch.base && end == batch.end()) {
        batch.held += count;  // Also of a block that has not been read.
        return forget({.batch = &batch, .first = first, .count = count, .bytes = batch.size});
    }
    const Run run = restored_run(batch, first, end, 1);
    forget(run);
}

}  // namespace baton::channel

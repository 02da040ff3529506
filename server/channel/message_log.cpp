// Order and life of batches. Where batches are, for durable channels, is in message_places.cpp.
#include "server/channel/message_log.hpp"

#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"

namespace baton::channel {

namespace {
// Enough for the batches that come and go between two turns; what a long backlog used goes back to the system.
constexpr std::size_t free_batches_max = 1024;
}  // namespace

Run Run::take_front(Cut cut) noexcept {
    BATON_ASSERT(cut.count <= count && cut.bytes <= bytes);
    Run front = *this;
    front.count = cut.count;
    front.bytes = cut.bytes;
    first += cut.count;
    count -= cut.count;
    position += cut.bytes;
    bytes -= cut.bytes;
    return front;
}

bool Run::try_append(const Run& next) noexcept {
    if (next.batch != batch || next.first != end() || next.attempt != attempt || next.is_started != is_started ||
        next.was_delivered != was_delivered) {
        return false;
    }
    BATON_ASSERT(next.position == position + bytes);
    count += next.count;
    bytes += next.bytes;
    return true;
}

Slice Run::slice() const noexcept {
    const bool is_whole = count == batch->count;
    return {.first = first,
            .count = count,
            .attempt = attempt,
            .redelivered = was_delivered,
            .batch_flags = is_whole ? batch->flags : static_cast<std::uint16_t>(batch->flags & ~batch_has_crc),
            .crc32c = is_whole ? batch->crc32c : 0,
            .time = batch->time,
            .messages = batch->messages.slice(position, bytes)};
}

MessageLog::~MessageLog() {
    clear();
    for (StoredBatch* batch : free_) {
        delete batch;
    }
}

void MessageLog::clear() noexcept {
    while (front_ != nullptr) {
        StoredBatch* batch = std::exchange(front_, front_->next);
        leave_block(*batch);
        delete batch;
    }
    back_ = cursor_ = uncommitted_ = oldest_in_log_ = newest_in_log_ = nullptr;
    cursor_index_ = cursor_position_ = 0;
    next_offset_ = visible_end_ = 1;
    messages_ = bytes_ = resident_bytes_ = 0;
    evicted_.clear();
    resident_blocks_.clear();
    dead_blocks_.clear();
}

void MessageLog::append(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                        Payload messages) noexcept {
    BATON_ASSERT(uncommitted_ == nullptr);
    static_cast<void>(append_uncommitted(count, flags, crc32c, time, std::move(messages)));
    uncommitted_ = nullptr;
    visible_end_ = next_offset_;
}

StoredBatch& MessageLog::append_uncommitted(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c,
                                            WallTime time, Payload messages) noexcept {
    StoredBatch& batch = link_at_end(count, static_cast<std::uint32_t>(messages.size()));
    batch.flags = flags;
    batch.crc32c = (flags & batch_has_crc) != 0 ? crc32c : 0;
    batch.time = time;
    batch.messages = std::move(messages);
    resident_bytes_ += batch.size;
    if (uncommitted_ == nullptr) {
        uncommitted_ = &batch;
    }
    return batch;
}

StoredBatch& MessageLog::link_at_end(std::uint32_t count, std::uint32_t size) noexcept {
    BATON_ASSERT(count > 0);
    StoredBatch* batch = new_batch();
    batch->base = next_offset_;
    batch->count = batch->remaining = count;
    batch->size = size;
    batch->previous = std::exchange(back_, batch);
    (batch->previous != nullptr ? batch->previous->next : front_) = batch;
    if (cursor_ == nullptr) {
        BATON_ASSERT(cursor_index_ == 0 && cursor_position_ == 0);
        cursor_ = batch;
    }
    next_offset_ += count;
    messages_ += count;
    bytes_ += size;
    return *batch;
}

std::uint64_t MessageLog::commit(commit::Index index) noexcept {
    const Offset before = visible_end_;
    while (uncommitted_ != nullptr && uncommitted_->index <= index) {
        visible_end_ = uncommitted_->end();
        uncommitted_ = uncommitted_->next;
    }
    return visible_end_ - before;
}

Run MessageLog::fresh_head() const noexcept {
    BATON_ASSERT(cursor_ != nullptr);
    return {.batch = cursor_,
            .first = cursor_->base + cursor_index_,
            .count = cursor_->count - cursor_index_,
            .position = cursor_position_,
            .bytes = cursor_->size - cursor_position_};
}

std::optional<Run> MessageLog::fresh_run(const Run* run, Offset from) const noexcept {
    StoredBatch* batch = run != nullptr ? run->batch->next : cursor_;
    while (batch != nullptr && batch->end() <= from) {
        batch = batch->next;
    }
    if (batch == nullptr || batch->base >= visible_end_) {
        return std::nullopt;
    }
    return batch == cursor_ ? fresh_head()
                            : Run{.batch = batch, .first = batch->base, .count = batch->count, .bytes = batch->size};
}

Run MessageLog::take_fresh(Cut cut) noexcept {
    Run rest = fresh_head();
    const Run taken = rest.take_front(cut);
    cursor_index_ += cut.count;
    cursor_position_ += cut.bytes;
    if (rest.count == 0) {
        cursor_ = cursor_->next;
        cursor_index_ = 0;
        cursor_position_ = 0;
    }
    return taken;
}

void MessageLog::forget(const Run& run) noexcept {
    StoredBatch* batch = run.batch;
    BATON_ASSERT(run.count <= batch->remaining && run.bytes <= bytes_);
    batch->remaining -= run.count;
    messages_ -= run.count;
    bytes_ -= run.bytes;
    if (batch->block != nullptr) {
        batch->block->live -= run.count;
    }
    if (batch->remaining == 0) {
        unlink(batch);
        release(batch);
    }
}

std::uint64_t MessageLog::purge_fresh() noexcept {
    const std::uint64_t purged = fresh();
    while (fresh() > 0) {
        const Run head = fresh_head();
        forget(take_fresh({head.count, head.bytes}));
    }
    return purged;
}

StoredBatch* MessageLog::new_batch() noexcept {
    if (free_.empty()) {
        return new StoredBatch;
    }
    StoredBatch* batch = free_.back();
    free_.pop_back();
    return batch;
}

void MessageLog::unlink(StoredBatch* batch) noexcept {
    BATON_ASSERT(batch != cursor_ && batch != uncommitted_);
    (batch->previous != nullptr ? batch->previous->next : front_) = batch->next;
    (batch->next != nullptr ? batch->next->previous : back_) = batch->previous;
    if (batch->is_resident) {
        resident_bytes_ -= batch->size;
    } else {
        evicted_.erase(batch->base);
    }
    if (batch->index != 0 && batch->block == nullptr) {
        leave_log(*batch);
    }
    leave_block(*batch);
}

// The node of a batch that is not linked any more.
void MessageLog::release(StoredBatch* batch) noexcept {
    if (batch->is_pinned) {
        return;  // unpin() comes here again.
    }
    if (free_.size() < free_batches_max) {
        *batch = StoredBatch{};
        free_.push_back(batch);
    } else {
        delete batch;
    }
}

}  // namespace baton::channel

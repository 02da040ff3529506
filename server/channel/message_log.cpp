// Order and life of batches, and the cursors. Where batches are, for durable channels, is in message_places.cpp.
#include "server/channel/message_log.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/crc32c.hpp"

namespace baton::channel {

namespace {
// Enough for the batches that come and go between two turns; what a long backlog used goes back to the system.
constexpr std::size_t free_batches_max = 1024;

// Joined messages share their time: what is this far apart a clock pulse does not tell apart either. But in a stream readers
// begin at a time.
constexpr Duration joined_within = std::chrono::milliseconds{20};
constexpr Duration joined_within_stream = std::chrono::milliseconds{1};
constexpr std::size_t join_room_min = 512;
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
        next.was_delivered != was_delivered || next.is_kept != is_kept || next.is_placed != is_placed ||
        next.is_keyless != is_keyless || next.lease_end != lease_end || next.lease_cap != lease_cap ||
        next.position != position + bytes) {
        return false;
    }
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
            .messages = batch->slice(position, bytes)};
}

MessageLog::~MessageLog() {
    cursors_.clear();  // They may be gone already.
    clear();
    for (StoredBatch* batch : free_) {
        delete batch;
    }
}

void MessageLog::clear() noexcept {
    while (StoredBatch* batch = batches_.first()) {
        batches_.erase(*batch);
        leave_block(*batch);
        delete batch;
    }
    kept_ = uncommitted_ = nullptr;
    in_log_.clear();
    std::ranges::for_each(logged_places_, [](const auto& place) { place->next = nullptr; });
    remnant_list_.clear();
    remnants_ = new_remnants_ = 0;
    next_offset_ = visible_end_ = 1;
    messages_ = bytes_ = resident_bytes_ = awaited_ = 0;
    ended_ = cursors_;
    for (LogCursor* cursor : cursors_) {
        cursor->batch_ = nullptr;
        cursor->index_ = cursor->position_ = 0;
        cursor->offset_ = 1;
        cursor->skipped_.clear();
        cursor->skipped_messages_ = 0;
        cursor->removed_ahead_ = 0;
    }
    ruled_.clear();
    ruled_batches_ = 0;
    marks_.clear();
    unmarked_ = 0;
    evicted_.clear();
    at_rest_.clear();
    resident_blocks_.clear();
    dead_blocks_.clear();
    removed_.clear();
    tracked_.clear();
    dead_bytes_ = 0;
}

bool MessageLog::dismantle(std::uint64_t& items) noexcept {
    for (; batches_.first() != nullptr && items > 0; --items) {
        StoredBatch* batch = batches_.first();
        batches_.erase(*batch);
        leave_block(*batch);
        tracked_.erase(batch->base);
        forget_stand_in(*batch);
        delete batch;
    }
    for (; !removed_.empty() && items > 0; --items) {
        removed_.erase(removed_.begin());
    }
    return batches_.first() == nullptr && removed_.empty();
}

// --- Storing -----------------------------------------------------------------------------------------------------------

StoredBatch& MessageLog::append(std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c, WallTime time,
                                Payload messages) noexcept {
    BATON_ASSERT(uncommitted_ == nullptr);
    StoredBatch& batch = append_uncommitted(count, flags, crc32c, time, std::move(messages));
    uncommitted_ = nullptr;
    visible_end_ = next_offset_;
    return batch;
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

bool MessageLog::join(const BatchHeader& header, MonotonicTime accepted, const Payload& messages, Cut limit) noexcept {
    if (header.messages_size >= joined_below || batches_.last() == nullptr ||
        !can_join(*batches_.last(), header, accepted, limit)) {
        return false;
    }
    StoredBatch& tail = *batches_.last();
    if (tail.has_crc() && crc32c(messages.bytes()) != header.crc32c) {
        return false;  // The receiver finds out, who gets it as it came.
    }
    if (!tail.is_open || tail.messages.room_behind() < header.messages_size) {
        // What was given out of the old chunk refers to that. Of a short backlog most of the room would stay empty.
        const std::size_t room = std::max<std::size_t>(2 * (tail.size + header.messages_size), bytes_ / 4);
        tail.messages = tail.messages.copy_with_room(std::clamp<std::size_t>(room, join_room_min, joined_max.bytes));
        tail.is_open = true;
    }
    tail.messages.extend(messages.bytes());
    if (tail.has_crc()) {
        tail.crc32c = crc32c(messages.bytes(), tail.crc32c);
    }
    for (LogCursor* cursor : ended_) {
        cursor->batch_ = &tail;
        cursor->index_ = tail.count;
        cursor->position_ = tail.size;
    }
    tail.cursors += static_cast<std::uint32_t>(ended_.size());
    ended_.clear();
    tail.count += header.count;
    tail.size += header.messages_size;
    tail.remaining += keep_ == Keep::until_trimmed ? header.count : std::uint64_t{header.count} * cursors_.size();
    tail.time = {header.time_us};
    resident_bytes_ += header.messages_size;
    count_appended(header.count, header.messages_size);
    visible_end_ = next_offset_;
    return true;
}

// Whoever has all of it would keep its memory for the new ones: somebody must want the last of it, too.
bool MessageLog::can_join(const StoredBatch& tail, const BatchHeader& header, MonotonicTime accepted,
                          Cut limit) const noexcept {
    const bool is_stream = keep_ == Keep::until_trimmed;
    const bool is_same_kind = tail.flags == header.flags && tail.is_exact == (!is_stream && cursors_.size() == 1);
    const bool is_in_memory_only = tail.index == 0 && tail.block == nullptr && tail.is_resident && uncommitted_ == nullptr;
    const bool is_plain = !tail.has_rules && !tail.is_trimmed && tail.removed == 0 && tail.pins == 0 && !tail.pieces;
    const bool is_last = tail.end() == next_offset_ && next_offset_ != sealed_end_;
    const bool has_room = (tail.is_open || tail.size < joined_below) &&
                          tail.count + header.count <= std::min(limit.count, joined_max.count) &&
                          tail.size + header.messages_size <= std::min(limit.bytes, joined_max.bytes);
    const bool is_in_time = accepted - tail.accepted <= (is_stream ? joined_within_stream : joined_within);
    return is_same_kind && is_in_memory_only && is_plain && is_last && has_room && is_in_time &&
           (is_stream || ended_.size() < cursors_.size());
}

void MessageLog::count_appended(std::uint32_t count, std::uint32_t size) noexcept {
    next_offset_ += count;
    messages_ += count;
    bytes_ += size;
}

StoredBatch& MessageLog::link_at_end(std::uint32_t count, std::uint32_t size) noexcept {
    BATON_ASSERT(count > 0 && is_wanted());
    StoredBatch* batch = new_batch();
    batch->base = next_offset_;
    batch->count = count;
    batch->remaining = keep_ == Keep::until_trimmed ? count : std::uint64_t{count} * cursors_.size();
    batch->is_exact = keep_ == Keep::until_settled && cursors_.size() == 1;
    batch->size = size;
    batches_.insert(*batch);
    kept_ = kept_ != nullptr ? kept_ : batch;
    if (keep_ == Keep::until_trimmed && ++unmarked_ >= batches_per_mark) {
        mark(*batch);
        unmarked_ = 0;
    }
    if (!ended_.empty()) {
        for (LogCursor* cursor : ended_) {
            cursor->batch_ = batch;
            cursor->offset_ = batch->base;
        }
        batch->cursors = static_cast<std::uint32_t>(ended_.size());
        ended_.clear();
    }
    count_appended(count, size);
    return *batch;
}

void MessageLog::pass(std::uint32_t count) noexcept {
    BATON_ASSERT(!is_wanted());
    next_offset_ += count;
    if (uncommitted_ == nullptr) {
        visible_end_ = next_offset_;
    }
}

std::uint64_t MessageLog::commit(commit::Index index) noexcept {
    const Offset before = visible_end_;
    while (uncommitted_ != nullptr && uncommitted_->index <= index) {
        visible_end_ = uncommitted_->end();
        if (uncommitted_->has_rules) {
            ruled_.push_back(uncommitted_);
        }
        uncommitted_ = uncommitted_->next;
    }
    if (uncommitted_ == nullptr) {
        visible_end_ = next_offset_;  // Behind what was committed some may have come that nobody wants.
    }
    return visible_end_ - before;
}

std::vector<StoredBatch*> MessageLog::ruled_ahead(const LogCursor& cursor) const {
    std::vector<StoredBatch*> ruled;
    StoredBatch* batch = ruled_batches_ > 0 ? cursor.batch_ : nullptr;
    for (; batch != nullptr && batch->base < visible_end_; batch = batch->next) {
        if (batch->has_rules && !batch->is_trimmed) {
            ruled.push_back(batch);
        }
    }
    return ruled;
}

// --- Readers -----------------------------------------------------------------------------------------------------------

void MessageLog::add_cursor(LogCursor& cursor) noexcept {
    cursors_.push_back(&cursor);
    ended_.push_back(&cursor);
    cursor.offset_ = next_offset_;
}

void MessageLog::add_cursor_at(LogCursor& cursor, Offset from) noexcept {
    BATON_ASSERT(keep_ == Keep::until_trimmed);
    add_cursor(cursor);
    // With how many messages from the batch on: holes have to be counted.
    StoredBatch* batch = removed_.empty() ? near(from) : kept_;
    std::uint64_t live = removed_.empty() && batch != nullptr ? next_offset_ - batch->base : messages_;
    while (batch != nullptr && (batch->is_trimmed || batch->end() <= from)) {
        live -= batch->is_trimmed ? 0 : batch->live();
        batch = batch->next;
    }
    if (batch == nullptr) {
        return;
    }
    std::erase(ended_, &cursor);
    ++batch->cursors;
    cursor.batch_ = batch;
    cursor.offset_ = batch->base;
    cursor.removed_ahead_ = next_offset_ - batch->base - live;
    if (batch->base < from) {
        advance_to(cursor, from);
    }
    pass_holes(cursor);
}

// Until it is gone it counts like every other one, also for what comes: there are far fewer of those than it forgets.
bool MessageLog::remove_cursor(LogCursor& cursor, std::uint64_t& batches) noexcept {
    leaving_ += std::exchange(cursor.is_leaving_, true) ? 0 : 1;
    if (keep_ == Keep::until_trimmed) {
        move_to(cursor, nullptr);
    }
    // Also what is not visible yet.
    for (; cursor.batch_ != nullptr; --batches) {
        if (batches == 0) {
            return false;
        }
        const Run head = fresh_head(cursor);
        forget(take_fresh(cursor, {head.count, head.bytes}));
    }
    --leaving_;
    cursor.is_leaving_ = false;
    std::erase(ended_, &cursor);
    std::erase(cursors_, &cursor);
    return true;
}

// Forward. The index in the batch is set to its beginning.
void MessageLog::move_to(LogCursor& cursor, StoredBatch* batch) noexcept {
    while (batch != nullptr && batch->is_trimmed) {
        batch = batch->next;
    }
    const Offset from = cursor.offset_;
    if (cursor.batch_ != nullptr) {
        --cursor.batch_->cursors;
    } else if (batch != nullptr) {
        std::erase(ended_, &cursor);
    }
    if (batch != nullptr) {
        ++batch->cursors;
        cursor.offset_ = batch->base;
    } else {
        if (cursor.batch_ != nullptr) {
            ended_.push_back(&cursor);
        }
        cursor.offset_ = next_offset_;
    }
    cursor.batch_ = batch;
    cursor.index_ = cursor.position_ = 0;
    if (cursor.removed_ahead_ > 0) {
        count_passed(cursor, from);
    }
}

// To an offset that is not before it. Within an evicted block only to its end.
void MessageLog::advance_to(LogCursor& cursor, Offset offset) noexcept {
    while (cursor.batch_ != nullptr && cursor.batch_->end() <= offset) {
        move_to(cursor, cursor.batch_->next);
    }
    if (cursor.batch_ == nullptr || cursor.offset_ >= offset) {
        return;
    }
    const StoredBatch& batch = *cursor.batch_;
    const auto index = static_cast<std::uint32_t>(offset - batch.base);
    const Offset from = cursor.offset_;
    cursor.position_ += batch.bytes_between(cursor.index_, cursor.position_, index);
    cursor.index_ = index;
    cursor.offset_ = offset;
    if (cursor.removed_ahead_ > 0) {
        count_passed(cursor, from);
    }
}

Offset MessageLog::lowest_cursor() const noexcept {
    Offset lowest = next_offset_;
    for (const LogCursor* cursor : cursors_) {
        lowest = std::min(lowest, cursor->offset_);
    }
    return lowest;
}

std::uint64_t MessageLog::readable(const LogCursor& cursor) const noexcept {
    const std::uint64_t all = fresh(cursor);
    if (evicted_.empty() || all == 0) {
        return all;
    }
    if (!cursor.batch_->is_resident) {
        return 0;
    }
    const auto next = evicted_.lower_bound(cursor.offset_);
    return next == evicted_.end() ? all : std::min(all, next->first - cursor.offset_);
}

Run MessageLog::fresh_head(const LogCursor& cursor) const noexcept {
    BATON_ASSERT(cursor.batch_ != nullptr);
    const StoredBatch& batch = *cursor.batch_;
    Run head{.batch = cursor.batch_,
             .first = cursor.offset_,
             .count = batch.count - cursor.index_,
             .position = cursor.position_,
             .bytes = batch.size - cursor.position_};
    Offset end = head.end();
    if (!cursor.skipped_.empty()) {
        end = std::min(end, cursor.skipped_.begin()->first);
    }
    if (batch.removed > 0 && batch.is_resident) {
        end = std::min(end, next_removed(head.first, end));
    }
    return end < head.end() ? head.take_front(static_cast<std::uint32_t>(end - head.first)) : head;
}

std::optional<Run> MessageLog::fresh_run(const LogCursor& cursor, const Run* previous, Offset from) const noexcept {
    StoredBatch* batch = previous != nullptr ? previous->batch : cursor.batch_;
    Offset at = previous != nullptr ? previous->end() : cursor.offset_;
    auto skip = cursor.skipped_.upper_bound(at);
    if (skip != cursor.skipped_.begin() && std::prev(skip)->second > at) {
        at = std::prev(skip)->second;
    }
    for (; batch != nullptr && batch->base < visible_end_; batch = batch->next) {
        if (batch->is_trimmed) {
            continue;  // Somebody holds the last of it.
        }
        at = std::max(at, batch->base);
        const bool has_holes = batch->removed > 0 && batch->is_resident;
        while (at < batch->end()) {
            while (skip != cursor.skipped_.end() && skip->second <= at) {
                ++skip;
            }
            if (skip != cursor.skipped_.end() && skip->first <= at) {
                at = skip->second;
                continue;
            }
            if (const Offset removed_end = has_holes ? end_of_removed(at) : at; removed_end > at) {
                at = std::min(removed_end, batch->end());  // A block behind it is entered at its beginning.
                continue;
            }
            Offset end = skip != cursor.skipped_.end() ? std::min(skip->first, batch->end()) : batch->end();
            end = has_holes ? next_removed(at, end) : end;
            if (end > from) {
                Run run{.batch = batch, .first = batch->base, .count = batch->count, .bytes = batch->size};
                if (at > run.first) {
                    static_cast<void>(run.take_front(static_cast<std::uint32_t>(at - run.first)));
                }
                return end < run.end() ? run.take_front(static_cast<std::uint32_t>(end - at)) : run;
            }
            at = end;
        }
    }
    return std::nullopt;
}

std::optional<Run> MessageLog::fresh_tail(const LogCursor& cursor) const noexcept {
    if (fresh(cursor) == 0) {
        return std::nullopt;
    }
    for (StoredBatch* batch = batches_.last(); batch != nullptr && batch->end() > cursor.offset_; batch = batch->previous) {
        if (batch->end() > visible_end_ || batch->is_trimmed) {
            continue;
        }
        const bool has_holes = batch->removed > 0 && batch->is_resident;
        Offset end = batch->end();
        Offset before = 0;  // Behind the last hole in front of it.
        for (bool is_hole = true; is_hole && end > batch->base;) {
            is_hole = false;
            before = 0;
            for (const OffsetSet* holes : {&cursor.skipped_, has_holes ? &removed_ : nullptr}) {
                const auto hole = holes != nullptr ? holes->lower_bound(end) : OffsetSet::const_iterator{};
                if (holes == nullptr || hole == holes->begin()) {
                    continue;
                }
                if (std::prev(hole)->second >= end) {
                    end = std::prev(hole)->first;
                    is_hole = true;
                    break;
                }
                before = std::max(before, std::prev(hole)->second);
            }
        }
        const Offset first = std::max({batch->base, cursor.offset_, before});
        if (first >= end) {
            continue;
        }
        Run run{.batch = batch, .first = batch->base, .count = batch->count, .bytes = batch->size};
        if (first > run.first) {
            static_cast<void>(run.take_front(static_cast<std::uint32_t>(first - run.first)));
        }
        return end < run.end() ? run.take_front(static_cast<std::uint32_t>(end - first)) : run;
    }
    return std::nullopt;
}

void MessageLog::hold(StoredBatch& batch, std::uint32_t count) noexcept {
    batch.held += count;
    if (keep_ == Keep::until_trimmed) {
        batch.remaining += count;
    }
}

Run MessageLog::take_fresh(LogCursor& cursor, Cut cut) noexcept {
    Run rest = fresh_head(cursor);
    const Run taken = rest.take_front(cut);
    StoredBatch& batch = *cursor.batch_;
    hold(batch, cut.count);
    cursor.index_ += cut.count;
    cursor.position_ += cut.bytes;
    cursor.offset_ += cut.count;
    if (batch.removed > 0 && !batch.is_resident) {
        count_passed(cursor, taken.first);
    }
    if (cursor.index_ == batch.count) {
        move_to(cursor, batch.next);
    }
    if (!cursor.skipped_.empty() || (cursor.batch_ != nullptr && cursor.batch_->removed > 0)) {
        pass_holes(cursor);
    }
    return taken;
}

Run MessageLog::pick(LogCursor& cursor, StoredBatch& batch, Cut before, Cut cut) noexcept {
    const Offset first = batch.base + before.count;
    BATON_ASSERT(first >= cursor.offset_ && batch.is_resident);
    if (first == cursor.offset_) {
        return take_fresh(cursor, cut);
    }
    hold(batch, cut.count);
    batch.is_picked = true;
    add_range(cursor.skipped_, first, first + cut.count);
    cursor.skipped_messages_ += cut.count;
    return {.batch = &batch, .first = first, .count = cut.count, .position = before.bytes, .bytes = cut.bytes};
}

void MessageLog::forget(const Run& run) noexcept {
    StoredBatch* batch = run.batch;
    BATON_ASSERT(run.count <= batch->remaining && run.count <= batch->held);
    const std::uint64_t before = batch->remaining;
    batch->remaining -= run.count;
    batch->held -= run.count;
    if (batch->is_exact) {
        BATON_ASSERT(run.count <= messages_ && run.bytes <= bytes_);
        messages_ -= run.count;
        bytes_ -= run.bytes;
    }
    if (batch->remaining == 0) {
        if (!batch->is_exact && !batch->is_trimmed) {
            messages_ -= batch->live();
            bytes_ -= batch->size - batch->removed_bytes;
        }
        unlink(batch);
        release(batch);
    } else if (is_halved(before, batch->remaining)) {
        note_remnant(*batch);
    }
}

// Of a block behind all readers, with gaps, no more is known than that something is left.
bool MessageLog::recount(StoredBatch& batch, const std::vector<Run>& held) {
    const bool is_behind_all = !batch.is_resident && batch.remaining == batch.held;
    if (keep_ == Keep::until_trimmed || batch.is_exact || is_behind_all || batch.end() > visible_end_) {
        return false;
    }
    std::uint32_t messages = 0;
    std::uint32_t bytes = 0;
    for (const Run& run : wanted_of(batch, [&](const StoredBatch&, std::vector<Run>& runs) { runs = held; })) {
        messages += run.count;
        bytes += run.bytes;
    }
    if (batch.count - messages <= batch.removed) {
        return false;
    }
    bytes = batch.is_resident ? bytes : batch.size / batch.count * messages;
    const std::uint32_t removed_bytes = batch.size - std::min(bytes, batch.size);
    messages_ -= batch.count - messages - batch.removed;
    bytes_ = bytes_ + batch.removed_bytes - removed_bytes;
    batch.removed = batch.count - messages;
    batch.removed_bytes = removed_bytes;
    return true;
}

std::uint64_t MessageLog::purge_fresh(LogCursor& cursor) noexcept {
    const std::uint64_t purged = fresh(cursor);
    while (fresh(cursor) > 0) {
        const Run head = fresh_head(cursor);
        forget(take_fresh(cursor, {head.count, head.bytes}));
    }
    return purged;
}

// --- Streams: retention ------------------------------------------------------------------------------------------------

void MessageLog::trim_oldest() noexcept {
    BATON_ASSERT(keep_ == Keep::until_trimmed && kept_ != nullptr && kept_->end() <= visible_end_);
    give_up(*kept_);
}

// Of a stream, because of its retention, or because nothing of it is left.
void MessageLog::give_up(StoredBatch& batch) noexcept {
    for (LogCursor* cursor : cursors_) {
        if (batch.cursors == 0) {
            break;
        }
        if (cursor->batch_ == &batch) {
            const std::uint64_t before = fresh(*cursor);
            move_to(*cursor, batch.next);
            pass_holes(*cursor);
            cursor->missed_ += before - fresh(*cursor);
        }
    }
    messages_ -= batch.live();
    bytes_ -= batch.size - batch.removed_bytes;
    batch.is_trimmed = true;
    if (std::exchange(batch.is_tracked, false)) {
        tracked_.erase(batch.base);  // Somebody may hold it still, while a block that covers it leaves memory.
    }
    while (kept_ != nullptr && kept_->is_trimmed) {
        kept_ = kept_->next;
    }
    forget_removed_before_kept();
    batch.remaining -= batch.live();
    if (batch.remaining == 0) {
        unlink(&batch);
        release(&batch);
    } else {
        note_remnant(batch);
    }
}

StoredBatch* MessageLog::near(Offset offset) const noexcept {
    const auto after = marks_.upper_bound(offset);
    StoredBatch* batch = after != marks_.begin() ? std::prev(after)->second : kept_;
    return kept_ == nullptr || batch->base < kept_->base ? kept_ : batch;
}

const StoredBatch* MessageLog::first_since(WallTime time) const noexcept {
    const StoredBatch* batch = kept_;
    for (auto at = marks_.lower_bound(batch != nullptr ? batch->base : next_offset_);
         at != marks_.end() && at->second->time < time; ++at) {
        batch = at->second;
    }
    while (batch != nullptr && batch->time < time) {
        batch = batch->next;
    }
    return batch;
}

void MessageLog::mark(StoredBatch& batch) {
    batch.is_mark = true;
    marks_.emplace(batch.base, &batch);
}

// Before it goes: another one takes its place, so that as many batches as ever lie between two of them.
void MessageLog::unmark(StoredBatch& batch, StoredBatch* heir) {
    if (!std::exchange(batch.is_mark, false)) {
        return;
    }
    marks_.erase(batch.base);
    if (heir != nullptr && !heir->is_mark) {
        mark(*heir);
    }
}

// --- Nodes -------------------------------------------------------------------------------------------------------------

StoredBatch* MessageLog::new_batch() noexcept {
    if (free_.empty()) {
        return new StoredBatch;
    }
    StoredBatch* batch = free_.back();
    free_.pop_back();
    return batch;
}

void MessageLog::unlink(StoredBatch* batch) noexcept {
    BATON_ASSERT(batch->cursors == 0);
    if (batch == uncommitted_) {
        uncommitted_ = batch->next;
    }
    kept_ = batch == kept_ ? batch->next : kept_;
    if (batch->is_tracked) {
        tracked_.erase(batch->base);
    }
    unmark(*batch, batch->next);
    if (batch->has_rules) {
        --ruled_batches_;
        std::erase(ruled_, batch);  // Nobody has looked at it, and it had to make room.
    }
    if (batch->index != 0 && batch->block == nullptr) {
        leave_log(*batch);
    }
    leave_block(*batch);
    batches_.erase(*batch);
    if (batch->is_resident) {
        resident_bytes_ -= batch->messages.size();
    } else {
        forget_stand_in(*batch);
    }
    if (batch->remnant != Remnant::no) {
        unlink_remnant(*batch);
    }
}

// The node of a batch that is not linked any more.
void MessageLog::release(StoredBatch* batch) noexcept {
    if (batch->pins > 0) {
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

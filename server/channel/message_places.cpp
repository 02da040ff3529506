// MessageLog, part two: where the batches of a durable channel are. In the log, in blocks of segments, in memory.
#include <algorithm>
#include <iterator>
#include <span>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_log.hpp"
#include "server/channel/message_rules.hpp"

namespace baton::channel {

// --- In the log only ---------------------------------------------------------------------------------------------------

void MessageLog::set_record(StoredBatch& batch, commit::Index index) noexcept {
    BATON_ASSERT(batch.block == nullptr && index > batch.index);
    BATON_ASSERT(in_log_.last() == nullptr || index >= in_log_.last()->index);  // What a step sends is in one record.
    if (batch.index != 0) {
        leave_log(batch);
    }
    batch.index = index;
    in_log_.insert(batch);
}

std::shared_ptr<LoggedPlace> MessageLog::begin_in_log() {
    return logged_places_.emplace_back(std::make_shared<LoggedPlace>(in_log_.first()));
}

void MessageLog::leave_log(StoredBatch& batch) noexcept {
    if (!logged_places_.empty()) [[unlikely]] {
        std::erase_if(logged_places_, [](const auto& place) { return place.use_count() == 1; });
        for (const auto& place : logged_places_) {
            place->next = place->next == &batch ? batch.newer : place->next;
        }
    }
    in_log_.erase(batch);
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
    }
    block->first = batches.front();
    resident_blocks_.emplace(ref.first, block);
}

void MessageLog::leave_block(StoredBatch& batch) noexcept {
    StoredBlock* block = std::exchange(batch.block, nullptr);
    if (block == nullptr) {
        return;
    }
    if (block->first == &batch) {
        block->first = batch.next != nullptr && batch.next->block == block ? batch.next : nullptr;
    }
    if (--block->batches > 0) {
        return;
    }
    dead_blocks_.push_back(block->ref);
    dead_bytes_ -= block->dead_bytes;
    resident_blocks_.erase(block->ref.first);
    delete block;
}

std::vector<const StoredBlock*> MessageLog::blocks(Offset from, std::uint64_t limit) const {
    std::vector<const StoredBlock*> blocks;
    auto resident = resident_blocks_.lower_bound(from);
    auto evicted = evicted_.lower_bound(from);
    auto at_rest = at_rest_.lower_bound(from);
    const auto place = [](const auto& at, const auto& all) { return at != all.end() ? at->first : UINT64_MAX; };
    for (; limit > 0; --limit) {
        const Offset of_resident = place(resident, resident_blocks_);
        const Offset of_evicted = place(evicted, evicted_);
        const Offset of_at_rest = place(at_rest, at_rest_);
        const Offset lowest = std::min({of_resident, of_evicted, of_at_rest});
        if (lowest == UINT64_MAX) {
            break;
        }
        blocks.push_back(lowest == of_resident ? resident++->second
                                               : (lowest == of_evicted ? evicted++ : at_rest++)->second->block);
    }
    return blocks;
}

// --- Out of memory and back --------------------------------------------------------------------------------------------

// Compaction may remove what rests in a stream, and the disk keep it no longer: there it stays in memory.
bool MessageLog::is_untouched(const StoredBatch& batch) const noexcept {
    const bool is_stream = keep_ == Keep::until_trimmed;
    if (batch.held > (is_stream ? 0 : batch.resting) || batch.end() > visible_end_) {
        return false;
    }
    if (is_at_rest(batch)) {
        return batch.cursors == 0;
    }
    if (batch.is_picked || batch.has_rules || (!is_stream && (batch.remaining - batch.resting) % batch.count != 0)) {
        return false;
    }
    return batch.cursors == 0 || std::ranges::none_of(cursors_, [&](const LogCursor* cursor) {
               return cursor->batch_ == &batch && cursor->index_ > 0;
           });
}

Offset MessageLog::offset_ahead(Offset from, std::uint64_t bytes) const noexcept {
    return from + bytes / std::max<std::uint64_t>(messages_ > 0 ? bytes_ / messages_ : 1, 1);
}

OffsetSet MessageLog::wanted_soon(std::vector<Offset> offsets, std::uint64_t keep_bytes) const {
    std::ranges::sort(offsets);
    OffsetSet wanted;
    for (const Offset offset : offsets) {
        const Offset end = offset_ahead(offset, keep_bytes);
        if (!wanted.empty() && wanted.rbegin()->second >= offset) {
            Offset& last = std::prev(wanted.end())->second;
            last = std::max(last, end);
        } else if (offset < end) {
            wanted.emplace_hint(wanted.end(), offset, end);
        }
    }
    return wanted;
}

// Neighbours, each untouched, and wanted by equally many: so that one node can stand for all of them. Without a gap, unless
// compaction made it, or all of it is at rest: then nothing of it is fresh for anybody, nor is what was in the gaps.
bool MessageLog::is_evictable(const StoredBlock& block) const noexcept {
    const StoredBatch* batch = block.first;
    const bool is_stream = keep_ == Keep::until_trimmed;
    if (batch == nullptr || (is_stream && (kept_ == nullptr || block.ref.first < kept_->base))) {
        return false;
    }
    const bool rests = begins_at_rest(block);
    const auto wanted_by = [](const StoredBatch& one) { return (one.remaining - one.resting) / one.count; };
    Offset at = block.ref.first;
    for (std::uint32_t left = block.batches; left > 0; --left, batch = batch->next) {
        if (batch == nullptr || batch->block != &block || batch->pins > 0 || !is_untouched(*batch) || batch->is_trimmed ||
            (batch != block.first && batch->cursors > 0) || batch->is_exact != block.first->is_exact) {
            return false;
        }
        if (rests ? !is_at_rest(*batch)
                  : !is_stream && (batch->base != at || is_at_rest(*batch) || wanted_by(*batch) != wanted_by(*block.first))) {
            return false;
        }
        at = batch->end();
    }
    return is_stream || rests || (at == block.ref.end && !block.has_rules);
}

std::vector<StoredBlock*> MessageLog::evictable(const OffsetSet& wanted, std::uint64_t bytes_max) {
    std::vector<StoredBlock*> found;
    std::uint64_t bytes = 0;
    if (keep_ == Keep::until_settled) {
        add_at_rest(bytes_max, bytes, found);
    }
    const Offset lowest = lowest_cursor();
    for (auto at = resident_blocks_.rbegin(); at != resident_blocks_.rend() && bytes < bytes_max; ++at) {
        StoredBlock* block = at->second;
        if (keep_ == Keep::until_settled && block->ref.end <= lowest) {
            break;  // What all readers have behind them and still hold.
        }
        if (!overlaps(wanted, block->ref.first, block->ref.first + 1) && !begins_at_rest(*block) && is_evictable(*block)) {
            found.push_back(block);
            bytes += block->ref.size;
        }
    }
    return found;
}

// There may be very many, of which none can go. Of those that can each message is looked at.
void MessageLog::add_at_rest(std::uint64_t bytes_max, std::uint64_t& bytes, std::vector<StoredBlock*>& found) {
    constexpr std::size_t looks_max = 1'024;
    constexpr std::uint64_t messages_max = 4'096;
    std::uint64_t messages = 0;
    auto at = resident_blocks_.lower_bound(rest_turn_);
    for (std::size_t looks = std::min(resident_blocks_.size(), looks_max);
         looks > 0 && bytes < bytes_max && messages < messages_max; --looks) {
        at = at != resident_blocks_.end() ? at : resident_blocks_.begin();
        if (begins_at_rest(*at->second) && is_evictable(*at->second)) {
            found.push_back(at->second);
            bytes += at->second->ref.size;
            messages += at->second->ref.end - at->second->ref.first;
        }
        ++at;
    }
    rest_turn_ = at != resident_blocks_.end() ? at->first : 0;
}

// The highest offsets first: they will be wanted last.
std::vector<commit::BlockRef> MessageLog::touched(const OffsetSet& wanted) {
    constexpr std::size_t looks_max = 64;
    std::vector<commit::BlockRef> found;
    auto at = resident_blocks_.lower_bound(touched_turn_);
    for (std::size_t looks = std::min(resident_blocks_.size(), looks_max); looks > 0; --looks) {
        at = std::prev(at != resident_blocks_.begin() ? at : resident_blocks_.end());
        const StoredBlock& block = *at->second;
        if (!overlaps(wanted, block.ref.first, block.ref.first + 1) && !begins_at_rest(block) && !is_evictable(block)) {
            found.push_back(block.ref);
        }
        touched_turn_ = at->first;
    }
    return found;
}

StoredBlock* MessageLog::resident_block(const commit::BlockRef& ref) const noexcept {
    const auto found = resident_blocks_.find(ref.first);
    return found != resident_blocks_.end() && found->second->ref == ref ? found->second : nullptr;
}

std::uint64_t MessageLog::evict(StoredBlock& block, const RunsAtRest& runs) noexcept {
    StoredBatch* first = block.first;
    std::uint64_t held = 0;
    const StoredBatch* batch = first;
    for (std::uint32_t left = block.batches; left > 0; --left, batch = batch->next) {
        held += batch->held;
    }
    std::vector<Run*> at_rest;
    if (held > 0) {
        runs(block.ref.first, block.ref.end, at_rest);
    }
    for (Run* run : at_rest) {
        if (run->batch->block == &block) {
            run->batch = first;
        }
    }
    std::uint64_t bytes = first->messages.size();
    // The first node stands for all; the others go.
    while (block.batches > 1) {
        StoredBatch* next = first->next;
        first->remaining += next->remaining;
        first->held += next->held;
        first->resting += next->resting;
        first->count += next->count;
        first->size += next->size;
        first->removed += keep_ == Keep::until_settled ? next->removed : 0;
        first->removed_bytes += next->removed_bytes;
        bytes += next->messages.size();
        first->accepted = next->accepted;
        next->block = nullptr;
        --block.batches;
        unmark(*next, first);
        batches_.erase(*next);
        next->remaining = 0;
        if (next->is_tracked) {
            tracked_.erase(next->base);
        }
        if (next->remnant != Remnant::no) {
            unlink_remnant(*next);
        }
        release(next);
    }
    if (keep_ == Keep::until_trimmed) {
        cover_block(*first);
    } else if (first->remaining == first->held) {
        first->base = block.ref.first;
        const std::uint32_t gaps = static_cast<std::uint32_t>(block.ref.end - block.ref.first) - first->count;
        first->removed += gaps;
        first->count += gaps;
    }
    BATON_ASSERT(first->end() == block.ref.end && block.batches == 1);
    first->time = block.time;  // It is as old as its newest message.
    first->flags = 0;
    first->crc32c = 0;
    first->messages = {};
    first->pieces.reset();
    first->is_resident = false;
    first->has_rules = false;
    if (first->remnant != Remnant::no) {
        unlink_remnant(*first);
    }
    resident_bytes_ -= bytes;
    resident_blocks_.erase(block.ref.first);
    (begins_at_rest(block) ? at_rest_ : evicted_).emplace(first->base, first);
    return bytes;
}

std::vector<StoredBlock*> MessageLog::missing_ahead(const LogCursor& cursor, std::uint64_t bytes) const {
    std::vector<StoredBlock*> missing;
    const Offset end = offset_ahead(cursor.offset_, bytes);
    const bool is_in_one = cursor.batch_ != nullptr && !cursor.batch_->is_resident;
    for (auto at = evicted_.lower_bound(is_in_one ? cursor.batch_->base : cursor.offset_); at != evicted_.end(); ++at) {
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

StoredBatch* MessageLog::stand_in(const commit::BlockRef& ref) const noexcept {
    for (const auto* stand_ins : {&evicted_, &at_rest_}) {
        const auto found = stand_ins->find(ref.first);
        if (found != stand_ins->end() && found->second->block->ref == ref) {
            return found->second;
        }
    }
    return nullptr;
}

StoredBlock* MessageLog::evicted_block(const commit::BlockRef& ref) const noexcept {
    const StoredBatch* found = stand_in(ref);
    return found != nullptr ? found->block : nullptr;
}

namespace {

// Runs of one message each, in order, refer to the batch that has them again. Their bytes.
std::uint64_t bring_back(std::span<Run* const> runs, StoredBatch& batch) noexcept {
    std::uint64_t bytes = 0;
    Cut at;
    for (Run* run : runs) {
        const auto index = static_cast<std::uint32_t>(run->first - batch.base);
        at.bytes += batch.bytes_between(at.count, at.bytes, index);
        at.count = index;
        run->batch = &batch;
        run->position = at.bytes;
        run->bytes = static_cast<std::uint32_t>(first_message_bytes(batch.messages.bytes().subspan(at.bytes)));
        bytes += run->bytes;
    }
    return bytes;
}

}  // namespace

bool MessageLog::restore_block(const commit::BlockRef& ref, const Payload& body, const RunsAtRest& runs_at_rest) noexcept {
    StoredBatch* stand_in = this->stand_in(ref);
    if (stand_in == nullptr) {
        return true;
    }
    StoredBlock* block = stand_in->block;
    std::vector<Run*> runs;
    if (stand_in->held > 0) {
        runs_at_rest(ref.first, ref.end, runs);
        std::ranges::sort(runs, {}, [](const Run* run) { return run->first; });
    }
    // First everything is checked, then everything is changed.
    auto entries = entries_of(ref, body);
    if (!entries || !count_runs(*entries, runs)) {
        return false;
    }
    const bool is_stream = keep_ == Keep::until_trimmed;
    const Begun begun = begun_of(*stand_in);
    // By so many readers, all of it.
    const std::uint64_t wanted = (stand_in->remaining - stand_in->held - begun.messages) / stand_in->count;
    const bool is_counted_by_run = stand_in->is_exact && wanted == 0;
    std::uint64_t before = is_counted_by_run ? begun.bytes : stand_in->size - stand_in->removed_bytes;
    for (const Run* run : runs) {
        before += is_counted_by_run ? run->bytes : 0;
    }
    std::uint64_t live_bytes = 0;
    std::uint64_t messages = 0;
    std::uint64_t dead_bytes = body.size();
    std::size_t unmarked = is_stream ? 0 : batches_per_mark;
    StoredBatch* first = nullptr;
    auto run = runs.begin();
    for (BlockEntry& entry : *entries) {
        const Offset entry_end = entry.header.base_offset + entry.header.count;
        if (!is_stream && wanted == 0 && entry.runs == 0 && entry_end <= begun.from) {
            continue;  // All of it is settled.
        }
        StoredBatch& batch = add_restored(entry, *stand_in, wanted);
        const Cut rest = add_begun(begun, wanted, batch);
        if (++unmarked == batches_per_mark) {
            mark(batch);
            unmarked = 0;
        }
        first = first != nullptr ? first : &batch;
        const std::uint64_t held_bytes = bring_back({run, run + static_cast<std::ptrdiff_t>(entry.runs)}, batch);
        run += static_cast<std::ptrdiff_t>(entry.runs);
        messages += is_counted_by_run ? batch.held + rest.count : batch.live();
        live_bytes += is_counted_by_run ? held_bytes + rest.bytes : batch.size - batch.removed_bytes;
        dead_bytes -= is_stream ? batch_header_size + batch.size - batch.removed_bytes : 0;
    }
    BATON_ASSERT(uncommitted_ != stand_in);
    kept_ = kept_ == stand_in ? first : kept_;
    --block->batches;
    if (is_stream) {
        dead_bytes_ += dead_bytes - block->dead_bytes;
        block->dead_bytes = dead_bytes;
    }
    block->first = first;
    block->is_loading = false;
    stand_in->block = nullptr;
    forget_stand_in(*stand_in);
    resident_blocks_.emplace(ref.first, block);
    // After a restart the size of a block's messages is only estimated.
    bytes_ = bytes_ - before + live_bytes;
    messages_ = messages_ - (is_counted_by_run ? stand_in->remaining : stand_in->live()) + messages;
    enter_restored(*stand_in, *first);
    forget_removed_before_kept();
    release(stand_in);
    return true;
}

// Readers for whom the first messages of a block were dropped while it was on the disk. A stream does not count who wants what.
MessageLog::Begun MessageLog::begun_of(const StoredBatch& stand_in) const {
    Begun begun;
    if (keep_ == Keep::until_trimmed) {
        return begun;
    }
    for (const LogCursor* cursor : cursors_) {
        if (stand_in.cursors > 0 && cursor->batch_ == &stand_in && cursor->index_ > 0) {
            begun.offsets.push_back(cursor->offset_);
            begun.from = std::min(begun.from, cursor->offset_);
            begun.messages += stand_in.end() - cursor->offset_;
            begun.bytes += stand_in.size - cursor->position_;
        }
    }
    return begun;
}

// What those readers want of it. Of the one for whom most is left: how much that is.
Cut MessageLog::add_begun(const Begun& begun, std::uint64_t wanted, StoredBatch& batch) noexcept {
    for (const Offset offset : begun.offsets) {
        batch.remaining += batch.end() - std::clamp(offset, batch.base, batch.end());
    }
    if (begun.from <= batch.base) {
        return {batch.count, batch.size};
    }
    const auto gone = static_cast<std::uint32_t>(std::min(begun.from, batch.end()) - batch.base);
    const std::uint32_t gone_bytes =
        gone == batch.count ? batch.size : cut_count(batch.messages.bytes(), gone).bytes;
    if (!batch.is_exact && wanted == 0 && batch.held == 0 && gone < batch.count) {
        batch.removed = gone;
        batch.removed_bytes = gone_bytes;
    }
    return {batch.count - gone, batch.size - gone_bytes};
}

// Nothing: the body is not what it should be.
std::optional<std::vector<MessageLog::BlockEntry>> MessageLog::entries_of(const commit::BlockRef& ref, const Payload& body) const {
    std::vector<BlockEntry> entries;
    Offset at = ref.first;
    for (std::size_t position = 0; position < body.size();) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header || header->base_offset < at || header->base_offset + header->count > ref.end ||
            !is_hole(at, header->base_offset)) {
            return std::nullopt;
        }
        at = header->base_offset + header->count;
        if (!is_hole(header->base_offset, at)) {
            entries.push_back({*header, body.slice(position + batch_header_size, header->messages_size)});
        }
        position += batch_header_size + header->messages_size;
    }
    return is_hole(at, ref.end) && !entries.empty() ? std::optional{std::move(entries)} : std::nullopt;
}

// False: one of them is in none.
bool MessageLog::count_runs(std::vector<BlockEntry>& entries, const std::vector<Run*>& runs) noexcept {
    auto entry = entries.begin();
    for (const Run* run : runs) {
        while (entry != entries.end() && run->first >= entry->header.base_offset + entry->header.count) {
            ++entry;
        }
        if (entry == entries.end() || run->first < entry->header.base_offset) {
            return false;
        }
        ++entry->runs;
    }
    return true;
}

StoredBatch& MessageLog::add_restored(BlockEntry& entry, StoredBatch& stand_in, std::uint64_t wanted) noexcept {
    StoredBatch& batch = *new_batch();
    batch.base = entry.header.base_offset;
    batch.count = entry.header.count;
    if (keep_ == Keep::until_trimmed) {
        batch.removed = static_cast<std::uint32_t>(overlap(removed_, batch.base, batch.end()));
        batch.remaining = batch.live();
    } else {
        batch.held = entry.runs;
        batch.remaining = batch.count * wanted + entry.runs;
    }
    batch.is_exact = stand_in.is_exact;
    batch.is_picked = stand_in.is_picked;
    batch.size = entry.header.messages_size;
    batch.flags = entry.header.flags;
    batch.crc32c = entry.header.crc32c;
    batch.time = {entry.header.time_us};
    batch.messages = std::move(entry.messages);
    batch.removed_bytes = removed_bytes_in(batch);
    batch.has_rules = stand_in.block->has_rules && entry.header.has_properties() && have_rules(batch.messages.bytes());
    batch.index = stand_in.index;
    batch.block = stand_in.block;
    ++stand_in.block->batches;
    batches_.insert(batch, &stand_in);
    resident_bytes_ += batch.size;
    if (batch.held > 0 && wanted == 0) {
        note_remnant(batch);
    }
    if (keep_ == Keep::until_trimmed && batch.has_rules) {
        ruled_.push_back(&batch);  // For readers that have come since it left memory.
    }
    return batch;
}

// Who was at the node that stood for a block goes on with the first of its batches.
void MessageLog::enter_restored(StoredBatch& stand_in, StoredBatch& first) noexcept {
    StoredBatch* const behind = stand_in.next;
    unmark(stand_in, &first);
    batches_.erase(stand_in);
    if (stand_in.is_tracked) {
        tracked_.erase(stand_in.base);
        for (StoredBatch* batch = &first; batch != behind; batch = batch->next) {
            track(*batch);
        }
    }
    first.cursors = std::exchange(stand_in.cursors, 0);
    for (LogCursor* cursor : cursors_) {
        if (cursor->batch_ == &stand_in) {
            const Offset from = cursor->offset_;
            cursor->index_ = cursor->position_ = 0;
            cursor->batch_ = &first;
            cursor->offset_ = first.base;
            if (first.base < from) {  // It was in the middle.
                cursor->removed_ahead_ += overlap(removed_, first.base, from);
                advance_to(*cursor, from);
            } else {
                count_passed(*cursor, from);
            }
            pass_holes(*cursor);
        }
    }
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

StoredBatch& MessageLog::append_evicted(const commit::BlockRef& ref, std::uint32_t region_bytes, WallTime time,
                                        bool has_rules) noexcept {
    const auto count = static_cast<std::uint32_t>(ref.end - ref.first);
    StoredBatch& batch = link_at_end(count, std::max(region_bytes / count, 1U) * count);  // They may go one by one.
    batch.block = new StoredBlock{.ref = ref, .batches = 1, .first = &batch, .has_rules = has_rules, .time = time};
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

void MessageLog::set_restored_at_rest() {
    if (keep_ == Keep::until_trimmed) {
        return;
    }
    for (auto at = evicted_.begin(); at != evicted_.end();) {
        const auto entry = at++;
        if (entry->second->remaining == entry->second->held) {
            at_rest_.insert(evicted_.extract(entry));
        }
    }
}

void MessageLog::place_restored(LogCursor& cursor, Offset offset, OffsetSet skipped) noexcept {
    advance_to(cursor, offset);
    cursor.offset_ = std::max(cursor.offset_, offset);  // Of a log without holes: see restore_removed().
    cursor.skipped_ = std::move(skipped);
    cursor.skipped_messages_ = 0;
    for (const auto& [first, end] : cursor.skipped_) {
        cursor.skipped_messages_ += end - first;
    }
    pass_holes(cursor);
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
    note_remnant(batch);
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

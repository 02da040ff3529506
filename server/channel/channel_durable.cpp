// Channel: what only durable channels do while they live. Making one from its image is in channel_restore.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

// --- The commit log
// ----------------------------------------------------------------------------------------------------

SettingsRecord Channel::settings() const {
    return {.name = name_, .options = *options_, .damage = damage()};
}

void Channel::submit_settings() {
    journal_->settings(settings());
}

void Channel::submit_deleted() {
    journal_->deleted();
}

bool Channel::has_notes() const noexcept {
    if (journal_ == nullptr || !damage().empty()) {
        return false;
    }
    return journal_->has_receipts() || !noted_removed_.empty() ||
           (options_->kind == Kind::stream && noted_trim_ != trimmed_end()) ||
           std::ranges::any_of(turns_.changed(), [](const Subscription* reader) { return reader->has_notes(); });
}

void Channel::write_notes() {
    if (!noted_removed_.empty()) {  // Before a cursor that has passed them.
        journal_->compacted(std::exchange(noted_removed_, {}));
    }
    for (Subscription* reader : turns_.changed()) {
        if (reader->has_notes()) {
            journal_->write_notes(reader->notes(), reader->cursor().offset());
        }
    }
    turns_.clear_changed();
    if (options_->kind == Kind::stream && noted_trim_ != trimmed_end()) {
        noted_trim_ = trimmed_end();
        journal_->trimmed(noted_trim_);
    }
    journal_->notes_written();
    journal_->release(events_);
}

// Retention moves readers on.
void Channel::note_places() {
    for (const auto& reader : readers_) {
        turns_.note_change(*reader);
    }
}

Offset Channel::trimmed_end() const noexcept {
    const StoredBatch* oldest = log_.oldest_kept();
    return oldest != nullptr ? oldest->base : log_.visible_end();
}

void Channel::on_committed() {
    const std::uint64_t visible = log_.commit(journal_->log().committed());
    journal_->release(events_);
    if (visible > 0) {
        messages_visible();
        state_changed();
    }
    gate_.examine_short(room(), ready_count(), clock_.now());
}

void Channel::on_condition() {
    switch (journal_->log().condition()) {
        case commit::Condition::failed:
            for (const LinkAddress& link : senders_.addresses()) {
                end_sender(*find_sender(link), Errc::storage_failed);
            }
            break;
        case commit::Condition::full:
            // What is parked was sent before what will be refused: it must not be decided after it.
            intake_.refuse_parked(Errc::disk_full);
            break;
        case commit::Condition::open:
            break;
    }
    examine_senders();
    room_changed();
}

void Channel::mark_damaged(const std::string& reason) {
    if (damage().empty()) {
        damage_.edit().text = reason;
        submit_settings();
        close_all(Errc::damaged);
        note_head_wait();
    }
}

// --- What a checkpoint needs
// ---------------------------------------------------------------------------------------------

LoggedSlices Channel::begin_logged() { return {.place = log_.begin_in_log(), .end = journal_->log().submitted()}; }

bool Channel::add_logged(LoggedSlices& slices, std::uint64_t& entries, std::vector<LoggedBatch>& batches) {
    StoredBatch*& batch = slices.place->next;
    for (; batch != nullptr && batch->index <= slices.end && entries > 0; batch = batch->newer) {
        entries -= std::min<std::uint64_t>(entries, 2);
        LoggedBatch& logged = batches.emplace_back();
        auto [header, messages] = batch->whole();
        Journal::encode_moved(header, logged.head);
        logged.messages = std::move(messages);
    }
    return batch == nullptr || batch->index > slices.end;
}

// --- From the log to segments
// ----------------------------------------------------------------------------------------------

commit::Index Channel::oldest_record() const noexcept {
    return log_.oldest_in_log() != nullptr ? log_.oldest_in_log()->index : UINT64_MAX;
}

std::uint64_t Channel::bytes_in_log(commit::Index below, std::uint64_t bytes_max) const noexcept {
    std::uint64_t bytes = 0;
    for (const StoredBatch* batch = log_.oldest_in_log(); batch != nullptr && batch->index < below && bytes < bytes_max;
         batch = batch->newer) {
        bytes += batch->messages.size();
    }
    return bytes;
}

void Channel::move_in_log(commit::Index below) {
    for (StoredBatch* batch = log_.oldest_in_log(); batch != nullptr && batch->index < below;
         batch = log_.oldest_in_log()) {
        if (batch->pieces && has_notes()) {
            write_notes();  // What is gone from it must be settled for whoever reads the log.
        }
        log_.set_record(*batch, journal_->move(*batch));
    }
}

namespace {

constexpr std::size_t empty_message_size = 4;

// Messages at rest are often few among others, which are settled: their places in a block are empty messages, as far as they
// need no more room than what is behind them.
bool is_gap_filled(const StoredBatch& before, const StoredBatch& batch) {
    constexpr std::uint64_t always = 512;
    return before.next == &batch && (batch.base - before.end()) * empty_message_size <= std::max(always, batch.messages.size());
}

// Whether the batch can be in the block that ends with `before`: in between there is nothing, or only what compaction removed, or
// what can be filled. What is at rest leaves memory when the rest of its block cannot.
bool follows(const StoredBatch& before, const StoredBatch& batch, const PlannedBlock& block, const MessageLog& log,
             bool is_stream) {
    constexpr std::uint64_t offsets_max = 1ULL << 30U;
    if (is_stream) {
        return before.end() == batch.base || (before.next == &batch && batch.end() - block.first <= offsets_max);
    }
    const bool is_at_rest = log.is_at_rest(batch);
    return before.is_exact == batch.is_exact && log.is_at_rest(before) == is_at_rest &&
           (before.end() == batch.base || (is_at_rest && is_gap_filled(before, batch)));
}

// Empty messages from the end of the block on, up to this offset.
void fill(PlannedBlock& block, Offset end, const StoredBatch& behind) {
    const std::vector<std::byte> messages((end - block.end) * empty_message_size);
    Payload region = behind.messages.empty_with_room(messages.size());
    region.extend(messages);
    const BatchHeader header{.count = static_cast<std::uint32_t>(end - block.end),
                             .flags = 0,
                             .base_offset = block.end,
                             .time_us = behind.time.us,
                             .crc32c = 0,
                             .messages_size = static_cast<std::uint32_t>(messages.size())};
    baton::encode(header, block.headers.emplace_back());
    block.messages.push_back(std::move(region));
}

// Without what was removed, unless somebody still holds something of a batch that is given up.
void add_to(PlannedBlock& block, StoredBatch& batch, const MessageLog& log, bool is_stream) {
    if (!is_stream || batch.removed == 0 || batch.is_trimmed) {
        auto [header, messages] = batch.whole();
        baton::encode(header, block.headers.emplace_back());
        block.messages.push_back(std::move(messages));
        return;
    }
    for (const Run& run : log.live_runs(batch)) {
        BatchHeader header = batch.header();
        header.base_offset = run.first;
        header.count = run.count;
        header.flags = static_cast<std::uint16_t>(header.flags & ~batch_has_crc);
        header.crc32c = 0;
        header.messages_size = run.bytes;
        baton::encode(header, block.headers.emplace_back());
        block.messages.push_back(batch.slice(run.position, run.bytes));
    }
}

}  // namespace

OffsetSet Channel::wanted_soon(KeepAhead keep) const {
    std::vector<Offset> offsets;
    for (const auto& reader : readers_) {
        if (!keep.is_for_wanted_only || reader->wants_messages()) {
            offsets.push_back(reader->cursor().offset());
        }
    }
    if (compaction_ && compaction_->cursor() != nullptr) {
        offsets.push_back(compaction_->cursor()->offset());
    }
    return log_.wanted_soon(std::move(offsets), keep.bytes);
}

// What may not move yet is passed over, and looked at again when the others have been.
std::vector<StoredBatch*> Channel::choose_to_relocate(commit::Index below, std::optional<KeepAhead> keep_ahead,
                                                      std::uint64_t bytes_max) {
    const OffsetSet wanted = keep_ahead ? wanted_soon(*keep_ahead) : OffsetSet{};
    const std::shared_ptr<LoggedPlace> last = std::exchange(relocation_.edit().place, {});
    std::vector<StoredBatch*> batches;
    std::uint64_t bytes = 0;
    std::size_t looks = 0;
    const commit::Index committed = journal_->log().committed();
    StoredBatch* batch = keep_ahead && last && last->next != nullptr ? last->next : log_.oldest_in_log();
    std::uint64_t budget = placed_at_once;
    for (StoredBatch* next = nullptr; batch != nullptr && batch->index < below && batch->index <= committed &&
                                      bytes < bytes_max && batches.size() < relocated_at_once && looks < looked_at_for_relocation;
         batch = next, ++looks) {
        next = batch->newer;
        const bool is_far = !overlaps(wanted, batch->base, batch->base + 1);
        if (keep_ahead && is_far && !log_.is_untouched(*batch) && can_place(*batch, budget) && !place(*batch, budget)) {
            continue;
        }
        if (!keep_ahead || (log_.is_untouched(*batch) && (is_far || log_.is_at_rest(*batch)))) {
            batches.push_back(batch);
            bytes += batch_header_size + batch->messages.size();
        }
    }
    if (keep_ahead && batch != nullptr && looks == looked_at_for_relocation) {
        relocation_.edit().place = log_.begin_in_log();
        relocation_->place->next = batch;
    }
    return batches;
}

RelocationPlan Channel::begin_relocation(commit::Index below, std::optional<KeepAhead> keep_ahead, std::uint64_t bytes_max) {
    BATON_ASSERT(!is_relocating());
    std::vector<StoredBatch*> batches = choose_to_relocate(below, keep_ahead, bytes_max);
    RelocationPlan plan;
    std::ranges::sort(batches, {}, &StoredBatch::base);
    // Where single messages are read back, in whatever order, each of the block is looked at when it comes and when it goes.
    constexpr std::uint64_t messages_in_turn = 1'024;
    const bool is_in_order = options_->fair_by.empty() && !options_->is_ordered_by_key;
    const std::uint64_t messages_wanted = is_in_order ? UINT64_MAX : messages_in_turn;
    std::uint64_t block_bytes = 0;
    std::uint64_t block_messages = 0;
    const StoredBatch* before = nullptr;
    for (StoredBatch* batch : batches) {
        const std::uint64_t bytes = batch_header_size + batch->size - batch->removed_bytes;
        const bool follows_on =
            !plan.blocks.empty() && follows(*before, *batch, plan.blocks.back(), log_, options_->kind == Kind::stream);
        if (!follows_on || block_bytes + bytes > block_size_wanted || block_messages + batch->count > messages_wanted) {
            plan.blocks.push_back({.first = batch->base, .end = batch->base, .headers{}, .messages{}});
            relocation_.edit().batches.emplace_back();
            block_bytes = block_messages = 0;
        }
        PlannedBlock& block = plan.blocks.back();
        if (options_->kind != Kind::stream && block.end < batch->base) {
            fill(block, batch->base, *batch);
        }
        add_to(block, *batch, log_, options_->kind == Kind::stream);
        block.end = batch->end();
        block_bytes += bytes;
        block_messages += batch->count;
        plan.bytes += batch_header_size + batch->messages.size();
        before = batch;
        MessageLog::pin(*batch);
        relocation_.edit().batches.back().push_back(batch);
    }
    return plan;
}

void Channel::finish_relocation(std::span<const commit::BlockRef> blocks) {
    BATON_ASSERT(blocks.empty() || blocks.size() == relocation_->batches.size());
    if (!is_relocating()) {
        return;
    }
    std::vector<std::vector<StoredBatch*>>& all = relocation_.edit().batches;
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::erase_if(all[i],
                      [this](StoredBatch* batch) { return !log_.unpin(*batch) || batch->removed == batch->count; });
        if (!blocks.empty()) {
            log_.set_block(all[i], blocks[i]);
        }
    }
    all.clear();
}

// --- Out of memory and back
// ------------------------------------------------------------------------------------------------

std::uint64_t Channel::evict(std::uint64_t bytes, KeepAhead keep) {
    const OffsetSet wanted = wanted_soon(keep);
    const std::uint64_t evicted = evict_evictable(bytes, wanted);
    if (evicted >= bytes || !place_some(wanted)) {
        return evicted;
    }
    return evicted + evict_evictable(bytes - evicted, wanted);
}

std::uint64_t Channel::evict_evictable(std::uint64_t bytes, const OffsetSet& wanted) {
    std::uint64_t evicted = 0;
    for (StoredBlock* block : log_.evictable(wanted, bytes)) {
        evicted += log_.evict(*block, runs_at_rest());
    }
    return evicted;
}

// What readers have taken out of its place and could give (it has a time to live or a priority, or came back) keeps a block in
// memory, and so does what lies between such messages. True: some of it rests now.
bool Channel::place_some(const OffsetSet& wanted) {
    std::uint64_t budget = placed_at_once;
    bool has_placed = false;
    if (options_->kind == Kind::stream) {
        return false;
    }
    for (const commit::BlockRef& ref : log_.touched(wanted)) {
        std::vector<StoredBatch*> batches;
        if (const StoredBlock* block = log_.resident_block(ref)) {
            StoredBatch* batch = block->first;
            for (std::uint32_t left = block->batches; left > 0 && batch != nullptr && batch->block == block; --left) {
                batches.push_back(std::exchange(batch, batch->next));
            }
        }
        std::erase_if(batches, [this](const StoredBatch* batch) { return log_.is_at_rest(*batch); });
        if (std::ranges::all_of(batches, [&](StoredBatch* batch) { return can_place(*batch, budget); })) {
            for (StoredBatch* batch : batches) {
                static_cast<void>(place(*batch, budget));
                has_placed = true;
            }
        }
        if (budget == 0) {
            break;
        }
    }
    return has_placed;
}

// Whether all that is left of a batch that is not at rest could be.
bool Channel::can_place(StoredBatch& batch, std::uint64_t& budget) const {
    if (budget == 0 || options_->kind == Kind::stream || batch.pins > 0 || batch.end() > log_.visible_end()) {
        return false;
    }
    std::uint64_t count = batch.resting;
    for (const auto& reader : readers_) {
        count += reader->placeable(batch);
    }
    budget -= std::min<std::uint64_t>(budget, readers_.size());
    return count == batch.remaining;
}

// False: the batch is gone, because nobody wants it.
bool Channel::place(StoredBatch& batch, std::uint64_t& budget) {
    constexpr std::uint64_t cost = 2;  // Of each beside a look: it gets a node.
    budget -= std::min<std::uint64_t>(budget, cost * (batch.remaining - batch.resting));
    MessageLog::pin(batch);
    for (const auto& reader : readers_) {
        reader->place(batch);
    }
    return log_.unpin(batch);
}

namespace {
// Of what has been retried, is due, or was placed, to be read at once: small ones are many.
constexpr std::size_t awaited_blocks_max = 64;
}  // namespace

MessageLog::RunsAtRest Channel::runs_at_rest() {
    return [this](Offset first, Offset end, std::vector<Run*>& runs) {
        visit_holders([&](Subscription& reader) { reader.add_at_rest(first, end, runs); });
    };
}

bool Channel::wants_blocks(std::uint64_t ahead_bytes, bool is_memory_short) const {
    if (!may_want_blocks()) {
        return false;
    }
    const auto is_missing = [&](const LogCursor& cursor) { return !log_.missing_ahead(cursor, ahead_bytes).empty(); };
    return (compaction_ && compaction_->cursor() != nullptr && is_missing(*compaction_->cursor())) ||
           std::ranges::any_of(readers_, [&](const auto& reader) {
               return ((reader->wants_messages() || reader->has_backlog_to_read()) && is_missing(reader->cursor())) ||
                      (reader->wants_awaited() &&
                       !reader->awaited_blocks(ahead_bytes, awaited_blocks_max, is_memory_short).empty());
           });
}

std::vector<commit::BlockRef> Channel::take_wanted_blocks(std::uint64_t ahead_bytes, bool is_memory_short) {
    std::vector<commit::BlockRef> refs;
    if (!may_want_blocks()) {
        return refs;
    }
    const auto take = [&](const std::vector<StoredBlock*>& blocks) {
        for (StoredBlock* block : blocks) {
            block->is_loading = true;
            refs.push_back(block->ref);
        }
    };
    for (const auto& reader : readers_) {
        if (reader->wants_awaited()) {
            take(reader->awaited_blocks(ahead_bytes, awaited_blocks_max, is_memory_short));
        }
        if (reader->wants_messages() || reader->has_backlog_to_read()) {
            take(log_.missing_ahead(reader->cursor(), ahead_bytes));
        }
    }
    if (compaction_ && compaction_->cursor() != nullptr) {
        take(log_.missing_ahead(*compaction_->cursor(), ahead_bytes));
    }
    return refs;
}

OffsetSet Channel::removed_in(Offset first, Offset end) const {
    OffsetSet part;
    auto range = log_.removed().upper_bound(first);
    if (range != log_.removed().begin()) {
        --range;
    }
    for (; range != log_.removed().end() && range->first < end; ++range) {
        if (range->second > first) {
            part.emplace_hint(part.end(), std::max(range->first, first), std::min(range->second, end));
        }
    }
    return part;
}

void Channel::on_block_postponed(const commit::BlockRef& ref) noexcept {
    if (StoredBlock* block = log_.evicted_block(ref)) {
        block->is_loading = false;
    }
}

void Channel::on_block_read(const commit::BlockRef& ref, const Payload& body) {
    const StoredBlock* block = log_.evicted_block(ref);
    if (block == nullptr) {
        return;  // Purged meanwhile.
    }
    const bool is_held = block->first->held > 0;
    if (!log_.restore_block(ref, body, runs_at_rest())) {
        return mark_damaged("block at position " + std::to_string(ref.position) + " of segment " +
                            std::to_string(ref.segment) + " (offsets " + std::to_string(ref.first) + " to " +
                            std::to_string(ref.end - 1) + ") cannot be read");
    }
    if (is_held) {
        for (const auto& reader : readers_) {
            reader->block_arrived(ref.first, ref.end);
        }
        for (std::size_t i = 0; i < leaving_.size(); ++i) {
            leaving_[i]->count_at_rest(ref.first, ref.end);
        }
    }
    messages_visible();
    state_changed();
}

}  // namespace baton::channel

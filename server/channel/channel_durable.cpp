// Channel: what only durable channels do while they live. Making one from its image is in channel_restore.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

// --- The commit log
// ----------------------------------------------------------------------------------------------------

SettingsRecord Channel::settings() const {
    return {.name = name_, .options = options_, .damage = damage_};
}

void Channel::submit_settings() {
    journal_->settings(settings());
}

void Channel::submit_deleted() {
    journal_->deleted();
}

void Channel::write_notes() {
    journal_->write_notes(log_.cursor());
    journal_->release(events_);
}

void Channel::on_committed() {
    const std::uint64_t visible = log_.commit(journal_->log().committed());
    journal_->release(events_);
    if (visible > 0) {
        state_changed();
    }
    gate_.examine_short(room(), ready(), clock_.now());
}

void Channel::on_condition() {
    switch (journal_->log().condition()) {
        case commit::Condition::failed:
            for (const LinkAddress& link : addresses_of(senders_)) {
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
    if (damage_.empty()) {
        damage_ = reason;
        submit_settings();
        close_all(Errc::damaged);
        note_head_wait();
    }
}

// --- What a checkpoint needs
// ---------------------------------------------------------------------------------------------

ChannelState Channel::state() const {
    if (frozen_) {
        return *frozen_;
    }
    ChannelState state{.settings = settings(),
                       .next_offset = log_.next_offset(),
                       .cursor = log_.cursor(),
                       .producers{},
                       .live = live_below_cursor(),
                       .blocks = log_.blocks()};
    state.producers.reserve(producers_.size());
    producers_.for_each([&](const Producer& producer) {
        if (producer.last_stored > 0) {
            state.producers.push_back({producer.id, producer.last_stored});
        }
    });
    return state;
}

std::vector<LoggedBatch> Channel::logged_batches() const {
    std::vector<LoggedBatch> batches;
    for (const StoredBatch* batch = log_.oldest_in_log(); batch != nullptr; batch = batch->newer) {
        LoggedBatch& logged = batches.emplace_back();
        Journal::encode_moved(*batch, logged.head);
        logged.messages = batch->messages;
    }
    return batches;
}

// What receivers hold and what came back, in the order of offsets. What was started has an attempt behind it.
std::vector<ChannelState::LiveRange> Channel::live_below_cursor() const {
    std::vector<ChannelState::LiveRange> ranges;
    const auto add = [&](const Run& run) {
        ranges.push_back({run.first, run.end(), run.attempt + (run.is_started ? 1 : 0)});
    };
    for (std::size_t i = 0; i < returned_.runs().size(); ++i) {
        add(returned_.runs()[i]);
    }
    for (const auto& entry : receivers_) {
        const Ring<Run>& held = entry.second->in_flight.runs();
        for (std::size_t i = 0; i < held.size(); ++i) {
            add(held[i]);
        }
    }
    std::ranges::sort(ranges, {}, &ChannelState::LiveRange::first);
    std::size_t kept = 0;
    for (const ChannelState::LiveRange& range : ranges) {
        if (kept > 0 && ranges[kept - 1].end == range.first && ranges[kept - 1].attempt == range.attempt) {
            ranges[kept - 1].end = range.end;
        } else {
            ranges[kept++] = range;
        }
    }
    ranges.resize(kept);
    return ranges;
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
        bytes += batch->size;
    }
    return bytes;
}

void Channel::move_in_log(commit::Index below) {
    for (StoredBatch* batch = log_.oldest_in_log(); batch != nullptr && batch->index < below;
         batch = log_.oldest_in_log()) {
        log_.set_record(*batch, journal_->move(*batch));
    }
}

RelocationPlan Channel::begin_relocation(commit::Index below, Offset fresh_from, std::uint64_t bytes_max) {
    BATON_ASSERT(!is_relocating());
    std::vector<StoredBatch*> batches;
    RelocationPlan plan;
    const commit::Index committed = journal_->log().committed();
    for (StoredBatch* batch = log_.oldest_in_log();
         batch != nullptr && batch->index < below && batch->index <= committed && plan.bytes < bytes_max;
         batch = batch->newer) {
        if (fresh_from == 0 || (batch->base >= fresh_from && log_.is_untouched(*batch))) {
            batches.push_back(batch);
            plan.bytes += batch_header_size + batch->size;
        }
    }
    std::ranges::sort(batches, {}, &StoredBatch::base);
    std::uint64_t block_bytes = 0;
    for (StoredBatch* batch : batches) {
        const std::uint64_t bytes = batch_header_size + batch->size;
        if (plan.blocks.empty() || plan.blocks.back().end != batch->base || block_bytes + bytes > block_size_wanted) {
            plan.blocks.push_back({.first = batch->base, .end = batch->base, .headers{}, .messages{}});
            relocating_.emplace_back();
            block_bytes = 0;
        }
        PlannedBlock& block = plan.blocks.back();
        baton::encode(batch->header(), block.headers.emplace_back());
        block.messages.push_back(batch->messages);
        block.end = batch->end();
        block_bytes += bytes;
        MessageLog::pin(*batch);
        relocating_.back().push_back(batch);
    }
    return plan;
}

void Channel::finish_relocation(std::span<const commit::BlockRef> blocks) {
    BATON_ASSERT(blocks.empty() || blocks.size() == relocating_.size());
    for (std::size_t i = 0; i < relocating_.size(); ++i) {
        std::erase_if(relocating_[i], [this](StoredBatch* batch) { return !log_.unpin(*batch); });
        if (!blocks.empty()) {
            log_.set_block(relocating_[i], blocks[i]);
        }
    }
    relocating_.clear();
}

// --- Out of memory and back
// ------------------------------------------------------------------------------------------------

Offset Channel::offset_ahead(std::uint64_t bytes) const noexcept {
    const std::uint64_t message_bytes =
        log_.messages() > 0 ? std::max<std::uint64_t>(log_.bytes() / log_.messages(), 1) : 1;
    return log_.cursor() + bytes / message_bytes;
}

std::uint64_t Channel::evict(std::uint64_t bytes, std::uint64_t keep) {
    std::uint64_t evicted = 0;
    for (StoredBlock* block : log_.evictable(offset_ahead(keep), bytes)) {
        evicted += log_.evict(*block);
    }
    return evicted;
}

bool Channel::wants_blocks(std::uint64_t ahead_bytes) const {
    return damage_.empty() && dispatcher_.has_candidates() && !log_.missing_ahead(ahead_bytes).empty();
}

std::vector<commit::BlockRef> Channel::take_wanted_blocks(std::uint64_t ahead_bytes) {
    std::vector<commit::BlockRef> refs;
    if (!damage_.empty() || !dispatcher_.has_candidates()) {
        return refs;
    }
    for (StoredBlock* block : log_.missing_ahead(ahead_bytes)) {
        block->is_loading = true;
        refs.push_back(block->ref);
    }
    return refs;
}

void Channel::on_block_postponed(const commit::BlockRef& ref) noexcept {
    if (StoredBlock* block = log_.evicted_block(ref)) {
        block->is_loading = false;
    }
}

void Channel::on_block_read(const commit::BlockRef& ref, const Payload& body) {
    if (log_.evicted_block(ref) == nullptr) {
        return;  // Purged meanwhile.
    }
    if (!log_.restore_block(ref, body)) {
        return mark_damaged("block at position " + std::to_string(ref.position) + " of segment " +
                            std::to_string(ref.segment) + " (offsets " + std::to_string(ref.first) + " to " +
                            std::to_string(ref.end - 1) + ") cannot be read");
    }
    state_changed();
}

}  // namespace baton::channel

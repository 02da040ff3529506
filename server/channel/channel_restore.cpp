// Channel: made from its image, after a restart or out of a backup.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

bool Channel::install(const ChannelImage& image, const BlockReader& read) {
    BATON_ASSERT(journal_ != nullptr && log_.next_offset() == 1 && senders_.empty() && receivers_.empty());
    for (const auto& [id, last_sequence] : image.producers()) {
        producers_.restore(id, last_sequence, clock_.now());
    }
    damage_ = image.settings().damage;
    if (damage_.empty() && !install_contents(image, read)) {
        damage_ = "a block of a segment cannot be read";
        log_.clear();
    }
    if (!damage_.empty()) {
        frozen_ = image.state();
        frozen_->settings.damage = damage_;
        submit_settings();
        note_head_wait();
        return false;
    }
    submit_settings();
    for (StoredBatch* batch = log_.front(); batch != nullptr; batch = batch->next) {
        if (batch->block == nullptr) {
            log_.set_record(*batch, journal_->move(*batch));
        }
    }
    journal_->restored_at(log_.cursor());
    state_changed();
    return true;
}

// Batches and blocks in the order of their offsets; then what of them is dead is forgotten.
bool Channel::install_contents(const ChannelImage& image, const BlockReader& read) {
    auto batch = image.batches().begin();
    auto block = image.blocks().begin();
    while (batch != image.batches().end() || block != image.blocks().end()) {
        if (block == image.blocks().end() || (batch != image.batches().end() && batch->first < block->first)) {
            log_.begin_at(batch->first);
            log_.append_restored(batch->second.count, batch->second.flags, batch->second.crc32c, batch->second.time,
                                 batch->second.messages);
            ++batch;
        } else {
            if (!install_block(image, block->second, read)) {
                return false;
            }
            ++block;
        }
    }
    log_.finish_restore(image.cursor(), image.next_offset());
    install_live(image);
    return true;
}

// Blocks behind the cursor stay on the disk until somebody wants them. Of the others some messages may be dead, so the
// batches have to be known one by one.
bool Channel::install_block(const ChannelImage& image, const commit::BlockRef& ref, const BlockReader& read) {
    log_.begin_at(ref.first);
    if (ref.first >= image.cursor()) {
        log_.append_evicted(ref, ref.size);
        return true;
    }
    const Payload body = read(ref);
    std::vector<StoredBatch*> batches;
    for (std::size_t position = 0; position < body.size();) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header || header->base_offset < log_.next_offset() || header->base_offset + header->count > ref.end) {
            return false;
        }
        log_.begin_at(header->base_offset);
        batches.push_back(&log_.append_restored(header->count, header->flags, header->crc32c, {header->time_us},
                                                body.slice(position + batch_header_size, header->messages_size)));
        position += batch_header_size + header->messages_size;
    }
    if (batches.empty()) {
        return false;
    }
    log_.set_block(batches, ref);
    return true;
}

void Channel::install_live(const ChannelImage& image) {
    auto live = image.live().begin();
    for (StoredBatch* batch = log_.front(); batch != nullptr && batch->base < image.cursor();) {
        StoredBatch* next = batch->next;
        const Offset end = std::min(batch->end(), image.cursor());
        Offset at = batch->base;
        const auto forget_until = [&](Offset stop) {
            if (at < stop) {
                log_.forget(MessageLog::restored_run(*batch, at, stop, 1));
            }
            at = std::max(at, stop);
        };
        while (live != image.live().end() && live->second.end <= at) {
            ++live;
        }
        std::vector<Run> runs;
        for (auto range = live; range != image.live().end() && range->first < end; ++range) {
            const Offset first = std::max(range->first, at);
            const Offset stop = std::min(range->second.end, end);
            runs.push_back(MessageLog::restored_run(*batch, first, stop, range->second.attempt));
        }
        // What is dead last: with its last message the batch itself goes.
        for (const Run& run : runs) {
            forget_until(run.first);
            at = run.end();
        }
        forget_until(end);
        for (const Run& run : runs) {
            returned_.put(run);
        }
        batch = next;
    }
}

}  // namespace baton::channel

// Channel: made from its image, after a restart or out of a backup.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"
#include "server/channel/message_rules.hpp"

namespace baton::channel {

bool Channel::install(const ChannelImage& image, const BlockReader& read) {
    BATON_ASSERT(journal_ != nullptr && log_.next_offset() == 1 && senders_.empty() && receivers_.empty());
    for (const auto& [id, last_sequence] : image.producers()) {
        producers_.restore(id, last_sequence, clock_.now());
    }
    if (!image.settings().damage.empty()) {
        damage_.edit().text = image.settings().damage;
    }
    install_readers(image);
    if (damage().empty() && !install_contents(image, read)) {
        damage_.edit().text = "a block of a segment cannot be read";
        for (const auto& reader : readers_) {
            reader->clear();
        }
        log_.clear();
    }
    if (!damage().empty()) {
        auto frozen = std::make_shared<ChannelState>(image.state());
        frozen->settings.damage = damage();
        damage_.edit().frozen = std::move(frozen);
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
    noted_trim_ = trimmed_end();
    dedupe_.restore(image.ids(), clock_);
    for (const auto& reader : readers_) {
        reader->begin_notes();
    }
    state_changed();
    return true;
}

// Before there are messages: each will be wanted by all of them, until it is known better.
void Channel::install_readers(const ChannelImage& image) {
    for (const auto& [id, saved] : image.readers()) {
        if (id == queue_reader) {
            continue;
        }
        next_lasting_ = std::max(next_lasting_, id + 1);
        auto& reader = readers_.emplace_back(std::make_unique<Subscription>(subscription_context(), saved.settings()));
        log_.add_cursor(reader->cursor());
        by_name_[reader->settings().name] = reader.get();
        has_backlog_limits_ = has_backlog_limits_ || reader->settings().backlog_max > 0;
    }
}

StoredBatch& Channel::install_batch(const BatchHeader& header, Payload messages) {
    const bool has_rules = header.has_properties() && have_rules(messages.bytes());
    StoredBatch& batch = log_.append_restored(header.count, header.flags, header.crc32c, {header.time_us},
                                              std::move(messages));
    log_.note_rules(batch, has_rules);
    return batch;
}

// Batches and blocks in the order of their offsets; then each reader gets what it has behind it, or forgets it.
bool Channel::install_contents(const ChannelImage& image, const BlockReader& read) {
    auto batch = image.batches().begin();
    auto block = image.blocks().begin();
    while (batch != image.batches().end() || block != image.blocks().end()) {
        if (block == image.blocks().end() || (batch != image.batches().end() && batch->first < block->first)) {
            if (log_.is_wanted()) {
                const ChannelImage::Batch& saved = batch->second;
                log_.begin_at(batch->first);
                install_batch({.count = saved.count,
                               .flags = saved.flags,
                               .base_offset = batch->first,
                               .time_us = saved.time.us,
                               .crc32c = saved.crc32c,
                               .messages_size = static_cast<std::uint32_t>(saved.messages.size())},
                              saved.messages);
            }
            ++batch;
        } else {
            if (log_.is_wanted() && !install_block(image, block->second, read)) {
                return false;
            }
            ++block;
        }
    }
    log_.finish_restore(image.next_offset());
    install_entries(image);
    return true;
}

bool Channel::install_block(const ChannelImage& image, const commit::BlockRef& ref, const BlockReader& read) {
    log_.begin_at(ref.first);
    if (image.can_stay_on_disk(ref)) {
        static_cast<void>(log_.append_evicted(ref, ref.size, image.time_of(ref), image.is_ruled(ref)));
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
        batches.push_back(
            &install_batch(*header, body.slice(position + batch_header_size, header->messages_size)));
        position += batch_header_size + header->messages_size;
    }
    if (batches.empty()) {
        return false;
    }
    log_.set_block(batches, ref);
    return true;
}

namespace {

struct Part {
    Offset first = 0;
    Offset end = 0;
};

// What the cursor has passed may have been given since the state was saved.
void restore_part(Subscription& reader, const ReaderEntry& entry, StoredBatch& batch, Part part, Offset cursor) {
    const Offset new_from = entry.is_new ? std::clamp(cursor, part.first, part.end) : part.first;
    if (part.first < new_from) {
        ReaderEntry passed = entry;
        passed.is_new = false;
        reader.restore(passed, batch, part.first, new_from);
    }
    if (new_from < part.end) {
        reader.restore(entry, batch, new_from, part.end);
    }
}

}  // namespace

void Channel::restore_quarantine_of_trimmed(const ChannelImage& image) {
    for (const auto& reader : readers_) {
        StoredBatch* batch = log_.front();
        for (const auto& [entry_first, entry] : image.readers().at(reader->id()).entries()) {
            const Offset first = std::min(entry_first, image.trimmed_end());
            const Offset end = std::min(entry.end, image.trimmed_end());
            for (; batch != nullptr && batch->end() <= first; batch = batch->next) {
            }
            const Offset stop = entry.kind == ReaderEntryKind::quarantined ? end : 0;
            for (StoredBatch* at = batch; at != nullptr && at->base < stop; at = at->next) {
                reader->restore(entry, *at, std::max(first, at->base), std::min(end, at->end()));
            }
        }
    }
}

void Channel::install_entries(const ChannelImage& image) {
    const bool is_stream = options_->kind == Kind::stream;
    const WallTime newest = log_.newest_time();
    struct Place {
        Subscription* reader;
        const ReaderImage* saved;
        std::map<Offset, ReaderEntry>::const_iterator entry;
    };
    std::vector<Place> places;
    for (const auto& reader : readers_) {
        const ReaderImage& saved = image.readers().at(reader->id());
        places.push_back({reader.get(), &saved, saved.entries().begin()});
        OffsetSet skipped;
        for (const auto& [first, entry] : saved.entries()) {
            if (entry.end > saved.cursor()) {
                add_range(skipped, std::max(first, saved.cursor()), entry.end);
            }
        }
        log_.place_restored(reader->cursor(), saved.cursor(), std::move(skipped));
        reader->begin_restore(newest);
    }
    // What retention has given up comes back for nobody, but from quarantine: who had not come to it has missed it.
    if (is_stream) {
        restore_quarantine_of_trimmed(image);
    }
    while (is_stream && log_.oldest_kept() != nullptr && log_.oldest_kept()->end() <= image.trimmed_end()) {
        log_.trim_oldest();
    }
    for (StoredBatch* batch = log_.front(); batch != nullptr;) {
        StoredBatch* next = batch->next;
        const Offset base = std::max(batch->base, image.trimmed_end());
        const Offset end = batch->end();
        if (base >= end) {
            batch = next;  // Given up: what is in quarantine of it is restored.
            continue;
        }
        std::vector<Part> unwanted;  // With the last of them the batch itself goes.
        for (Place& place : places) {
            Offset at = base;
            const auto unwanted_until = [&](Offset stop) {
                if (!is_stream && at < stop) {
                    unwanted.push_back({at, stop});
                }
                at = std::max(at, stop);
            };
            while (place.entry != place.saved->entries().end() && place.entry->second.end <= base) {
                ++place.entry;
            }
            for (auto entry = place.entry; entry != place.saved->entries().end() && entry->first < end; ++entry) {
                const Part part{std::max(entry->first, base), std::min(entry->second.end, end)};
                unwanted_until(std::min(part.first, std::max(place.saved->cursor(), at)));
                at = std::max(at, part.first);
                batch->is_picked = batch->is_picked || part.end > place.saved->cursor();
                if (entry->second.is_alive()) {
                    restore_part(*place.reader, entry->second, *batch, part, place.saved->cursor());
                    at = part.end;
                } else {
                    unwanted_until(part.end);
                }
            }
            unwanted_until(std::min(end, std::max(place.saved->cursor(), at)));
        }
        for (const Part& part : unwanted) {
            log_.drop_restored(*batch, part.first, part.end);
        }
        batch = next;
    }
    // A block is written without what was removed, so a batch may lie there in pieces; in the log it is whole. What retention has
    // given up may end in the middle of it.
    OffsetSet removed = image.removed();
    if (const StoredBatch* oldest = log_.oldest_kept(); is_stream && oldest != nullptr && oldest->base < image.trimmed_end()) {
        add_range(removed, oldest->base, image.trimmed_end());
    }
    log_.restore_removed(removed);
    log_.set_restored_at_rest();
    std::vector<StoredBatch*> ruled;
    for (StoredBatch* batch = log_.front(); batch != nullptr; batch = batch->next) {
        if (batch->has_rules && !batch->is_trimmed) {
            ruled.push_back(batch);
        }
    }
    give_ruled(ruled);
    for (const auto& reader : readers_) {
        std::uint64_t all = UINT64_MAX;
        static_cast<void>(reader->look_ahead(all));
        reader->end_restore();
    }
}

}  // namespace baton::channel

#include "server/channel/channel_image.hpp"

#include <algorithm>
#include <iterator>

namespace baton::channel {

ChannelImage::ChannelImage(commit::StreamId stream, const ChannelState& state)
    : stream_{stream},
      settings_{state.settings},
      exists_{true},
      next_offset_{state.next_offset},
      cursor_{state.cursor} {
    for (const auto& producer : state.producers) {
        producers_[producer.id] = producer.last_sequence;
    }
    for (const auto& range : state.live) {
        live_.emplace_hint(live_.end(), range.first, Live{range.end, range.attempt});
    }
    for (const auto& block : state.blocks) {
        blocks_.emplace_hint(blocks_.end(), block.first, block);
    }
}

bool ChannelImage::apply(Bytes record, ChunkPool& pool) {
    auto decoded = decode_record(record);
    if (!decoded) {
        return false;
    }
    if (const auto* publish = std::get_if<PublishRecord>(&*decoded)) {
        on(*publish, pool);
    } else if (const auto* settled = std::get_if<SettledRecord>(&*decoded)) {
        on(*settled);
    } else if (const auto* started = std::get_if<StartedRecord>(&*decoded)) {
        on(*started);
    } else if (const auto* settings = std::get_if<SettingsRecord>(&*decoded)) {
        on(*settings);
    } else {
        is_deleted_ = true;
    }
    return true;
}

void ChannelImage::on(const SettingsRecord& record) {
    const std::string damage = settings_.damage;
    settings_ = record;
    if (!damage.empty()) {
        settings_.damage = damage;
    }
    exists_ = true;
}

// Whether its messages are alive is another question: the cursor and the live ranges answer it.
void ChannelImage::on(const PublishRecord& record, ChunkPool& pool) {
    const BatchHeader& header = record.header;
    const Offset end = header.base_offset + header.count;
    if (header.base_offset >= next_offset_) {  // Otherwise the saved state knows better, or the batch was moved.
        note_producer(record.producer, record.last_sequence);
    }
    next_offset_ = std::max(next_offset_, end);
    if (!is_in_block(header.base_offset, end)) {
        batches_.insert_or_assign(header.base_offset, Batch{.count = header.count,
                                                            .flags = header.flags,
                                                            .crc32c = header.crc32c,
                                                            .time = {header.time_us},
                                                            .messages = Payload::copy_of(pool, record.messages)});
    }
}

void ChannelImage::on(const SettledRecord& record) {
    advance(record.cursor);
    for (const OffsetRange& range : record.ranges) {
        const Offset end = range.first + range.count;
        split_live(range.first);
        split_live(end);
        live_.erase(live_.lower_bound(range.first), live_.lower_bound(end));
    }
}

void ChannelImage::on(const StartedRecord& record) {
    advance(record.cursor);
    for (const StartedRange& range : record.ranges) {
        const Offset end = range.first + range.count;
        split_live(range.first);
        split_live(end);
        const auto stop = live_.lower_bound(end);
        for (auto at = live_.lower_bound(range.first); at != stop; ++at) {
            at->second.attempt = std::max(at->second.attempt, range.attempt + 1);
        }
    }
}

void ChannelImage::note_producer(const ProducerId& id, std::uint64_t last_sequence) {
    if (!id.is_anonymous()) {
        producers_[id] = last_sequence;  // Lower than before if it was forgotten and began anew.
    }
}

// What the cursor passes has been given to somebody, for the first time.
void ChannelImage::advance(Offset cursor) {
    if (cursor <= cursor_) {
        return;
    }
    next_offset_ = std::max(next_offset_, cursor);
    const auto last = live_.empty() ? live_.end() : std::prev(live_.end());
    if (last != live_.end() && last->second.end == cursor_ && last->second.attempt == 1) {
        last->second.end = cursor;
    } else {
        live_.emplace_hint(live_.end(), cursor_, Live{cursor, 1});
    }
    cursor_ = cursor;
}

// Afterwards no live range reaches across `at`.
void ChannelImage::split_live(Offset at) {
    auto after = live_.lower_bound(at);
    if (after == live_.begin()) {
        return;
    }
    auto& before = std::prev(after)->second;
    if (before.end > at) {
        live_.emplace_hint(after, at, Live{before.end, before.attempt});
        before.end = at;
    }
}

bool ChannelImage::is_in_block(Offset first, Offset end) const {
    const auto after = blocks_.lower_bound(end);
    return after != blocks_.begin() && std::prev(after)->second.end > first;
}

bool ChannelImage::is_alive(Offset first, Offset end) const {
    if (end > cursor_) {
        return true;
    }
    const auto after = live_.lower_bound(end);
    return after != live_.begin() && std::prev(after)->second.end > first;
}

std::string ChannelImage::settle_contents() {
    std::erase_if(batches_, [this](const auto& entry) {
        return !is_alive(entry.first, entry.first + entry.second.count) ||
               is_in_block(entry.first, entry.first + entry.second.count);
    });
    std::erase_if(blocks_, [this](const auto& entry) { return !is_alive(entry.first, entry.second.end); });
    // Walk over what is there, in order, and look for the first living message in a gap.
    auto batch = batches_.begin();
    auto block = blocks_.begin();
    Offset at = 1;
    const auto missing = [&](Offset first, Offset end) {
        return first < end && is_alive(first, end) ? "messages between offset " + std::to_string(first) + " and " +
                                                         std::to_string(end - 1) + " are missing"
                                                   : std::string{};
    };
    while (batch != batches_.end() || block != blocks_.end()) {
        const bool is_batch = block == blocks_.end() || (batch != batches_.end() && batch->first < block->first);
        const Offset first = is_batch ? batch->first : block->first;
        const Offset end = is_batch ? batch->first + batch->second.count : block->second.end;
        if (auto text = missing(at, first); !text.empty()) {
            return text;
        }
        at = std::max(at, end);
        is_batch ? static_cast<void>(++batch) : static_cast<void>(++block);
    }
    return missing(at, next_offset_);
}

void ChannelImage::mark_damaged(const std::string& reason) {
    if (settings_.damage.empty()) {
        settings_.damage = reason.empty() ? "damaged" : reason;
    }
}

std::uint64_t ChannelImage::live_messages() const noexcept {
    std::uint64_t count = next_offset_ - cursor_;
    for (const auto& [first, range] : live_) {
        count += range.end - first;
    }
    return count;
}

ChannelState ChannelImage::state() const {
    ChannelState state{
        .settings = settings_, .next_offset = next_offset_, .cursor = cursor_, .producers{}, .live{}, .blocks{}};
    for (const auto& [id, last_sequence] : producers_) {
        state.producers.push_back({id, last_sequence});
    }
    for (const auto& [first, range] : live_) {
        state.live.push_back({first, range.end, range.attempt});
    }
    for (const auto& entry : blocks_) {
        state.blocks.push_back(entry.second);
    }
    return state;
}

}  // namespace baton::channel

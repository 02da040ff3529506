// Channel: its state for a checkpoint or a backup, in slices. The rules are in state_slices.hpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

StateSlices Channel::begin_state() const {
    StateSlices slices;
    if (damage_->frozen) {
        slices.frozen = damage_->frozen;
        slices.is_over = true;
        return slices;
    }
    ChannelState& state = slices.state;
    state.settings = settings();
    state.next_offset = log_.next_offset();
    state.cursor = log_.next_offset();
    state.trimmed_end = options_->kind == Kind::stream ? trimmed_end() : 1;
    state.producers.reserve(producers_.size());
    producers_.for_each([&](const Producer& producer) {
        if (producer.last_stored > 0) {
            state.producers.push_back({producer.id, producer.last_stored});
        }
    });
    slices.ids_end = dedupe_.next_number();
    slices.readers_end = next_lasting_;
    return slices;
}

void Channel::add_to_state(StateSlices& slices, std::uint64_t& entries) const {
    using Stage = StateSlices::Stage;
    while (!slices.is_over && entries > 0) {
        switch (slices.stage) {
            case Stage::ids:
                if (add_ids(slices, entries)) {
                    slices.stage = Stage::blocks;
                }
                break;
            case Stage::blocks:
                if (add_blocks(slices, entries)) {
                    slices.stage = Stage::removed;
                    slices.next = slices.state.trimmed_end;
                }
                break;
            case Stage::removed:
                if (add_removed(slices, entries)) {
                    slices.stage = Stage::readers;
                    slices.next = 0;
                }
                break;
            case Stage::readers:
                slices.is_over = add_readers(slices, entries);
                break;
        }
    }
}

ChannelState Channel::state() const {
    StateSlices slices = begin_state();
    std::uint64_t all = UINT64_MAX;
    add_to_state(slices, all);
    return slices.frozen ? *slices.frozen : std::move(slices.state);
}

std::vector<commit::BlockRef> Channel::blocks() const {
    if (damage_->frozen) {
        return damage_->frozen->blocks;
    }
    std::vector<commit::BlockRef> refs;
    log_.visit_blocks([&](const commit::BlockRef& ref, std::uint64_t) { refs.push_back(ref); });
    return refs;
}

// Each of these: true when it is done.

bool Channel::add_ids(StateSlices& slices, std::uint64_t& entries) const {
    auto& ids = slices.state.ids;
    ids.reserve(ids.empty() ? dedupe_.size() : 0);
    const std::size_t before = ids.size();
    dedupe_.append_ids(slices.id, slices.ids_end, entries, ids);
    entries -= ids.size() - before;
    return slices.id == slices.ids_end;
}

// Since the beginning a block may have come into the place of a larger one that is named already, or one that reaches beyond what
// the state speaks of: their messages are in that one, or in the log.
bool Channel::add_blocks(StateSlices& slices, std::uint64_t& entries) const {
    ChannelState& state = slices.state;
    const auto blocks = log_.blocks(slices.next, entries);
    for (const StoredBlock* block : blocks) {
        --entries;
        if (block->ref.end > state.next_offset) {
            return true;
        }
        state.blocks.push_back(block->ref);
        state.block_times.push_back(block->time);
        if (block->has_rules) {
            state.ruled_blocks.push_back(block->ref.first);
        }
        slices.next = block->ref.end;
    }
    return entries > 0;
}

bool Channel::add_removed(StateSlices& slices, std::uint64_t& entries) const {
    auto& removed = slices.state.removed;
    const OffsetSet& all = log_.removed();
    auto range = first_beyond(all, slices.next);
    for (; range != all.end() && range->first < slices.state.next_offset; ++range, --entries) {
        if (entries == 0) {
            return false;
        }
        const Offset first = std::max(range->first, slices.next);
        const Offset end = std::min(range->second, slices.state.next_offset);
        if (!removed.empty() && removed.back().first + removed.back().count == first) {
            removed.back().count += end - first;  // It has grown since the slice before.
        } else {
            removed.push_back({first, end - first});
        }
        slices.next = end;
    }
    return true;
}

// Those that last are in the order of their ids, and some may have gone since the slice before.
const Subscription* Channel::next_to_save(StateSlices& slices) const noexcept {
    std::size_t& place = slices.place;
    place = std::min(place, readers_.size());
    const auto is_before = [&](const Subscription& reader) { return reader.is_lasting() && reader.id() < slices.reader; };
    while (place > 0 && !is_before(*readers_[place - 1])) {
        --place;
    }
    for (; place < readers_.size(); ++place) {
        const Subscription& reader = *readers_[place];
        if (reader.is_lasting() && reader.id() >= slices.reader) {
            return reader.id() < slices.readers_end ? &reader : nullptr;
        }
    }
    return nullptr;
}

bool Channel::add_readers(StateSlices& slices, std::uint64_t& entries) const {
    ChannelState& state = slices.state;
    const Subscription* reader = next_to_save(slices);
    if (reader == nullptr) {
        return true;
    }
    if (!slices.is_reader_begun || reader->id() != slices.reader) {
        slices.is_reader_begun = true;
        slices.reader = reader->id();
        slices.next = 1;
        const Offset cursor = std::min(reader->cursor().offset(), state.next_offset);
        if (reader->id() == queue_reader) {
            state.cursor = cursor;
            state.special.reserve(reader->single_entries());
        } else {
            ReaderState& begun = state.subscriptions.emplace_back();
            begun.settings = reader->settings();
            begun.cursor = cursor;
            begun.entries.reserve(reader->single_entries());
        }
        --entries;
    }
    if (reader->id() == queue_reader) {
        std::vector<ReaderEntry> slice;
        slices.next = reader->add_entries(slice, state.cursor, slices.next, state.next_offset, entries);
        state.add_queue_entries(slice);
    } else {
        ReaderState& begun = state.subscriptions.back();
        slices.next = reader->add_entries(begun.entries, begun.cursor, slices.next, state.next_offset, entries);
    }
    if (slices.next == state.next_offset) {
        slices.is_reader_begun = false;
        slices.reader = reader->id() + 1;
    }
    return false;
}

}  // namespace baton::channel

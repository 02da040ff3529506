#include "server/channel/channel_image.hpp"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <variant>

#include "server/channel/message_rules.hpp"

namespace baton::channel {

namespace {

// What a plain queue has is in the lists of version 1.
ReaderState queue_state(const ChannelState& state) {
    ReaderState reader{.settings{}, .cursor = state.cursor, .entries = state.special};
    for (const auto& range : state.live) {
        reader.entries.push_back({.first = range.first, .end = range.end, .attempt = range.attempt, .note{}});
    }
    std::ranges::sort(reader.entries, {}, &ReaderEntry::first);
    return reader;
}

}  // namespace

ChannelImage::ChannelImage(commit::StreamId stream, const ChannelState& state)
    : stream_{stream},
      settings_{state.settings},
      exists_{true},
      next_offset_{state.next_offset},
      trimmed_end_{state.trimmed_end},
      ruled_blocks_{state.ruled_blocks},
      ids_{state.ids} {
    readers_.try_emplace(queue_reader, ReaderImage{queue_state(state)});
    for (const ReaderState& reader : state.subscriptions) {
        readers_.try_emplace(reader.settings.id, ReaderImage{reader});
    }
    for (const auto& producer : state.producers) {
        producers_[producer.id] = producer.last_sequence;
    }
    for (const auto& block : state.blocks) {
        blocks_.emplace_hint(blocks_.end(), block.first, block);
    }
    for (const OffsetRange& range : state.removed) {
        removed_.emplace_hint(removed_.end(), range.first, range.first + range.count);
    }
    for (std::size_t i = 0; i < std::min(state.block_times.size(), state.blocks.size()); ++i) {
        block_times_.emplace_hint(block_times_.end(), state.blocks[i].first, state.block_times[i]);
    }
}

bool ChannelImage::apply(Bytes record, ChunkPool& pool) {
    auto decoded = decode_record(record);
    if (!decoded) {
        return false;
    }
    if (const auto* publish = std::get_if<PublishRecord>(&*decoded)) {
        on(*publish, pool);
        return true;
    }
    std::visit(
        [this](const auto& other) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(other)>, PublishRecord>) {
                on(other);
            }
        },
        *decoded);
    return true;
}

bool ChannelImage::apply_decided(Bytes record, ChunkPool& pool) {
    const auto decoded = decode_record(record);
    if (const auto* publish = decoded ? std::get_if<PublishRecord>(&*decoded) : nullptr) {
        append(*publish, pool);
        return true;
    }
    return decoded && apply(record, pool);
}

// One by one: what the duplicate window knows is not stored.
void ChannelImage::append(const PublishRecord& record, ChunkPool& pool) {
    const auto window = std::chrono::duration_cast<std::chrono::microseconds>(settings_.options.dedupe_window).count();
    const auto is_known = [&](Bytes id) {
        return !id.empty() && std::ranges::any_of(ids_, [&](const ChannelState::KnownId& known) {
            return known.id == as_text(id) && record.header.time_us - known.time.us < window;
        });
    };
    const bool may_be_known = window > 0 && record.header.has_properties();
    MessageCursor cursor{record.messages, record.header.has_properties()};
    MessageView message;
    PublishRecord part = record;
    part.header.base_offset = next_offset_;
    std::size_t from = 0;
    while (may_be_known && cursor.next(message)) {
        if (is_known(id_of(message.properties))) {
            note_producer(record.producer, record.last_sequence);
        } else {
            part.header.count = 1;
            part.header.flags = record.header.flags & static_cast<std::uint16_t>(~batch_has_crc);
            part.header.crc32c = 0;
            part.messages = record.messages.subspan(from, cursor.position() - from);
            part.header.messages_size = static_cast<std::uint32_t>(part.messages.size());
            on(part, pool);
            part.header.base_offset = next_offset_;
        }
        from = cursor.position();
    }
    if (!may_be_known) {
        on(part, pool);
    }
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
        note_ids(record);
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
    ReaderImage& reader = readers_.at(queue_reader);
    advance(reader, record.cursor);
    for (const OffsetRange& range : record.ranges) {
        reader.set({.first = range.first, .end = range.first + range.count, .kind = ReaderEntryKind::settled, .note{}});
    }
}

void ChannelImage::on(const StartedRecord& record) {
    ReaderImage& reader = readers_.at(queue_reader);
    advance(reader, record.cursor);
    for (const StartedRange& range : record.ranges) {
        reader.start(range.first, range.first + range.count, range.attempt);
    }
}

// Of a reader that is not there any more nothing matters.
void ChannelImage::on(const ProgressRecord& record) {
    const auto found = readers_.find(record.reader);
    if (found == readers_.end()) {
        return;
    }
    ReaderImage& reader = found->second;
    advance(reader, record.cursor);
    for (const StartedRange& range : record.started) {
        reader.start(range.first, range.first + range.count, range.attempt);
    }
    for (const ReaderEntry& entry : record.entries) {
        reader.set(entry);
    }
}

void ChannelImage::on(const SubscribedRecord& record) {
    const auto [found, is_new] = readers_.try_emplace(record.settings.id, record.settings, record.cursor);
    if (!is_new) {
        found->second.set_settings(record.settings);
    }
    next_offset_ = std::max(next_offset_, record.cursor);  // Before it some may have come that nobody wanted.
}

void ChannelImage::on(const CompactedRecord& record) {
    for (const OffsetRange& range : record.ranges) {
        cut_out(removed_, range.first, range.first + range.count);
        add_range(removed_, range.first, range.first + range.count);
    }
}

// What nobody can want any more is not told to anybody.
void ChannelImage::forget_removed() {
    cut_out(removed_, 0, trimmed_end_);
    cut_out(removed_, next_offset_, UINT64_MAX);
    for (auto& [id, reader] : readers_) {
        std::vector<ReaderEntry> gone;
        for (const auto& [first, entry] : reader.entries()) {
            for (auto hole = removed_.empty() || !entry.is_alive() ? removed_.end() : removed_.lower_bound(first);
                 hole != removed_.end() && hole->first < entry.end; ++hole) {
                gone.push_back({.first = hole->first,
                                .end = std::min(hole->second, entry.end),
                                .kind = ReaderEntryKind::settled,
                                .note{}});
            }
            const auto before = removed_.lower_bound(first);
            if (entry.is_alive() && before != removed_.begin() && std::prev(before)->second > first) {
                gone.push_back({.first = first,
                                .end = std::min(std::prev(before)->second, entry.end),
                                .kind = ReaderEntryKind::settled,
                                .note{}});
            }
        }
        for (const ReaderEntry& entry : gone) {
            reader.set(entry);
        }
    }
}

// Who installs the image forgets those whose time is over.
void ChannelImage::note_ids(const PublishRecord& record) {
    if (settings_.options.dedupe_window == Duration{} || !record.header.has_properties()) {
        return;
    }
    MessageCursor cursor{record.messages, true};
    MessageView message;
    while (cursor.next(message)) {
        if (const Bytes id = id_of(message.properties); !id.empty()) {
            ids_.push_back({std::string{as_text(id)}, {record.header.time_us}});
        }
    }
}

void ChannelImage::note_producer(const ProducerId& id, std::uint64_t last_sequence) {
    if (!id.is_anonymous()) {
        producers_[id] = last_sequence;  // Lower than before if it was forgotten and began anew.
    }
}

void ChannelImage::advance(ReaderImage& reader, Offset cursor) {
    reader.advance(cursor);
    next_offset_ = std::max(next_offset_, cursor);
}

bool ChannelImage::is_in_block(Offset first, Offset end) const {
    const auto after = blocks_.lower_bound(end);
    return after != blocks_.begin() && std::prev(after)->second.end > first;
}

bool ChannelImage::can_stay_on_disk(const commit::BlockRef& block, bool has_rules) const {
    using enum ReaderEntryKind;
    if (!settings_.options.is_ordered_by_key) {
        return can_stay(block, has_rules, {waiting, placed});
    }
    // The keys of those that wait have to be known. What is ready is looked at later, in its order, unless it may have a time.
    return has_rules ? can_stay(block, has_rules, {}) : can_stay(block, has_rules, {ready});
}

bool ChannelImage::can_stay_with_keys(const commit::BlockRef& block) const {
    using enum ReaderEntryKind;
    return settings_.options.is_ordered_by_key && !is_ruled(block) && can_stay(block, false, {ready, waiting});
}

bool ChannelImage::can_stay(const commit::BlockRef& block, bool has_rules, std::initializer_list<ReaderEntryKind> others) const {
    if (block.first < trimmed_end_) {
        return false;  // Of a stream: its first batches are given up.
    }
    const bool may_rest = settings_.options.kind != Kind::stream;
    return std::ranges::all_of(readers_, [&](const auto& reader) {
        const bool is_one = (reader.first == queue_reader) == is_queue();
        return !is_one || (may_rest && reader.second.is_at_rest(block.first, block.end, others)) ||
               (!has_rules && reader.second.is_uniform(block.first, block.end));
    });
}

std::size_t ChannelImage::entries() const noexcept {
    std::size_t count = 0;
    for (const auto& reader : readers_) {
        count += reader.second.entries().size();
    }
    return count;
}

bool ChannelImage::is_alive(Offset first, Offset end) const {
    if (is_queue()) {
        return queue().is_alive(first, end);
    }
    if (settings_.options.kind == Kind::stream) {
        return is_put_aside(first, std::min(end, trimmed_end_)) || is_kept(std::max(first, trimmed_end_), end);
    }
    return std::ranges::any_of(readers_, [&](const auto& reader) {
        return reader.first != queue_reader && reader.second.is_alive(first, end);
    });
}

bool ChannelImage::is_put_aside(Offset first, Offset end) const {
    return first < end && std::ranges::any_of(readers_, [&](const auto& reader) {
        return reader.first != queue_reader && reader.second.has_put_aside(first, end);
    });
}

std::string ChannelImage::settle_contents() {
    forget_removed();
    std::erase_if(batches_, [this](const auto& entry) {
        return !is_alive(entry.first, entry.first + entry.second.count) ||
               is_in_block(entry.first, entry.first + entry.second.count);
    });
    std::erase_if(blocks_, [this](const auto& entry) { return !is_alive(entry.first, entry.second.end); });
    // Walk over what is there, in order, and look for the first living message in a gap.
    auto batch = batches_.begin();
    auto block = blocks_.begin();
    Offset at = 1;
    const bool is_stream = settings_.options.kind == Kind::stream;
    const auto missing = [&](Offset first, Offset end) {
        const bool is_wanted = is_stream ? is_kept(std::max(first, trimmed_end_), end) : first < end && is_alive(first, end);
        return is_wanted ? "messages between offset " + std::to_string(first) + " and " + std::to_string(end - 1) + " are missing"
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

// The one of a queue; of a topic the one that wants most. Null: it is a stream, or has none.
const ReaderImage* ChannelImage::fullest_reader() const noexcept {
    if (is_queue()) {
        return &queue();
    }
    const ReaderImage* fullest = nullptr;
    for (const auto& [id, reader] : readers_) {
        const bool counts = id != queue_reader && settings_.options.kind == Kind::topic;
        if (counts && (fullest == nullptr || reader.live_messages(next_offset_) > fullest->live_messages(next_offset_))) {
            fullest = &reader;
        }
    }
    return fullest;
}

std::uint64_t ChannelImage::live_messages() const noexcept {
    if (settings_.options.kind == Kind::stream) {
        return next_offset_ - trimmed_end_ - overlap(removed_, trimmed_end_, next_offset_);
    }
    const ReaderImage* reader = fullest_reader();
    return reader != nullptr ? reader->live_messages(next_offset_) : 0;
}

OffsetSet ChannelImage::live_ranges() const {
    OffsetSet ranges;
    if (settings_.options.kind == Kind::stream) {
        ranges.emplace(trimmed_end_, next_offset_);
        for (const auto& [first, end] : removed_) {
            cut_out(ranges, first, end);
        }
        return ranges;
    }
    const ReaderImage* reader = fullest_reader();
    if (reader == nullptr) {
        return ranges;
    }
    Offset at = reader->cursor();
    for (const auto& [first, entry] : reader->entries()) {
        if (entry.end > reader->cursor()) {
            at < first ? static_cast<void>(ranges.emplace(at, first)) : void();
            at = std::max(at, entry.end);
        }
        entry.is_alive() ? static_cast<void>(ranges.emplace(first, entry.end)) : void();
    }
    at < next_offset_ ? static_cast<void>(ranges.emplace(at, next_offset_)) : void();
    return ranges;
}

std::uint32_t ChannelImage::attempt_of(Offset offset) const {
    if (!is_queue()) {
        return is_alive(offset, offset + 1) ? 1 : 0;
    }
    const auto& entries = queue().entries();
    const auto after = entries.upper_bound(offset);
    if (after != entries.begin() && std::prev(after)->second.end > offset) {
        const ReaderEntry& entry = std::prev(after)->second;
        return entry.is_alive() ? entry.attempt : 0;
    }
    return offset >= queue().cursor() ? 1 : 0;
}

ChannelState ChannelImage::state() const {
    ChannelState state{.settings = settings_,
                       .next_offset = next_offset_,
                       .cursor = is_queue() ? queue().cursor() : next_offset_,
                       .producers{},
                       .live{},
                       .blocks{},
                       .special{},
                       .trimmed_end = trimmed_end_,
                       .ruled_blocks{},
                       .block_times{},
                       .subscriptions{},
                       .ids = ids_,
                       .removed{}};
    for (const auto& [first, end] : removed_) {
        state.removed.push_back({first, end - first});
    }
    for (const auto& [id, last_sequence] : producers_) {
        state.producers.push_back({id, last_sequence});
    }
    state.add_queue_entries(queue().state().entries);
    for (const auto& [id, reader] : readers_) {
        if (id != queue_reader) {
            state.subscriptions.push_back(reader.state());
        }
    }
    for (const auto& [first, block] : blocks_) {
        state.blocks.push_back(block);
        if (is_ruled(block)) {
            state.ruled_blocks.push_back(first);
        }
        state.block_times.push_back(time_of(block));
    }
    return state;
}

}  // namespace baton::channel

#include "server/channel/channel_restore.hpp"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/message_rules.hpp"

namespace baton::channel {

namespace {

void spend(std::uint64_t& units, std::uint64_t spent) noexcept { units -= std::min(units, spent); }

constexpr std::uint64_t units_per_reader = 8;
constexpr std::uint64_t bytes_per_unit = 1024;

}  // namespace

bool Channel::install(const ChannelImage& image, const BlockReader& read) {
    ChannelRestore restore{*this, image, read};
    std::uint64_t all = UINT64_MAX;
    const bool is_done = restore.go_on(all);
    BATON_ASSERT(is_done);
    return restore.is_sound();
}

ChannelRestore::ChannelRestore(Channel& channel, const ChannelImage& image, BlockReader read)
    : channel_{channel},
      log_{channel.log_},
      image_{image},
      read_{std::move(read)},
      next_batch_{image.batches().begin()},
      next_block_{image.blocks().begin()} {
    BATON_ASSERT(channel.journal_ != nullptr && log_.next_offset() == 1 && channel.senders_.empty() && channel.receivers_.empty());
}

bool ChannelRestore::go_on(std::uint64_t& units) {
    while (phase_ != Phase::done && units > 0) {
        if (step(units)) {
            phase_ = Phase{static_cast<std::uint8_t>(static_cast<std::uint8_t>(phase_) + 1)};
        }
    }
    return phase_ == Phase::done;
}

// True: this phase is over.
bool ChannelRestore::step(std::uint64_t& units) {
    switch (phase_) {
        case Phase::settings:
            add_settings();
            if (!is_sound()) {
                freeze();
            }
            return is_sound();
        case Phase::contents:
            return add_contents(units);
        case Phase::readers:
            return place_readers(units);
        case Phase::entries:
            return add_entries(units);
        case Phase::ruled:
            return find_ruled(units);
        case Phase::rules:
            return look_at_rules(units);
        case Phase::ids:
            return add_ids(units);
        case Phase::done:
            break;
    }
    return false;
}

// It is done: the channel stays as the image has it, for baton-inspect and for the next start.
void ChannelRestore::freeze() {
    auto frozen = std::make_shared<ChannelState>(image_.state());
    frozen->settings.damage = channel_.damage();
    channel_.damage_.edit().frozen = std::move(frozen);
    channel_.submit_settings();
    channel_.note_head_wait();
    phase_ = Phase::done;
}

// --- Settings ------------------------------------------------------------------------------------------------------------

// Subscriptions before there are messages: each will be wanted by all of them, until it is known better.
void ChannelRestore::add_settings() {
    for (const auto& [id, last_sequence] : image_.producers()) {
        channel_.producers_.restore(id, last_sequence, channel_.clock_.now());
    }
    if (!image_.settings().damage.empty()) {
        channel_.damage_.edit().text = image_.settings().damage;
    }
    for (const auto& [id, saved] : image_.readers()) {
        if (id != queue_reader) {
            add_reader(id, saved);
        }
    }
}

void ChannelRestore::add_reader(ReaderId id, const ReaderImage& saved) {
    channel_.next_lasting_ = std::max(channel_.next_lasting_, id + 1);
    auto& reader = channel_.readers_.emplace_back(
        std::make_unique<Subscription>(channel_.subscription_context(), saved.settings()));
    log_.add_cursor(reader->cursor());
    channel_.by_name_[reader->settings().name] = reader.get();
    channel_.has_backlog_limits_ = channel_.has_backlog_limits_ || reader->settings().backlog_max > 0;
}

// --- Messages ------------------------------------------------------------------------------------------------------------

// Batches and blocks in the order of their offsets; then each reader gets what it has behind it, or forgets it.
bool ChannelRestore::add_contents(std::uint64_t& units) {
    while (next_batch_ != image_.batches().end() || next_block_ != image_.blocks().end()) {
        if (units == 0) {
            return false;
        }
        spend(units, 1);
        const bool is_batch = next_block_ == image_.blocks().end() ||
                              (next_batch_ != image_.batches().end() && next_batch_->first < next_block_->first);
        if (!is_batch) {
            if (log_.is_wanted() && !add_block(next_block_->second, units)) {
                give_up();
                return false;
            }
            ++next_block_;
            continue;
        }
        const auto& [first, saved] = *next_batch_++;
        if (log_.is_wanted()) {
            log_.begin_at(first);
            add_batch({.count = saved.count,
                       .flags = saved.flags,
                       .base_offset = first,
                       .time_us = saved.time.us,
                       .crc32c = saved.crc32c,
                       .messages_size = static_cast<std::uint32_t>(saved.messages.size())},
                      saved.messages);
        }
    }
    log_.finish_restore(image_.next_offset());
    return true;
}

StoredBatch& ChannelRestore::add_batch(const BatchHeader& header, Payload messages) {
    const bool has_rules = header.has_properties() && have_rules(messages.bytes());
    StoredBatch& batch = log_.append_restored(header.count, header.flags, header.crc32c, {header.time_us}, std::move(messages));
    log_.note_rules(batch, has_rules);
    return batch;
}

// False: it cannot be read.
bool ChannelRestore::add_block(const commit::BlockRef& ref, std::uint64_t& units) {
    log_.begin_at(ref.first);
    spend(units, std::min<std::uint64_t>(ref.end - ref.first, image_.entries()) / 4);  // All entries in it are asked.
    const auto leave_on_disk = [&] {
        static_cast<void>(log_.append_evicted(ref, ref.size, image_.time_of(ref), image_.is_ruled(ref)));
        return true;
    };
    if (image_.can_stay_on_disk(ref)) {
        return leave_on_disk();
    }
    const Payload body = read_(ref);
    spend(units, body.size() / bytes_per_unit);
    if (image_.can_stay_with_keys(ref)) {
        return add_keys(ref, body.bytes(), units) && leave_on_disk();
    }
    std::vector<StoredBatch*> batches;
    for (std::size_t position = 0; position < body.size(); spend(units, 1)) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header || header->base_offset < log_.next_offset() || header->base_offset + header->count > ref.end) {
            return false;
        }
        log_.begin_at(header->base_offset);
        batches.push_back(&add_batch(*header, body.slice(position + batch_header_size, header->messages_size)));
        position += batch_header_size + header->messages_size;
    }
    if (batches.empty()) {
        return false;
    }
    log_.set_block(batches, ref);
    return true;
}

// Of those that wait to be tried again. False: it cannot be read.
bool ChannelRestore::add_keys(const commit::BlockRef& ref, Bytes body, std::uint64_t& units) {
    Offset next = ref.first;
    for (std::size_t position = 0; position < body.size(); spend(units, 1)) {
        const auto header = front_batch(body.subspan(position));
        if (!header || header->base_offset < next || header->base_offset + header->count > ref.end) {
            return false;
        }
        next = header->base_offset;
        MessageCursor cursor{body.subspan(position + batch_header_size, header->messages_size), header->has_properties()};
        for (MessageView message; header->has_properties() && cursor.next(message); ++next) {
            add_key(next, number_of(key_of(message.properties)));
        }
        next = header->base_offset + header->count;
        position += batch_header_size + header->messages_size;
    }
    return next > ref.first;
}

void ChannelRestore::add_key(Offset offset, std::uint64_t key) {
    for (const auto& reader : channel_.readers_) {
        const auto& entries = image_.readers().at(reader->id()).entries();
        const auto after = entries.upper_bound(offset);
        const ReaderEntry* entry = after != entries.begin() ? &std::prev(after)->second : nullptr;
        if (key != 0 && entry != nullptr && entry->end > offset && entry->kind == ReaderEntryKind::waiting) {
            reader->restore_key(offset, key);
        }
    }
}

void ChannelRestore::give_up() {
    channel_.damage_.edit().text = "a block of a segment cannot be read";
    for (const auto& reader : channel_.readers_) {
        reader->clear();
    }
    log_.clear();
    freeze();
}

// --- What readers have ---------------------------------------------------------------------------------------------------

bool ChannelRestore::place_readers(std::uint64_t& units) {
    const WallTime newest = log_.newest_time();
    for (; reader_ < channel_.readers_.size(); ++reader_) {
        Subscription& reader = *channel_.readers_[reader_];
        const ReaderImage& saved = image_.readers().at(reader.id());
        if (places_.size() == reader_) {
            spend(units, units_per_reader);
            places_.push_back({&reader, &saved, saved.entries().begin()});
        }
        for (auto& entry = places_[reader_].entry; entry != saved.entries().end(); ++entry, spend(units, 1)) {
            if (units == 0) {
                return false;
            }
            if (entry->second.end > saved.cursor()) {
                add_range(skipped_, std::max(entry->first, saved.cursor()), entry->second.end);
            }
        }
        places_[reader_].entry = saved.entries().begin();
        log_.place_restored(reader.cursor(), saved.cursor(), std::exchange(skipped_, {}));
        reader.begin_restore(newest);
    }
    // What retention has given up comes back for nobody but those who have put it aside: who had not come to it has missed it.
    if (is_stream()) {
        add_what_trimmed_left();
    }
    while (is_stream() && log_.oldest_kept() != nullptr && log_.oldest_kept()->end() <= image_.trimmed_end()) {
        log_.trim_oldest();
    }
    batch_ = log_.front();
    return true;
}

void ChannelRestore::add_what_trimmed_left() {
    for (const Place& place : places_) {
        StoredBatch* batch = log_.front();
        for (const auto& [entry_first, entry] : place.saved->entries()) {
            const Offset first = std::min(entry_first, image_.trimmed_end());
            const Offset end = std::min(entry.end, image_.trimmed_end());
            for (; batch != nullptr && batch->end() <= first; batch = batch->next) {
            }
            const Offset stop = entry.is_put_aside() ? end : 0;
            for (StoredBatch* at = batch; at != nullptr && at->base < stop; at = at->next) {
                place.reader->restore(entry, *at, std::max(first, at->base), std::min(end, at->end()));
            }
        }
    }
}

bool ChannelRestore::add_entries(std::uint64_t& units) {
    while (batch_ != nullptr) {
        if (units == 0) {
            return false;
        }
        StoredBatch& batch = *std::exchange(batch_, batch_->next);
        spend(units, 1);
        if (batch.end() > image_.trimmed_end()) {  // Else it was given up: what was put aside of it is restored.
            add_entries_of(batch, units);
        }
    }
    cut_holes();
    log_.set_restored_at_rest();
    batch_ = log_.front();
    return true;
}

void ChannelRestore::add_entries_of(StoredBatch& batch, std::uint64_t& units) {
    std::vector<Part> unwanted;  // With the last of them the batch itself goes.
    for (Place& place : places_) {
        add_entries_of(batch, place, unwanted, units);
    }
    for (const Part& part : unwanted) {
        log_.drop_restored(batch, part.first, part.end);
    }
}

namespace {

// What the cursor has passed may have been given since the state was saved.
void restore_part(Subscription& reader, const ReaderEntry& entry, StoredBatch& batch, Offset first, Offset end, Offset cursor) {
    const Offset new_from = entry.is_new ? std::clamp(cursor, first, end) : first;
    if (first < new_from) {
        ReaderEntry passed = entry;
        passed.is_new = false;
        reader.restore(passed, batch, first, new_from);
    }
    if (new_from < end) {
        reader.restore(entry, batch, new_from, end);
    }
}

}  // namespace

void ChannelRestore::add_entries_of(StoredBatch& batch, Place& place, std::vector<Part>& unwanted, std::uint64_t& units) {
    const Offset base = std::max(batch.base, image_.trimmed_end());
    const Offset end = batch.end();
    const Offset cursor = place.saved->cursor();
    const auto last = place.saved->entries().end();
    Offset at = base;
    const auto unwanted_until = [&](Offset stop) {
        if (!is_stream() && at < stop) {
            unwanted.push_back({at, stop});
        }
        at = std::max(at, stop);
    };
    while (place.entry != last && place.entry->second.end <= base) {
        ++place.entry;
    }
    for (auto entry = place.entry; entry != last && entry->first < end; ++entry) {
        const Part part{std::max(entry->first, base), std::min(entry->second.end, end)};
        spend(units, 1);
        unwanted_until(std::min(part.first, std::max(cursor, at)));
        at = std::max(at, part.first);
        batch.is_picked = batch.is_picked || part.end > cursor;
        if (entry->second.is_alive()) {
            restore_part(*place.reader, entry->second, batch, part.first, part.end, cursor);
            spend(units, part.end - part.first);
            at = part.end;
        } else {
            unwanted_until(part.end);
        }
    }
    unwanted_until(std::min(end, std::max(cursor, at)));
}

// A block is written without what was removed, so a batch may lie there in pieces; in the log it is whole. What retention has given
// up may end in the middle of it.
void ChannelRestore::cut_holes() {
    OffsetSet removed = image_.removed();
    if (const StoredBatch* oldest = log_.oldest_kept(); is_stream() && oldest != nullptr && oldest->base < image_.trimmed_end()) {
        add_range(removed, oldest->base, image_.trimmed_end());
    }
    log_.restore_removed(removed);
}

// --- What messages ask for -----------------------------------------------------------------------------------------------

bool ChannelRestore::find_ruled(std::uint64_t& units) {
    for (; batch_ != nullptr; batch_ = batch_->next, spend(units, 1)) {
        if (units == 0) {
            return false;
        }
        if (batch_->has_rules && !batch_->is_trimmed) {
            ruled_.push_back(batch_);
        }
    }
    channel_.give_ruled(std::exchange(ruled_, {}));
    reader_ = 0;
    return true;
}

bool ChannelRestore::look_at_rules(std::uint64_t& units) {
    for (; reader_ < channel_.readers_.size(); ++reader_) {
        Subscription& reader = *channel_.readers_[reader_];
        if (!reader.look_ahead(units)) {
            return false;
        }
        spend(units, units_per_reader);
        reader.end_restore();
    }
    return true;
}

// The last phase.
bool ChannelRestore::add_ids(std::uint64_t& units) {
    const std::span ids{image_.ids()};
    while (id_ < ids.size()) {
        if (units == 0) {
            return false;
        }
        const std::size_t part = std::min<std::size_t>(ids.size() - id_, units);
        channel_.dedupe_.restore(ids.subspan(id_, part), channel_.clock_);
        spend(units, part);
        id_ += part;
    }
    submit();
    return true;
}

void ChannelRestore::submit() {
    channel_.submit_settings();
    for (StoredBatch* batch = log_.front(); batch != nullptr; batch = batch->next) {
        if (batch->block == nullptr) {
            log_.set_record(*batch, channel_.journal_->move(*batch));
        }
    }
    channel_.noted_trim_ = channel_.trimmed_end();
    for (const auto& reader : channel_.readers_) {
        reader->begin_notes();
    }
    channel_.state_changed();
}

}  // namespace baton::channel

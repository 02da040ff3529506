// MessageLog, part four: memory of what is left. A message that stays (quarantined, delayed, to be tried again, behind a busy
// key, with a slow receiver) would keep all of the batch that it came in, and whatever came in the same chunk. So what is still
// wanted of such a batch is copied into a chunk of its own, as large as that. The node stays, and so do positions in its
// region: who holds something of it does not notice.
//
// It costs a constant a message: a batch is looked at when something of it is put aside, and whenever half of what was left of
// it is gone. What is not out of proportion then, because much else in its chunk is alive, is looked at again now and then.
#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_log.hpp"

namespace baton::channel {

namespace {
// Readers that are asked for as many bytes as the slack is.
constexpr std::uint64_t holders_per_slack = 16;
}  // namespace

// --- Batches in pieces -----------------------------------------------------------------------------------------------------

std::uint32_t StoredBatch::place_of(std::uint32_t position) const noexcept {
    const auto behind = std::ranges::upper_bound(*pieces, position, {}, &BatchPiece::position);
    BATON_ASSERT(behind != pieces->begin());
    const BatchPiece& piece = *std::prev(behind);
    BATON_ASSERT(position - piece.position <= piece.bytes);
    return piece.at + (position - piece.position);
}

// Between two pieces positions are not known any more: nobody stays there. It is that of the next piece.
std::uint32_t StoredBatch::position_of(std::uint32_t number) const noexcept {
    const auto behind = std::ranges::upper_bound(*pieces, number, {}, &BatchPiece::index);
    if (behind != pieces->begin()) {
        const BatchPiece& piece = *std::prev(behind);
        const std::uint32_t before = number - piece.index;
        if (before == piece.count) {
            return piece.position + piece.bytes;
        }
        if (before < piece.count) {
            return piece.position + cut_count(messages.bytes().subspan(piece.at, piece.bytes), before).bytes;
        }
    }
    return behind != pieces->end() ? behind->position : size;
}

StoredBatch::Part StoredBatch::part_from(Cut done) const noexcept {
    if (!pieces) {
        return {done, messages.bytes().subspan(done.bytes)};
    }
    auto piece = std::ranges::upper_bound(*pieces, done.count, {}, &BatchPiece::index);
    if (piece != pieces->begin() && std::prev(piece)->index + std::prev(piece)->count > done.count) {
        --piece;
    }
    if (piece == pieces->end()) {
        return {{count, size}, {}};
    }
    if (done.count <= piece->index) {
        return {{piece->index, piece->position}, messages.bytes().subspan(piece->at, piece->bytes)};
    }
    const std::uint32_t begun = done.bytes - piece->position;
    return {done, messages.bytes().subspan(piece->at + begun, piece->bytes - begun)};
}

StoredBatch::Whole StoredBatch::whole() const {
    if (!pieces) {
        return {header(), messages};
    }
    constexpr std::array<std::byte, 6> empty_message{std::byte{2}};  // Two bytes follow: the size of its properties.
    constexpr std::array<std::byte, 4> empty_plain_message{};
    const Bytes filler = (flags & batch_has_properties) != 0 ? Bytes{empty_message} : Bytes{empty_plain_message};
    std::uint32_t gone = count;
    for (const BatchPiece& piece : *pieces) {
        gone -= piece.count;
    }
    Whole whole{header(), messages.empty_with_room(messages.size() + gone * filler.size())};
    const auto fill = [&](std::uint32_t messages_there) {
        for (; messages_there > 0; --messages_there) {
            whole.messages.extend(filler);
        }
    };
    std::uint32_t done = 0;
    for (const BatchPiece& piece : *pieces) {
        fill(piece.index - done);
        whole.messages.extend(messages.bytes().subspan(piece.at, piece.bytes));
        done = piece.index + piece.count;
    }
    fill(count - done);
    whole.header.messages_size = static_cast<std::uint32_t>(whole.messages.size());
    return whole;
}

// --- Which batches ---------------------------------------------------------------------------------------------------------

void MessageLog::note_remnant(StoredBatch& batch) noexcept {
    if (batch.remnant == Remnant::noted || !batch.is_resident) {
        return;
    }
    if (batch.remnant == Remnant::kept) {
        unlink_remnant(batch);
    }
    batch.remnant = Remnant::noted;
    link_remnant(batch, remnant_list_.first());
}

/// Before `next`; null: at the end.
void MessageLog::link_remnant(StoredBatch& batch, StoredBatch* next) noexcept {
    remnant_list_.insert(batch, next);
    ++remnants_;
    new_remnants_ += batch.remnant == Remnant::noted ? 1 : 0;
}

void MessageLog::unlink_remnant(StoredBatch& batch) noexcept {
    remnant_list_.erase(batch);
    --remnants_;
    new_remnants_ -= std::exchange(batch.remnant, Remnant::no) == Remnant::noted ? 1 : 0;
}

void MessageLog::pack_remnants(const RemnantLimits& limits, std::uint64_t& budget, const Holders& holders) {
    for (std::size_t looks = std::min(remnants_, remnants_per_step); looks > 0 && budget > 0; --looks) {
        StoredBatch& batch = *remnant_list_.first();
        unlink_remnant(batch);
        if (pack(batch, limits, budget, holders)) {
            batch.remnant = Remnant::kept;
            link_remnant(batch, nullptr);
        }
        budget -= std::min<std::uint64_t>(budget, 1);
    }
}

// True: it is to be looked at again, because others in its chunk may go, or because it cannot be touched now.
bool MessageLog::pack(StoredBatch& batch, const RemnantLimits& limits, std::uint64_t& budget, const Holders& holders) {
    if (batch.pins > 0 || batch.end() > visible_end_) {
        return true;
    }
    std::uint64_t there = batch.count;
    if (batch.pieces) {
        there = 0;
        for (const BatchPiece& piece : *batch.pieces) {
            there += piece.count;
        }
    }
    // At least so much is wanted: more, if it is not the same for all readers. To ask them must be worth it.
    const bool is_kept = keep_ == Keep::until_trimmed && !batch.is_trimmed;
    const std::uint64_t readers = std::max<std::uint64_t>(cursors_.size(), 1);
    const std::uint64_t wanted_messages = is_kept ? batch.live() : (batch.remaining + readers - 1) / readers;
    std::uint64_t bytes = batch.messages.size() * std::min(there, wanted_messages) / there;
    const std::uint64_t kept = std::max(batch.messages.size(), batch.messages.chunk_share());
    if (limits.is_exceeded(kept, bytes) && kept * holders_per_slack >= limits.slack * readers) {
        const std::vector<Run> wanted = wanted_of(batch, holders);
        bytes = wanted.size() * sizeof(BatchPiece);
        for (const Run& run : wanted) {
            bytes += run.bytes;
        }
        if (limits.is_exceeded(kept, bytes)) {
            keep_only(batch, wanted);
            budget -= std::min(budget, bytes / 1024);
        }
    }
    return limits.is_exceeded(batch.messages.chunk_capacity(), bytes);
}

// --- What is wanted --------------------------------------------------------------------------------------------------------

// In order; none touches the next.
std::vector<Run> MessageLog::wanted_of(StoredBatch& batch, const Holders& holders) const {
    std::vector<Run> wanted;
    const auto messages = [&] {
        std::uint64_t count = 0;
        for (const Run& run : wanted) {
            count += run.count;
        }
        return count;
    };
    holders(batch, wanted);
    BATON_ASSERT(messages() == batch.held);
    if (keep_ == Keep::until_settled && batch.remaining > batch.held) {
        for (const LogCursor* cursor : cursors_) {
            add_fresh(*cursor, batch, wanted);
        }
        BATON_ASSERT(messages() == batch.remaining);
    } else if (keep_ == Keep::until_trimmed && !batch.is_trimmed) {
        const std::vector<Run> live = live_runs(batch);
        wanted.insert(wanted.end(), live.begin(), live.end());
    }
    std::ranges::sort(wanted, {}, &Run::first);
    std::size_t last = 0;
    for (std::size_t i = 1; i < wanted.size(); ++i) {
        Run& before = wanted[last];
        const Run& run = wanted[i];
        if (run.first > before.end()) {
            wanted[++last] = run;
        } else if (run.end() > before.end()) {
            before.count = static_cast<std::uint32_t>(run.end() - before.first);
            before.bytes = run.position + run.bytes - before.position;
        }
    }
    wanted.resize(last + 1);
    return wanted;
}

void MessageLog::add_fresh(const LogCursor& cursor, StoredBatch& batch, std::vector<Run>& wanted) const {
    const bool is_here = cursor.batch_ == &batch;
    Offset at = std::max(cursor.offset_, batch.base);
    std::uint32_t position = is_here ? cursor.position_ : 0;
    auto skip = first_beyond(cursor.skipped_, at);
    while (at < batch.end()) {
        const bool is_skipped = skip != cursor.skipped_.end() && skip->first <= at;
        const Offset stop = skip == cursor.skipped_.end() ? batch.end()
                                                          : std::min(is_skipped ? skip->second : skip->first, batch.end());
        const auto index = static_cast<std::uint32_t>(at - batch.base);
        const auto count = static_cast<std::uint32_t>(stop - at);
        const bool is_last = stop == batch.end();
        const std::uint32_t bytes = is_last ? batch.size - position : batch.bytes_between(index, position, index + count);
        if (is_skipped) {
            ++skip;
        } else {
            wanted.push_back({.batch = &batch, .first = at, .count = count, .position = position, .bytes = bytes});
        }
        position += bytes;
        at = stop;
    }
}

void MessageLog::keep_only(StoredBatch& batch, const std::vector<Run>& wanted) noexcept {
    std::uint64_t bytes = 0;
    for (const Run& run : wanted) {
        bytes += run.bytes;
    }
    Payload copy = batch.messages.empty_with_room(bytes);
    auto pieces = std::make_unique<std::vector<BatchPiece>>();
    pieces->reserve(wanted.size());
    for (const Run& run : wanted) {
        pieces->push_back({.index = static_cast<std::uint32_t>(run.first - batch.base),
                           .count = run.count,
                           .position = run.position,
                           .bytes = run.bytes,
                           .at = static_cast<std::uint32_t>(copy.size())});
        copy.extend(run.region());
    }
    resident_bytes_ -= batch.messages.size() - copy.size();
    batch.messages = std::move(copy);
    batch.is_open = false;
    if (wanted.front().count == batch.count) {
        return;
    }
    batch.flags = static_cast<std::uint16_t>(batch.flags & ~batch_has_crc);
    batch.crc32c = 0;
    batch.pieces = std::move(pieces);
}

}  // namespace baton::channel

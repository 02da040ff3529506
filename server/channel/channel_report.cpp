// Questions: statistics and peek. Nothing here changes anything. Links and life are in channel.cpp.
#include <algorithm>
#include <iterator>
#include <utility>

#include "server/channel/channel.hpp"

namespace baton::channel {

namespace {

// In the answer to one question.
constexpr std::size_t subscriptions_reported_max = 100;

using Visitor = std::function<bool(const PeekedMessage&)>;

// The batches of a block that is not in memory. False: the visitor has seen enough.
bool visit_block(const Payload& body, const MessageLog& log, Offset from, const Visitor& visitor) {
    for (std::size_t position = 0; body.size() - position >= batch_header_size;) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header) {
            return true;
        }
        PeekedMessage peeked;
        peeked.offset = header->base_offset;
        peeked.time = {header->time_us};
        MessageCursor cursor{body.bytes().subspan(position + batch_header_size, header->messages_size),
                             header->has_properties()};
        for (; cursor.next(peeked.message); ++peeked.offset) {
            if (peeked.offset >= from && !log.is_removed(peeked.offset) && !visitor(peeked)) {
                return false;
            }
        }
        position += batch_header_size + header->messages_size;
    }
    return true;
}

// The block that was read last: neighbours lie in one.
class LastBlock {
public:
    explicit LastBlock(const BlockReader& read) noexcept : read_{read} {}
    [[nodiscard]] const Payload& of(const StoredBatch& batch) {
        if (batch.block->ref != ref_) {
            ref_ = batch.block->ref;
            body_ = read_ ? read_(ref_) : Payload{};
        }
        return body_;
    }

private:
    const BlockReader& read_;
    commit::BlockRef ref_;
    Payload body_;
};

// A message whose block is not in memory. False: the visitor has seen enough.
bool visit_at_rest(const Subscription::Entry& entry, const MessageLog& log, const Visitor& visitor, LastBlock& blocks) {
    bool goes_on = true;
    const auto visit = [&](const PeekedMessage& stored) {
        if (stored.offset == entry.run.first) {
            PeekedMessage peeked = stored;
            peeked.attempt = entry.run.attempt;
            peeked.state = entry.state;
            peeked.due = entry.due;
            peeked.note = entry.note;
            goes_on = visitor(peeked);
        }
        return false;
    };
    static_cast<void>(visit_block(blocks.of(*entry.run.batch), log, entry.run.first, visit));
    return goes_on;
}

// False: the visitor has seen enough.
bool visit_run(const Subscription::Entry& entry, Offset from, const Visitor& visitor) {
    const Run& run = entry.run;
    PeekedMessage peeked{.offset = run.first,
                         .attempt = run.attempt,
                         .state = entry.state,
                         .time = run.batch->time,
                         .message{},
                         .due = entry.due,
                         .note = entry.note,
                         .receiver = entry.receiver};
    MessageCursor cursor{run.region(), (run.batch->flags & batch_has_properties) != 0};
    for (; cursor.next(peeked.message); ++peeked.offset) {
        if (peeked.offset >= from && !visitor(peeked)) {
            return false;
        }
    }
    return true;
}

// In the log: in its place, in memory or not.
bool visit_stored(const MessageLog& log, const Run& run, Offset from, const Visitor& visitor, const BlockReader& read) {
    if (run.batch->is_resident) {
        return visit_run({.run = run, .due{}, .note{}}, from, visitor);
    }
    return !read || visit_block(read(run.batch->block->ref), log, std::max(from, run.first), visitor);
}

// Messages of one reader: those in their place in the log, and the others, in the order of offsets.
void visit_reader(const MessageLog& log, const Subscription& reader, std::optional<MessageState> state, Offset from,
                  const Visitor& visitor, const BlockReader& read) {
    constexpr std::size_t at_once = 256;
    const bool with_fresh = !state || *state == MessageState::ready;
    std::optional<Run> fresh = with_fresh ? log.fresh_run(reader.cursor(), nullptr, from) : std::nullopt;
    LastBlock blocks{read};
    while (true) {
        const auto entries = reader.entries(state, from, at_once);
        for (const Subscription::Entry& entry : entries) {
            while (fresh && fresh->first < entry.run.first) {
                if (!visit_stored(log, *fresh, from, visitor, read)) {
                    return;
                }
                fresh = log.fresh_run(reader.cursor(), &*fresh, from);
            }
            const bool is_here = entry.run.batch->is_resident;
            if (is_here ? !visit_run(entry, from, visitor) : !visit_at_rest(entry, log, visitor, blocks)) {
                return;
            }
        }
        if (entries.empty()) {
            break;
        }
        from = std::max(from, entries.back().run.end());
    }
    for (; fresh; fresh = log.fresh_run(reader.cursor(), &*fresh, 0)) {
        if (!visit_stored(log, *fresh, 0, visitor, read)) {
            return;
        }
    }
}

}  // namespace

void Channel::peek(const Subscription* reader, std::optional<MessageState> state, Offset from, const Visitor& visitor,
                   const BlockReader& read) const {
    if (reader != nullptr) {
        const Offset first = from;
        return visit_reader(
            log_, *reader, state, from,
            [&](const PeekedMessage& peeked) { return peeked.offset < first || visitor(peeked); }, read);
    }
    if (state && *state != MessageState::ready) {
        return;
    }
    // Of a block at rest, or of which some was dropped, not all is left.
    const Visitor wanted_only = [&](const PeekedMessage& peeked) {
        const bool is_wanted = std::ranges::any_of(readers_, [&](const auto& one) {
            const bool is_ahead = peeked.offset >= one->cursor().offset();
            return one->has_at_rest(peeked.offset) ||
                   (is_ahead && !overlaps(one->cursor().skipped(), peeked.offset, peeked.offset + 1));
        });
        return !is_wanted || visitor(peeked);
    };
    for (const StoredBatch* batch = log_.oldest_kept(); batch != nullptr && batch->base < log_.visible_end();
         batch = batch->next) {
        if (batch->end() <= from || batch->is_trimmed) {
            continue;
        }
        const Run whole{
            .batch = const_cast<StoredBatch*>(batch), .first = batch->base, .count = batch->count, .bytes = batch->size};
        const bool has_holes = batch->is_resident && (batch->removed > 0 || batch->pieces);
        const bool is_begun = batch->cursors > 0 && options_->kind != Kind::stream;
        const bool is_part = (batch->held > 0 || is_begun) && !batch->is_resident;
        const auto wanted = batch->is_resident ? wanted_of(*batch) : std::nullopt;
        const Visitor living = [&](const PeekedMessage& peeked) {
            return !overlaps(*wanted, peeked.offset, peeked.offset + 1) || visitor(peeked);
        };
        for (const Run& run : has_holes ? log_.live_runs(*whole.batch) : std::vector<Run>{whole}) {
            const Visitor& chosen = wanted ? living : is_part ? wanted_only : visitor;
            if (run.end() > from && !visit_stored(log_, run, from, chosen, read)) {
                return;
            }
        }
    }
}

// Of a topic's batch in memory: what somebody has or is still to get. It may lie there whole, and after a restart with nothing in
// the places of what is gone. Nothing: everything, or there are too many to be asked.
std::optional<OffsetSet> Channel::wanted_of(const StoredBatch& batch) const {
    constexpr std::size_t readers_asked_max = 64;
    const bool is_whole = batch.count == 1 || batch.remaining == std::uint64_t{batch.count} * readers_.size();
    if (options_->kind != Kind::topic || is_whole || readers_.size() > readers_asked_max) {
        return std::nullopt;
    }
    OffsetSet wanted;
    std::vector<Run> held;
    for (const auto& reader : readers_) {
        const Offset first = std::max(reader->cursor().offset(), batch.base);
        OffsetSet ahead;
        if (first < batch.end()) {
            ahead.emplace(first, batch.end());
        }
        const OffsetSet& skipped = reader->cursor().skipped();
        for (auto range = first_beyond(skipped, first); range != skipped.end() && range->first < batch.end(); ++range) {
            cut_out(ahead, range->first, range->second);
        }
        for (const auto& [from, end] : ahead) {
            add_range(wanted, from, end);
        }
        reader->add_held(batch, held);
    }
    for (const Run& run : held) {
        add_range(wanted, run.first, run.end());
    }
    return wanted;
}

SubscriptionReport Channel::report_of(const Subscription& reader) {
    return {.settings = reader.settings(),
            .is_lasting = reader.is_lasting(),
            .holds_up_senders = reader.holds_up_senders(),
            .ready = reader.ready(),
            .delayed = reader.delayed(),
            .in_flight = reader.in_flight(),
            .quarantined = reader.quarantined(),
            .missed = reader.cursor().missed(),
            .next_offset = reader.cursor().offset(),
            .receivers = reader.receivers().size(),
            .counters = reader.counters(),
            .wait = reader.head_wait()};
}

ChannelStats Channel::stats() const {
    ChannelStats stats;
    stats.committing = log_.uncommitted();
    stats.parked = intake_.parked_messages();
    stats.stored = log_.messages();
    stats.bytes = log_.bytes();
    stats.resident_bytes = log_.resident_bytes();
    stats.published = intake_.counters().published;
    stats.duplicates = duplicates_ + intake_.counters().duplicates;
    stats.refused = intake_.counters().refused;
    stats.trimmed = trimmed_;
    stats.compacted = compaction_ ? compaction_->removed() : 0;
    stats.keys = compaction_ ? compaction_->keys() : 0;
    stats.unwanted = intake_.counters().unwanted;
    SubscriptionCounters sum = *ended_;
    stats.has_more_subscriptions = options_->kind != Kind::queue && readers_.size() > subscriptions_reported_max;
    for (const auto& reader : readers_) {
        sum.add(reader->counters());
        stats.ready = std::max(stats.ready, reader->ready());
        stats.in_flight += reader->in_flight();
        stats.delayed = std::max(stats.delayed, reader->delayed());
        stats.quarantined = std::max(stats.quarantined, reader->quarantined());
        if (options_->kind != Kind::queue && stats.subscriptions.size() < subscriptions_reported_max) {
            stats.subscriptions.push_back(report_of(*reader));
        }
    }
    stats.delivered = sum.delivered;
    stats.redelivered = sum.redelivered;
    stats.settled = sum.settled;
    stats.purged = sum.purged;
    stats.retried = sum.retried;
    stats.rejected = sum.rejected;
    stats.expired = sum.expired;
    stats.dropped = sum.dropped + intake_.counters().dropped;
    stats.leases_ended = sum.leases_ended;
    stats.moved = sum.moved;
    stats.last_dropped_first = sum.last_dropped_first;
    stats.last_dropped_count = sum.last_dropped_count;
    stats.next_offset = log_.next_offset();
    stats.oldest_offset = oldest_offset();
    stats.oldest_time = log_.front() != nullptr ? log_.front()->time : WallTime{};
    stats.producers = producers_.size();
    stats.wait = head_wait_;
    report_links(stats.links);
    return stats;
}

Channel::Totals Channel::totals() const noexcept {
    Totals totals{.bytes = log_.bytes(), .published = intake_.counters().published, .delivered = ended_->delivered};
    for (const auto& reader : readers_) {
        totals.ready = std::max(totals.ready, reader->ready());
        totals.in_flight += reader->in_flight();
        totals.delivered += reader->counters().delivered;
    }
    return totals;
}

std::vector<SubscriptionReport> Channel::subscriptions(ReaderId after, std::size_t limit) const {
    std::vector<const Subscription*> found;
    for (const auto& reader : readers_) {
        if (options_->kind != Kind::queue && reader->settings().id > after) {
            found.push_back(reader.get());
        }
    }
    const auto end = found.begin() + static_cast<std::ptrdiff_t>(std::min(found.size(), limit));
    std::ranges::partial_sort(found, end, {}, [](const Subscription* reader) { return reader->settings().id; });
    std::vector<SubscriptionReport> reports;
    std::transform(found.begin(), end, std::back_inserter(reports), [](const auto* reader) { return report_of(*reader); });
    return reports;
}

std::uint64_t Channel::in_flight() const noexcept {
    std::uint64_t count = 0;
    for (const auto& reader : readers_) {
        count += reader->in_flight();
    }
    return count;
}

void Channel::report_links(std::vector<LinkReport>& links) const {
    links.reserve(senders_.size() + receivers_.size());
    senders_.for_each([&](const Sender& sender) {
        links.push_back({.address = sender.address,
                         .is_sender = true,
                         .wait = sender.wait,
                         .in_flight = sender.parked_messages,
                         .in_flight_bytes = sender.parked_bytes,
                         .credit_left = sender.outstanding(),
                         .total = sender.used.messages});
    });
    receivers_.for_each([&](const Receiver& receiver) {
        links.push_back({.address = receiver.address,
                         .is_sender = false,
                         .wait = receiver.wait,
                         .source = receiver.subscription != nullptr ? receiver.subscription->head_wait().reason : WaitReason::none,
                         .in_flight = receiver.in_flight.messages(),
                         .in_flight_bytes = receiver.in_flight.bytes(),
                         .started = receiver.in_flight.started(),
                         .credit_left = credit_left(receiver.limit, receiver.delivered),
                         .total = receiver.delivered.messages});
    });
    std::ranges::sort(links, {}, &LinkReport::address);
}

Offset Channel::oldest_offset() const noexcept {
    if (log_.messages() == 0) {
        return 0;
    }
    if (options_->kind == Kind::queue) {
        return readers_.front()->oldest_offset();
    }
    const StoredBatch* oldest = log_.oldest_kept();
    return oldest != nullptr ? oldest->base : 0;
}

// Why ready messages are not given out.
WaitReason Channel::head_reason() const noexcept {
    if (!damage().empty()) {
        return WaitReason::damaged;
    }
    if (options_->kind == Kind::queue) {
        return readers_.front()->head_wait().reason;
    }
    // Of the reader that has most to do.
    const Subscription* most = nullptr;
    for (const auto& reader : readers_) {
        most = most == nullptr || reader->ready() > most->ready() ? reader.get() : most;
    }
    return most != nullptr ? most->head_wait().reason : WaitReason::none;
}

}  // namespace baton::channel

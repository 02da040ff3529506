// Questions: statistics and peek. Nothing here changes anything. Links and life are in channel.cpp.
#include <algorithm>
#include <utility>

#include "server/channel/channel.hpp"

namespace baton::channel {

namespace {

// Runs from several ordered places (what came back, what each receiver holds) in the order of their offsets.
class RunMerge {
public:
    void add(const Ring<Run>& runs, PeekedMessage::State state, Offset from) {
        const Source source{&runs, find_run(runs, from), state};
        if (source.index < runs.size()) {
            sources_.push_back(source);
            std::ranges::push_heap(sources_, is_after);
        }
    }

    /// Null at the end.
    const Run* next(PeekedMessage::State& state) {
        if (sources_.empty()) {
            return nullptr;
        }
        std::ranges::pop_heap(sources_, is_after);
        Source& source = sources_.back();
        const Run& run = (*source.runs)[source.index++];
        state = source.state;
        if (source.index < source.runs->size()) {
            std::ranges::push_heap(sources_, is_after);
        } else {
            sources_.pop_back();
        }
        return &run;
    }

private:
    struct Source {
        const Ring<Run>* runs;
        std::size_t index;
        PeekedMessage::State state;
        [[nodiscard]] Offset first() const { return (*runs)[index].first; }
    };
    static bool is_after(const Source& a, const Source& b) { return a.first() > b.first(); }

    std::vector<Source> sources_;
};

using Visitor = std::function<bool(const PeekedMessage&)>;

// The batches of a block that is not in memory. False: the visitor has seen enough.
bool visit_block(const Payload& body, Offset from, const Visitor& visitor) {
    for (std::size_t position = 0; body.size() - position >= batch_header_size;) {
        const auto header = front_batch(body.bytes().subspan(position));
        if (!header) {
            return true;
        }
        PeekedMessage peeked{.offset = header->base_offset,
                             .attempt = 1,
                             .state = PeekedMessage::State::ready,
                             .time = {header->time_us},
                             .message{}};
        MessageCursor cursor{body.bytes().subspan(position + batch_header_size, header->messages_size),
                             header->has_properties()};
        for (; cursor.next(peeked.message); ++peeked.offset) {
            if (peeked.offset >= from && !visitor(peeked)) {
                return false;
            }
        }
        position += batch_header_size + header->messages_size;
    }
    return true;
}

// False: the visitor has seen enough.
bool visit_run(const Run& run, PeekedMessage::State state, Offset from,
               const Visitor& visitor) {
    PeekedMessage peeked{
        .offset = run.first, .attempt = run.attempt, .state = state, .time = run.batch->time, .message{}};
    MessageCursor cursor{run.region(), (run.batch->flags & batch_has_properties) != 0};
    for (; cursor.next(peeked.message); ++peeked.offset) {
        if (peeked.offset >= from && !visitor(peeked)) {
            return false;
        }
    }
    return true;
}

}  // namespace

void Channel::peek(Offset from, const Visitor& visitor, const BlockReader& read) const {
    RunMerge before_cursor;
    before_cursor.add(returned_.runs(), PeekedMessage::State::ready, from);
    for (const auto& entry : receivers_) {
        before_cursor.add(entry.second->in_flight.runs(), PeekedMessage::State::in_flight, from);
    }
    PeekedMessage::State state{};
    while (const Run* run = before_cursor.next(state)) {
        if (!visit_run(*run, state, from, visitor)) {
            return;
        }
    }
    for (auto run = log_.fresh_run(nullptr, from); run; run = log_.fresh_run(&*run, from)) {
        const bool goes_on = run->batch->is_resident
                                 ? visit_run(*run, PeekedMessage::State::ready, from, visitor)
                                 : !read || visit_block(read(run->batch->block->ref), from, visitor);
        if (!goes_on) {
            return;
        }
    }
}

ChannelStats Channel::stats() const {
    ChannelStats stats;
    stats.ready = ready();
    stats.committing = log_.uncommitted();
    stats.in_flight = log_.messages() - stats.ready - stats.committing;
    stats.parked = intake_.parked_messages();
    stats.bytes = log_.bytes();
    stats.resident_bytes = log_.resident_bytes();
    stats.published = intake_.counters().published;
    stats.duplicates = duplicates_;
    stats.refused = intake_.counters().refused;
    stats.delivered = delivered_;
    stats.redelivered = redelivered_;
    stats.settled = settled_;
    stats.purged = purged_;
    stats.next_offset = log_.next_offset();
    stats.oldest_offset = oldest_offset();
    stats.oldest_time = log_.front() != nullptr ? log_.front()->time : WallTime{};
    stats.producers = producers_.size();
    stats.wait = head_wait_;
    report_links(stats.links);
    return stats;
}

void Channel::report_links(std::vector<LinkReport>& links) const {
    links.reserve(senders_.size() + receivers_.size());
    for (const auto& entry : senders_) {
        const Sender& sender = *entry.second;
        links.push_back({.address = sender.address,
                         .is_sender = true,
                         .wait = sender.wait,
                         .in_flight = sender.parked_messages,
                         .in_flight_bytes = sender.parked_bytes,
                         .credit_left = sender.outstanding(),
                         .total = sender.used.messages});
    }
    for (const auto& entry : receivers_) {
        const Receiver& receiver = *entry.second;
        links.push_back({.address = receiver.address,
                         .is_sender = false,
                         .wait = receiver.wait,
                         .in_flight = receiver.in_flight.messages(),
                         .in_flight_bytes = receiver.in_flight.bytes(),
                         .started = receiver.in_flight.started(),
                         .credit_left = credit_left(receiver.limit, receiver.delivered),
                         .total = receiver.delivered.messages});
    }
    std::ranges::sort(links, {}, &LinkReport::address);
}

Offset Channel::oldest_offset() const noexcept {
    if (log_.messages() == 0) {
        return 0;
    }
    Offset oldest = log_.cursor();
    oldest = returned_.empty() ? oldest : std::min(oldest, returned_.head().first);
    for (const auto& entry : receivers_) {
        const InFlight& held = entry.second->in_flight;
        oldest = held.empty() ? oldest : std::min(oldest, held.runs().front().first);
    }
    return oldest;
}

// Why ready messages are not given out. Only when no dispatch is due: then nobody can take them.
WaitReason Channel::head_reason() const noexcept {
    if (!damage_.empty()) {
        return WaitReason::damaged;
    }
    if (ready() == 0) {
        if (log_.messages() > log_.uncommitted()) {
            return WaitReason::in_flight;
        }
        return log_.uncommitted() > 0 ? WaitReason::committing : WaitReason::none;
    }
    if (is_draining_) {
        return WaitReason::draining;
    }
    if (givable() == 0 && dispatcher_.has_candidates()) {
        return WaitReason::loading;
    }
    return receivers_.empty() ? WaitReason::no_receiver : WaitReason::receivers_busy;
}

}  // namespace baton::channel

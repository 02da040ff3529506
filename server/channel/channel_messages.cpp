// Messages: publish (decide and store), settle, dispatch. Links and life are in channel.cpp.
#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

// --- Publish ---------------------------------------------------------------------------------------------------------

void Channel::publish(const LinkAddress& link, std::uint64_t first_sequence, Payload batch, bool is_assembled) {
    Sender* sender = find_sender(link);
    if (sender == nullptr || sender->is_rejected) {
        return;  // Closed meanwhile; the peer learns it from the close.
    }
    const auto header = decode_batch_header(batch.bytes());
    if (!header || header->messages_size != batch.size() - batch_header_size || (is_assembled && header->count != 1)) {
        return close_sender(*sender, Errc::bad_batch);
    }
    if (!gate_.use(*sender, is_assembled ? Credit{1, 0} : Credit{header->count, batch.size()})) {
        return close_sender(*sender, Errc::over_credit);
    }
    if (journal_ != nullptr && journal_->log().condition() == commit::Condition::failed) {
        return close_sender(*sender, Errc::storage_failed);
    }
    if (first_sequence == 0 || first_sequence > std::numeric_limits<std::uint64_t>::max() - header->count) {
        return close_sender(*sender, Errc::sequence_gap);
    }
    if (sender->accepts_any_start) {
        sender->accepts_any_start = false;
        sender->decided = sender->received = first_sequence - 1;
    }
    if (first_sequence - 1 > sender->received) {
        if (!sender->accepts_gap) {
            return close_sender(*sender, Errc::sequence_gap);
        }
        sender->decided = sender->received = first_sequence - 1;
    }
    const std::uint64_t last_sequence = first_sequence + header->count - 1;
    if (sender->accepts_gap && last_sequence > sender->received) {
        sender->accepts_gap = false;
    }
    sender->sent = std::max(sender->sent, last_sequence);
    tell_again(*sender, first_sequence, last_sequence);
    take_in(*sender, {.sender = sender,
                      .first_sequence = first_sequence,
                      .count = header->count,
                      .crc32c = header->crc32c,
                      .flags = header->flags,
                      .messages = batch.slice(batch_header_size, header->messages_size)});
    if (sender->decided >= first_sequence) {
        intake_.confirm(*sender);
    }
    gate_.examine(*sender, room(), ready(), clock_.now());
    state_changed();
}

// Of what comes again, refusals: as duplicates they would be confirmed. What a link sends first says what the producer has
// heard of; later on the link may end before it hears more.
void Channel::tell_again(Sender& sender, std::uint64_t first, std::uint64_t last) {
    if (sender.producer == nullptr) {
        return;
    }
    auto& refused = sender.producer->refused;
    if (!std::exchange(sender.has_published, true)) {
        std::erase_if(refused, [&](const Refusal& refusal) { return refusal.first + refusal.count <= first; });
    }
    for (const Refusal& refusal : refused) {
        const std::uint64_t begin = std::max(refusal.first, first);
        const std::uint64_t end = std::min(refusal.first + refusal.count, last + 1);
        if (begin < end) {
            intake_.tell_refusal(sender, {begin, static_cast<std::uint32_t>(end - begin), refusal.reason});
        }
    }
}

// Drops what was received before, then decides or parks the rest. A duplicate of a parked message is dropped, too, and
// confirmed when the parked one is.
void Channel::take_in(Sender& sender, Pending pending) {
    const std::uint64_t known = sender.received - (pending.first_sequence - 1);
    if (known >= pending.count) {
        duplicates_ += pending.count;
        return;
    }
    if (known > 0) {
        duplicates_ += known;
        pending.drop_front(cut_count(pending.messages.bytes(), static_cast<std::uint32_t>(known)));
    }
    sender.received = pending.first_sequence + pending.count - 1;
    if (is_draining_) {
        intake_.refuse(pending, Errc::draining);
    } else if (journal_ != nullptr && journal_->log().condition() == commit::Condition::full) {
        intake_.refuse(pending, Errc::disk_full);
    } else {
        intake_.offer(std::move(pending));
    }
}

void Channel::close_sender(Sender& sender, Errc reason) {
    end_sender(sender, reason);
    room_changed();
}

// --- Settle ----------------------------------------------------------------------------------------------------------

void Channel::settle(const LinkAddress& link, std::span<const SettleRange> ranges, std::uint64_t receipt) {
    Receiver* receiver = find_receiver(link);
    if (receiver == nullptr) {
        return;
    }
    for (const SettleRange& range : ranges) {
        settle_range(*receiver, range);
    }
    if (receipt != 0 && journal_ != nullptr) {
        journal_->answer_later(link, receipt);
    } else if (receipt != 0) {
        events_.settled(link, receipt);
    }
    refresh(*receiver);
    room_changed();
}

void Channel::settle_range(Receiver& receiver, const SettleRange& range) {
    if (range.count == 0) {
        return;
    }
    settlement_.clear();
    switch (range.outcome) {
        case Outcome::done:
            receiver.in_flight.take(range, settlement_);
            for (const Run& run : settlement_.held) {
                settled_ += run.count;
                forget(run);
            }
            break;
        case Outcome::give_back:
            receiver.in_flight.take(range, settlement_);
            for (const Run& run : settlement_.held) {
                returned_.put(run);
            }
            break;
        case Outcome::started:
            receiver.in_flight.start(range, settlement_);
            if (journal_ != nullptr) {
                for (const Run& run : settlement_.held) {
                    journal_->note_started(run.first, run.count, run.attempt);
                }
            }
            break;
        default:  // Reserved, or any other value from the network.
            events_.settle_refused(receiver.address, range, Errc::unsupported_outcome);
            return;
    }
    for (const SettleRange& lost : settlement_.lost) {
        events_.settle_refused(receiver.address, lost, Errc::lost_lease);
    }
}

void Channel::forget(const Run& run) {
    if (journal_ != nullptr) {
        journal_->note_settled(run.first, run.count);
    }
    log_.forget(run);
}

// --- Dispatch --------------------------------------------------------------------------------------------------------

void Channel::set_credit(const LinkAddress& link, Credit limit) {
    if (Receiver* receiver = find_receiver(link)) {
        receiver->limit = limit;
        refresh(*receiver);
        state_changed();
    }
}

void Channel::set_slow(const LinkAddress& link, bool is_slow) {
    if (Receiver* receiver = find_receiver(link)) {
        receiver->is_slow = is_slow;
        refresh(*receiver);
        state_changed();
    }
}

void Channel::query(const LinkAddress& link) {
    dispatch();
    if (const Receiver* receiver = find_receiver(link)) {
        Wait wait = receiver->wait;
        if (wait.reason == WaitReason::empty && ready() > 0) {
            wait.reason = WaitReason::loading;
        }
        events_.state(link, {wait, ready(), receiver->in_flight.messages()});
    } else if (const Sender* sender = find_sender(link)) {
        events_.state(link, {sender->wait, ready(), 0});
    }
}

bool Channel::needs_dispatch() const noexcept {
    return may_dispatch_ && !is_draining_ && dispatcher_.has_candidates() && givable() > 0;
}

void Channel::dispatch() {
    if (!needs_dispatch()) {
        return;
    }
    const auto given = dispatcher_.run({log_, returned_}, clock_.now());
    delivered_ += given.messages;
    redelivered_ += given.redelivered;
    may_dispatch_ = false;
    note_head_wait();
}

void Channel::refresh(Receiver& receiver) {
    if (is_draining_) {
        dispatcher_.remove(receiver);
        set_wait(receiver.wait, WaitReason::draining, clock_.now());
    } else {
        dispatcher_.refresh(receiver, clock_.now());
    }
}

void Channel::tick() {
    const MonotonicTime now = clock_.now();
    if (options_.producer_retention <= now.time_since_epoch()) {
        producers_.forget_detached_before(now - options_.producer_retention);
    }
    gate_.examine_short(room(), ready(), now);
}

// --- What follows from a change --------------------------------------------------------------------------------------

void Channel::room_changed() {
    intake_.apply_parked();
    gate_.examine_short(room(), ready(), clock_.now());
    state_changed();
}

void Channel::state_changed() {
    may_dispatch_ = true;
    if (!needs_dispatch()) {  // Otherwise the dispatch decides: a wait that goes on must not begin anew.
        note_head_wait();
    }
}

void Channel::note_head_wait() {
    const WaitReason reason = head_reason();
    if (reason != head_wait_.reason) {
        head_wait_ = {reason, clock_.now()};
    }
}

Room Channel::room() const noexcept {
    const Credit free = intake_.free_room();
    return {.is_congested = journal_ != nullptr && journal_->log().is_congested(),
            .is_disk_full = journal_ != nullptr && journal_->log().condition() == commit::Condition::full,
            .is_full = free.messages == 0 || free.bytes == 0 || intake_.parked_messages() > 0,
            .is_draining = is_draining_,
            .free = free};
}

}  // namespace baton::channel

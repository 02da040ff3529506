#include "server/channel/intake.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "server/channel/message_rules.hpp"

namespace baton::channel {

namespace {

void decide(Sender& sender, std::uint64_t sequence) noexcept {
    BATON_ASSERT(sequence > sender.decided);
    sender.decided = sequence;
    if (sender.producer != nullptr) {
        sender.producer->last_decided = sequence;
        sender.producer->is_restored = false;
    }
}

void remember(std::vector<Refusal>& refused, const Refusal& refusal) {
    constexpr std::size_t refused_max = 64;
    if (!refused.empty() && refused.back().reason == refusal.reason &&
        refused.back().first + refused.back().count == refusal.first &&
        refused.back().count <= UINT32_MAX - refusal.count) {
        refused.back().count += refusal.count;
        return;
    }
    if (refused.size() == refused_max) {
        refused.erase(refused.begin());
    }
    refused.push_back(refusal);
}

}  // namespace

void Pending::drop_front(Cut cut) noexcept {
    BATON_ASSERT(cut.count <= count && cut.bytes <= messages.size());
    first_sequence += cut.count;
    count -= cut.count;
    messages = messages.slice(cut.bytes, messages.size() - cut.bytes);
    flags = static_cast<std::uint16_t>(flags & ~batch_has_crc);
    crc32c = 0;
}

void Intake::offer(Pending pending) noexcept {
    if (pending.sender->must_store && !parked_.empty()) {
        return refuse(pending, Errc::full);
    }
    if (!parked_.empty() || !admit(pending)) {
        park(std::move(pending));
    }
}

bool Intake::has_room_for(const Pending& pending) const noexcept {
    return limits_.is_stream || (log_.messages() + aside_messages_ + pending.count <= limits_.messages_max &&
                                 log_.bytes() + aside_bytes_ + pending.messages.size() <= limits_.bytes_max);
}

// If the oldest go. Of their bytes no more is known than what all have on average.
bool Intake::could_have_room_for(const Pending& pending) const noexcept {
    if (limits_.overflow != Overflow::drop_oldest) {
        return false;
    }
    const std::uint64_t messages = log_.messages();
    const std::uint64_t droppable = std::min(room_maker_.droppable(), messages);
    const std::uint64_t bytes = messages > 0 ? log_.bytes() / messages * droppable : 0;
    return messages - droppable + aside_messages_ + pending.count <= limits_.messages_max &&
           log_.bytes() - bytes + aside_bytes_ + pending.messages.size() <= limits_.bytes_max;
}

std::error_code Intake::set_room_aside(Pending& pending) noexcept {
    const Cut good =
        cut_front(pending.messages.bytes(),
                  {.count = pending.count, .bytes = UINT64_MAX, .message_bytes = message_bytes_max(pending)});
    if (good.count < pending.count) {
        return Errc::too_large;
    }
    if (!limits_.is_stream && (pending.count > limits_.messages_max || pending.messages.size() > limits_.bytes_max)) {
        return Errc::too_large;
    }
    pending.has_room = parked_.empty() && (has_room_for(pending) || could_have_room_for(pending));
    if (pending.has_room) {
        aside_messages_ += pending.count;
        aside_bytes_ += pending.messages.size();
        return {};
    }
    return limits_.overflow == Overflow::drop_newest ? std::error_code{} : Errc::full;
}

void Intake::give_room_back(const Pending& pending) noexcept {
    if (pending.has_room) {
        BATON_ASSERT(aside_messages_ >= pending.count && aside_bytes_ >= pending.messages.size());
        aside_messages_ -= pending.count;
        aside_bytes_ -= pending.messages.size();
    }
}

void Intake::take_step(Pending pending) noexcept {
    give_room_back(pending);
    pending.has_room = pending.has_room || (parked_.empty() && has_room_for(pending));
    if (!pending.has_room) {
        counters_.dropped += pending.count;
        return decide(*pending.sender, pending.first_sequence + pending.count - 1);
    }
    if (!has_room_for(pending)) {
        static_cast<void>(room_maker_.make_room(pending.count, pending.messages.size()));
    }
    const bool is_decided = admit(pending);
    BATON_ASSERT(is_decided);
}

void Intake::apply_parked() noexcept {
    while (!parked_.empty()) {
        Pending& head = parked_.front();
        Sender& sender = *head.sender;
        const std::uint64_t decided_before = sender.decided;
        const std::uint64_t messages = head.count;
        const std::uint64_t bytes = head.messages.size();
        const bool is_done = admit(head);
        count_parked(sender, messages - head.count, bytes - head.messages.size(), false);
        if (is_done) {
            parked_.pop_front();
        }
        if (sender.decided != decided_before) {
            confirm(sender);
        }
        if (!is_done) {
            return;
        }
    }
}

void Intake::refuse(Pending& pending, Errc reason) noexcept {
    counters_.refused += pending.count;
    decide(*pending.sender, pending.first_sequence + pending.count - 1);
    const Refusal refusal{pending.first_sequence, pending.count, reason};
    if (journal_ != nullptr && pending.sender->producer != nullptr) {
        remember(pending.sender->producer->refused, refusal);
    }
    tell_refusal(*pending.sender, refusal);
}

void Intake::tell_refusal(const Sender& sender, const Refusal& refusal) noexcept {
    if (journal_ != nullptr && sender.confirm != ConfirmLevel::received) {
        journal_->refuse_later(sender.address, refusal.first, refusal.count, refusal.reason);
    } else {
        events_.refused(sender.address, refusal.first, refusal.count, refusal.reason);
    }
}

void Intake::refuse_parked(Errc reason) noexcept {
    while (!parked_.empty()) {
        Pending& head = parked_.front();
        refuse(head, reason);
        confirm(*head.sender);
        count_parked(*head.sender, head.count, head.messages.size(), false);
        parked_.pop_front();
    }
}

void Intake::forget(Sender& sender) noexcept {
    if (sender.parked_messages == 0) {
        return;
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < parked_.size(); ++i) {
        Pending& pending = parked_[i];
        if (pending.sender == &sender) {
            count_parked(sender, pending.count, pending.messages.size(), false);
        } else if (kept++ != i) {
            parked_[kept - 1] = std::move(pending);
        }
    }
    parked_.erase(kept, parked_.size() - kept);
    sender.received = sender.decided;
}

void Intake::confirm(const Sender& sender) noexcept {
    const std::uint64_t sequence = std::min(sender.decided, sender.sent);
    if (journal_ != nullptr && sender.confirm != ConfirmLevel::received) {
        journal_->confirm_later(sender.address, sequence);
        journal_->release(events_);
    } else {
        events_.confirmed(sender.address, sequence, ConfirmLevel::received);
    }
}

Credit Intake::free_room() const noexcept {
    if (limits_.is_stream || limits_.overflow != Overflow::block) {
        return {limits_.messages_max, limits_.bytes_max};  // Whatever comes is decided at once.
    }
    const std::uint64_t messages = log_.messages() + parked_messages_ + aside_messages_;
    const std::uint64_t bytes = log_.bytes() + parked_bytes_ + aside_bytes_;
    return {limits_.messages_max > messages ? limits_.messages_max - messages : 0,
            limits_.bytes_max > bytes ? limits_.bytes_max - bytes : 0};
}

// True if everything is decided; otherwise what is left waits for room.
bool Intake::admit(Pending& pending) noexcept {
    // What an administrator moves here is no duplicate, though the channel has seen it before: it would be gone.
    const bool is_deduped =
        dedupe_.is_on() && (pending.flags & batch_has_properties) != 0 && !pending.sender->must_store;
    while (pending.count > 0) {
        Cut wanted{pending.count, static_cast<std::uint32_t>(pending.messages.size())};
        if (is_deduped) {
            drop_duplicates(pending);
            if (pending.count == 0) {
                break;
            }
            wanted = new_front(pending);
        }
        if (!log_.is_wanted() && pending.sender->must_store) {
            refuse(pending, Errc::not_found);
            pending.messages = {};
            pending.count = 0;
            break;
        }
        if (!log_.is_wanted()) {
            drop_or_refuse(pending, counters_.unwanted);
            continue;
        }
        const Cut cut = fitting(pending, wanted);
        if (cut.count > 0) {
            store(pending, cut);
        } else if (first_message_bytes(pending.messages.bytes()) > message_bytes_max(pending)) {
            refuse_too_large(pending);
        } else if (limits_.overflow == Overflow::reject || pending.sender->must_store) {
            refuse(pending, Errc::full);
            pending.messages = {};
            pending.count = 0;
        } else if (limits_.overflow == Overflow::drop_newest) {
            drop_or_refuse(pending, counters_.dropped);
        } else if (limits_.overflow != Overflow::drop_oldest || !make_room(pending, wanted)) {
            return false;
        }
    }
    return true;
}

// For all of them, up to the first one that is too large.
bool Intake::make_room(const Pending& pending, Cut wanted) {
    const std::uint64_t message_bytes = message_bytes_max(pending);
    if (wanted.bytes > message_bytes) {
        wanted = cut_front(pending.messages.bytes().first(wanted.bytes),
                           {.count = wanted.count, .bytes = UINT64_MAX, .message_bytes = message_bytes});
    }
    return room_maker_.make_room(std::min<std::uint64_t>(wanted.count, limits_.messages_max),
                                 std::min<std::uint64_t>(wanted.bytes, limits_.bytes_max)) > 0;
}

// What is larger than the channel allows is refused whether or not the others would be stored. Those at the front are
// decided, not stored, and confirmed.
void Intake::drop_or_refuse(Pending& pending, std::uint64_t& counter) noexcept {
    const std::uint64_t message_bytes = message_bytes_max(pending);
    Cut cut{pending.count, static_cast<std::uint32_t>(pending.messages.size())};
    if (cut.bytes > message_bytes) {
        cut = cut_front(pending.messages.bytes(),
                        {.count = pending.count, .bytes = UINT64_MAX, .message_bytes = message_bytes});
    }
    if (cut.count == 0) {
        return refuse_too_large(pending);
    }
    counter += cut.count;
    decide(*pending.sender, pending.first_sequence + cut.count - 1);
    if (&counter == &counters_.unwanted) {
        log_.pass(cut.count);
    }
    pending.drop_front(cut);
}

// The messages at the front whose ids are new, and differ from each other.
Cut Intake::new_front(const Pending& pending) const {
    MessageCursor cursor{pending.messages.bytes(), true};
    MessageView message;
    std::unordered_set<std::string_view> seen;
    const MonotonicTime now = clock_.now();
    Cut cut;
    while (cut.count < pending.count && cursor.next(message)) {
        const std::string_view id = as_text(id_of(message.properties));
        if (!id.empty() && (dedupe_.contains(id, now) || !seen.insert(id).second)) {
            break;
        }
        cut = {cut.count + 1, static_cast<std::uint32_t>(cursor.position())};
    }
    return cut;
}

void Intake::drop_duplicates(Pending& pending) {
    const MonotonicTime now = clock_.now();
    MessageCursor cursor{pending.messages.bytes(), true};
    MessageView message;
    Cut cut;
    while (cut.count < pending.count && cursor.next(message)) {
        const std::string_view id = as_text(id_of(message.properties));
        if (id.empty() || !dedupe_.contains(id, now)) {
            break;
        }
        cut = {cut.count + 1, static_cast<std::uint32_t>(cursor.position())};
    }
    if (cut.count > 0) {
        counters_.duplicates += cut.count;
        decide(*pending.sender, pending.first_sequence + cut.count - 1);
        pending.drop_front(cut);
        if (Producer* producer = pending.sender->producer; journal_ != nullptr && producer != nullptr) {
            producer->last_index = journal_->log().submitted();  // The first of them may not be on the disk yet.
        }
    }
}

void Intake::remember_ids(Bytes region) {
    MessageCursor cursor{region, true};
    MessageView message;
    while (cursor.next(message)) {
        if (const Bytes id = id_of(message.properties); !id.empty()) {
            dedupe_.add(as_text(id), clock_.now(), clock_.wall_now());
        }
    }
}

// What can be stored now of what is wanted. In the ordinary case everything, without looking at single messages.
Cut Intake::fitting(const Pending& pending, Cut wanted) const noexcept {
    if (limits_.is_stream) {
        return part_of_stream(pending, wanted);
    }
    if (pending.has_room) {
        return wanted;
    }
    const std::uint64_t messages =
        limits_.messages_max - std::min(limits_.messages_max, log_.messages() + aside_messages_);
    const std::uint64_t bytes = limits_.bytes_max - std::min(limits_.bytes_max, log_.bytes() + aside_bytes_);
    const std::uint64_t message_bytes = message_bytes_max(pending);
    if (wanted.count <= messages && wanted.bytes <= bytes && wanted.bytes <= message_bytes) {
        return wanted;
    }
    return cut_front(pending.messages.bytes().first(wanted.bytes),
                     {.count = messages, .bytes = bytes, .message_bytes = message_bytes});
}

// Retention takes whole batches: one that is large beside the limits would take along what shall stay.
Cut Intake::part_of_stream(const Pending& pending, Cut wanted) const noexcept {
    const std::uint64_t message_bytes = message_bytes_max(pending);
    const Cut part = joined_max();
    if (wanted.count <= part.count && wanted.bytes <= std::min<std::uint64_t>(part.bytes, message_bytes)) {
        return wanted;
    }
    const Bytes region = pending.messages.bytes().first(wanted.bytes);
    const std::uint64_t first = first_message_bytes(region);
    if (first > message_bytes) {
        return {};
    }
    return cut_front(region, {.count = std::min(wanted.count, std::max<std::uint32_t>(part.count, 1)),
                              .bytes = std::max<std::uint64_t>(part.bytes, first),
                              .message_bytes = message_bytes});
}

// Region bytes of the largest message that this channel takes: its own limit, and what fits when it is empty.
std::uint64_t Intake::message_bytes_max(const Pending& pending) const noexcept {
    if (pending.has_room) {
        return UINT64_MAX;  // It was asked before.
    }
    const std::uint64_t overhead = (pending.flags & batch_has_properties) != 0 ? 4 + 2 : 4;
    const std::uint64_t size_max = std::min<std::uint64_t>(limits_.message_size_max, UINT64_MAX - overhead);
    return std::min(limits_.bytes_max, size_max + overhead);
}

void Intake::store(Pending& pending, Cut cut) noexcept {
    counters_.published += cut.count;
    decide(*pending.sender, pending.first_sequence + cut.count - 1);
    if (cut.count == pending.count) {
        append(pending, pending.count, pending.flags, pending.crc32c, std::move(pending.messages));
        pending.messages = {};
        pending.count = 0;
        return;
    }
    const Payload front = pending.messages.slice(0, cut.bytes);
    pending.drop_front(cut);
    append(pending, cut.count, pending.flags, 0, front);
}

// The sender's `decided` is the number of the last of them.
void Intake::append(const Pending& pending, std::uint32_t count, std::uint16_t flags, std::uint32_t crc32c,
                    Payload messages) noexcept {
    const bool has_properties = (flags & batch_has_properties) != 0;
    const bool has_rules = has_properties && have_rules(messages.bytes());
    if (dedupe_.is_on() && has_properties) {
        remember_ids(messages.bytes());
    }
    if (journal_ == nullptr) {
        const BatchHeader header{.count = count,
                                 .flags = flags,
                                 .time_us = clock_.wall_now().us,
                                 .crc32c = crc32c,
                                 .messages_size = static_cast<std::uint32_t>(messages.size())};
        return append_visible(header, has_rules, std::move(messages));
    }
    StoredBatch& batch = log_.append_uncommitted(count, flags, crc32c, clock_.wall_now(), std::move(messages));
    batch.accepted = clock_.now();
    log_.note_rules(batch, has_rules);
    Producer* producer = pending.sender->producer;
    const bool is_step = pending.sender->step_number > 0;
    const ProducerId id = producer != nullptr ? producer->id : pending.sender->step_producer;
    log_.set_record(batch,
                    journal_->publish(batch, id, is_step ? pending.sender->step_number : pending.sender->decided));
    if (producer != nullptr) {
        producer->last_index = batch.index;
        producer->last_stored = pending.sender->decided;
    }
}

void Intake::append_visible(const BatchHeader& header, bool has_rules, Payload messages) noexcept {
    const MonotonicTime now = clock_.now();
    if (header.messages_size < MessageLog::joined_below && !has_rules && log_.join(header, now, messages, joined_max())) {
        return;
    }
    StoredBatch& batch = log_.append(header.count, header.flags, header.crc32c, {header.time_us}, std::move(messages));
    batch.accepted = now;
    if (has_rules) {
        log_.set_rules(batch);
    }
}

// What is joined may go all together: a small part of what there may be.
Cut Intake::joined_max() const noexcept {
    constexpr std::uint64_t parts = 32;
    return {static_cast<std::uint32_t>(std::min<std::uint64_t>(limits_.messages_max / parts, UINT32_MAX)),
            static_cast<std::uint32_t>(std::min<std::uint64_t>(limits_.bytes_max / parts, UINT32_MAX))};
}

// All messages at the front that are too large, in one event.
void Intake::refuse_too_large(Pending& pending) noexcept {
    Pending front = pending;
    front.count = 0;
    while (pending.count > 0) {
        const std::uint64_t bytes = first_message_bytes(pending.messages.bytes());
        if (bytes <= message_bytes_max(pending)) {
            break;
        }
        pending.drop_front({1, static_cast<std::uint32_t>(bytes)});
        ++front.count;
    }
    refuse(front, Errc::too_large);
}

void Intake::park(Pending pending) noexcept {
    count_parked(*pending.sender, pending.count, pending.messages.size(), true);
    parked_.push_back(std::move(pending));
}

void Intake::count_parked(Sender& sender, std::uint64_t messages, std::uint64_t bytes, bool is_more) noexcept {
    for (std::uint64_t* total : {&sender.parked_messages, &parked_messages_}) {
        BATON_ASSERT(is_more || *total >= messages);
        *total = is_more ? *total + messages : *total - messages;
    }
    for (std::uint64_t* total : {&sender.parked_bytes, &parked_bytes_}) {
        BATON_ASSERT(is_more || *total >= bytes);
        *total = is_more ? *total + bytes : *total - bytes;
    }
}

}  // namespace baton::channel

#include "tests/sim/ledger.hpp"

#include <algorithm>
#include <cstring>

namespace baton::sim {

namespace {

// The filling of a body: its bytes say at which place of which message they stand.
std::uint64_t filling(ProducerNumber producer, std::uint64_t number, std::uint64_t word) {
    std::uint64_t value = (std::uint64_t{producer} << 40U) ^ (number << 20U) ^ word;
    value *= 0x9e3779b97f4a7c15U;
    return value ^ (value >> 29U);
}

std::string text(const char* what, std::uint64_t value) {
    return std::string{what} + std::to_string(value);
}

}  // namespace

Ledger::Ledger(Report& report, const Clock& clock, const std::vector<bool>& is_durable)
    : report_{report}, clock_{clock} {
    for (std::size_t i = 0; i < is_durable.size(); ++i) {
        std::string name = "channel " + std::to_string(i);
        if (i == 1) {
            name += std::string{"\0\xff%41\n", 6};  // Names are bytes.
        }
        Channel& channel = channels_.emplace_back();
        channel.name = std::move(name);
        channel.is_durable = is_durable[i];
    }
}

std::string Ledger::name_of(const MessageRecord& message) {
    return text("message ", message.number) + text(" of producer ", message.producer) +
           text(" (channel ", message.channel) + text(", offset ", message.offset) + ")";
}

std::vector<std::byte> Ledger::make_body(ProducerNumber producer, std::uint64_t number, std::size_t size) {
    std::vector<std::byte> body(size);
    store_u32(body.data(), producer);
    store_u64(body.data() + 4, number);
    store_u32(body.data() + 12, static_cast<std::uint32_t>(size));
    for (std::size_t at = body_size_min; at < size; at += 8) {
        std::byte word[8];
        store_u64(word, filling(producer, number, at));
        std::memcpy(body.data() + at, word, std::min<std::size_t>(8, size - at));
    }
    return body;
}

std::uint32_t Ledger::channel_of(Bytes name) {
    const auto found = std::ranges::find(channels_, as_text(name), &Channel::name);
    if (found == channels_.end()) {
        report_.violation("a link to a channel that nobody asked for");
        return 0;
    }
    return static_cast<std::uint32_t>(found - channels_.begin());
}

// --- The broker's death ---------------------------------------------------------------------------------------------

void Ledger::broker_died(MonotonicTime safe, bool was_full) {
    for (std::uint32_t number = 0; number < channels_.size(); ++number) {
        if (channels_[number].is_durable) {
            keep_what_is_safe(channels_[number], safe);
        } else {
            begin_anew(number);
        }
    }
    for (Producer& producer : producers_) {
        const bool may_lose = producer.is_careless || !channels_[producer.channel].is_durable;
        for (MessageRecord& message : producer.messages) {
            const bool is_unsure = message.is_confirmed ? may_lose : was_full;
            message.may_be_lost = message.may_be_lost || (is_unsure && message.offset == 0);
            if (message.deliveries > 0 && message.last_delivery > safe) {
                message.deliveries = 0;  // Nobody knows of it any more.
            }
        }
    }
}

void Ledger::begin_anew(std::uint32_t number) {
    Channel& channel = channels_[number];
    channel.by_offset.clear();
    channel.done.clear();
    channel.starts.clear();
    for (Producer& producer : producers_) {
        if (producer.channel != number) {
            continue;
        }
        producer.offsets.clear();
        for (MessageRecord& message : producer.messages) {
            message.offset = 0;
            message.deliveries = message.starts = 0;
            message.attempt_least = 1;
            message.is_done = false;
        }
    }
}

void Ledger::keep_what_is_safe(Channel& channel, MonotonicTime safe) {
    for (Done& done : channel.done) {
        done.is_firm = done.is_firm || (done.has_arrived && done.arrival <= safe);
        done.arrival = MonotonicTime::max();  // In the next life it has to arrive again.
    }
    for (const Start& start : channel.starts) {
        const auto found = channel.by_offset.find(start.offset);
        if (start.arrival <= safe && found != channel.by_offset.end()) {
            auto& least = found->second->attempt_least;
            least = std::max(least, start.attempt + 1);
        }
    }
    channel.starts.clear();
}

// --- Senders --------------------------------------------------------------------------------------------------------

ProducerNumber Ledger::new_producer(std::uint32_t channel, bool is_careless) {
    Producer& producer = producers_.emplace_back();
    producer.channel = channel;
    producer.is_careless = is_careless;
    return static_cast<ProducerNumber>(producers_.size() - 1);
}

void Ledger::sent(ProducerNumber producer, std::uint64_t number, std::uint64_t size) {
    Producer& from = producers_[producer];
    if (number != from.messages.size() + 1) {
        return report_.violation(text("publish gave number ", number) + text(" to message ", from.messages.size() + 1));
    }
    MessageRecord& message = from.messages.emplace_back();
    message.producer = producer;
    message.number = number;
    message.channel = from.channel;
    message.size = size;
    ++sent_;
    ++progress_;
}

void Ledger::confirmed(ProducerNumber producer, std::uint64_t up_to, bool is_stale) {
    Producer& from = producers_[producer];
    if (up_to > from.messages.size() || up_to < from.confirmed) {
        return report_.violation(text("confirmed up to ", up_to) + text(" after ", from.confirmed) +
                                 text(", sent are ", from.messages.size()));
    }
    for (; from.confirmed < up_to; ++from.confirmed) {
        MessageRecord& message = from.messages[from.confirmed];
        ++progress_;
        message.is_confirmed = !message.is_refused;
        message.may_be_lost =
            message.may_be_lost || (is_stale && (from.is_careless || !channels_[from.channel].is_durable));
    }
}

void Ledger::refused(ProducerNumber producer, std::uint64_t first, std::uint64_t count) {
    Producer& from = producers_[producer];
    for (std::uint64_t number = first; number < first + count; ++number) {
        if (number == 0 || number > from.messages.size()) {
            return report_.violation("a message was refused that was not sent");
        }
        MessageRecord& message = from.messages[number - 1];
        message.is_refused = true;
        if ((message.is_confirmed && !message.may_be_lost) || message.offset != 0) {
            report_.violation(name_of(message) + " was refused after it had been confirmed or delivered");
        }
    }
}

// --- Receivers ------------------------------------------------------------------------------------------------------

MessageRecord* Ledger::find(Bytes body, const std::string& where) {
    const auto invalid = [&](const std::string& what) {
        report_.violation(where + what);
        return nullptr;
    };
    if (body.size() < body_size_min) {
        return invalid(text(": a body of bytes ", body.size()));
    }
    const ProducerNumber producer = load_u32(body.data());
    const std::uint64_t number = load_u64(body.data() + 4);
    if (producer >= producers_.size() || number == 0 || number > producers_[producer].messages.size()) {
        return invalid(text(": nobody sent number ", number) + text(" of producer ", producer));
    }
    return &producers_[producer].messages[number - 1];
}

bool Ledger::learn_offset(MessageRecord& message, std::uint32_t channel, std::uint64_t offset) {
    if (message.is_refused) {
        report_.violation(name_of(message) + " was refused and is there nevertheless");
        return false;
    }
    if (message.channel != channel) {
        report_.violation(name_of(message) + text(" is in channel ", channel));
        return false;
    }
    if (message.offset == offset) {
        return true;
    }
    if (message.offset != 0) {
        report_.violation(name_of(message) + text(" is stored twice, also at ", offset));
        return false;
    }
    if (const auto [known, is_new] = channels_[channel].by_offset.emplace(offset, &message); !is_new) {
        report_.violation(name_of(message) + " has the offset of " + name_of(*known->second));
        return false;
    }
    message.offset = offset;
    auto& offsets = producers_[message.producer].offsets;
    const auto [own, is_new] = offsets.emplace(message.number, offset);
    const auto next = std::next(own);
    if ((own != offsets.begin() && std::prev(own)->second > offset) ||
        (next != offsets.end() && next->second < offset)) {
        report_.violation(name_of(message) + " is not in the order in which its producer sent");
        return false;
    }
    return true;
}

MessageRecord* Ledger::delivered(const DeliveryFacts& facts, Bytes body) {
    ++delivered_;
    MessageRecord* message = find(body, facts.receiver);
    if (message == nullptr) {
        return nullptr;
    }
    const auto expected = make_body(message->producer, message->number, message->size);
    if (!std::ranges::equal(body, expected)) {
        report_.violation(name_of(*message) + " was delivered to " + facts.receiver + " with another body");
        return nullptr;
    }
    if (!learn_offset(*message, facts.channel, facts.offset)) {
        return nullptr;
    }
    if (facts.attempt < 1 || facts.attempt > message->starts + 1) {
        report_.violation(name_of(*message) + text(" is delivered as attempt ", facts.attempt) +
                          text(", it was started times ", message->starts));
        return nullptr;
    }
    if (!facts.is_stale && message->is_done) {
        report_.violation(name_of(*message) + " is delivered again to " + facts.receiver +
                          ", it is done and that was acknowledged");
        return nullptr;
    }
    if (!facts.is_stale && !check_what_came_back(facts, *message)) {
        return nullptr;
    }
    if (!facts.is_stale) {
        ++message->deliveries;
        message->last_delivery = clock_.now();
    }
    return message;
}

bool Ledger::check_what_came_back(const DeliveryFacts& facts, const MessageRecord& message) {
    const auto& done = channels_[facts.channel].done;
    if (facts.offset < done.size() && done[facts.offset].is_firm) {
        report_.violation(name_of(message) + " is delivered again to " + facts.receiver +
                          ", it was done long before the broker died");
        return false;
    }
    if (!facts.is_redelivered && message.deliveries > 0) {
        report_.violation(name_of(message) + " is delivered again without being marked as redelivered");
        return false;
    }
    if (facts.attempt < message.attempt_least) {
        report_.violation(name_of(message) + text(" is delivered as attempt ", facts.attempt) +
                          text(", it must be at least ", message.attempt_least));
        return false;
    }
    return true;
}

void Ledger::done_with_receipt(MessageRecord& message, const std::string& receiver) {
    if (message.is_done) {
        return report_.violation(name_of(message) + " is settled a second time, by " + receiver);
    }
    message.is_done = true;
}

void Ledger::done_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count) {
    auto& all = channels_[channel].done;
    if (all.size() < first + count) {
        all.resize(first + count);
    }
    for (std::uint64_t offset = first; offset < first + count; ++offset) {
        Done& done = all[offset];
        progress_ += done.has_arrived ? 0U : 1U;
        done.has_arrived = true;
        done.arrival = clock_.now();
    }
}

void Ledger::start_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count, std::uint32_t attempt) {
    for (std::uint64_t offset = first; offset < first + count; ++offset) {
        channels_[channel].starts.push_back({offset, attempt, clock_.now()});
    }
}

// --- The end --------------------------------------------------------------------------------------------------------

void Ledger::stored(std::uint32_t channel, std::uint64_t offset, std::uint32_t attempt, std::uint64_t size,
                    Bytes body) {
    MessageRecord* message = find(body, "peek");
    if (message == nullptr || !learn_offset(*message, channel, offset)) {
        return;
    }
    if (size != message->size ||
        !std::ranges::equal(body,
                            Bytes{make_body(message->producer, message->number, message->size)}.first(body.size()))) {
        return report_.violation(name_of(*message) + " is stored with another body");
    }
    const auto& done = channels_[channel].done;
    if (message->is_done || (offset < done.size() && done[offset].is_firm)) {
        return report_.violation(name_of(*message) + " is done, acknowledged, and still stored");
    }
    if (attempt < message->attempt_least || attempt > message->starts + 1) {
        return report_.violation(name_of(*message) + text(" waits for attempt ", attempt));
    }
    message->is_stored = true;
    ++channels_[channel].stored;
}

void Ledger::forget_stored() {
    for (Channel& channel : channels_) {
        channel.stored = 0;
    }
    for (Producer& producer : producers_) {
        for (MessageRecord& message : producer.messages) {
            message.is_stored = false;
        }
    }
}

void Ledger::check_channel(std::uint32_t number, const Totals& totals, bool is_first_life) {
    const Channel& channel = channels_[number];
    if (channel.is_abandoned) {
        return;
    }
    const std::uint64_t gone = totals.next_offset - 1 - totals.stored;
    const bool has_counted_all = is_first_life || !channel.is_durable;
    if (channel.stored != totals.stored ||
        (has_counted_all && (gone != totals.settled || totals.published != totals.next_offset - 1))) {
        return report_.violation(text("channel ", number) + text(" says: published ", totals.published) +
                                 text(", settled ", totals.settled) + text(", stored ", totals.stored) +
                                 text(", next offset ", totals.next_offset) + text("; peek shows ", channel.stored));
    }
    for (std::uint64_t offset = 1; offset < totals.next_offset; ++offset) {
        const auto found = channel.by_offset.find(offset);
        if (found == channel.by_offset.end()) {
            return report_.violation(text("channel ", number) + text(": nobody ever saw offset ", offset) +
                                     ", and it is not stored");
        }
        const MessageRecord& message = *found->second;
        const bool is_done = offset < channel.done.size() && channel.done[offset].has_arrived;
        if (!message.is_stored && !is_done) {
            return report_.violation(name_of(message) + " is gone and nobody settled it");
        }
    }
    if (!channel.by_offset.empty() && channel.by_offset.rbegin()->first >= totals.next_offset) {
        report_.violation(text("channel ", number) + " delivered offsets that it does not have");
    }
}

void Ledger::check_confirmed() {
    for (const Producer& producer : producers_) {
        if (channels_[producer.channel].is_abandoned) {
            continue;
        }
        for (const MessageRecord& message : producer.messages) {
            if (message.is_confirmed && message.offset == 0 && !message.may_be_lost) {
                return report_.violation(name_of(message) + " was confirmed and is lost");
            }
        }
    }
}

}  // namespace baton::sim

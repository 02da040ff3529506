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

Ledger::Ledger(Report& report, std::uint32_t channels) : report_{report} {
    for (std::uint32_t i = 0; i < channels; ++i) {
        std::string name = "channel " + std::to_string(i);
        if (i == 1) {
            name += std::string{"\0\xff%41\n", 6};  // Names are bytes.
        }
        channels_.push_back({.name = std::move(name), .by_offset = {}, .is_done = {}, .stored = 0});
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

// --- Senders --------------------------------------------------------------------------------------------------------

ProducerNumber Ledger::new_producer(std::uint32_t channel) {
    producers_.emplace_back().channel = channel;
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

void Ledger::confirmed(ProducerNumber producer, std::uint64_t up_to) {
    Producer& from = producers_[producer];
    if (up_to > from.messages.size() || up_to < from.confirmed) {
        return report_.violation(text("confirmed up to ", up_to) + text(" after ", from.confirmed) +
                                 text(", sent are ", from.messages.size()));
    }
    for (; from.confirmed < up_to; ++from.confirmed) {
        MessageRecord& message = from.messages[from.confirmed];
        ++progress_;
        message.is_confirmed = !message.is_refused;
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
        if (message.is_confirmed || message.offset != 0) {
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
    if (!facts.is_stale && !facts.is_redelivered && message->deliveries > 0) {
        report_.violation(name_of(*message) + " is delivered again without being marked as redelivered");
        return nullptr;
    }
    ++message->deliveries;
    return message;
}

void Ledger::done_with_receipt(MessageRecord& message, const std::string& receiver) {
    if (message.is_done) {
        return report_.violation(name_of(message) + " is settled a second time, by " + receiver);
    }
    message.is_done = true;
}

void Ledger::done_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count) {
    auto& is_done = channels_[channel].is_done;
    if (is_done.size() < first + count) {
        is_done.resize(first + count);
    }
    for (std::uint64_t offset = first; offset < first + count; ++offset) {
        progress_ += is_done[offset] ? 0U : 1U;
        is_done[offset] = true;
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
    if (message->is_done) {
        return report_.violation(name_of(*message) + " is done, acknowledged, and still stored");
    }
    if (attempt < 1 || attempt > message->starts + 1) {
        return report_.violation(name_of(*message) + text(" waits for attempt ", attempt));
    }
    message->is_stored = true;
    ++channels_[channel].stored;
}

void Ledger::check_channel(std::uint32_t number, const Totals& totals) {
    const Channel& channel = channels_[number];
    const std::uint64_t gone = totals.next_offset - 1 - totals.stored;
    if (channel.stored != totals.stored || gone != totals.settled || totals.published != totals.next_offset - 1) {
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
        const bool is_done = offset < channel.is_done.size() && channel.is_done[offset];
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
        for (const MessageRecord& message : producer.messages) {
            if (message.is_confirmed && message.offset == 0) {
                return report_.violation(name_of(message) + " was confirmed and is lost");
            }
        }
    }
}

}  // namespace baton::sim

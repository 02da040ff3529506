// What tests of this folder share: a channel's events as a list of values, batches made of words, a clock that stands
// still. Fakes, not mocks: a test acts, then looks at what was recorded.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/batch_builder.hpp"
#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "common/base/payload.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel::test {

struct Event {
    enum class Kind : std::uint8_t { confirmed, refused, credit, state, deliver, settle_refused, settled, closed };
    Kind kind{};
    LinkAddress link;
    std::uint64_t number = 0;  ///< Sequence, first sequence, or receipt.
    std::uint32_t count = 0;
    std::error_code reason;
    ConfirmLevel level{};
    Credit credit;
    LinkState state;
    Slice slice;
    SettleRange range;
};

class RecordingEvents final : public ChannelEvents {
public:
    void confirmed(const LinkAddress& sender, std::uint64_t sequence, ConfirmLevel level) noexcept override {
        Event& event = add(Event::Kind::confirmed, sender);
        event.number = sequence;
        event.level = level;
    }
    void refused(const LinkAddress& sender, std::uint64_t first, std::uint32_t count,
                 std::error_code reason) noexcept override {
        Event& event = add(Event::Kind::refused, sender);
        event.number = first;
        event.count = count;
        event.reason = reason;
    }
    void sender_credit(const LinkAddress& sender, Credit limit) noexcept override {
        add(Event::Kind::credit, sender).credit = limit;
    }
    void state(const LinkAddress& link, const LinkState& state) noexcept override {
        add(Event::Kind::state, link).state = state;
    }
    void deliver(const LinkAddress& receiver, const Slice& slice) noexcept override {
        add(Event::Kind::deliver, receiver).slice = slice;
    }
    void settle_refused(const LinkAddress& receiver, const SettleRange& range,
                        std::error_code reason) noexcept override {
        Event& event = add(Event::Kind::settle_refused, receiver);
        event.range = range;
        event.reason = reason;
    }
    void settled(const LinkAddress& receiver, std::uint64_t receipt) noexcept override {
        add(Event::Kind::settled, receiver).number = receipt;
    }
    void closed(const LinkAddress& link, std::error_code reason) noexcept override {
        add(Event::Kind::closed, link).reason = reason;
    }

    /// Everything recorded since the last call.
    [[nodiscard]] std::vector<Event> take() { return std::exchange(events_, {}); }

private:
    Event& add(Event::Kind kind, const LinkAddress& link) {
        events_.push_back({});
        events_.back().kind = kind;
        events_.back().link = link;
        return events_.back();
    }

    std::vector<Event> events_;
};

/// One line per event, readable: what most tests compare. Links are printed as their number.
inline std::string to_line(const Event& event) {
    const std::string link = std::to_string(event.link.link);
    const auto range_text = [](std::uint64_t first, std::uint64_t count) {
        return std::to_string(first) + (count == 1 ? "" : "-" + std::to_string(first + count - 1));
    };
    switch (event.kind) {
        case Event::Kind::confirmed:
            return "confirmed " + link + " " + std::to_string(event.number) +
                   (event.level == ConfirmLevel::durable ? " durable" : "");
        case Event::Kind::refused:
            return "refused " + link + " " + range_text(event.number, event.count) + ": " + event.reason.message();
        case Event::Kind::credit:
            return "credit " + link + " " + std::to_string(event.credit.messages) + " " +
                   std::to_string(event.credit.bytes);
        case Event::Kind::state:
            return "state " + link + " " + std::string{to_string(event.state.wait.reason)} + " ready " +
                   std::to_string(event.state.ready) + " held " + std::to_string(event.state.in_flight);
        case Event::Kind::deliver:
            return "deliver " + link + " " + range_text(event.slice.first, event.slice.count) + " attempt " +
                   std::to_string(event.slice.attempt) + (event.slice.redelivered ? " again" : "");
        case Event::Kind::settle_refused:
            return "settle_refused " + link + " " + range_text(event.range.first, event.range.count) + ": " +
                   event.reason.message();
        case Event::Kind::settled:
            return "settled " + link + " " + std::to_string(event.number);
        case Event::Kind::closed:
            return "closed " + link + (event.reason ? ": " + event.reason.message() : std::string{});
    }
    return "?";
}

using Lines = std::vector<std::string>;

/// The payloads of a region.
inline Lines words_of(Bytes region, bool has_properties = false) {
    Lines words;
    MessageCursor cursor{region, has_properties};
    MessageView message;
    while (cursor.next(message)) {
        words.emplace_back(as_text(message.payload));
    }
    return words;
}

inline LinkAddress link_of(std::uint16_t number) {
    return {SessionId{7}, number};
}

inline ProducerId producer_of(std::uint8_t number) {
    ProducerId id;
    id.bytes[0] = std::byte{number};
    return id;
}

/// To the end, as an administrator does it in steps.
inline std::uint64_t purge(Channel& channel, const BlockReader& read = {}) {
    Channel::Purge purge = channel.begin_purge();
    while (!purge.is_over) {
        channel.purge_some(purge, 1'000, read);
    }
    return purge.messages;
}
inline std::uint64_t retry_all(Subscription& reader) {
    Sweep sweep;
    std::uint64_t count = 0;
    for (std::uint64_t runs = 1'000; !sweep.is_over; runs = 1'000) {
        count += reader.retry_some(sweep, runs);
    }
    return count;
}
inline std::uint64_t drop_all(Subscription& reader, MessageState state) {
    Sweep sweep;
    std::uint64_t count = 0;
    for (std::uint64_t runs = 1'000; !sweep.is_over; runs = 1'000) {
        count += reader.drop_some(state, sweep, runs);
    }
    return count;
}
/// How many of these there are, in memory.
inline std::uint64_t drop_these(Subscription& reader, MessageState state, std::span<const Offset> offsets) {
    Sweep sweep;
    return reader.drop(state, offsets, sweep);
}

/// Makes batches.
class Press {
public:
    [[nodiscard]] Payload batch(const Lines& words) {
        for (const std::string& word : words) {
            builder_.append(as_bytes(word));
        }
        return builder_.take(pool_);
    }
    /// `count` messages of `size` bytes each; each takes 4 bytes more in the region.
    [[nodiscard]] Payload batch_of(std::uint32_t count, std::size_t size) {
        return batch(Lines(count, std::string(size, 'x')));
    }
    /// Only the messages region of such a batch.
    [[nodiscard]] Payload region_of(std::uint32_t count, std::size_t size) {
        const Payload whole = batch_of(count, size);
        return whole.slice(batch_header_size, whole.size() - batch_header_size);
    }

private:
    ChunkPool pool_;
    BatchBuilder builder_;
};

inline constexpr Credit plenty{1'000'000, 1'000'000'000};

/// A channel with everything around it. Links are numbers; senders are attached with credit announced.
struct ChannelWorld {
    explicit ChannelWorld(const ChannelOptions& options = {}, std::size_t memory = 1ULL << 40,
                          const Durability& durability = {})
        : budget{memory}, channel{"test", options, events, clock, budget, durability} {}

    std::uint64_t attach_sender(std::uint16_t link, std::uint8_t producer = 0,
                                ConfirmLevel confirm = ConfirmLevel::durable) {
        const std::uint64_t decided =
            channel.attach_sender(link_of(link), producer == 0 ? ProducerId{} : producer_of(producer), confirm);
        channel.announce_credit(link_of(link));
        return decided;
    }
    void attach_receiver(std::uint16_t link, Credit credit = plenty) {
        attach_reader(link, {}, credit);
    }
    void attach_reader(std::uint16_t link, const ReceiverRequest& request, Credit credit = plenty) {
        const std::error_code refused = channel.attach_receiver(link_of(link), request);
        BATON_ASSERT(!refused);
        channel.set_credit(link_of(link), credit);
    }
    void publish(std::uint16_t link, std::uint64_t first_sequence, const Lines& words) {
        channel.publish(link_of(link), first_sequence, press.batch(words));
    }
    void settle(std::uint16_t link, Offset first, std::uint32_t count, Outcome outcome = Outcome::done,
                std::uint32_t attempt = 1) {
        const SettleRange range{first, count, attempt, outcome};
        channel.settle(link_of(link), {&range, 1}, 0);
    }

    /// What happened since the last call, without credit and states; with a dispatch before.
    Lines happened() {
        channel.dispatch();
        Lines lines;
        for (const Event& event : events.take()) {
            if (event.kind != Event::Kind::credit && event.kind != Event::Kind::state) {
                lines.push_back(to_line(event));
            }
        }
        return lines;
    }
    /// Only credit and states.
    Lines credit_happened() {
        Lines lines;
        for (const Event& event : events.take()) {
            if (event.kind == Event::Kind::credit || event.kind == Event::Kind::state) {
                lines.push_back(to_line(event));
            }
        }
        return lines;
    }
    /// Offset, attempt, state and payload of everything stored.
    Lines stored() const {
        Lines lines;
        channel.peek(0, [&](const PeekedMessage& peeked) {
            lines.push_back(std::to_string(peeked.offset) + "/" + std::to_string(peeked.attempt) +
                            (peeked.state == PeekedMessage::State::ready ? " ready " : " in flight ") +
                            std::string{as_text(peeked.message.payload)});
            return true;
        });
        return lines;
    }

    RecordingEvents events;
    ManualClock clock;
    MemoryBudget budget;
    Press press;
    Channel channel;
};

}  // namespace baton::channel::test

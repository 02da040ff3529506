// What was sent, confirmed, delivered and settled in a run, as the clients and the wire saw it, and the rules that must
// hold between these: nothing lost, nothing twice, nothing invented, in order. When a broker dies its memory channels
// begin anew; in durable ones nothing may be lost that was answered, and only what is recent may come back. Not
// responsible for credit and frames (wire_tap.hpp). One thread. Next file: wire_tap.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/bytes.hpp"
#include "tests/sim/report.hpp"

namespace baton::sim {

using ProducerNumber = std::uint32_t;  // One sending link of one client process; never used twice.

struct MessageRecord {
    ProducerNumber producer = 0;
    std::uint64_t number = 0;
    std::uint32_t channel = 0;
    std::uint64_t size = 0;
    std::uint64_t offset = 0;  // 0: not known yet.
    std::uint32_t deliveries = 0;
    std::uint32_t starts = 0;  // Marked as started by a receiver: an attempt may have been counted.
    bool is_confirmed = false;
    bool is_refused = false;
    bool may_be_lost = false;         // Confirmed by a broker that has died, and it was not on a disk.
    MonotonicTime last_delivery{};    // In this life of the broker, if there are deliveries.
    std::uint32_t attempt_least = 1;  // Of the next delivery: what was started before this life began, long enough ago.
    bool is_done = false;             // With a receipt.
    bool is_stored = false;           // Seen by the last look into the channel.
};

struct DeliveryFacts {
    std::string receiver;  // For people.
    std::uint32_t channel = 0;
    std::uint64_t offset = 0;
    std::uint32_t attempt = 0;
    bool is_redelivered = false;
    bool is_stale = false;  // The broker has given up this connection already; these bytes were under way.
};

class Ledger {
public:
    static constexpr std::size_t body_size_min = 16;

    // `is_durable`: by channel.
    Ledger(Report& report, const Clock& clock, const std::vector<bool>& is_durable);

    [[nodiscard]] static std::vector<std::byte> make_body(ProducerNumber producer, std::uint64_t number,
                                                          std::size_t size);
    [[nodiscard]] const std::string& channel_name(std::uint32_t channel) const { return channels_[channel].name; }
    [[nodiscard]] std::uint32_t channel_of(Bytes name);
    [[nodiscard]] bool is_durable(std::uint32_t channel) const { return channels_[channel].is_durable; }

    // The broker has died. What it was told before `safe` without being asked for an answer is on the disk. `was_full`:
    // it may have refused messages, and their senders not have heard of it; the next one confirms what comes before
    // something that is stored.
    void broker_died(MonotonicTime safe, bool was_full);
    // The channel is damaged, and that is right. Nothing is asked of it any more.
    void abandon(std::uint32_t channel) { channels_[channel].is_abandoned = true; }
    [[nodiscard]] bool is_abandoned(std::uint32_t channel) const { return channels_[channel].is_abandoned; }

    // --- Senders
    // `is_careless`: it wants to be told as soon as the broker has received something.
    [[nodiscard]] ProducerNumber new_producer(std::uint32_t channel, bool is_careless = false);
    void sent(ProducerNumber producer, std::uint64_t number, std::uint64_t size);
    // `is_stale`: by a broker that has died meanwhile.
    void confirmed(ProducerNumber producer, std::uint64_t up_to, bool is_stale);
    void refused(ProducerNumber producer, std::uint64_t first, std::uint64_t count);

    // --- Receivers. Null: something was wrong with it.
    [[nodiscard]] MessageRecord* delivered(const DeliveryFacts& facts, Bytes body);
    void done_with_receipt(MessageRecord& message, const std::string& receiver);

    // --- The broker's side of the wire: a settlement has arrived.
    void done_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count);
    void start_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count, std::uint32_t attempt);

    // --- The end: everything that peek shows, then the rest.
    void stored(std::uint32_t channel, std::uint64_t offset, std::uint32_t attempt, std::uint64_t size, Bytes body);
    struct Totals {
        std::uint64_t next_offset = 0;
        std::uint64_t stored = 0;
        std::uint64_t settled = 0;
        std::uint64_t published = 0;
    };
    // `is_first_life`: the channel has counted from its beginning.
    void check_channel(std::uint32_t channel, const Totals& totals, bool is_first_life);
    // Everything is looked at once more.
    void forget_stored();
    void check_confirmed();

    // Grows whenever a message gets further than ever before.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }
    [[nodiscard]] std::uint64_t sent_count() const noexcept { return sent_; }
    [[nodiscard]] std::uint64_t delivered_count() const noexcept { return delivered_; }

private:
    struct Done {
        bool has_arrived = false;
        bool is_firm = false;  // It cannot come back, whatever happens.
        MonotonicTime arrival{};
    };
    struct Start {
        std::uint64_t offset = 0;
        std::uint32_t attempt = 0;
        MonotonicTime arrival{};
    };
    struct Channel {
        std::string name;
        bool is_durable = false;
        bool is_abandoned = false;
        std::map<std::uint64_t, MessageRecord*> by_offset;
        std::vector<Done> done;     // By offset.
        std::vector<Start> starts;  // In this life of the broker.
        std::uint64_t stored = 0;
    };
    struct Producer {
        std::uint32_t channel = 0;
        bool is_careless = false;
        std::deque<MessageRecord> messages;              // Number n is at n - 1.
        std::map<std::uint64_t, std::uint64_t> offsets;  // By number.
        std::uint64_t confirmed = 0;
    };

    void begin_anew(std::uint32_t channel);
    void keep_what_is_safe(Channel& channel, MonotonicTime safe);
    [[nodiscard]] bool check_what_came_back(const DeliveryFacts& facts, const MessageRecord& message);
    [[nodiscard]] MessageRecord* find(Bytes body, const std::string& where);
    [[nodiscard]] bool learn_offset(MessageRecord& message, std::uint32_t channel, std::uint64_t offset);
    [[nodiscard]] static std::string name_of(const MessageRecord& message);

    Report& report_;
    const Clock& clock_;
    std::vector<Channel> channels_;
    std::deque<Producer> producers_;
    std::uint64_t progress_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t delivered_ = 0;
};

}  // namespace baton::sim

// What was sent, confirmed, delivered and settled in a run, as the clients and the wire saw it, and the rules that must
// hold between these: nothing lost, nothing twice, nothing invented, in order.
// Not responsible for credit and frames (wire_tap.hpp). One thread. Next file: wire_tap.hpp.
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
    bool is_done = false;    // With a receipt.
    bool is_stored = false;  // Seen by the last look into the channel.
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

    Ledger(Report& report, std::uint32_t channels);

    [[nodiscard]] static std::vector<std::byte> make_body(ProducerNumber producer, std::uint64_t number,
                                                          std::size_t size);
    [[nodiscard]] const std::string& channel_name(std::uint32_t channel) const { return channels_[channel].name; }
    [[nodiscard]] std::uint32_t channel_of(Bytes name);

    // --- Senders
    [[nodiscard]] ProducerNumber new_producer(std::uint32_t channel);
    void sent(ProducerNumber producer, std::uint64_t number, std::uint64_t size);
    void confirmed(ProducerNumber producer, std::uint64_t up_to);
    void refused(ProducerNumber producer, std::uint64_t first, std::uint64_t count);

    // --- Receivers. Null: something was wrong with it.
    [[nodiscard]] MessageRecord* delivered(const DeliveryFacts& facts, Bytes body);
    void done_with_receipt(MessageRecord& message, const std::string& receiver);

    // --- The broker's side of the wire: a settlement `done` has arrived.
    void done_arrived(std::uint32_t channel, std::uint64_t first, std::uint64_t count);

    // --- The end: everything that peek shows, then the rest.
    void stored(std::uint32_t channel, std::uint64_t offset, std::uint32_t attempt, std::uint64_t size, Bytes body);
    struct Totals {
        std::uint64_t next_offset = 0;
        std::uint64_t stored = 0;
        std::uint64_t settled = 0;
        std::uint64_t published = 0;
    };
    void check_channel(std::uint32_t channel, const Totals& totals);
    void check_confirmed();

    // Grows whenever a message gets further than ever before.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }
    [[nodiscard]] std::uint64_t sent_count() const noexcept { return sent_; }
    [[nodiscard]] std::uint64_t delivered_count() const noexcept { return delivered_; }

private:
    struct Channel {
        std::string name;
        std::map<std::uint64_t, MessageRecord*> by_offset;
        std::vector<bool> is_done;  // By offset: a `done` arrived.
        std::uint64_t stored = 0;
    };
    struct Producer {
        std::uint32_t channel = 0;
        std::deque<MessageRecord> messages;              // Number n is at n - 1.
        std::map<std::uint64_t, std::uint64_t> offsets;  // By number.
        std::uint64_t confirmed = 0;
    };

    [[nodiscard]] MessageRecord* find(Bytes body, const std::string& where);
    [[nodiscard]] bool learn_offset(MessageRecord& message, std::uint32_t channel, std::uint64_t offset);
    [[nodiscard]] static std::string name_of(const MessageRecord& message);

    Report& report_;
    std::vector<Channel> channels_;
    std::deque<Producer> producers_;
    std::uint64_t progress_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t delivered_ = 0;
};

}  // namespace baton::sim

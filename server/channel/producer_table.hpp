// Duplicates: for each named producer the last sequence number that is decided. Remembered while a link of the producer
// is attached and for a while after, so that a resend after a reconnect is recognised. Bounded: the producer that was
// detached longest ago makes place for a new one. Not here: the sequence rules themselves (channel_messages.cpp). One
// owner, the channel. Next file: sender_gate.hpp.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "server/channel/errc.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Messages that were refused.
struct Refusal {
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    Errc reason{};
};

struct Producer {
    ProducerId id;
    std::uint64_t last_decided = 0;    ///< 0: nothing yet; then any first number is accepted.
    std::uint64_t last_committed = 0;  ///< Durable channels: the last one known to be committed, at most last_decided.
    std::uint64_t last_index = 0;      ///< Durable channels: its newest record in the log.
    /// Known from the disk and nothing decided since: what it was told about refused messages is not on the disk, so
    /// its next number may be higher than expected.
    bool is_restored = false;
    std::uint64_t last_stored = 0;  ///< Durable channels: what the disk knows; what was refused after it is not on it.
    std::vector<Refusal> refused;   ///< It may not have heard of these. In order; the oldest ones are forgotten.
    LinkAddress link;               ///< The attached sender, if any.
    bool is_attached = false;
    MonotonicTime detached_at{};
    Producer* older = nullptr;  ///< Neighbours among the detached ones.
    Producer* newer = nullptr;
};

class ProducerTable {
public:
    explicit ProducerTable(std::uint32_t producers_max) noexcept : producers_max_{producers_max} {}
    ProducerTable(const ProducerTable&) = delete;
    ProducerTable& operator=(const ProducerTable&) = delete;

    /// The producer if it is known, attached or not.
    [[nodiscard]] Producer* find(const ProducerId& id) noexcept;
    /// Attaches a known or new producer that is not attached. Null if the table is full of attached ones. The pointer
    /// is valid until `detach`.
    [[nodiscard]] Producer* attach(const ProducerId& id, const LinkAddress& link) noexcept;
    void detach(Producer& producer, MonotonicTime now) noexcept;
    /// The step with this number is done: what comes again under it, or a lower one, is known. Nothing is remembered if
    /// the producer is attached as a sender, or there is no place. `index`: of the record, durable channels.
    void note_step(const ProducerId& id, std::uint64_t number, std::uint64_t index, MonotonicTime now) noexcept;
    /// A producer known from the disk; detached at `now`.
    void restore(const ProducerId& id, std::uint64_t last_sequence, MonotonicTime now) noexcept;

    /// Forgets those that were detached before `horizon`.
    void forget_detached_before(MonotonicTime horizon) noexcept;
    /// A lower maximum forgets detached producers at once, attached ones never.
    void set_max(std::uint32_t producers_max) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return producers_.size(); }
    template <class Visitor>
    void for_each(Visitor visitor) const {
        for (const auto& entry : producers_) {
            visitor(entry.second);
        }
    }

private:
    struct Hash {
        [[nodiscard]] std::size_t operator()(const ProducerId& id) const noexcept;
    };

    void unlink(Producer& producer) noexcept;
    void forget_oldest() noexcept;

    std::uint32_t producers_max_;
    OnDemandMap<std::unordered_map<ProducerId, Producer, Hash>> producers_;
    Producer* oldest_ = nullptr;  // Of the detached ones.
    Producer* newest_ = nullptr;
};

}  // namespace baton::channel

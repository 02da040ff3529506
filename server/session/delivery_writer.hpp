// From slices to DELIVER frames: one frame where it fits, several where a slice is longer than a frame, fragments where
// one message is. Fragments are written while the outbox is short, in turn with other links, so that a large message
// delays nobody else on the connection (docs/protocol.md, section 9).
// Not responsible for credit (server/channel) or for when to flush. Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "server/session/link.hpp"

namespace baton::session {

class DeliveryWriter {
public:
    DeliveryWriter(ChunkPool& pool, Outbox& outbox) noexcept : pool_{pool}, outbox_{outbox} {}

    /// Negotiated; header included.
    void set_frame_size_max(std::size_t size) noexcept { frame_size_max_ = size; }

    /// Writes the slice, or queues it behind a large message of the same link.
    void deliver(std::uint16_t number, Link& link, const channel::Slice& slice);
    /// Writes fragments until the outbox holds enough or no large message is left.
    template <class LinkOf>
    void pump(LinkOf&& link_of) {
        while (has_room()) {
            const auto number = active_[next_ % active_.size()];
            if (Link* link = link_of(number); link == nullptr || !link->large || step(number, *link)) {
                std::erase(active_, number);
            } else {
                ++next_;
            }
        }
    }
    /// Of messages that wait behind a large one, or are the next large one: they are in no outbox yet.
    template <class LinkOf>
    [[nodiscard]] std::size_t waiting_bytes(LinkOf&& link_of) const {
        std::size_t bytes = 0;
        for (const auto number : active_) {
            const Link* link = link_of(number);
            bytes += link != nullptr && link->large ? link->large->waiting_bytes - link->large->waiting.front().messages.size() : 0;
        }
        return bytes;
    }
    /// pump would write something.
    [[nodiscard]] bool has_room() const noexcept { return !active_.empty() && outbox_.data_bytes() < pump_bytes_max; }

private:
    /// The outbox is kept at most this long by fragments; a few of them are enough to keep the socket busy.
    static constexpr std::size_t pump_bytes_max = 256 * 1024;

    [[nodiscard]] bool fits(std::size_t region_size) const noexcept;
    void write(std::uint16_t number, Link& link, const channel::Slice& slice);
    /// Writes one fragment. True if the link has no large message any more.
    bool step(std::uint16_t number, Link& link);
    static void wait(Link& link, const channel::Slice& slice);
    void announce(std::uint16_t number, Link& link, const channel::Slice& slice);
    void write_waiting(std::uint16_t number, Link& link);

    ChunkPool& pool_;
    Outbox& outbox_;
    std::size_t frame_size_max_ = wire::frame_size_max_default;
    std::vector<std::uint16_t> active_;  ///< Links with a large message.
    std::size_t next_ = 0;
};

}  // namespace baton::session

#include "server/session/delivery_writer.hpp"

#include <algorithm>
#include <array>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"

namespace baton::session {

namespace {

constexpr std::size_t body_head_size = wire::deliver_head_size + batch_header_size;

BatchHeader header_of(const channel::Slice& slice) noexcept {
    return {.count = slice.count,
            .flags = slice.batch_flags,
            .base_offset = slice.first,
            .time_us = slice.time.us,
            .crc32c = (slice.batch_flags & batch_has_crc) != 0 ? slice.crc32c : 0,
            .messages_size = static_cast<std::uint32_t>(slice.messages.size())};
}

/// The two parts of a slice, cut between messages. A part's checksum would be another one.
std::pair<channel::Slice, channel::Slice> halves_of(const channel::Slice& slice) {
    const auto count = slice.count / 2;
    const auto size = messages_prefix_size(slice.messages.bytes(), count);
    auto front = slice;
    front.count = count;
    front.batch_flags &= static_cast<std::uint16_t>(~batch_has_crc);
    auto back = front;
    front.messages = slice.messages.slice(0, size);
    back.first = slice.first + count;
    back.count = slice.count - count;
    back.messages = slice.messages.slice(size, slice.messages.size() - size);
    return {std::move(front), std::move(back)};
}

}  // namespace

bool DeliveryWriter::fits(std::size_t region_size) const noexcept {
    return wire::frame_header_size + body_head_size + region_size <= frame_size_max_;
}

void DeliveryWriter::deliver(std::uint16_t number, Link& link, const channel::Slice& slice) {
    if (link.large) {
        wait(link, slice);
    } else {
        write(number, link, slice);
    }
}

void DeliveryWriter::write(std::uint16_t number, Link& link, const channel::Slice& slice) {
    if (fits(slice.messages.size())) {
        wire::put_deliver(outbox_, number, link.delivered + 1, slice.attempt, slice.redelivered, header_of(slice),
                          slice.messages);
        link.delivered += slice.count;
    } else if (slice.count > 1) {
        const auto [front, back] = halves_of(slice);
        deliver(number, link, front);
        deliver(number, link, back);
    } else {
        link.large = std::make_unique<LargeOutput>();
        wait(link, slice);
        active_.push_back(number);
    }
}

void DeliveryWriter::wait(Link& link, const channel::Slice& slice) {
    link.large->waiting.push_back(slice);
    link.large->waiting_bytes += slice.messages.size();
}

void DeliveryWriter::announce(std::uint16_t number, Link& link, const channel::Slice& slice) {
    const auto total = body_head_size + slice.messages.size();
    wire::put_fragment_head(outbox_, number, link.delivered + 1,
                            {.type = wire::FrameType::deliver, .flags = 0, .total = total});
    std::array<std::byte, body_head_size> head{};
    store_u32(head.data(), slice.attempt);
    store_u32(head.data() + 4, slice.redelivered ? 1U : 0U);
    encode(header_of(slice), MutableBytes{head}.subspan(wire::deliver_head_size));
    link.large->head = Payload::copy_of(pool_, head);
    ++link.delivered;
}

bool DeliveryWriter::step(std::uint16_t number, Link& link) {
    auto& large = *link.large;
    BATON_ASSERT(!large.waiting.empty());
    const auto& slice = large.waiting.front();
    if (large.position == 0) {
        announce(number, link, slice);
        wire::put_fragment(outbox_, number, 0, large.head, false);
        large.position = body_head_size;
        return false;
    }
    const auto offset = large.position - body_head_size;
    const auto size = std::min<std::size_t>(wire::fragment_size_max, slice.messages.size() - offset);
    const bool is_last = offset + size == slice.messages.size();
    wire::put_fragment(outbox_, number, large.position, slice.messages.slice(offset, size), is_last);
    large.position += size;
    if (!is_last) {
        return false;
    }
    large.waiting_bytes -= slice.messages.size();
    large.waiting.pop_front();
    large.position = 0;
    write_waiting(number, link);
    return link.large == nullptr;
}

/// What had to wait behind the large message, up to the next large one.
void DeliveryWriter::write_waiting(std::uint16_t number, Link& link) {
    auto waiting = std::move(link.large->waiting);
    link.large.reset();
    std::erase(active_, number);
    while (!waiting.empty() && !link.large) {
        const auto slice = std::move(waiting.front());
        waiting.pop_front();
        write(number, link, slice);
    }
    if (link.large) {
        for (const auto& slice : waiting) {
            wait(link, slice);
        }
    }
}

}  // namespace baton::session

// Publishing, cutting by credit, confirming and sending again.
#include "client/src/sender_link.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/crc32c.hpp"
#include "common/base/hex.hpp"

namespace baton::client {

namespace {

using wire::FrameType;

constexpr std::size_t length_size = 4;  // In front of each message in a batch.

}  // namespace

SenderLink::SenderLink(ProtocolContext& context, LinkId id, std::string name, bool may_create, ConfirmLevel confirm)
    : Link{context, id, wire::Role::sender, std::move(name), may_create}, confirm_level_{confirm} {
    make_producer();
}

std::string_view SenderLink::confirm() const {
    return confirm_level_ == ConfirmLevel::received ? name_of(confirm_level_) : std::string_view{};
}

void SenderLink::make_producer() {
    std::array<std::byte, 16> id;
    store_u64(id.data(), context_.prng.next());
    store_u64(id.data() + 8, context_.prng.next());
    producer_ = hex_encode(id);
    sent_ever_ = 0;
}

std::uint64_t SenderLink::publish(const Payload& batch, ConfirmWhen when) {
    const auto header = decode_batch_header(batch.bytes());
    BATON_ASSERT(header.has_value());
    BATON_ASSERT(header->messages_size == batch.size() - batch_header_size);
    const std::uint64_t first = next_;
    next_ += header->count;
    unsent_.push_back({.messages = batch.slice(batch_header_size, header->messages_size),
                       .first = first,
                       .count = header->count,
                       .flags = static_cast<std::uint16_t>(header->flags & batch_has_properties),
                       .confirm = when});
    return first;
}

// What is not written yet says it by itself.
void SenderLink::await_confirms() {
    awaited_ = next_ - 1;
    if (later_ > confirmed_ && phase() == Phase::attached) {
        wire::put_state_question(context_.outbox, number());
    }
    later_ = 0;
}

bool SenderLink::takes_messages() const noexcept {
    return may_write() && unsent_.empty() && limit_.messages > used_.messages && limit_.bytes > used_.bytes &&
           context_.has_room();
}

std::uint64_t SenderLink::withdraw() {
    while (!unsent_.empty() && unsent_.back().first > sent_ever_) {
        next_ = unsent_.back().first;
        unsent_.pop_back();
    }
    return next_;
}

// A broker that goes away takes nothing new; a message that is half way through may end.
bool SenderLink::may_write() const noexcept {
    return phase() == Phase::attached && !is_held_ && (!context_.is_going_away || fragments_.is_active());
}

bool SenderLink::send_one() noexcept {
    if (!may_write() || unsent_.empty()) {
        return false;
    }
    if (fragments_.is_active()) {
        if (!fragments_.is_granted()) {
            return false;
        }
        if (fragments_.write_next(context_.outbox, number(), context_.welcome.fragment_size_max)) {
            sent_ = unsent_.front().first;
            sent_ever_ = std::max(sent_ever_, sent_);
            unconfirmed_.push_back(std::move(unsent_.front()));
            unsent_.pop_front();
        }
        return true;
    }
    const Cut part = cut(unsent_.front());
    if (part.count != 0) {
        write_publish(split_front(part));
        return true;
    }
    if (!is_for_fragments(unsent_.front())) {
        return false;
    }
    const Batch alone = split_front({.count = 1, .size = messages_prefix_size(unsent_.front().messages.bytes(), 1)});
    unconfirmed_.pop_back();
    unsent_.push_front(alone);
    used_.messages += 1;
    sent_ever_ = std::max(sent_ever_, alone.first);  // As good as sent: the broker may know it.
    fragments_.announce(context_.outbox, context_.pool, number(), alone.first, header_of(alone), alone.messages);
    return true;
}

SenderLink::Cut SenderLink::cut(const Batch& batch) const noexcept {
    const std::uint64_t messages_left = limit_.messages - used_.messages;
    const std::uint64_t bytes_left = std::min<std::uint64_t>(limit_.bytes - used_.bytes, context_.body_size_max());
    if (messages_left == 0 || bytes_left < batch_header_size + length_size) {
        return {};
    }
    const std::uint64_t count_max = std::min<std::uint64_t>(messages_left, batch_count_max);
    const std::uint64_t size_max = bytes_left - batch_header_size;
    if (batch.count <= count_max && batch.messages.size() <= size_max) {
        return {.count = batch.count, .size = batch.messages.size()};
    }
    Cut part;
    MessageCursor cursor{batch.messages.bytes(), (batch.flags & batch_has_properties) != 0};
    MessageView message;
    while (part.count < count_max && cursor.next(message) && cursor.position() <= size_max) {
        ++part.count;
        part.size = cursor.position();
    }
    return part;
}

// Fragments are for a message that fits into no frame. They are also the way out for one that fits into the frame but
// not into the byte credit although nothing of ours is under way: waiting would be for ever.
bool SenderLink::is_for_fragments(const Batch& batch) const noexcept {
    if (limit_.messages == used_.messages) {
        return false;
    }
    const std::size_t size = batch_header_size + messages_prefix_size(batch.messages.bytes(), 1);
    return size > context_.body_size_max() || (size > limit_.bytes - used_.bytes && unconfirmed_.empty());
}

// Moves the first messages of the unsent queue to the end of the unconfirmed one.
SenderLink::Batch SenderLink::split_front(const Cut& part) noexcept {
    Batch& front = unsent_.front();
    if (part.count == front.count) {
        unconfirmed_.push_back(std::move(front));
        unsent_.pop_front();
    } else {
        unconfirmed_.push_back({.messages = front.messages.slice(0, part.size),
                                .first = front.first,
                                .count = part.count,
                                .flags = front.flags,
                                .confirm = front.confirm});
        front.messages = front.messages.slice(part.size, front.messages.size() - part.size);
        front.first += part.count;
        front.count -= part.count;
    }
    return unconfirmed_.back();
}

BatchHeader SenderLink::header_of(const Batch& batch) noexcept {
    return {.count = batch.count,
            .flags = static_cast<std::uint16_t>(batch.flags | batch_has_crc),
            .base_offset = 0,
            .time_us = 0,
            .crc32c = crc32c(batch.messages.bytes()),
            .messages_size = static_cast<std::uint32_t>(batch.messages.size())};
}

void SenderLink::write_publish(const Batch& batch) noexcept {
    std::array<std::byte, wire::frame_header_size + batch_header_size> head;
    const std::size_t body_size = batch_header_size + batch.messages.size();
    const bool is_later = batch.confirm == ConfirmWhen::later && batch.last() > awaited_;
    later_ = is_later ? batch.last() : 0;
    wire::encode(wire::FrameHeader{.length = static_cast<std::uint32_t>(body_size),
                                   .type = FrameType::publish,
                                   .flags = is_later ? wire::flag_confirm_later : std::uint8_t{0},
                                   .link = number(),
                                   .sequence = batch.first},
                 head.data());
    encode(header_of(batch), MutableBytes{head}.subspan(wire::frame_header_size));
    context_.outbox.begin_frame(wire::lane_of(FrameType::publish));
    context_.outbox.append(Bytes{head});
    context_.outbox.append(batch.messages);
    context_.outbox.end_frame();
    used_.messages += batch.count;
    used_.bytes += body_size;
    sent_ = batch.last();
    sent_ever_ = std::max(sent_ever_, sent_);
}

Violation SenderLink::on_message_frame(const wire::FrameHeader& header, BorrowedBytes body) {
    switch (header.type) {
        case FrameType::confirm:
            return on_confirm(header.sequence, body.bytes());
        case FrameType::credit: {
            const auto limits = wire::decode_credit(body.bytes());
            if (!limits) {
                return "the body of CREDIT is malformed";
            }
            limit_ = {.messages = std::max(limit_.messages, limits->messages),  // It only ever grows.
                      .bytes = std::max(limit_.bytes, limits->bytes)};
            return nullptr;
        }
        case FrameType::state: {
            const auto state = wire::decode_state(body.bytes());
            if (!state) {
                return "the body of STATE is malformed";
            }
            constexpr auto us_max = static_cast<std::uint64_t>(std::chrono::microseconds::max().count() / 1'000);
            const auto us = static_cast<std::int64_t>(std::min(state->waiting_us, us_max));
            context_.events.on_blocked(id(), state->reason, std::chrono::microseconds{us});
            return nullptr;
        }
        case FrameType::grant:
            return fragments_.on_grant(header.sequence) ? nullptr : "GRANT for a message that was not announced";
        default:
            return "a frame that is not for senders";
    }
}

Violation SenderLink::on_confirm(std::uint64_t sequence, Bytes body) {
    const auto confirm = wire::decode_confirm(body);
    if (!confirm) {
        return "the body of CONFIRM is malformed";
    }
    // It may be about messages of an earlier connection that were still on their way to the broker's disk, and even
    // overtake ATTACHED.
    if (sequence > std::max(sent_, sent_ever_)) {
        return "CONFIRM for messages that were not sent";
    }
    if (is_held_) {
        return nullptr;  // More of the same refusal.
    }
    std::uint64_t decided = sequence;
    if (fragments_.is_active()) {
        decided = std::min(decided, unsent_.front().first - 1);  // Its last piece is owed; then it is confirmed again.
    }
    std::uint64_t draining_from = 0;
    wire::ConfirmException exception;
    for (auto exceptions = confirm->exceptions; exceptions.next(exception);) {
        if (exception.first == 0 || exception.count == 0 || exception.first > sequence ||
            exception.count - 1 > sequence - exception.first) {
            return "an exception of CONFIRM is out of range";
        }
        if (exception.status == wire::Status::draining && exception.first > confirmed_) {
            draining_from = draining_from == 0 ? exception.first : std::min(draining_from, exception.first);
            decided = std::min(decided, exception.first - 1);
        }
    }
    for (auto exceptions = confirm->exceptions; exceptions.next(exception);) {
        if (exception.first > confirmed_ && exception.first <= decided) {
            const std::uint64_t count = std::min<std::uint64_t>(exception.count, decided - exception.first + 1);
            context_.events.on_refused(id(), exception.first, count, exception.status);
        }
    }
    confirm_up_to(decided, confirm->level);
    if (draining_from == decided + 1) {
        on_draining(decided + 1);
    }
    detach_if_closing();
    return nullptr;
}

// A broker that drains refuses everything from here on and keeps nothing of it. So nothing is lost if all of it is sent
// to whoever answers next, as a new producer: the old one's numbers are decided there.
void SenderLink::on_draining(std::uint64_t first_refused) {
    BATON_ASSERT(!is_held_);
    BATON_ASSERT(first_refused == confirmed_ + 1);
    is_held_ = true;
    make_producer();
    context_.events.on_blocked(id(), wire::wait_reason_draining, Duration::zero());
}

void SenderLink::confirm_up_to(std::uint64_t sequence, std::uint8_t level) {
    if (sequence <= confirmed_) {
        return;
    }
    confirmed_ = sequence;
    for (auto* queue : {&unconfirmed_, &unsent_}) {
        while (!queue->empty() && queue->front().first <= sequence) {
            Batch& front = queue->front();
            const std::uint64_t decided = sequence - front.first + 1;
            if (decided >= front.count) {
                queue->pop_front();
                continue;
            }
            const auto count = static_cast<std::uint32_t>(decided);
            const std::size_t size = messages_prefix_size(front.messages.bytes(), count);
            front.messages = front.messages.slice(size, front.messages.size() - size);
            front.first += count;
            front.count -= count;
        }
    }
    context_.events.on_confirmed(id(), sequence, level);
}

Violation SenderLink::on_attached(std::uint64_t sequence, const ChannelTerms& terms) {
    BATON_ASSERT(unconfirmed_.empty());
    if (sequence >= next_) {
        return "ATTACHED says that messages are decided which were never sent";
    }
    context_.events.on_sender_attached(id(), terms.message_size_max);
    sent_ = known_ = sequence;
    const bool is_on_disk = terms.is_durable && confirm_level_ == ConfirmLevel::durable;
    confirm_up_to(sequence, static_cast<std::uint8_t>(is_on_disk ? ConfirmLevel::durable : ConfirmLevel::received));
    return nullptr;
}

// The broker died and lost what it had confirmed as `received`, so its numbers end below ours. What it refused as a gap
// it cannot have: a new producer may send it without doubling anything.
bool SenderLink::can_start_over(wire::Status status) {
    if (status != wire::Status::sequence_gap || known_ == 0 || known_ >= confirmed_) {
        return false;
    }
    known_ = 0;
    make_producer();
    return true;
}

void SenderLink::on_detached() {
    fragments_.cancel();
    limit_ = {};
    used_ = {};
    sent_ = later_ = 0;
    is_held_ = false;
    unsent_.insert(unsent_.begin(), std::make_move_iterator(unconfirmed_.begin()),
                   std::make_move_iterator(unconfirmed_.end()));
    unconfirmed_.clear();
}

}  // namespace baton::client

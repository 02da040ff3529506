// Deliveries in, settlements and credit out.
#include "client/src/receiver_link.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/properties.hpp"

namespace baton::client {

using wire::FrameType;

ReceiverLink::ReceiverLink(ProtocolContext& context, LinkId id, std::string name, bool may_create,
                           const ReceiverWindow& window, std::string options)
    : Link{context, id, wire::Role::receiver, std::move(name), may_create},
      window_{window},
      options_{std::move(options)} {
    BATON_ASSERT(window_.bytes >= 1 && (window_.is_on_demand || window_.messages >= 1));
}

std::optional<wire::CreditLimits> ReceiverLink::first_credit() {
    granted_ = credit();
    return granted_;
}

std::string ReceiverLink::options() const {
    if (!is_resuming_) {
        return options_;
    }
    auto options = options_.empty() ? nlohmann::json::object() : nlohmann::json::parse(options_);
    const bool begins_at_the_end = !options.contains("from") || options["from"] == "new" || options["from"] == "last";
    const auto offset = resume_.offset() || !begins_at_the_end ? resume_.offset() : resume_.lowest();
    if (!offset) {
        return options_;
    }
    options["from"] = {{"offset", *offset}};
    return options.dump();
}

Violation ReceiverLink::on_attached(std::uint64_t /*sequence*/, const ChannelTerms& terms) {
    is_resuming_ = terms.is_stream && (options_.empty() || !nlohmann::json::parse(options_).contains("subscription"));
    context_.events.on_receiver_attached(id(), {.lease = terms.lease, .lease_max = terms.lease_max});
    for (std::uint32_t i = 0; i < questions_; ++i) {
        wire::put_state_question(context_.outbox, number());
    }
    return nullptr;
}

void ReceiverLink::on_detached() {
    ++epoch_;
    received_ = {};
    returned_ = {};
    granted_ = {};
    settlements_.clear();
    assembly_.cancel();
    context_.events.on_deliveries_lost(id());
}

Violation ReceiverLink::on_message_frame(const wire::FrameHeader& header, BorrowedBytes body) {
    switch (header.type) {
        case FrameType::deliver:
            return assembly_.is_active() ? "DELIVER between fragments" : on_deliver(header.sequence, body);
        case FrameType::fragment:
            return on_fragment(header, body.bytes());
        case FrameType::settled:
            return on_settled_frame(header, body.bytes());
        case FrameType::state:
            return on_state_frame(body.bytes());
        default:
            return "a frame that is not for receivers";
    }
}

Violation ReceiverLink::on_deliver(std::uint64_t sequence, BorrowedBytes body) {
    const auto deliver = wire::decode_deliver(body.bytes());
    if (!deliver) {
        return "the body of DELIVER is malformed";
    }
    const auto header = check_batch(deliver->batch);
    if (!header || !check_batch_crc(deliver->batch)) {
        return "a delivered batch is damaged";
    }
    if (sequence != received_.messages + 1) {
        return "a DELIVER is out of order";
    }
    received_.messages += header->count;
    received_.bytes += header->messages_size;
    if (is_resuming_) {
        note_delivered(*header, messages_of(deliver->batch));
    }
    wanted_ -= std::min<std::uint64_t>(wanted_, header->count);
    const std::size_t head_size = wire::deliver_head_size + batch_header_size;
    context_.events.on_delivered(id(), {.epoch = epoch_,
                                        .attempt = deliver->attempt,
                                        .is_redelivered = deliver->redelivered,
                                        .arrived = context_.now,
                                        .header = *header,
                                        .messages = body.sub(head_size, header->messages_size).retain()});
    return nullptr;
}

void ReceiverLink::note_delivered(const BatchHeader& header, Bytes messages) {
    using Turn = ResumePoint::Turn;
    if (!header.has_properties()) {
        return resume_.on_delivered(header.base_offset, header.count);
    }
    MessageCursor cursor{messages, true};
    MessageView message;
    for (std::uint64_t offset = header.base_offset; cursor.next(message); ++offset) {
        const bool has_rules = std::ranges::any_of(
            std::array{PropertyId::priority, PropertyId::delay_us, PropertyId::not_before_us},
            [&](PropertyId id) { return find_property(message.properties, id).has_value(); });
        resume_.on_delivered(offset, 1, has_rules ? Turn::other : Turn::in_order);
    }
}

Violation ReceiverLink::on_fragment(const wire::FrameHeader& header, Bytes body) {
    using Step = FragmentAssembly::Step;
    // Not what the broker says that it takes now: a message may have been stored when that was more.
    constexpr std::uint64_t size_max = 1ULL << 30U;
    constexpr std::uint64_t overhead = 64;  // Heads around one message of the largest size; section 9.
    Step step = Step::malformed;
    if ((header.flags & wire::flag_fragment_first) != 0) {
        if (const auto head = wire::decode_fragment_head(body)) {
            step = assembly_.begin(context_.pool, header.sequence, *head, size_max + overhead);
        }
    } else {
        step = assembly_.append(header.sequence, body, (header.flags & wire::flag_fragment_last) != 0);
    }
    if (step == Step::malformed) {
        return "a FRAGMENT is malformed or out of order";
    }
    if (step == Step::more) {
        return nullptr;
    }
    const Violation violation = on_deliver(assembly_.sequence(), assembly_.body());
    assembly_.cancel();
    return violation;
}

Violation ReceiverLink::on_settled_frame(const wire::FrameHeader& header, Bytes body) {
    const auto exceptions = wire::decode_settled(body);
    if (!exceptions) {
        return "the body of SETTLED is malformed";
    }
    context_.events.on_settled(id(), header.sequence, *exceptions);
    return nullptr;
}

Violation ReceiverLink::on_state_frame(Bytes body) {
    const auto state = wire::decode_state(body);
    if (!state) {
        return "the body of STATE is malformed";
    }
    if (questions_ != 0) {
        --questions_;
        context_.events.on_state(id(), *state);
    }
    return nullptr;
}

bool ReceiverLink::settle(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                          std::string_view note) noexcept {
    if (epoch != epoch_ || phase() != Phase::attached) {
        return false;
    }
    if (note.empty()) {
        settlements_.add(range);
    } else {
        flush_settlements();
        wire::put_settle(context_.outbox, number(), 0, std::span{&range, 1}, note);
    }
    on_decided(range, region_bytes);
    return true;
}

bool ReceiverLink::settle_with_receipt(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                                       std::uint64_t receipt, std::string_view note) noexcept {
    BATON_ASSERT(receipt != 0);
    if (epoch != epoch_ || phase() != Phase::attached) {
        return false;
    }
    flush_settlements();
    wire::put_settle(context_.outbox, number(), receipt, std::span{&range, 1}, note);
    on_decided(range, region_bytes);
    return true;
}

bool ReceiverLink::give_room(std::uint64_t epoch, std::uint64_t messages, std::uint64_t region_bytes) noexcept {
    if (epoch != epoch_ || phase() != Phase::attached) {
        return false;
    }
    returned_.messages += messages;
    returned_.bytes += region_bytes;
    BATON_ASSERT(returned_.messages <= received_.messages && returned_.bytes <= received_.bytes);
    return true;
}

void ReceiverLink::note_done(const wire::Settlement& range) noexcept {
    if (is_resuming_) {
        resume_.on_done(range.first, range.count);
    }
}

void ReceiverLink::on_decided(const wire::Settlement& range, std::uint64_t region_bytes) noexcept {
    if (!ends_delivery(range.outcome)) {
        return;
    }
    if (range.outcome == static_cast<std::uint8_t>(Outcome::done) || range.outcome == static_cast<std::uint8_t>(Outcome::reject)) {
        note_done(range);
    }
    returned_.messages += range.count;
    returned_.bytes += region_bytes;
    BATON_ASSERT(returned_.messages <= received_.messages && returned_.bytes <= received_.bytes);
}

void ReceiverLink::ask_state() noexcept {
    ++questions_;
    if (phase() == Phase::attached) {
        flush_settlements();
        wire::put_state_question(context_.outbox, number());
    }
}

void ReceiverLink::flush() noexcept {
    if (phase() != Phase::attached) {
        return;
    }
    flush_settlements();
    if (const wire::CreditLimits now = credit(); is_credit_due(now)) {
        granted_ = now;
        wire::put_credit(context_.outbox, number(), granted_);
    }
}

void ReceiverLink::flush_settlements() noexcept {
    if (phase() != Phase::attached || settlements_.empty()) {
        return;
    }
    const std::size_t ranges_max = context_.body_size_max() / wire::settlement_size;
    for (std::span<const wire::Settlement> ranges = settlements_.take(); !ranges.empty();) {
        const std::size_t count = std::min(ranges.size(), ranges_max);
        wire::put_settle(context_.outbox, number(), 0, ranges.first(count));
        ranges = ranges.subspan(count);
    }
}

wire::CreditLimits ReceiverLink::credit() const noexcept {
    if (window_.is_on_demand) {
        return {.messages = received_.messages + wanted_, .bytes = received_.bytes + window_.bytes};
    }
    return {.messages = returned_.messages + window_.messages, .bytes = returned_.bytes + window_.bytes};
}

// Half a window at a time: one CREDIT for many messages. On demand every change of the number counts.
bool ReceiverLink::is_credit_due(const wire::CreditLimits& now) const noexcept {
    const auto bytes_step = std::max<std::uint64_t>(1, window_.bytes / 2);
    if (window_.is_on_demand) {
        return now.messages != granted_.messages || now.bytes - granted_.bytes >= bytes_step;
    }
    const auto messages_step = std::max<std::uint64_t>(1, window_.messages / 2);
    return now.messages - granted_.messages >= messages_step || now.bytes - granted_.bytes >= bytes_step;
}

}  // namespace baton::client

// SessionProtocol, part three: what channels answer, turned into frames. Confirms, credit and settlements are collected
// and written once per flush; deliveries go into the outbox as they come.
#include <algorithm>

#include <nlohmann/json.hpp>
#include <span>

#include "common/base/assert.hpp"
#include "common/base/text_form.hpp"
#include "server/runtime/channel_settings.hpp"
#include "server/session/session_protocol.hpp"
#include "server/session/status_mapping.hpp"

namespace baton::session {

using wire::Status;

// --- Collecting and flushing -------------------------------------------------------------------------------------------

void SessionProtocol::collect(std::uint16_t number, Link& link) {
    if (!link.is_collected) {
        link.is_collected = true;
        collected_.push_back(number);
    }
    host_.output_ready();
}

void SessionProtocol::flush_collected() {
    for (const auto number : collected_) {
        Link& link = *links_[number];
        link.is_collected = false;
        if (may_hold(link)) {
            hold(number, link);
        } else {
            flush_link(number, link);
        }
    }
    collected_.clear();
}

void SessionProtocol::prepare_flush() {
    if (state_ == State::open) {
        flush_collected();
        writer_.pump([this](std::uint16_t number) { return find_link(number); });
        if (!outbox_.empty()) {
            flush_held();  // With what is written anyway they cost next to nothing.
        }
    }
}

/// A confirm that nobody waits for costs a write here and a wake-up there, while those who wait for messages want both
/// processors. Only a confirm: everything else is said at once.
bool SessionProtocol::may_hold(const Link& link) const noexcept {
    return link.state == Link::State::attached && link.has_confirm && link.awaited <= link.told &&
           link.confirm_sequence > link.told && link.confirm_sequence - link.told < held_messages_max &&
           link.refusals.empty() && !link.has_credit && !is_draining_;
}

void SessionProtocol::hold(std::uint16_t number, Link& link) {
    if (link.is_held) {
        return;
    }
    link.is_held = true;
    if (held_.empty()) {
        held_until_ = clock_.now();  // The shard's next tick.
    }
    held_.push_back(number);
}

void SessionProtocol::flush_held() {
    for (const auto number : held_) {
        Link& link = *links_[number];
        link.is_held = false;
        if (link.has_confirm && link.is_talking()) {
            flush_link(number, link);
        }
    }
    held_.clear();
    held_until_ = MonotonicTime::max();
}

namespace {

/// So many exceptions go into one frame; more than any honest peer causes, and far below the smallest frame limit.
constexpr std::size_t exceptions_per_frame = 2'000;

/// Calls `put` with the exceptions in pieces that fit a frame, the last piece also if it is empty.
template <class Exception, class Put>
void put_in_pieces(std::vector<Exception>& exceptions, Put&& put) {
    std::span<const Exception> rest{exceptions};
    while (rest.size() > exceptions_per_frame) {
        put(rest.first(exceptions_per_frame), false);
        rest = rest.subspan(exceptions_per_frame);
    }
    put(rest, true);
    exceptions.clear();
}

}  // namespace

void SessionProtocol::flush_link(std::uint16_t number, Link& link) {
    if (link.has_confirm) {
        const auto level = static_cast<std::uint8_t>(link.confirm_level);
        put_in_pieces(link.refusals, [&](auto refusals, bool is_last) {
            // A piece confirms what lies before its own last exception: the exceptions come first, never after.
            const auto sequence = is_last ? link.confirm_sequence : refusals.back().first + refusals.back().count - 1;
            wire::put_confirm(outbox_, number, sequence, level, refusals);
        });
        link.has_confirm = false;
        link.told = std::max(link.told, link.confirm_sequence);
    }
    if (link.has_credit) {
        wire::put_credit(outbox_, number, {link.credit.messages, link.credit.bytes});
        link.has_credit = false;
    }
    if (link.settled_receipt != 0 || !link.settle_refusals.empty()) {
        put_in_pieces(link.settle_refusals, [&](auto refusals, bool is_last) {
            wire::put_settled(outbox_, number, is_last ? link.settled_receipt : 0, refusals);
        });
        link.settled_receipt = 0;
    }
}

void SessionProtocol::on_write_progress(std::size_t unsent_bytes) {
    if (state_ != State::open) {
        return;
    }
    unsent_bytes += writer_.waiting_bytes([this](std::uint16_t number) { return find_link(number); });
    if (!is_slow_ && unsent_bytes > limits_.outbox_high_water) {
        set_slow(true);
    } else if (is_slow_ && unsent_bytes < limits_.outbox_low_water) {
        set_slow(false);
    }
    if (writer_.has_room()) {
        host_.output_ready();
    }
}

void SessionProtocol::set_slow(bool is_slow) {
    is_slow_ = is_slow;
    for (std::size_t index = 1; index < links_.size(); ++index) {
        const auto number = static_cast<std::uint16_t>(index);
        Link* link = find_link(number);
        if (link != nullptr && link->state == Link::State::attached && link->role == wire::Role::receiver) {
            broker_.set_slow(address(number), link->channel, is_slow);
        }
    }
}

/// The peer still expects something on this link.
bool SessionProtocol::is_talking(std::uint16_t number) const noexcept {
    return state_ == State::open && links_[number]->is_talking();
}

// --- Links -------------------------------------------------------------------------------------------------------------

void SessionProtocol::on_attached(std::uint16_t number, const runtime::Attachment& attachment) {
    Link& link = *links_[number];
    link.channel = attachment.channel;
    if (link.detach_wanted) {
        link.detach_wanted = false;  // Still `detaching` or `failing`; on_closed goes on.
        return broker_.detach(address(number), link.channel);
    }
    BATON_ASSERT(state_ == State::open && link.state == Link::State::attaching);
    link.state = Link::State::attached;
    link.told = attachment.last_sequence;
    nlohmann::json settings{{"kind", runtime::kind_name(attachment.kind)},
                            {"storage", attachment.is_durable ? "durable" : "memory"},
                            {"message_size_max", attachment.message_size_max},
                            {"created", attachment.created}};
    if (link.role == wire::Role::receiver) {
        const auto milliseconds = [](Duration duration) {
            return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
        };
        settings["lease_ms"] = milliseconds(attachment.lease);
        settings["lease_max_ms"] = milliseconds(attachment.lease_max);
        settings["attempts_max"] = attachment.attempts_max;
        if (!attachment.subscription.empty()) {
            settings["subscription"] = name_text(as_bytes(attachment.subscription));
        }
    }
    wire::put_attached(outbox_, number, attachment.last_sequence, settings.dump());
    host_.output_ready();
    if (link.role == wire::Role::receiver) {
        if (link.credit != channel::Credit{}) {
            broker_.set_credit(address(number), link.channel, link.credit);
        }
        if (is_slow_) {
            broker_.set_slow(address(number), link.channel, true);
        }
    }
    if (link.has_question) {
        link.has_question = false;
        broker_.query(address(number), link.channel);
    }
}

void SessionProtocol::on_attach_failed(std::uint16_t number, std::error_code reason) {
    Link& link = *links_[number];
    if (state_ == State::closing) {
        return;
    }
    if (link.state == Link::State::detaching) {  // DETACH came meanwhile: that is answered instead.
        link.detach_wanted = false;
        link.state = Link::State::free;
        wire::put_detached(outbox_, number);
        return host_.output_ready();
    }
    if (link.state == Link::State::failing) {
        return on_closed(number, {});
    }
    drop_link_state(number, link);
    link.state = Link::State::failed;
    put_link_error(number, to_status(reason), reason.message());
}

void SessionProtocol::on_closed(std::uint16_t number, std::error_code reason) noexcept {
    Link& link = *links_[number];
    if (state_ == State::closing) {
        return;
    }
    switch (link.state) {
        case Link::State::detaching:
            flush_link(number, link);
            link.state = Link::State::free;
            wire::put_detached(outbox_, number);
            return host_.output_ready();
        case Link::State::failing:
            link.state = Link::State::failed;
            if (link.next_attach) {
                auto request = std::move(*link.next_attach);
                link.next_attach.reset();
                begin_attach(number, link, std::move(request));
            }
            return;
        case Link::State::attached:
            flush_link(number, link);
            drop_link_state(number, link);
            link.state = Link::State::failed;
            return put_link_error(number, to_status(reason), reason.message());
        case Link::State::attaching:  // attach_sender refused it: its `closed` comes in front of `attached`.
            link.detach_wanted = true;
            link.state = Link::State::failing;
            return put_link_error(number, to_status(reason), reason.message());
        case Link::State::failed:
        case Link::State::free:
            return;
    }
}

// --- Messages ----------------------------------------------------------------------------------------------------------

void SessionProtocol::on_confirmed(std::uint16_t number, std::uint64_t sequence,
                                   channel::ConfirmLevel level) noexcept {
    Link& link = *links_[number];
    if (!is_talking(number)) {
        return;
    }
    link.has_confirm = true;
    link.confirm_sequence = sequence;
    link.confirm_level = level;
    collect(number, link);
}

void SessionProtocol::on_refused(std::uint16_t number, std::uint64_t first, std::uint32_t count,
                                 std::error_code reason) noexcept {
    Link& link = *links_[number];
    if (!is_talking(number)) {
        return;
    }
    const auto status = to_status(reason);
    if (!link.refusals.empty() && link.refusals.back().status == status &&
        link.refusals.back().first + link.refusals.back().count == first) {
        link.refusals.back().count += count;
    } else {
        link.refusals.push_back({first, count, status});
    }
}

void SessionProtocol::on_sender_credit(std::uint16_t number, channel::Credit limit) noexcept {
    Link& link = *links_[number];
    if (!is_talking(number)) {
        return;
    }
    link.credit = limit;
    link.has_credit = true;
    collect(number, link);
}

void SessionProtocol::on_state(std::uint16_t number, const runtime::LinkStateReport& state) noexcept {
    if (!is_talking(number)) {
        return;
    }
    const auto waiting = std::chrono::duration_cast<std::chrono::microseconds>(state.waiting).count();
    wire::put_state(outbox_, number,
                    {.reason = static_cast<std::uint16_t>(state.reason),
                     .delayed = static_cast<std::uint32_t>(std::min<std::uint64_t>(state.delayed, UINT32_MAX)),
                     .waiting_us = static_cast<std::uint64_t>(waiting),
                     .ready = state.ready,
                     .in_flight = state.in_flight});
    host_.output_ready();
}

void SessionProtocol::on_deliver(std::uint16_t number, const channel::Slice& slice) noexcept {
    Link& link = *links_[number];
    if (link.state != Link::State::attached) {
        return;  // Detached meanwhile: the channel takes back what it gave.
    }
    BATON_ASSERT(link.role == wire::Role::receiver && state_ == State::open);
    writer_.deliver(number, link, slice);
    host_.output_ready();
}

void SessionProtocol::on_settle_refused(std::uint16_t number, const channel::SettleRange& range,
                                        std::error_code reason) noexcept {
    Link& link = *links_[number];
    if (!is_talking(number)) {
        return;
    }
    link.settle_refusals.push_back({range.first, range.count, range.attempt, to_status(reason)});
    collect(number, link);
}

void SessionProtocol::on_settled(std::uint16_t number, std::uint64_t receipt) noexcept {
    Link& link = *links_[number];
    if (!is_talking(number)) {
        return;
    }
    link.settled_receipt = receipt;
    collect(number, link);
}

void SessionProtocol::on_admin_reply(std::uint64_t request, const std::string& json) {
    BATON_ASSERT(admins_pending_ > 0);
    --admins_pending_;
    if (state_ == State::closing) {
        return;
    }
    wire::put_admin_reply(outbox_, request, json);
    host_.output_ready();
}

}  // namespace baton::session

// SessionProtocol, part two: frames that come in. Every value is checked here before the shard's broker sees it.
#include <algorithm>
#include <cstring>
#include <string>

#include <nlohmann/json.hpp>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/hex.hpp"
#include "common/base/text_form.hpp"
#include "server/runtime/start_position.hpp"
#include "server/session/session_protocol.hpp"

namespace baton::session {

using wire::FrameType;
using wire::Status;

namespace {

constexpr std::size_t dense_copy_below = 4 * 1024;

/// A body above message_size_max: batch header, message length, properties size.
constexpr std::size_t assembled_overhead_max = 64;

/// Requests of one session that wait for an answer from another shard; their answers are up to a frame long each.
constexpr std::uint32_t admins_pending_max = 256;

struct AttachOptions {
    bool create = true;
    channel::ProducerId producer;
    channel::ConfirmLevel confirm = channel::ConfirmLevel::durable;
    channel::ReceiverRequest receiver;
};

using AttachFailure = std::pair<Status, std::string>;

bool is_for_senders(std::string_view key) noexcept {
    return key == "producer" || key == "confirm";
}

bool is_for_receivers(std::string_view key) noexcept {
    return key == "subscription" || key == "from" || key == "filter" || key == "lease_ms" || key == "exclusive";
}

/// What is allowed instead; null: the option has been set.
const char* set_receiver_option(channel::ReceiverRequest& receiver, const std::string& key, const nlohmann::json& value,
                                std::size_t name_size_max) {
    constexpr std::uint64_t lease_ms_max = 86'400'000;
    if (key == "subscription") {
        const auto name = value.is_string() ? name_from_text(value.get_ref<const std::string&>()) : std::nullopt;
        if (!name || name->empty() || name->size() > name_size_max) {
            return "the text form of a name, no longer than that of a channel";
        }
        receiver.subscription = *name;
        return nullptr;
    }
    if (key == "from") {
        const auto from = runtime::start_position_of(value);
        receiver.from = from.value_or(channel::StartPosition{});
        return from ? nullptr : runtime::start_positions_allowed;
    }
    if (key == "filter") {
        receiver.filter = value.is_string() ? value.get<std::string>() : std::string{};
        return value.is_string() ? nullptr : "a pattern for keys";
    }
    if (key == "lease_ms") {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() < 100 || value.get<std::uint64_t>() > lease_ms_max) {
            return "whole numbers from 100 to 86400000";
        }
        receiver.lease = std::chrono::milliseconds{value.get<std::uint64_t>()};
        return nullptr;
    }
    receiver.is_exclusive = value.is_boolean() && value.get<bool>();
    return value.is_boolean() ? nullptr : "true and false";
}

/// The JSON of ATTACH; the error is what to tell the peer.
std::expected<AttachOptions, AttachFailure> parse_options(std::string_view text, wire::Role role,
                                                          std::size_t name_size_max) {
    using Failure = std::unexpected<AttachFailure>;
    AttachOptions options;
    if (text.empty()) {
        return options;
    }
    const auto flat = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth <= 2; };
    const auto json = nlohmann::json::parse(text, flat, /*allow_exceptions=*/false);
    if (!json.is_object()) {
        return Failure{{Status::bad_frame, "the options of ATTACH are not a JSON object"}};
    }
    for (const auto& [key, value] : json.items()) {
        if (key == "create" && value.is_boolean()) {
            options.create = value.get<bool>();
        } else if (key == "producer" && role == wire::Role::sender && value.is_string()) {
            const auto bytes = hex_decode(value.get_ref<const std::string&>());
            if (!bytes || bytes->size() != options.producer.bytes.size()) {
                return Failure{{Status::bad_frame, "producer must be 32 hex digits"}};
            }
            std::ranges::copy(*bytes, options.producer.bytes.begin());
        } else if (key == "confirm" && role == wire::Role::sender && value.is_string()) {
            const auto& level = value.get_ref<const std::string&>();
            if (level != "received" && level != "durable") {
                return Failure{{Status::bad_frame, "confirm must be \"received\" or \"durable\""}};
            }
            options.confirm = level == "received" ? channel::ConfirmLevel::received : channel::ConfirmLevel::durable;
        } else if (is_for_receivers(key) && role == wire::Role::receiver) {
            if (const char* allowed = set_receiver_option(options.receiver, key, value, name_size_max)) {
                return Failure{{Status::bad_frame, "the option \"" + key + "\" is " + value.dump() + ", allowed are " + allowed}};
            }
        } else if (key == "create" || (is_for_senders(key) && role == wire::Role::sender)) {
            return Failure{{Status::bad_frame, "the option \"" + key + "\" has a value of the wrong type"}};
        } else {
            return Failure{{Status::unsupported, "this broker does not know the option \"" + key + "\" for this role"}};
        }
    }
    return options;
}

}  // namespace

// --- Dispatch by type
// --------------------------------------------------------------------------------------------------

void SessionProtocol::on_frame(const wire::Frame& frame, const BorrowedBytes& body) {
    if (!reads_answers(frame.header.type)) {
        return fail_connection(Status::protocol_violation, "the peer sends requests and does not read the answers");
    }
    switch (frame.header.type) {
        case FrameType::ping:
            wire::put_pong(outbox_, frame.header.sequence);
            return host_.output_ready();
        case FrameType::pong:
            return;
        case FrameType::attach:
            return on_attach(frame);
        case FrameType::admin:
            return on_admin(frame);
        case FrameType::step:
            return on_step_frame(frame, body);
        case FrameType::error:
            if (const auto error = wire::decode_error(frame.body)) {
                return on_error(*error);
            }
            return fail_connection(Status::bad_frame, "the body of ERROR is not well formed");
        case FrameType::detach:
        case FrameType::publish:
        case FrameType::settle:
        case FrameType::credit:
        case FrameType::fragment:
        case FrameType::state:
            return on_link_frame(frame, body);
        case FrameType::hello:
        case FrameType::welcome:
        case FrameType::attached:
        case FrameType::detached:
        case FrameType::confirm:
        case FrameType::deliver:
        case FrameType::settled:
        case FrameType::grant:
        case FrameType::goaway:
        case FrameType::admin_reply:
        case FrameType::stepped:
            return fail_connection(Status::protocol_violation, std::string{"a client does not send "} +
                                                                   std::string{to_string(frame.header.type)} + " here");
    }
    on_unknown_frame(frame, body);
}

/// Deliveries are bounded by credit; answers are bounded here, since the broker does not stop reading.
bool SessionProtocol::reads_answers(FrameType type) const noexcept {
    const auto control_bytes = outbox_.size_bytes() - outbox_.data_bytes();
    const bool is_request =
        type == FrameType::admin || type == FrameType::attach || type == FrameType::detach || type == FrameType::state;
    return control_bytes <= limits_.outbox_low_water && (!is_request || outbox_.data_bytes() <= limits_.outbox_max);
}

namespace {

std::string unknown_text(FrameType type) {
    return "frame type " + std::to_string(static_cast<unsigned>(type)) + " is unknown and not optional";
}

}  // namespace

void SessionProtocol::on_unknown_frame(const wire::Frame& frame, const BorrowedBytes& body) {
    if (frame.header.is_optional()) {
        return;
    }
    if (frame.header.link == 0) {
        return fail_connection(Status::unknown_frame, unknown_text(frame.header.type));
    }
    on_link_frame(frame, body);
}

/// What a peer reports of a link or a message needs no answer: it ends a link by DETACH.
void SessionProtocol::on_error(const wire::ErrorBody& error) {
    if (error.severity == wire::Severity::connection) {
        close(error.status, "the peer reports: " + std::string{error.text});
    }
}

void SessionProtocol::on_link_frame(const wire::Frame& frame, const BorrowedBytes& body) {
    const auto number = frame.header.link;
    Link* link = find_link(number);
    if (number > limits_.links_max && has_refused_number_) {
        if (frame.header.type == FrameType::detach) {
            wire::put_detached(outbox_, number);
            host_.output_ready();
        }
        return;  // Sent before the peer knew that there is no such number.
    }
    if (link == nullptr || link->state == Link::State::free) {
        return fail_connection(Status::protocol_violation, std::string{to_string(frame.header.type)} + " on link " +
                                                               std::to_string(number) + ", which is not attached");
    }
    const bool is_failed = link->state == Link::State::failed || link->state == Link::State::failing;
    if (is_failed && !link->next_attach && frame.header.type != FrameType::detach) {
        return;  // Sent before the peer knew that the link had failed.
    }
    if (link->state == Link::State::detaching) {
        return fail_connection(Status::protocol_violation, std::string{to_string(frame.header.type)} + " on link " +
                                                               std::to_string(number) + " after DETACH");
    }
    switch (frame.header.type) {
        case FrameType::detach:
            return on_detach(number, *link);
        case FrameType::publish:
            return on_publish(number, *link, frame.header, body);
        case FrameType::settle:
            return on_settle(number, *link, frame);
        case FrameType::credit:
            return on_credit(number, *link, frame);
        case FrameType::fragment:
            return on_fragment(number, *link, frame);
        case FrameType::state:
            return on_question(number, *link, frame);
        default:
            return fail_link(number, *link, Status::unknown_frame, unknown_text(frame.header.type));
    }
}

// --- Links
// -------------------------------------------------------------------------------------------------------------

Link* SessionProtocol::find_link(std::uint16_t number) noexcept {
    return number < links_.size() ? links_[number].get() : nullptr;
}

void SessionProtocol::on_attach(const wire::Frame& frame) {
    const auto number = frame.header.link;
    const auto attach = wire::decode_attach(frame.body);
    if (!attach) {
        return fail_connection(Status::bad_frame, "the body of ATTACH is not well formed");
    }
    if (number == 0) {
        return fail_connection(Status::protocol_violation, "ATTACH on link 0, which is the connection");
    }
    if (number > limits_.links_max) {
        has_refused_number_ = true;
        return put_link_error(
            number, Status::too_many_links,
            "link numbers go from 1 to " + std::to_string(limits_.links_max) + ", this is " + std::to_string(number));
    }
    if (links_.size() <= number) {
        links_.resize(number + std::size_t{1});
    }
    if (!links_[number]) {
        links_[number] = std::make_unique<Link>();
    }
    Link& link = *links_[number];
    if (link.next_attach ||
        (link.state != Link::State::free && link.state != Link::State::failed && link.state != Link::State::failing)) {
        return put_link_error(number, Status::link_in_use, "link " + std::to_string(number) + " is attached already");
    }
    const auto reject = [&](Status status, const std::string& text) {
        if (link.state == Link::State::free) {
            link.state = Link::State::failed;
        }
        put_link_error(number, status, text);
    };
    if (attach->name.empty() || attach->name.size() > limits_.channel_name_size_max) {
        return reject(Status::bad_name, "a channel name has 1 to " + std::to_string(limits_.channel_name_size_max) +
                                            " bytes, this one has " + std::to_string(attach->name.size()));
    }
    const auto options = parse_options(attach->options, attach->role, limits_.channel_name_size_max);
    if (!options) {
        return reject(options.error().first, options.error().second);
    }
    const bool must_wait = link.state == Link::State::failing;
    link.role = attach->role;
    has_had_sender_ = has_had_sender_ || attach->role == wire::Role::sender;
    link.credit = {};  // Of the number's last life: credit for a sender may have come until it was detached.
    runtime::AttachRequest request{std::string{as_text(attach->name)}, attach->role == wire::Role::sender,
                                   options->create, options->producer, options->confirm, options->receiver};
    request.receiver.name = peer_name_;
    if (must_wait) {
        // The old channel has not let go yet; its last events are under way.
        link.next_attach = std::make_unique<runtime::AttachRequest>(std::move(request));
    } else {
        begin_attach(number, link, std::move(request));
    }
}

void SessionProtocol::begin_attach(std::uint16_t number, Link& link, runtime::AttachRequest request) {
    const auto early_credit = link.credit;
    const auto role = link.role;
    link.state = Link::State::attaching;
    link.delivered = 0;
    link.has_confirm = link.has_credit = link.detach_wanted = false;
    link.confirm_sequence = link.settled_receipt = 0;
    link.published = link.awaited = link.told = 0;
    link.credit = role == wire::Role::receiver ? early_credit : channel::Credit{};
    link.refusals.clear();
    link.settle_refusals.clear();
    broker_.attach(address(number), std::move(request));
}

void SessionProtocol::on_detach(std::uint16_t number, Link& link) {
    switch (link.state) {
        case Link::State::attached:
            drop_link_state(number, link);
            link.state = Link::State::detaching;
            broker_.detach(address(number), link.channel);
            return;
        case Link::State::attaching:
            drop_link_state(number, link);
            link.detach_wanted = true;
            link.state = Link::State::detaching;
            return;
        case Link::State::failing:
            if (link.next_attach) {
                drop_link_state(number, link);
                link.next_attach.reset();  // The old link goes on failing.
                wire::put_detached(outbox_, number);
                return host_.output_ready();
            }
            link.state = Link::State::detaching;
            return;
        case Link::State::failed:
        case Link::State::free:
        case Link::State::detaching:
            break;
    }
    link.state = Link::State::free;
    wire::put_detached(outbox_, number);
    host_.output_ready();
}

void SessionProtocol::put_link_error(std::uint16_t number, Status status, std::string_view text) {
    wire::put_error(
        outbox_, number, 0,
        {.status = status, .severity = wire::Severity::link, .retryable = wire::is_retryable(status), .text = text});
    host_.output_ready();
}

void SessionProtocol::fail_link(std::uint16_t number, Link& link, Status status, const std::string& text) {
    flush_link(number, link);  // Decisions made before the failure are still told, in front of it.
    put_link_error(number, status, text);
    drop_link_state(number, link);
    switch (link.state) {
        case Link::State::attached:
            link.state = Link::State::failing;
            return broker_.detach(address(number), link.channel);
        case Link::State::attaching:
            link.state = Link::State::failing;
            link.detach_wanted = true;
            return;
        case Link::State::failing:  // The ATTACH that waits for the old link to end is what has failed.
            link.next_attach.reset();
            return;
        case Link::State::free:
        case Link::State::detaching:
        case Link::State::failed:
            BATON_UNREACHABLE();
    }
}

void SessionProtocol::drop_link_state(std::uint16_t number, Link& link) {
    if (link.assembly && !link.assembly->memory) {
        broker_.cancel_memory(address(number));
    }
    link.assembly.reset();
    link.large.reset();
    link.credit = {};
    link.has_credit = link.has_question = false;
}

// --- Messages
// ----------------------------------------------------------------------------------------------------------

void SessionProtocol::publish(std::uint16_t number, Link& link, std::uint64_t sequence, Payload batch,
                              bool is_assembled) {
    broker_.publish(address(number), link.channel, sequence, std::move(batch), is_assembled);
}

void SessionProtocol::on_publish(std::uint16_t number, Link& link, const wire::FrameHeader& header,
                                 const BorrowedBytes& body) {
    if (link.role != wire::Role::sender) {
        return fail_link(number, link, Status::protocol_violation, "PUBLISH on a receiver's link");
    }
    if (link.state != Link::State::attached) {
        return fail_link(number, link, Status::over_credit, "PUBLISH before ATTACHED");
    }
    if (link.assembly) {
        return fail_link(number, link, Status::bad_frame, "PUBLISH while a message arrives in fragments on this link");
    }
    const auto checked = check_batch(body.bytes());
    if (!checked) {
        return fail_link(number, link, Status::bad_batch, make_error_code(checked.error()).message());
    }
    link.published = header.sequence + checked->count - 1;
    if ((header.flags & wire::flag_confirm_later) == 0) {
        link.awaited = link.published;
    }
    auto batch = keep(body);
    publish(number, link, header.sequence, std::move(batch), false);
}

/// Small batches are copied into dense chunks, so that a small message that stays does not keep a large read buffer
/// alive; larger ones are referenced where they arrived (docs/adr/0005-dense-small-batches.md).
Payload SessionProtocol::keep(const BorrowedBytes& batch) {
    return batch.size < dense_copy_below ? Payload::copy_of(pool_, batch.bytes()) : batch.retain();
}

void SessionProtocol::on_settle(std::uint16_t number, Link& link, const wire::Frame& frame) {
    auto settlements = wire::decode_settle(frame.body, frame.header.flags);
    if (link.role != wire::Role::receiver || !settlements) {
        return fail_link(number, link,
                         link.role == wire::Role::receiver ? Status::bad_frame : Status::protocol_violation,
                         "SETTLE is not well formed, or on a sender's link");
    }
    if (link.state != Link::State::attached) {
        return fail_link(number, link, Status::protocol_violation, "SETTLE before ATTACHED");
    }
    settle_ranges_.clear();
    wire::Settlement settlement;
    while (settlements->next(settlement)) {
        if (settlement.outcome < 1 || settlement.outcome > 6) {
            return fail_link(number, link, Status::bad_frame,
                             "SETTLE with outcome " + std::to_string(settlement.outcome) + ", allowed are 1 to 6");
        }
        settle_ranges_.push_back({settlement.first, settlement.count, settlement.attempt,
                                  static_cast<channel::Outcome>(settlement.outcome), settlement.argument});
    }
    broker_.settle(address(number), link.channel, settle_ranges_, frame.header.sequence, settlements->note);
}

void SessionProtocol::on_credit(std::uint16_t number, Link& link, const wire::Frame& frame) {
    const auto limits = wire::decode_credit(frame.body);
    if (link.role != wire::Role::receiver || !limits) {
        return fail_link(number, link,
                         link.role == wire::Role::receiver ? Status::bad_frame : Status::protocol_violation,
                         "CREDIT is not well formed, or on a sender's link");
    }
    link.credit = {limits->messages, limits->bytes};
    if (link.state == Link::State::attached) {
        broker_.set_credit(address(number), link.channel, link.credit);
    }
}

void SessionProtocol::on_question(std::uint16_t number, Link& link, const wire::Frame& frame) {
    if (!frame.body.empty()) {
        return fail_link(number, link, Status::bad_frame, "a client sends STATE without a body");
    }
    link.awaited = link.published;
    if (link.has_confirm) {
        collect(number, link);
    }
    if (link.state == Link::State::attached) {
        broker_.query(address(number), link.channel);
    } else {
        link.has_question = true;
    }
}

// --- Large messages
// ----------------------------------------------------------------------------------------------------

void SessionProtocol::on_fragment(std::uint16_t number, Link& link, const wire::Frame& frame) {
    if (link.role != wire::Role::sender || link.state != Link::State::attached) {
        return fail_link(number, link, Status::protocol_violation, "FRAGMENT on a link that is not an attached sender");
    }
    if ((frame.header.flags & wire::flag_fragment_first) != 0) {
        on_fragment_head(number, link, frame);
    } else {
        on_fragment_data(number, link, frame);
    }
}

void SessionProtocol::on_fragment_head(std::uint16_t number, Link& link, const wire::Frame& frame) {
    const auto head = wire::decode_fragment_head(frame.body);
    if (!head || head->type != FrameType::publish || link.assembly || head->total <= batch_header_size) {
        return fail_link(number, link, Status::bad_frame, "the announcement of a large message is not well formed");
    }
    if (head->total > limits_.message_size_max + assembled_overhead_max ||
        !broker_.request_memory(address(number), head->total, link.channel)) {
        return fail_link(number, link, Status::message_too_large,
                         "a message of " + std::to_string(head->total) + " bytes, limits.message_size_max is " +
                             std::to_string(limits_.message_size_max) + " and limits.memory_max " +
                             std::to_string(limits_.memory_max));
    }
    link.assembly = std::make_unique<Assembly>();
    link.assembly->sequence = frame.header.sequence;
    link.assembly->total = head->total;
}

void SessionProtocol::on_fragment_data(std::uint16_t number, Link& link, const wire::Frame& frame) {
    auto* assembly = link.assembly.get();
    const bool is_last = (frame.header.flags & wire::flag_fragment_last) != 0;
    if (assembly == nullptr || !assembly->memory) {
        return fail_link(number, link, Status::bad_frame, "FRAGMENT without GRANT");
    }
    if (frame.header.sequence != assembly->received || frame.body.empty() ||
        frame.body.size() > wire::fragment_size_max || frame.body.size() > assembly->total - assembly->received ||
        is_last != (assembly->received + frame.body.size() == assembly->total)) {
        return fail_link(number, link, Status::bad_frame,
                         "FRAGMENT at " + std::to_string(frame.header.sequence) + " with " +
                             std::to_string(frame.body.size()) + " bytes does not continue at " +
                             std::to_string(assembly->received) + " of " + std::to_string(assembly->total));
    }
    std::memcpy(assembly->memory.bytes() + assembly->received, frame.body.data(), frame.body.size());
    assembly->received += frame.body.size();
    if (!is_last) {
        return;
    }
    const auto sequence = assembly->sequence;
    Payload batch{std::move(assembly->memory), 0, assembly->total};
    link.assembly.reset();
    const auto checked = check_batch(batch.bytes());
    if (!checked || checked->count != 1) {
        return fail_link(number, link, Status::bad_batch, "a message in fragments is not a batch of one message");
    }
    link.published = link.awaited = sequence;
    publish(number, link, sequence, std::move(batch), true);
}

void SessionProtocol::on_memory_granted(std::uint16_t number) {
    Link* link = find_link(number);
    if (link == nullptr || !link->assembly) {
        return;  // cancel_memory has been called; kept for safety against a reordering.
    }
    link->assembly->memory = pool_.allocate(link->assembly->total);
    broker_.memory_taken(link->assembly->total);
    wire::put_grant(outbox_, number, link->assembly->sequence);
    host_.output_ready();
}

// --- Administration
// ----------------------------------------------------------------------------------------------------

void SessionProtocol::on_admin(const wire::Frame& frame) {
    const auto admin = wire::decode_admin(frame.body);
    if (!admin) {
        return fail_connection(Status::bad_frame, "the body of ADMIN is not well formed");
    }
    if (admins_pending_ == admins_pending_max) {
        return fail_connection(Status::protocol_violation,
                               "more than " + std::to_string(admins_pending_max) + " ADMIN requests without an answer");
    }
    ++admins_pending_;
    broker_.admin(id_, frame.header.sequence, as_text(admin->name), admin->json,
                  frame_size_max_ - wire::frame_header_size);
}

}  // namespace baton::session

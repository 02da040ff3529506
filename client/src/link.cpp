// The state machine of link.hpp: each function is one arrow, or the frames that cause it.
#include "client/src/link.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/assert.hpp"
#include "common/base/text_form.hpp"

namespace baton::client {

namespace {

using Json = nlohmann::json;
using wire::FrameType;

constexpr Duration retry_wait_first = std::chrono::milliseconds{100};
constexpr Duration retry_wait_max = std::chrono::seconds{2};

// Worth attaching again with the same words. `draining` has to wait for the next connection. `disk_full` lasts until
// somebody makes room, and nobody should wait for that without knowing; nor should somebody who is too slow lose what
// he missed without knowing. `superseded` can only be an
// ATTACH of our own, on an earlier connection, that came to the channel later than the one of this connection: nobody
// else knows our producer id.
bool is_worth_retrying(wire::Status status, bool said_retryable) noexcept {
    using wire::Status;
    return (said_retryable && status != Status::draining && status != Status::disk_full &&
            status != Status::slow_subscriber) ||
           status == Status::superseded;
}

// Whatever the number: a duration that can be added to any time of ours.
Duration milliseconds_of(std::uint64_t number) noexcept {
    constexpr std::uint64_t ms_max = std::uint64_t{100} * 365 * 24 * 3600 * 1000;
    return std::chrono::milliseconds{static_cast<std::int64_t>(std::min(number, ms_max))};
}

}  // namespace

Link::Link(ProtocolContext& context, LinkId id, wire::Role role, std::string name, bool may_create)
    : context_{context}, id_{id}, role_{role}, may_create_{may_create}, name_{std::move(name)} {}

void Link::attach() {
    if (phase_ != Phase::unattached || !context_.is_ready) {
        return;
    }
    BATON_ASSERT(number_ != 0);
    retry_at_.reset();
    if (context_.is_going_away && role_ == wire::Role::sender) {
        return;  // It would be refused. The next connection is near.
    }
    if (number_ > context_.welcome.links_max) {
        fail(wire::Status::too_many_links, false,
             "the broker allows " + std::to_string(context_.welcome.links_max) + " links");
        return;
    }
    if (name_.empty() || name_.size() > context_.welcome.channel_name_size_max) {
        fail(wire::Status::bad_name, false,
             "channel names have 1 to " + std::to_string(context_.welcome.channel_name_size_max) +
                 " bytes, this one has " + std::to_string(name_.size()));
        return;
    }
    const std::optional<wire::CreditLimits> credit = first_credit();
    wire::put_attach(context_.outbox, number_, {.role = role_, .name = as_bytes(name_), .options = attach_options()},
                     credit ? &*credit : nullptr);
    phase_ = Phase::attaching;
}

std::string Link::attach_options() const {
    const std::string more = this->options();
    Json options = more.empty() ? Json::object() : Json::parse(more);
    if (!may_create_) {
        options["create"] = false;
    }
    if (const std::string id = producer(); !id.empty()) {
        options["producer"] = id;
    }
    if (const std::string_view level = confirm(); !level.empty()) {
        options["confirm"] = std::string{level};
    }
    return options.empty() ? std::string{} : options.dump();
}

void Link::close() {
    is_closing_ = true;
    detach_if_closing();
}

void Link::detach_if_closing() {
    if (!is_closing_ || !may_detach()) {
        return;
    }
    if (phase_ == Phase::attached || phase_ == Phase::attaching) {
        detach();
    } else if (phase_ == Phase::unattached) {
        end_closed();
    }
}

void Link::detach() {
    before_detach();
    wire::put_detach(context_.outbox, number_);
    phase_ = Phase::detaching;
}

void Link::end_closed() {
    phase_ = Phase::ended;
    retry_at_.reset();
    context_.events.on_link_closed(id_);
}

void Link::on_disconnected() {
    retry_at_.reset();
    retry_wait_ = {};
    if (phase_ == Phase::detaching) {
        on_detached();
        end_closed();
    } else if (phase_ == Phase::attaching || phase_ == Phase::attached) {
        phase_ = Phase::unattached;
        on_detached();
        detach_if_closing();
    }
}

Violation Link::on_frame(const wire::FrameHeader& header, BorrowedBytes body) {
    switch (header.type) {
        case FrameType::attached:
            return on_attached_frame(header, body.bytes());
        case FrameType::error:
            return on_error_frame(body.bytes());
        case FrameType::detached:
            if (phase_ != Phase::detaching) {
                return "DETACHED without DETACH";
            }
            on_detached();
            end_closed();
            return nullptr;
        default:
            break;
    }
    if (phase_ == Phase::attached || phase_ == Phase::attaching) {
        return on_message_frame(header, body);
    }
    return nullptr;  // Was on its way when we detached.
}

Violation Link::on_attached_frame(const wire::FrameHeader& header, Bytes body) {
    if (phase_ == Phase::detaching) {
        return nullptr;
    }
    if (phase_ != Phase::attaching) {
        return "ATTACHED without ATTACH";
    }
    ChannelTerms terms;
    if (!body.empty()) {
        const Json settings = Json::parse(as_text(body), nullptr, false);
        if (!settings.is_object()) {
            return "the body of ATTACHED is not a JSON object";
        }
        const auto number = [&settings](const char* key) {
            const auto found = settings.find(key);
            return found != settings.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
        };
        const auto text = [&settings](const char* key) {
            const auto found = settings.find(key);
            return found != settings.end() && found->is_string() ? found->get<std::string>() : std::string{};
        };
        terms.message_size_max = number("message_size_max");
        terms.is_durable = text("storage") == "durable";
        terms.is_stream = text("kind") == "stream";
        terms.lease = milliseconds_of(number("lease_ms"));
        terms.lease_max = milliseconds_of(number("lease_max_ms"));
    }
    phase_ = Phase::attached;
    retry_wait_ = {};
    const Violation violation = on_attached(header.sequence, terms);
    detach_if_closing();
    return violation;
}

Violation Link::on_error_frame(Bytes body) {
    const auto error = wire::decode_error(body);
    if (!error) {
        return "the body of ERROR is malformed";
    }
    if (error->severity == wire::Severity::message) {
        return nullptr;  // Nothing ends; version 1 has none that a client must act on.
    }
    if (phase_ == Phase::unattached || phase_ == Phase::ended) {
        return nullptr;
    }
    if (phase_ == Phase::detaching) {
        return nullptr;  // They have crossed. DETACHED follows all the same; until then the number is not free.
    }
    phase_ = Phase::unattached;
    on_detached();
    if (error->status == wire::Status::draining) {
        context_.is_going_away = true;
    } else if (is_worth_retrying(error->status, error->retryable) || can_start_over(error->status)) {
        retry_wait_ = retry_wait_ == Duration{} ? retry_wait_first : std::min(2 * retry_wait_, retry_wait_max);
        retry_at_ = context_.now + retry_wait_;
        context_.has_retries = true;
        context_.events.on_attach_refused(id_, {error->status, error->retryable, std::string{error->text}});
    } else {
        fail(error->status, error->retryable, std::string{error->text});
        return nullptr;
    }
    detach_if_closing();
    return nullptr;
}

void Link::fail(wire::Status status, bool is_retryable, std::string text) {
    BATON_ASSERT(phase_ != Phase::ended);
    phase_ = Phase::ended;
    retry_at_.reset();
    context_.events.on_link_failed(id_,
                                   {.status = status,
                                    .is_retryable = is_retryable,
                                    .text = "channel " + name_text(as_bytes(name_)) + ": " +
                                            (text.empty() ? std::string{wire::to_string(status)} : std::move(text))});
}

}  // namespace baton::client

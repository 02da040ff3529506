// ClientError and its names; the translation of the protocol's statuses.
#include <string>
#include <utility>

#include "client/src/errors.hpp"
#include <baton/error.hpp>
#include <baton/options.hpp>

namespace baton {

std::string_view name_of(ClientErrc errc) noexcept {
    switch (errc) {
        case ClientErrc::bad_argument:
            return "bad_argument";
        case ClientErrc::cannot_connect:
            return "cannot_connect";
        case ClientErrc::timed_out:
            return "timed_out";
        case ClientErrc::blocked:
            return "blocked";
        case ClientErrc::interrupted:
            return "interrupted";
        case ClientErrc::closed:
            return "closed";
        case ClientErrc::disconnected:
            return "disconnected";
        case ClientErrc::not_found:
            return "not_found";
        case ClientErrc::not_authorised:
            return "not_authorised";
        case ClientErrc::message_too_large:
            return "message_too_large";
        case ClientErrc::refused:
            return "refused";
        case ClientErrc::draining:
            return "draining";
        case ClientErrc::superseded:
            return "superseded";
        case ClientErrc::protocol_error:
            return "protocol_error";
        case ClientErrc::lost_lease:
            return "lost_lease";
    }
    return "unknown";
}

std::string_view name_of(ClientEvent::Kind kind) noexcept {
    switch (kind) {
        case ClientEvent::Kind::connected:
            return "connected";
        case ClientEvent::Kind::disconnected:
            return "disconnected";
        case ClientEvent::Kind::connect_failed:
            return "connect_failed";
        case ClientEvent::Kind::blocked:
            return "blocked";
        case ClientEvent::Kind::unblocked:
            return "unblocked";
        case ClientEvent::Kind::goaway:
            return "goaway";
        case ClientEvent::Kind::link_failed:
            return "link_failed";
        case ClientEvent::Kind::abandoned:
            return "abandoned";
    }
    return "unknown";
}

std::string_view name_of(ConfirmLevel level) noexcept {
    switch (level) {
        case ConfirmLevel::none:
            return "none";
        case ConfirmLevel::received:
            return "received";
        case ConfirmLevel::durable:
            return "durable";
        case ConfirmLevel::replicated:
            return "replicated";
    }
    return "unknown";
}

ClientError::ClientError(ClientErrc code, std::string text, bool is_retryable, std::uint32_t status)
    : text_{std::make_shared<const std::string>(std::move(text))},
      code_{code},
      is_retryable_{is_retryable},
      status_{status} {}

std::string_view ClientError::status_name() const noexcept {
    return status_ != 0 ? wire::to_string(static_cast<wire::Status>(status_)) : name_of(code_);
}

namespace client {

ClientErrc errc_of(wire::Status status) noexcept {
    using wire::Status;
    switch (status) {
        case Status::not_found:
        case Status::channel_deleted:
            return ClientErrc::not_found;
        case Status::not_authorised:
            return ClientErrc::not_authorised;
        case Status::message_too_large:
            return ClientErrc::message_too_large;
        case Status::draining:
            return ClientErrc::draining;
        case Status::superseded:
            return ClientErrc::superseded;
        case Status::lost_lease:
            return ClientErrc::lost_lease;
        case Status::bad_name:
        case Status::bad_request:
            return ClientErrc::bad_argument;
        case Status::incompatible_options:
        case Status::unsupported:
        case Status::too_many_connections:
        case Status::too_many_links:
        case Status::too_many_channels:
        case Status::too_many_producers:
        case Status::unsupported_outcome:
        case Status::internal:
        case Status::disk_full:
        case Status::storage_failed:
        case Status::channel_damaged:
        case Status::full:
        case Status::in_use:
        case Status::slow_subscriber:
            return ClientErrc::refused;
        case Status::ok:
        case Status::protocol_violation:
        case Status::unsupported_version:
        case Status::frame_too_large:
        case Status::unknown_frame:
        case Status::bad_frame:
        case Status::handshake_timeout:
        case Status::heartbeat_timeout:
        case Status::link_in_use:
        case Status::sequence_gap:
        case Status::bad_batch:
        case Status::over_credit:
            return ClientErrc::protocol_error;
    }
    return ClientErrc::refused;  // A status of a newer broker.
}

ClientError error_of_status(wire::Status status, bool is_retryable, std::string text) {
    if (text.empty()) {
        text = wire::to_string(status);
    }
    return {errc_of(status), std::move(text), is_retryable, static_cast<std::uint32_t>(status)};
}

std::string refusal_text(wire::Status status) {
    using wire::Status;
    const std::string name{wire::to_string(status)};
    switch (status) {
        case Status::disk_full:
            return name + ": its disk has too little space left, nothing is stored; free some there and send again";
        case Status::storage_failed:
            return name + ": its disk failed, nothing is confirmed; see the broker's log and start it again";
        case Status::full:
            return name + ": the channel is full, and set to refuse what comes then; send again when there is room";
        case Status::channel_damaged:
            return name + ": the files of the channel are damaged; see the broker's log";
        default:
            return name;
    }
}

ClientError error_of(const LinkFailure& failure) {
    return error_of_status(failure.status, failure.is_retryable, failure.text);
}

ClientError closed_error(const std::string& what) {
    return {ClientErrc::closed, what + " is closed"};
}

}  // namespace client
}  // namespace baton

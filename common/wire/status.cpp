#include "common/wire/status.hpp"

namespace baton::wire {

namespace {
constexpr auto last_status = Status::slow_subscriber;
}  // namespace

std::string_view to_string(Status status) noexcept {
    switch (status) {
        case Status::ok:
            return "ok";
        case Status::protocol_violation:
            return "protocol_violation";
        case Status::unsupported_version:
            return "unsupported_version";
        case Status::frame_too_large:
            return "frame_too_large";
        case Status::unknown_frame:
            return "unknown_frame";
        case Status::bad_frame:
            return "bad_frame";
        case Status::not_authorised:
            return "not_authorised";
        case Status::handshake_timeout:
            return "handshake_timeout";
        case Status::heartbeat_timeout:
            return "heartbeat_timeout";
        case Status::too_many_connections:
            return "too_many_connections";
        case Status::too_many_links:
            return "too_many_links";
        case Status::too_many_channels:
            return "too_many_channels";
        case Status::bad_name:
            return "bad_name";
        case Status::link_in_use:
            return "link_in_use";
        case Status::not_found:
            return "not_found";
        case Status::incompatible_options:
            return "incompatible_options";
        case Status::unsupported:
            return "unsupported";
        case Status::sequence_gap:
            return "sequence_gap";
        case Status::superseded:
            return "superseded";
        case Status::message_too_large:
            return "message_too_large";
        case Status::bad_batch:
            return "bad_batch";
        case Status::over_credit:
            return "over_credit";
        case Status::lost_lease:
            return "lost_lease";
        case Status::unsupported_outcome:
            return "unsupported_outcome";
        case Status::channel_deleted:
            return "channel_deleted";
        case Status::draining:
            return "draining";
        case Status::too_many_producers:
            return "too_many_producers";
        case Status::bad_request:
            return "bad_request";
        case Status::internal:
            return "internal";
        case Status::disk_full:
            return "disk_full";
        case Status::storage_failed:
            return "storage_failed";
        case Status::channel_damaged:
            return "channel_damaged";
        case Status::full:
            return "full";
        case Status::in_use:
            return "in_use";
        case Status::slow_subscriber:
            return "slow_subscriber";
    }
    return "unknown";
}

std::optional<Status> status_from_string(std::string_view name) noexcept {
    for (auto code = static_cast<std::uint32_t>(Status::ok); code <= static_cast<std::uint32_t>(last_status); ++code) {
        if (to_string(static_cast<Status>(code)) == name) {
            return static_cast<Status>(code);
        }
    }
    return std::nullopt;
}

bool is_retryable(Status status) noexcept {
    switch (status) {
        case Status::handshake_timeout:
        case Status::heartbeat_timeout:
        case Status::too_many_connections:
        case Status::draining:
        case Status::too_many_producers:
        case Status::internal:
        case Status::disk_full:
        case Status::full:
        case Status::slow_subscriber:
            return true;
        default:
            return false;
    }
}

}  // namespace baton::wire

// Status codes of the protocol, with fixed numbers and names (docs/protocol.md, section 13). Not the errors of any
// folder: those are mapped to these in one place (server/session/status_mapping, client/src/errors).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace baton::wire {

enum class Status : std::uint32_t {
    ok = 0,
    protocol_violation = 1,
    unsupported_version = 2,
    frame_too_large = 3,
    unknown_frame = 4,
    bad_frame = 5,
    not_authorised = 6,
    handshake_timeout = 7,
    heartbeat_timeout = 8,
    too_many_connections = 9,
    too_many_links = 10,
    too_many_channels = 11,
    bad_name = 12,
    link_in_use = 13,
    not_found = 14,
    incompatible_options = 15,
    unsupported = 16,
    sequence_gap = 17,
    superseded = 18,
    message_too_large = 19,
    bad_batch = 20,
    over_credit = 21,
    lost_lease = 22,
    unsupported_outcome = 23,
    channel_deleted = 24,
    draining = 25,
    too_many_producers = 26,
    bad_request = 27,
    internal = 28,
    disk_full = 29,
    storage_failed = 30,
    channel_damaged = 31,
    full = 32,
    in_use = 33,
    slow_subscriber = 34,
};

/// "not_found"; "unknown" for a number that this version does not know.
[[nodiscard]] std::string_view to_string(Status status) noexcept;
[[nodiscard]] std::optional<Status> status_from_string(std::string_view name) noexcept;
/// Whether the same request can succeed later without a change.
[[nodiscard]] bool is_retryable(Status status) noexcept;

/// What an ERROR ends.
enum class Severity : std::uint8_t { message = 1, link = 2, connection = 3 };

}  // namespace baton::wire

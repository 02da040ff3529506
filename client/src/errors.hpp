// From what the broker says, or what the network does, to what the user is told: the one place of translation.
// Any thread. Next file: client/include/baton/error.hpp.
#pragma once

#include <string>

#include "client/src/protocol_events.hpp"
#include "common/wire/status.hpp"
#include <baton/error.hpp>

namespace baton::client {

[[nodiscard]] ClientErrc errc_of(wire::Status status) noexcept;

// A word of the broker, about `what` ("channel greetings").
[[nodiscard]] ClientError error_of_status(wire::Status status, bool is_retryable, std::string text);
[[nodiscard]] ClientError error_of(const LinkFailure& failure);

// Why messages were refused, and what helps: behind "refused by the broker: ".
[[nodiscard]] std::string refusal_text(wire::Status status);

[[nodiscard]] ClientError closed_error(const std::string& what);

}  // namespace baton::client

// The one place where errors of the broker's folders become statuses of the protocol, and where a status gets the text
// that the peer reads. Control path.
#pragma once

#include <system_error>

#include "common/wire/status.hpp"

namespace baton::session {

[[nodiscard]] wire::Status to_status(std::error_code reason) noexcept;

}  // namespace baton::session

// Where a subscription begins, as JSON (docs/protocol.md, section 5): in ATTACH and in subscription.create.
// Pure function. Next file: session_frames.cpp, message_admin.cpp.
#pragma once

#include <optional>

#include <nlohmann/json.hpp>

#include "server/channel/channel.hpp"

namespace baton::runtime {

inline constexpr const char* start_positions_allowed =
    R"("first", "last", "new", {"offset": N} and {"time_us": N})";

/// Nothing if it is none of those.
[[nodiscard]] std::optional<channel::StartPosition> start_position_of(const nlohmann::json& json);

}  // namespace baton::runtime

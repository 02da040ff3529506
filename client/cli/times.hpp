// Points in time as people type and read them: RFC 3339, or seconds since 1970; and where a subscription begins.
// Pure functions; any thread. Next file: command.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <baton/options.hpp>

namespace baton::cli {

using WallMicroseconds = std::chrono::sys_time<std::chrono::microseconds>;

/// "2026-01-31T12:00:00.5Z", "2026-01-31T13:00:00+01:00": whole RFC 3339 with its zone, nothing less. Digits beyond the
/// microsecond are dropped.
[[nodiscard]] std::optional<WallMicroseconds> parse_rfc3339(std::string_view text);
/// That, or seconds since 1970 UTC: "1767225600", "1767225600.5".
[[nodiscard]] std::optional<WallMicroseconds> parse_time(std::string_view text);
/// What is wrong with a text that parse_duration() refuses: "\"5x\" is not a duration such as ...", or how long it may be.
[[nodiscard]] std::string duration_problem(std::string_view text);
/// first, last, new; an offset; RFC 3339; or "5m": that long before `now`.
[[nodiscard]] std::optional<StartFrom> parse_start(std::string_view text, std::chrono::system_clock::time_point now);

}  // namespace baton::cli

// Durations and sizes as people write them in options and read them in messages.
// Any thread. Next file: result.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"

namespace baton {

// A whole number and one of ns, us, ms, s, m, h, d: "250ms", "2m". "0" needs no unit. Not negative.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

// A whole number of bytes, or with one of k, m, g, t: powers of 1024, either case, also written "kib" or "kb".
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

// The largest unit that shows the value exactly: "90s", "250ms", "1h". parse_duration gives the value back, unless it
// is negative.
[[nodiscard]] std::string format_duration(Duration duration);

// The largest unit that shows the value exactly: "64k", "1000", "1g". parse_size gives the value back.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

// Microseconds since 1970 UTC as RFC 3339: "2001-09-09T01:46:40.000000Z".
[[nodiscard]] std::string utc_text(std::int64_t us);

}  // namespace baton

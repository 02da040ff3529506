// Base64 of RFC 4648, with padding.
// Any thread. Next file: bytes.hpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"

namespace baton {

[[nodiscard]] std::string base64_encode(Bytes bytes);

// Strict: right padding, unused bits zero, nothing else in between; so that each value has one text.
[[nodiscard]] std::optional<std::vector<std::byte>> base64_decode(std::string_view text);

}  // namespace baton

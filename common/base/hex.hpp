// Bytes as hexadecimal text: golden vectors, logs, ids.
// Any thread. Next file: bytes.hpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"

namespace baton {

// Two lower-case digits a byte.
[[nodiscard]] std::string hex_encode(Bytes bytes);

// Either case. Blanks and line ends between bytes are skipped, so that vectors can be laid out. Nothing if it is not
// hex.
[[nodiscard]] std::optional<std::vector<std::byte>> hex_decode(std::string_view text);

}  // namespace baton

// Is it text? UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
// Any thread. Next file: text_form.hpp.
#pragma once

#include <cstddef>

#include "common/base/bytes.hpp"

namespace baton {

[[nodiscard]] bool is_valid_utf8(Bytes bytes) noexcept;

// Size of the valid sequence at the front (1 to 4), or 0 if there is none.
[[nodiscard]] std::size_t utf8_sequence_size(Bytes bytes) noexcept;

}  // namespace baton

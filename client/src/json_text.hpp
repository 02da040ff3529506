// Texts of JSON in which there are long strings, base64 above all: a parser looks at each of their characters, several times
// over. Here the text is handled as text, and the parser sees what is around them.
// Any thread. Next file: client/src/engine_events.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace baton::client {

// Shorter ones are not worth it.
inline constexpr std::size_t long_string = 256;

// The text, with "" for each long string that is plain: printable ASCII without a backslash. Such a string is right whatever is
// around it, so the result is JSON if and only if the text is; it has the same keys, unless one is long itself.
[[nodiscard]] std::string without_long_strings(std::string_view json);

// The text of the request for `operation`. `arguments` is the text of a JSON object, or empty; otherwise there is no request.
[[nodiscard]] std::optional<std::string> request_text(std::string_view operation, std::string_view arguments);

}  // namespace baton::client

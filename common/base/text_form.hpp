// Channel names may contain any bytes; this is how they are shown and typed: in logs, on the command line, in JSON.
// Printable UTF-8 stands for itself; every other byte, and '%', is "%XX".
// Any thread. Next file: utf8.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/bytes.hpp"

namespace baton {

// Always valid, printable UTF-8 on one line.
[[nodiscard]] std::string name_text(Bytes name);

// The bytes of the name; nothing if a '%' is not followed by two hexadecimal digits. name_from_text(name_text(n)) == n.
[[nodiscard]] std::optional<std::string> name_from_text(std::string_view text);

// For what is usually text, such as a header: as it is if it is valid UTF-8, else as name_text() shows it.
[[nodiscard]] std::string shown_text(const std::string& bytes);

}  // namespace baton

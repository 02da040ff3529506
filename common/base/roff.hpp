// Text of a manual page: no character at the start of a line or behind a backslash means anything. Any thread.
#pragma once

#include <string>

namespace baton {

[[nodiscard]] inline std::string roff(const std::string& text) {
    std::string escaped;
    for (const char letter : text) {
        if ((letter == '.' || letter == '\'') && (escaped.empty() || escaped.back() == '\n')) {
            escaped += "\\&";
        }
        if (letter == '\\') {
            escaped += "\\e";
        } else if (letter == '-') {
            escaped += "\\-";
        } else {
            escaped += letter;
        }
    }
    return escaped;
}

}  // namespace baton

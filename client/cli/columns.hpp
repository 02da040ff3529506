// Tables as text.
// Any thread. Next file: channel_report.hpp.
#pragma once

#include <cstddef>
#include <string>

namespace baton::cli {

// `text` at the right end of a column of so many bytes; what is longer stays as it is.
[[nodiscard]] inline std::string right(const std::string& text, std::size_t width) {
    return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

}  // namespace baton::cli

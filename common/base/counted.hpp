// How many of what, in a sentence. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace baton {

// "1 message", "2 messages".
[[nodiscard]] inline std::string counted(std::uint64_t count, const std::string& thing) {
    return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

}  // namespace baton

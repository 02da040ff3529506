// What is meant to be one line stays one, whatever values it quotes. Any thread.
#pragma once

#include <algorithm>
#include <string>

namespace baton {

// Without spaces and line breaks at the end, and with a space for every other control character.
[[nodiscard]] inline std::string one_line(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    std::ranges::replace_if(
        text, [](char letter) { return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F; }, ' ');
    return text;
}

}  // namespace baton

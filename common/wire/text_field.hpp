// A text of limited size in a frame: what is written is always UTF-8 and never longer than the protocol allows,
// whatever was given. For texts that people read; names and payloads are bytes and never pass through here. Any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "common/base/bytes.hpp"
#include "common/base/utf8.hpp"

namespace baton::wire {

/// Copies as much of `text` as fits, cut between characters, with '?' for each byte that is not UTF-8.
/// Returns the size of the copy.
inline std::size_t copy_text(std::string_view text, MutableBytes to) noexcept {
    Bytes rest = as_bytes(text);
    std::size_t size = 0;
    while (!rest.empty()) {
        const std::size_t valid = utf8_sequence_size(rest);
        const std::size_t taken = std::max<std::size_t>(valid, 1);
        if (to.size() - size < taken) {
            break;
        }
        if (valid == 0) {
            to[size] = std::byte{'?'};
        } else {
            copy_bytes(to.data() + size, rest.first(taken));
        }
        size += taken;
        rest = rest.subspan(taken);
    }
    return size;
}

}  // namespace baton::wire

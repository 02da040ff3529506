#include "common/base/utf8.hpp"

#include <cstdint>

namespace baton {

namespace {

bool is_between(std::byte byte, unsigned first, unsigned last) noexcept {
    const auto value = std::to_integer<unsigned>(byte);
    return value >= first && value <= last;
}

bool is_continuation(std::byte byte) noexcept {
    return is_between(byte, 0x80, 0xbf);
}

}  // namespace

std::size_t utf8_sequence_size(Bytes bytes) noexcept {
    if (bytes.empty()) {
        return 0;
    }
    const auto first = std::to_integer<unsigned>(bytes[0]);
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return bytes.size() >= 2 && is_continuation(bytes[1]) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef) {
        // The second byte excludes overlong forms and surrogates.
        const bool is_valid = bytes.size() >= 3 &&
                              is_between(bytes[1], first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) &&
                              is_continuation(bytes[2]);
        return is_valid ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        // The second byte excludes overlong forms and what is above U+10FFFF.
        const bool is_valid = bytes.size() >= 4 &&
                              is_between(bytes[1], first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) &&
                              is_continuation(bytes[2]) && is_continuation(bytes[3]);
        return is_valid ? 4 : 0;
    }
    return 0;
}

bool is_valid_utf8(Bytes bytes) noexcept {
    constexpr std::uint64_t high_bits = 0x8080808080808080;
    while (!bytes.empty()) {
        if (bytes.size() >= sizeof high_bits && (load_u64(bytes.data()) & high_bits) == 0) {
            bytes = bytes.subspan(sizeof high_bits);  // Eight letters of ASCII.
            continue;
        }
        const std::size_t size = utf8_sequence_size(bytes);
        if (size == 0) {
            return false;
        }
        bytes = bytes.subspan(size);
    }
    return true;
}

}  // namespace baton

#include "common/base/text_form.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/hex.hpp"
#include "common/base/utf8.hpp"

namespace baton {

namespace {

// The sequence is valid.
std::uint32_t code_point(Bytes sequence) noexcept {
    const auto first = std::to_integer<std::uint32_t>(sequence[0]);
    if (sequence.size() == 1) {
        return first;
    }
    std::uint32_t point = first & (0x7fU >> sequence.size());
    for (const std::byte byte : sequence.subspan(1)) {
        point = point << 6 | (std::to_integer<std::uint32_t>(byte) & 0x3f);
    }
    return point;
}

bool is_within(std::uint32_t point, std::uint32_t first, std::uint32_t last) noexcept {
    return point >= first && point <= last;
}

// Not control characters, line separators, or marks that are invisible or reverse the direction of what follows.
bool is_printable(std::uint32_t point) noexcept {
    return point >= 0x20 && !is_within(point, 0x7f, 0x9f) && !is_within(point, 0x200b, 0x200f) &&
           !is_within(point, 0x2028, 0x202e) && !is_within(point, 0x2060, 0x206f) && point != 0xfeff;
}

}  // namespace

std::string name_text(Bytes name) {
    std::string text;
    text.reserve(name.size());
    while (!name.empty()) {
        const std::size_t size = utf8_sequence_size(name);
        if (size != 0 && name[0] != std::byte{'%'} && is_printable(code_point(name.first(size)))) {
            text += as_text(name.first(size));
            name = name.subspan(size);
        } else {
            constexpr std::string_view digits = "0123456789ABCDEF";
            text += '%';
            text += digits[std::to_integer<std::size_t>(name[0] >> 4)];
            text += digits[std::to_integer<std::size_t>(name[0] & std::byte{15})];
            name = name.subspan(1);
        }
    }
    return text;
}

std::optional<std::string> name_from_text(std::string_view text) {
    constexpr std::size_t escape_size = 3;
    std::string name;
    name.reserve(text.size());
    while (!text.empty()) {
        if (text[0] != '%') {
            name += text[0];
            text.remove_prefix(1);
            continue;
        }
        const std::optional<std::vector<std::byte>> byte = hex_decode(text.substr(1, escape_size - 1));
        if (!byte || byte->size() != 1) {
            return std::nullopt;
        }
        name += std::to_integer<char>(byte->front());
        text.remove_prefix(escape_size);
    }
    return name;
}

std::string shown_text(const std::string& bytes) {
    return is_valid_utf8(as_bytes(bytes)) ? bytes : name_text(as_bytes(bytes));
}

}  // namespace baton

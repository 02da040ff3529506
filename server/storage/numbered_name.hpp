// Names of files and directories that end in a number: "segment-00000001". One place for what all of them have in
// common: a fixed least width, no other spelling of the same number, and numbers begin with 1.
// Any thread. Next file: segment_format.hpp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::storage {

inline constexpr int hex_base = 16;

/// Of a CRC-32C that is written as text.
inline constexpr std::size_t crc_digits = 8;

/// `prefix`, then the number with leading zeros up to `width` digits; a number that needs more gets more.
[[nodiscard]] inline std::string numbered_name(std::string_view prefix, std::uint64_t number, std::size_t width,
                                               int base = 10) {
    char digits[20];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), number, base).ptr;
    const auto size = static_cast<std::size_t>(end - digits);
    std::string name{prefix};
    name.append(width - std::min(width, size), '0');
    return name.append(digits, size);
}

/// The number of exactly such a name; nothing for any other spelling, and for 0.
[[nodiscard]] inline std::optional<std::uint64_t> number_in_name(std::string_view name, std::string_view prefix,
                                                                 std::size_t width, int base = 10) noexcept {
    if (!name.starts_with(prefix)) {
        return std::nullopt;
    }
    name.remove_prefix(prefix.size());
    const bool is_wide = name.size() > width;
    const bool is_lower = std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
    if (name.size() < width || (is_wide && name.front() == '0') || !is_lower) {
        return std::nullopt;
    }
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number, base);
    if (error != std::errc{} || end != name.data() + name.size() || number == 0) {
        return std::nullopt;
    }
    return number;
}

}  // namespace baton::storage

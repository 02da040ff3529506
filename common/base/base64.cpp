#include "common/base/base64.hpp"

#include <array>
#include <cstdint>

namespace baton {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::uint8_t not_a_letter = 64;

constexpr std::array<std::uint8_t, 256> values = [] {
    std::array<std::uint8_t, 256> made{};
    made.fill(not_a_letter);
    for (std::size_t value = 0; value < alphabet.size(); ++value) {
        made[static_cast<unsigned char>(alphabet[value])] = static_cast<std::uint8_t>(value);
    }
    return made;
}();

// One to three bytes.
void encode_group(Bytes group, char* letters) noexcept {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
        bits = bits << 8 | (k < group.size() ? std::to_integer<std::uint32_t>(group[k]) : 0);
    }
    for (std::size_t k = 0; k < 4; ++k) {
        letters[k] = k <= group.size() ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
}

}  // namespace

std::string base64_encode(Bytes bytes) {
    std::string text((bytes.size() + 2) / 3 * 4, '=');
    char* letters = text.data();
    for (; bytes.size() >= 3; bytes = bytes.subspan(3), letters += 4) {
        encode_group(bytes.first<3>(), letters);
    }
    if (!bytes.empty()) {
        encode_group(bytes, letters);
    }
    return text;
}

std::optional<std::vector<std::byte>> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
        ++padding;
    }
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t bits = 0;
    unsigned bit_count = 0;
    for (const char letter : text.substr(0, text.size() - padding)) {
        const std::uint32_t value = values[static_cast<unsigned char>(letter)];
        if (value == not_a_letter) {
            return std::nullopt;
        }
        bits = (bits << 6 | value) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes.push_back(static_cast<std::byte>(bits >> bit_count & 0xff));
        }
    }
    const std::uint32_t unused = bits & ((1U << bit_count) - 1);
    return unused == 0 ? std::optional{std::move(bytes)} : std::nullopt;
}

}  // namespace baton

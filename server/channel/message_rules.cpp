#include "server/channel/message_rules.hpp"

#include <algorithm>

#include "common/base/properties.hpp"

namespace baton::channel {

namespace {

// Longer than any clock of ours goes; added to a time it does not overflow.
constexpr std::uint64_t us_max = 1ULL << 52U;

Duration duration_of(Bytes value) noexcept {
    return std::chrono::microseconds{static_cast<std::int64_t>(std::min(load_u64(value.data()), us_max))};
}

}  // namespace

MessageRules rules_of(Bytes properties) noexcept {
    MessageRules rules;
    if (const auto value = find_property(properties, PropertyId::priority)) {
        rules.priority = std::min(std::to_integer<std::uint8_t>(value->front()), priority_max);
    }
    if (const auto value = find_property(properties, PropertyId::delay_us)) {
        rules.delay = duration_of(*value);
    }
    if (const auto value = find_property(properties, PropertyId::not_before_us)) {
        rules.not_before = WallTime{static_cast<std::int64_t>(load_u64(value->data()))};
    }
    if (const auto value = find_property(properties, PropertyId::ttl_us)) {
        rules.ttl = duration_of(*value);
    }
    return rules;
}

bool have_rules(Bytes region) noexcept {
    MessageCursor cursor{region, true};
    MessageView message;
    while (cursor.next(message)) {
        if (!message.properties.empty() && rules_of(message.properties).any()) {
            return true;
        }
    }
    return false;
}

Bytes key_of(Bytes properties) noexcept { return find_property(properties, PropertyId::key).value_or(Bytes{}); }

Bytes id_of(Bytes properties) noexcept { return find_property(properties, PropertyId::message_id).value_or(Bytes{}); }

Bytes tenant_of(Bytes properties, std::string_view fair_by) noexcept {
    constexpr std::string_view header = "header:";
    if (fair_by == "key") {
        const Bytes key = key_of(properties);
        const auto dot = std::ranges::find(key, std::byte{'.'});
        return key.first(static_cast<std::size_t>(dot - key.begin()));
    }
    if (!fair_by.starts_with(header)) {
        return {};
    }
    const Bytes name = as_bytes(fair_by.substr(header.size()));
    ByteReader reader{properties};
    std::uint8_t id = 0;
    std::uint16_t size = 0;
    Bytes value;
    while (reader.read_u8(id) && reader.read_u16(size) && reader.read_bytes(size, value)) {
        if (id != static_cast<std::uint8_t>(PropertyId::user_header) || value.size() < 2) {
            continue;
        }
        const std::size_t name_size = load_u16(value.data());
        if (name_size == name.size() && name_size <= value.size() - 2 &&
            std::ranges::equal(value.subspan(2, name_size), name)) {
            return value.subspan(2 + name_size);
        }
    }
    return {};
}

std::uint64_t number_of(Bytes text) noexcept {
    // FNV-1a, 64 bits, by Fowler, Noll and Vo; then mixed, because the low bits of short texts are alike.
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const std::byte byte : text) {
        hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3ULL;
    }
    hash ^= hash >> 32U;
    hash *= 0x9E3779B97F4A7C15ULL;
    return text.empty() ? 0 : std::max<std::uint64_t>(hash, 1);
}

}  // namespace baton::channel

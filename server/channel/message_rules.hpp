// What the properties of a message ask of the broker (docs/protocol.md, sections 6 and 10a): priority, times, key, tenant, id.
// Read in place, only of batches that have properties; a batch without any never comes here.
// Pure functions; the bytes have passed check_batch. Next file: subscription.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/base/batch.hpp"
#include "common/base/clock.hpp"

namespace baton::channel {

inline constexpr std::uint8_t priority_max = 9;

struct MessageRules {
    std::uint8_t priority = 0;  ///< At most priority_max.
    std::optional<Duration> delay;
    std::optional<WallTime> not_before;
    std::optional<Duration> ttl;

    [[nodiscard]] bool any() const noexcept { return priority > 0 || delay || not_before || ttl; }
};

[[nodiscard]] MessageRules rules_of(Bytes properties) noexcept;
/// Whether some message of the region, whose batch has properties, has any.
[[nodiscard]] bool have_rules(Bytes region) noexcept;

/// Empty: none.
[[nodiscard]] Bytes key_of(Bytes properties) noexcept;
[[nodiscard]] Bytes id_of(Bytes properties) noexcept;
/// By `fair_by`: "key": the key up to its first '.'; "header:NAME": that header. Empty: none.
[[nodiscard]] Bytes tenant_of(Bytes properties, std::string_view fair_by) noexcept;

/// 64 bits of a text; 0 only for the empty one. Two texts with one number only wait for each other.
[[nodiscard]] std::uint64_t number_of(Bytes text) noexcept;

}  // namespace baton::channel

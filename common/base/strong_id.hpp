// Integer identifiers that cannot be mixed up: `using ChannelId = StrongId<struct ChannelIdTag>;`.
// An id names a thing across threads and across time; it does not own it and never is a pointer in disguise.
// Any thread. Next file: error.hpp.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace baton {

template <class Tag, class Rep = std::uint64_t>
class StrongId {
public:
    using rep_type = Rep;

    constexpr StrongId() noexcept = default;
    constexpr explicit StrongId(Rep value) noexcept : value_{value} {}

    [[nodiscard]] constexpr Rep value() const noexcept { return value_; }

    friend constexpr auto operator<=>(StrongId, StrongId) noexcept = default;

private:
    Rep value_{};
};

}  // namespace baton

template <class Tag, class Rep>
struct std::hash<baton::StrongId<Tag, Rep>> {
    std::size_t operator()(baton::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};

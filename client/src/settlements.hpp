// Decisions about deliveries, collected during a turn and written as few ranges as possible.
// Not responsible for credit or for who decided: receiver_link.hpp.
// One thread (the endpoint guards its own with its mutex). Next file: receiver_link.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/wire/bodies.hpp"

namespace baton::client {

enum class Outcome : std::uint8_t { done = 1, give_back = 2, retry = 3, reject = 4, extend = 5, started = 6 };

// Whether the message is not ours any more afterwards.
[[nodiscard]] constexpr bool ends_delivery(std::uint8_t outcome) noexcept {
    return outcome != static_cast<std::uint8_t>(Outcome::started) &&
           outcome != static_cast<std::uint8_t>(Outcome::extend);
}

class Settlements {
public:
    // A message is settled at most once, and started at most once, before that. A `started` whose message is done
    // before the next take() is forgotten: it has nothing to say any more. If it is given back it has: an attempt was
    // made. An extension whose message is settled before the next take() is forgotten in any case.
    void add(std::uint64_t offset, std::uint32_t attempt, Outcome outcome) noexcept;
    void add(const wire::Settlement& range) noexcept;

    [[nodiscard]] bool empty() const noexcept { return started_.empty() && extended_.empty() && settled_.empty(); }

    // Everything since the last take: first what was started, then what was extended, then what was settled, each
    // sorted and merged. Valid until the next call.
    [[nodiscard]] std::span<const wire::Settlement> take() noexcept;
    void clear() noexcept;

private:
    static void append(std::vector<wire::Settlement>& ranges, const wire::Settlement& range) noexcept;
    static void merge(std::vector<wire::Settlement>& ranges) noexcept;
    static void forget(std::vector<wire::Settlement>& ranges, const wire::Settlement& settled) noexcept;

    std::vector<wire::Settlement> started_;  // In the order of arrival, neighbours merged.
    std::vector<wire::Settlement> extended_;
    std::vector<wire::Settlement> settled_;
    std::vector<wire::Settlement> taken_;
};

}  // namespace baton::client

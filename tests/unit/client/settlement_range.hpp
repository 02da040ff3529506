// What a receiver says of a run of messages, for tests.
#pragma once

#include <cstdint>

#include "client/src/settlements.hpp"
#include "common/wire/bodies.hpp"

namespace baton::client {

[[nodiscard]] inline wire::Settlement range(std::uint64_t first, std::uint32_t count, Outcome outcome, std::uint32_t attempt = 1,
                                            std::uint32_t argument = 0) {
    return {.first = first,
            .count = count,
            .attempt = attempt,
            .outcome = static_cast<std::uint8_t>(outcome),
            .argument = argument};
}

}  // namespace baton::client

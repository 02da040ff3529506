#include "common/base/prng.hpp"

namespace baton {

std::uint64_t Prng::below(std::uint64_t bound) noexcept {
    __extension__ using Wide = unsigned __int128;
    BATON_ASSERT(bound != 0);
    Wide product = static_cast<Wide>(next()) * bound;
    if (static_cast<std::uint64_t>(product) < bound) {
        // The lowest values of the product come up once too often; throw as many of them away as 2^64 has left over.
        const std::uint64_t rejected = (0 - bound) % bound;
        while (static_cast<std::uint64_t>(product) < rejected) {
            product = static_cast<Wide>(next()) * bound;
        }
    }
    return static_cast<std::uint64_t>(product >> 64);
}

}  // namespace baton

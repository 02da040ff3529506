// Random numbers that a seed repeats: jitter in production, everything in simulation and tests. Not for secrets.
// The generator is xoshiro256** of Blackman and Vigna (public domain), seeded through splitmix64.
// One thread. Next file: clock.hpp.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "common/base/assert.hpp"

namespace baton {

class Prng {
public:
    explicit Prng(std::uint64_t seed) noexcept {
        for (std::uint64_t& word : state_) {
            seed += 0x9e3779b97f4a7c15U;
            std::uint64_t mixed = seed;
            mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
            mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
            word = mixed ^ (mixed >> 31);
        }
    }

    [[nodiscard]] std::uint64_t next() noexcept {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    // Uniform in [0, bound); bound is not 0. Lemire's multiplication, without bias.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept;

    // Uniform in [first, last], both included.
    [[nodiscard]] std::uint64_t range(std::uint64_t first, std::uint64_t last) noexcept {
        BATON_ASSERT(first <= last);
        const std::uint64_t width = last - first;
        return width == UINT64_MAX ? next() : first + below(width + 1);
    }

    // True in `numerator` of `denominator` cases.
    [[nodiscard]] bool chance(std::uint64_t numerator, std::uint64_t denominator) noexcept {
        BATON_ASSERT(numerator <= denominator);
        return below(denominator) < numerator;
    }

    // For std::shuffle and the like.
    using result_type = std::uint64_t;
    [[nodiscard]] static constexpr result_type min() noexcept { return 0; }
    [[nodiscard]] static constexpr result_type max() noexcept { return UINT64_MAX; }
    result_type operator()() noexcept { return next(); }

private:
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace baton

#include "common/base/crc32c.hpp"

#include <array>
#include <cstddef>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace baton {

namespace {

// Table n gives the effect of a byte that is followed by n more bytes ("slicing by 8").
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() noexcept {
    constexpr std::uint32_t polynomial = 0x82f63b78;  // Bit-reversed 0x1edc6f41.
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t remainder = byte;
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? polynomial : 0);
        }
        tables[0][byte] = remainder;
    }
    for (std::size_t n = 1; n < tables.size(); ++n) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t previous = tables[n - 1][byte];
            tables[n][byte] = (previous >> 8) ^ tables[0][previous & 0xff];
        }
    }
    return tables;
}

constexpr Tables tables = make_tables();

constexpr std::size_t word_size = 8;

#if defined(__x86_64__)

// The instruction has a result every cycle, but only after three: so three neighbouring parts of this size are summed side by side
// and put together. A state that is followed by n more bytes is what it would be with n zeros, and then their own sum added
// (the sum is linear): V. Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011.
constexpr std::size_t part_size = 512;

// What part_size zeros make of a state: one table for each of its bytes.
using ZerosTables = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr ZerosTables make_zeros_tables() noexcept {
    ZerosTables zeros{};
    for (std::size_t bit = 0; bit < 32; ++bit) {
        std::uint32_t state = std::uint32_t{1} << bit;
        for (std::size_t i = 0; i < part_size; ++i) {
            state = (state >> 8) ^ tables[0][state & 0xff];
        }
        for (std::size_t byte = 0; byte < 256; ++byte) {
            if ((byte >> (bit % 8) & 1) != 0) {
                zeros[bit / 8][byte] ^= state;
            }
        }
    }
    return zeros;
}

constexpr ZerosTables zeros_tables = make_zeros_tables();

constexpr std::uint32_t behind_zeros(std::uint64_t state) noexcept {
    return zeros_tables[0][state & 0xff] ^ zeros_tables[1][state >> 8 & 0xff] ^ zeros_tables[2][state >> 16 & 0xff] ^
           zeros_tables[3][state >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) std::uint32_t crc32c_hardware(Bytes bytes, std::uint32_t seed) noexcept {
    std::uint64_t state = ~seed;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 3 * part_size; left -= 3 * part_size, at += 3 * part_size) {
        std::uint64_t second = 0;
        std::uint64_t third = 0;
        for (std::size_t i = 0; i < part_size; i += word_size) {
            state = __builtin_ia32_crc32di(state, load_u64(at + i));
            second = __builtin_ia32_crc32di(second, load_u64(at + part_size + i));
            third = __builtin_ia32_crc32di(third, load_u64(at + 2 * part_size + i));
        }
        state = behind_zeros(behind_zeros(state) ^ second) ^ third;
    }
    for (; left >= word_size; left -= word_size, at += word_size) {
        state = __builtin_ia32_crc32di(state, load_u64(at));
    }
    auto narrow = static_cast<std::uint32_t>(state);
    for (; left != 0; --left, ++at) {
        narrow = __builtin_ia32_crc32qi(narrow, std::to_integer<unsigned char>(*at));
    }
    return ~narrow;
}

bool has_hardware() noexcept {
    return __builtin_cpu_supports("sse4.2") != 0;
}

#elif defined(__ARM_FEATURE_CRC32)

std::uint32_t crc32c_hardware(Bytes bytes, std::uint32_t seed) noexcept {
    std::uint32_t state = ~seed;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= word_size; left -= word_size, at += word_size) {
        state = __crc32cd(state, load_u64(at));
    }
    for (; left != 0; --left, ++at) {
        state = __crc32cb(state, std::to_integer<std::uint8_t>(*at));
    }
    return ~state;
}

bool has_hardware() noexcept {
    return true;
}

#else

std::uint32_t crc32c_hardware(Bytes bytes, std::uint32_t seed) noexcept {
    return crc32c_software(bytes, seed);
}

bool has_hardware() noexcept {
    return false;
}

#endif

}  // namespace

std::uint32_t crc32c(Bytes bytes, std::uint32_t seed) noexcept {
    return has_hardware() ? crc32c_hardware(bytes, seed) : crc32c_software(bytes, seed);
}

std::uint32_t crc32c_software(Bytes bytes, std::uint32_t seed) noexcept {
    std::uint32_t state = ~seed;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= word_size; left -= word_size, at += word_size) {
        const std::uint64_t word = load_u64(at) ^ state;
        state = 0;
        for (std::size_t i = 0; i < word_size; ++i) {
            state ^= tables[word_size - 1 - i][(word >> (8 * i)) & 0xff];
        }
    }
    for (; left != 0; --left, ++at) {
        state = (state >> 8) ^ tables[0][(state ^ std::to_integer<std::uint32_t>(*at)) & 0xff];
    }
    return ~state;
}

}  // namespace baton

// CRC-32C against the vectors of RFC 3720 (appendix B.4) and of the two implementations against each other.
#include "common/base/crc32c.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton {
namespace {

std::vector<std::byte> filled(std::size_t size, int first, int step) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < size; ++i) {
        bytes.push_back(static_cast<std::byte>(first + step * static_cast<int>(i)));
    }
    return bytes;
}

TEST(crc32c, known_vectors) {
    for (const auto checksum : {crc32c, crc32c_software}) {
        EXPECT_EQ(checksum({}, 0), 0U);
        EXPECT_EQ(checksum(as_bytes("123456789"), 0), 0xe3069283U);
        EXPECT_EQ(checksum(filled(32, 0, 0), 0), 0x8a9136aaU);
        EXPECT_EQ(checksum(filled(32, 255, 0), 0), 0x62a8ab43U);
        EXPECT_EQ(checksum(filled(32, 0, 1), 0), 0x46dd794eU);
        EXPECT_EQ(checksum(filled(32, 31, -1), 0), 0x113fdb5cU);
    }
}

TEST(crc32c, hardware_equals_software_and_seeds_continue) {
    Prng prng{1};
    std::vector<std::byte> bytes(4 * 1536 + 300);  // Of the hardware's large steps several.
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(prng.below(256));
    }
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        const Bytes part = Bytes{bytes}.last(size);  // Every alignment, too.
        const std::uint32_t expected = crc32c_software(part);
        ASSERT_EQ(crc32c(part), expected) << size;
        const std::size_t cut = prng.range(0, size);
        ASSERT_EQ(crc32c(part.subspan(cut), crc32c(part.first(cut))), expected);
        ASSERT_EQ(crc32c_software(part.subspan(cut), crc32c_software(part.first(cut))), expected);
    }
}

}  // namespace
}  // namespace baton

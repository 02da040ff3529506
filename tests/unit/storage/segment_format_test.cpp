// Headers of segment files: what is encoded is decoded again, and any other byte is noticed.
#include "server/storage/segment_format.hpp"

#include <array>

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"

namespace baton::storage {
namespace {

constexpr SegmentHeader example_segment{.stream = StreamId{0x700000001}, .number = 3};
constexpr BlockHeader example_block{
    .stream = StreamId{0x700000001}, .first = 10, .end = 25, .body_size = 100, .entries = 4, .body_crc = 77};

template <class Header>
std::array<std::byte, 64> encoded(const Header& header) {
    std::array<std::byte, 64> bytes;
    encode(header, bytes);
    return bytes;
}

template <class Header>
void expect_that_every_flip_is_noticed(const Header& header) {
    const auto right = encoded(header);
    Header decoded;
    ASSERT_EQ(decode(right, decoded), HeaderCheck::ok);
    EXPECT_EQ(decoded, header);
    for (std::size_t at = 0; at < right.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            auto bytes = right;
            bytes[at] ^= std::byte{1} << bit;
            EXPECT_EQ(decode(bytes, decoded), HeaderCheck::wrong) << at << " bit " << bit;
        }
    }
}

TEST(SegmentFormat, every_flip_in_a_file_header_is_noticed_and_none_is_a_newer_version) {
    expect_that_every_flip_is_noticed(example_segment);
}

TEST(SegmentFormat, every_flip_in_a_block_header_is_noticed) {
    expect_that_every_flip_is_noticed(example_block);
}

HeaderCheck with_right_checksum(std::array<std::byte, 64> bytes, std::size_t at, std::byte value) {
    bytes[at] = value;
    store_u32(&bytes[60], crc32c(Bytes{bytes}.first(60)));
    SegmentHeader header;
    return decode(bytes, header);
}

TEST(SegmentFormat, a_newer_version_is_told_from_damage_by_its_checksum) {
    EXPECT_EQ(with_right_checksum(encoded(example_segment), 4, std::byte{2}), HeaderCheck::newer_version);
    EXPECT_EQ(with_right_checksum(encoded(example_segment), 4, std::byte{0}), HeaderCheck::wrong);
}

TEST(SegmentFormat, what_is_reserved_is_zero_even_if_the_checksum_is_right) {
    for (std::size_t at = 20; at < 60; ++at) {
        EXPECT_EQ(with_right_checksum(encoded(example_segment), at, std::byte{1}), HeaderCheck::wrong) << at;
    }
}

HeaderCheck block_with_right_checksum(std::array<std::byte, 64> bytes) {
    store_u32(&bytes[4], crc32c(Bytes{bytes}.subspan(8)));
    BlockHeader header;
    return decode(bytes, header);
}

TEST(SegmentFormat, a_block_has_something_and_less_than_4_gib_of_it) {
    auto bytes = encoded(example_block);
    store_u64(&bytes[24], 10);  // Its end is its first.
    EXPECT_EQ(block_with_right_checksum(bytes), HeaderCheck::wrong);
    bytes = encoded(example_block);
    store_u64(&bytes[32], 1ULL << 32);
    EXPECT_EQ(block_with_right_checksum(bytes), HeaderCheck::wrong);
    store_u64(&bytes[32], UINT32_MAX);
    EXPECT_EQ(block_with_right_checksum(bytes), HeaderCheck::ok);
    bytes[55] = std::byte{1};
    EXPECT_EQ(block_with_right_checksum(bytes), HeaderCheck::wrong);
}

TEST(SegmentFormat, two_magics_are_not_mixed_up) {
    BlockHeader as_block;
    EXPECT_EQ(decode(encoded(example_segment), as_block), HeaderCheck::wrong);
    SegmentHeader as_segment;
    EXPECT_EQ(decode(encoded(example_block), as_segment), HeaderCheck::wrong);
}

}  // namespace
}  // namespace baton::storage

// Headers of the write-ahead log: what is encoded is decoded, and each changed bit is noticed.
#include "server/storage/wal_format.hpp"

#include <array>

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"

namespace baton::storage {
namespace {

constexpr WalFileHeader file_header{.generation = 0x0102030405060708,
                                    .shard = 0x11121314,
                                    .file_number = 0x2122232425262728,
                                    .first_index = 0x3132333435363738,
                                    .salt = 0x4142434445464748};
constexpr GroupHeader group_header{.file_number = 5,
                                   .first_index = 1000,
                                   .synced_index = 999,
                                   .body_size = 4096,
                                   .records = 17,
                                   .epoch = 3,
                                   .salt = 0x5152535455565758};

template <class Header, std::size_t size>
void expect_each_bit_matters(const Header& header) {
    std::array<std::byte, size> bytes;
    encode(header, bytes);
    Header decoded;
    ASSERT_EQ(decode(bytes, decoded), HeaderCheck::ok);
    EXPECT_EQ(decoded, header);
    for (std::size_t bit = 0; bit < size * 8; ++bit) {
        const auto mask = static_cast<std::byte>(1U << (bit % 8));
        bytes[bit / 8] ^= mask;
        EXPECT_EQ(decode(bytes, decoded), HeaderCheck::wrong) << "bit " << bit;
        bytes[bit / 8] ^= mask;
    }
}

TEST(WalFormat, EachBitOfAFileHeaderMatters) {
    expect_each_bit_matters<WalFileHeader, wal_file_header_size>(file_header);
}

TEST(WalFormat, EachBitOfAGroupHeaderMatters) {
    expect_each_bit_matters<GroupHeader, group_header_size>(group_header);
}

TEST(WalFormat, NewerVersionIsNotWrong) {
    std::array<std::byte, wal_file_header_size> bytes;
    encode(file_header, bytes);
    store_u32(bytes.data() + 4, wal_version + 1);
    store_u32(bytes.data() + 52, crc32c(Bytes{bytes}.first(52)));
    WalFileHeader decoded;
    EXPECT_EQ(decode(bytes, decoded), HeaderCheck::newer_version);
}

TEST(WalFormat, ReservedBytesMustBeZero) {
    std::array<std::byte, group_header_size> bytes;
    for (const std::size_t at : {44U}) {
        encode(group_header, bytes);
        store_u32(bytes.data() + at, 1);
        store_u32(bytes.data() + 4, crc32c(Bytes{bytes}.subspan(8)));
        GroupHeader decoded;
        EXPECT_EQ(decode(bytes, decoded), HeaderCheck::wrong);
    }
}

TEST(WalFormat, ImpossibleGroupsAreWrong) {
    const auto check = [](GroupHeader header) {
        std::array<std::byte, group_header_size> bytes;
        encode(header, bytes);
        GroupHeader decoded;
        return decode(bytes, decoded);
    };
    GroupHeader header = group_header;
    header.records = 0;
    EXPECT_EQ(check(header), HeaderCheck::wrong);
    header = group_header;
    header.first_index = 0;
    EXPECT_EQ(check(header), HeaderCheck::wrong);
    header = group_header;
    header.first_index = UINT64_MAX - 3;
    EXPECT_EQ(check(header), HeaderCheck::wrong);
    header = group_header;
    header.body_size = header.records * record_header_size - 1;
    EXPECT_EQ(check(header), HeaderCheck::wrong);
    header = group_header;
    header.body_size = UINT64_MAX - 10;
    EXPECT_EQ(check(header), HeaderCheck::wrong);
}

TEST(WalFormat, ChecksumOfARecordCoversEverythingAndItsIndex) {
    const RecordHeader header{.body_size = 8, .crc = 0, .stream = StreamId{6}, .number = 9};
    const Bytes body = as_bytes("contents");
    const std::uint32_t crc = record_crc(99, 4, header, body);
    EXPECT_EQ(record_crc(99, 4, header, body.first(3), body.subspan(3)), crc);
    EXPECT_NE(record_crc(99, 5, header, body), crc);
    EXPECT_NE(record_crc(98, 4, header, body), crc);
    EXPECT_NE(record_crc(99, 4, header, as_bytes("content5")), crc);
    EXPECT_NE(record_crc(99, 4, {.body_size = 9, .crc = 0, .stream = StreamId{6}, .number = 9}, body), crc);
    EXPECT_NE(record_crc(99, 4, {.body_size = 8, .crc = 0, .stream = StreamId{7}, .number = 9}, body), crc);
    EXPECT_NE(record_crc(99, 4, {.body_size = 8, .crc = 0, .stream = StreamId{6}, .number = 10}, body), crc);
    std::array<std::byte, record_header_size> bytes;
    encode(RecordHeader{.body_size = 8, .crc = crc, .stream = StreamId{6}, .number = 9}, bytes);
    EXPECT_EQ(decode_record_header(bytes),
              (RecordHeader{.body_size = 8, .crc = crc, .stream = StreamId{6}, .number = 9}));
}

TEST(WalFormat, Names) {
    EXPECT_EQ(wal_file_name(1), "wal-0000000000000001");
    EXPECT_EQ(wal_file_number("wal-0000000000000001"), 1U);
    EXPECT_EQ(wal_file_number(wal_file_name(UINT64_MAX)), UINT64_MAX);
    for (const auto* name : {"wal-", "wal-1", "wal-0000000000000000", "wal-000000000000000a",
                             "wal-0000000000000001.tmp", "wal-00000000000000001", "checkpoint-0000000000000001", ""}) {
        EXPECT_EQ(wal_file_number(name), std::nullopt) << name;
    }
}

TEST(WalFormat, Alignment) {
    EXPECT_EQ(wal_aligned(0), 0U);
    EXPECT_EQ(wal_aligned(1), wal_alignment);
    EXPECT_EQ(wal_aligned(wal_alignment), wal_alignment);
    EXPECT_EQ(wal_aligned(wal_alignment + 1), 2 * wal_alignment);
}

}  // namespace
}  // namespace baton::storage

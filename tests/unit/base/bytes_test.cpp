// Integers in bytes, checked reading, ids, clocks: the small vocabulary.
#include "common/base/bytes.hpp"

#include <array>
#include <type_traits>
#include <unordered_set>

#include <gtest/gtest.h>

#include "common/base/clock.hpp"
#include "common/base/hex.hpp"
#include "common/base/strong_id.hpp"

namespace baton {
namespace {

TEST(bytes, integers_are_little_endian_and_unaligned) {
    std::array<std::byte, 16> buffer{};
    store_u16(buffer.data() + 1, 0x0102);
    store_u32(buffer.data() + 3, 0x03040506);
    store_u64(buffer.data() + 7, 0x0708090a0b0c0d0e);
    EXPECT_EQ(hex_encode(buffer),
              "0002010605040"
              "30e0d0c0b0a09080700");
    EXPECT_EQ(load_u16(buffer.data() + 1), 0x0102);
    EXPECT_EQ(load_u32(buffer.data() + 3), 0x03040506U);
    EXPECT_EQ(load_u64(buffer.data() + 7), 0x0708090a0b0c0d0eU);
}

TEST(bytes, reader_gives_back_what_writer_wrote) {
    std::vector<std::byte> out;
    ByteWriter writer{out};
    writer.u8(1);
    writer.u16(2);
    writer.u32(0);
    writer.u64(4);
    writer.bytes(as_bytes("five"));
    writer.set_u32(3, 3);
    ASSERT_EQ(writer.size(), 19U);

    ByteReader reader{out};
    std::uint8_t u8 = 0;
    std::uint16_t u16 = 0;
    std::uint32_t u32 = 0;
    std::uint64_t u64 = 0;
    Bytes text;
    ASSERT_TRUE(reader.read_u8(u8) && reader.read_u16(u16) && reader.read_u32(u32) && reader.read_u64(u64));
    EXPECT_EQ(reader.remaining(), 4U);
    ASSERT_TRUE(reader.read_bytes(4, text));
    EXPECT_EQ(u8, 1);
    EXPECT_EQ(u16, 2);
    EXPECT_EQ(u32, 3U);
    EXPECT_EQ(u64, 4U);
    EXPECT_EQ(as_text(text), "five");
    EXPECT_EQ(reader.remaining(), 0U);
}

TEST(bytes, reader_refuses_what_is_not_there_and_stays) {
    const Bytes three = as_bytes("abc");
    ByteReader reader{three};
    std::uint32_t u32 = 7;
    std::uint64_t u64 = 7;
    Bytes bytes = as_bytes("untouched");
    EXPECT_FALSE(reader.read_u32(u32));
    EXPECT_FALSE(reader.read_u64(u64));
    EXPECT_FALSE(reader.read_bytes(4, bytes));
    EXPECT_EQ(u32, 7U);
    EXPECT_EQ(u64, 7U);
    EXPECT_EQ(as_text(bytes), "untouched");
    EXPECT_EQ(reader.remaining(), 3U);
    EXPECT_TRUE(reader.read_bytes(0, bytes));
    EXPECT_TRUE(bytes.empty());
    EXPECT_TRUE(reader.read_bytes(3, bytes));
    std::uint8_t u8 = 0;
    EXPECT_FALSE(reader.read_u8(u8));
}

TEST(bytes, equality_compares_content) {
    EXPECT_TRUE(equal(as_bytes("ab"), as_bytes(std::string{"ab"})));
    EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("ac")));
    EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("a")));
    EXPECT_TRUE(equal({}, as_bytes("")));
}

TEST(strong_id, compares_and_hashes_by_value_and_does_not_mix) {
    using ShoeId = StrongId<struct ShoeTag>;
    using HatId = StrongId<struct HatTag, std::uint16_t>;
    static_assert(!std::is_convertible_v<std::uint64_t, ShoeId>);
    static_assert(!std::is_constructible_v<ShoeId, HatId>);
    static_assert(sizeof(HatId) == 2);
    EXPECT_EQ(ShoeId{}.value(), 0U);
    EXPECT_LT(ShoeId{1}, ShoeId{2});
    const std::unordered_set<ShoeId> shoes{ShoeId{1}, ShoeId{2}, ShoeId{1}};
    EXPECT_EQ(shoes.size(), 2U);
    EXPECT_TRUE(shoes.contains(ShoeId{2}));
}

TEST(clock, manual_clock_moves_only_when_told) {
    ManualClock clock;
    const MonotonicTime start = clock.now();
    const WallTime wall = clock.wall_now();
    EXPECT_EQ(start.time_since_epoch(), std::chrono::seconds{1});
    EXPECT_EQ(clock.now(), start);
    clock.advance(std::chrono::milliseconds{1500});
    EXPECT_EQ(clock.now() - start, std::chrono::milliseconds{1500});
    EXPECT_EQ(clock.wall_now().us - wall.us, 1'500'000);
    clock.set_wall(WallTime{5});
    EXPECT_EQ(clock.wall_now(), WallTime{5});
    EXPECT_EQ(clock.now() - start, std::chrono::milliseconds{1500});
}

TEST(clock, system_clock_does_not_go_back) {
    const SystemClock clock;
    MonotonicTime before = clock.now();
    for (int i = 0; i < 1000; ++i) {
        const MonotonicTime now = clock.now();
        ASSERT_GE(now, before);
        before = now;
    }
    constexpr std::int64_t year_2020_us = 1'577'836'800'000'000;
    EXPECT_GT(clock.wall_now().us, year_2020_us);
}

}  // namespace
}  // namespace baton

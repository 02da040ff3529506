// The shared read buffer: retained bytes are never overwritten, memory that nobody retained is used again.
#include "common/net/read_buffer.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace baton::net {
namespace {

class ReadBufferTest : public ::testing::Test {
protected:
    // "Reads" so many bytes of one value.
    BorrowedBytes fill(std::size_t size, int value) {
        const auto room = buffer.room();
        EXPECT_GE(room.size(), size);
        std::ranges::fill(room.first(size), static_cast<std::byte>(value));
        return buffer.commit(size);
    }

    static bool holds(const Payload& payload, int value) {
        return std::ranges::all_of(payload.bytes(),
                                   [&](std::byte each) { return each == static_cast<std::byte>(value); });
    }

    ChunkPool pool;
    ReadBuffer buffer{pool};
};

TEST_F(ReadBufferTest, TakesNoMemoryBeforeTheFirstRead) {
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST_F(ReadBufferTest, FillsTheSameMemoryAgainIfNobodyKeptIt) {
    const auto* const first = fill(1'000, 1).data;
    buffer.finish();
    EXPECT_EQ(buffer.room().data(), first);
    EXPECT_EQ(buffer.room().size(), pool.chunk_size());
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size());
}

TEST_F(ReadBufferTest, GoesOnBehindWhatIsKept) {
    const auto kept = fill(1'000, 1).retain();
    buffer.finish();
    const auto next = fill(500, 2);
    EXPECT_EQ(next.data, kept.data() + 1'000);
    buffer.finish();
    EXPECT_TRUE(holds(kept, 1));
}

TEST_F(ReadBufferTest, StartsANewChunkWhenLittleRoomIsLeft) {
    auto kept = fill(pool.chunk_size() - ReadBuffer::room_min + 1, 1).retain();
    buffer.finish();
    EXPECT_EQ(buffer.room().size(), pool.chunk_size());
    fill(1'000, 2);
    EXPECT_TRUE(holds(kept, 1));
    EXPECT_EQ(pool.outstanding_bytes(), 2 * pool.chunk_size());
    kept = {};
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size());
}

TEST_F(ReadBufferTest, KeepsTheChunkWhileThereIsEnoughRoom) {
    const auto kept = fill(pool.chunk_size() - ReadBuffer::room_min, 1).retain();
    buffer.finish();
    EXPECT_EQ(buffer.room().size(), ReadBuffer::room_min);
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size());
}

TEST_F(ReadBufferTest, StartsOverWhenTheLastSliceIsGone) {
    auto kept = fill(1'000, 1).retain();
    buffer.finish();
    kept = {};
    fill(10, 2);
    buffer.finish();
    EXPECT_EQ(buffer.room().size(), pool.chunk_size());
}

}  // namespace
}  // namespace baton::net

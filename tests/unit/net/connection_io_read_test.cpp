// Reading: whatever the splits, each frame arrives once, whole and in order, and memory follows what is going on.
#include <gtest/gtest.h>

#include "tests/unit/net/framed_peer.hpp"

namespace baton::net::test {
namespace {

class ConnectionIoRead : public ConnectionFixture {
protected:
    void expect_frames(const std::vector<Buffer>& bodies) {
        ASSERT_TRUE(loop.run_until([&] { return peer->frames_seen >= bodies.size(); }));
        ASSERT_EQ(peer->frames.size(), bodies.size());
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            EXPECT_TRUE(equal(peer->frames[i].bytes(), bodies[i])) << "frame " << i;
        }
    }

    // Sends the bodies as frames in pieces of random size up to `piece_max`, with the loop run after each.
    void send_in_pieces(const std::vector<Buffer>& bodies, std::size_t piece_max) {
        Buffer stream;
        for (const auto& body : bodies) {
            append_frame(stream, body);
        }
        Bytes rest{stream};
        while (!rest.empty()) {
            const auto piece = std::min(rest.size(), 1 + static_cast<std::size_t>(prng.below(piece_max)));
            send_all(rest.first(piece));
            rest = rest.subspan(piece);
            loop.poll();
        }
    }

    [[nodiscard]] std::vector<Buffer> random_bodies(std::size_t count, std::size_t size_max) {
        std::vector<Buffer> bodies;
        for (std::size_t i = 0; i < count; ++i) {
            bodies.push_back(random_bytes(prng, static_cast<std::size_t>(prng.below(size_max + 1))));
        }
        return bodies;
    }
};

TEST_P(ConnectionIoRead, ByteByByte) {
    const auto bodies = random_bodies(30, 60);
    send_in_pieces(bodies, 1);
    expect_frames(bodies);
}

TEST_P(ConnectionIoRead, ByteByByteWithoutKnowingWhatIsWanted) {
    peer->hides_wanted = true;
    const auto bodies = random_bodies(30, 60);
    send_in_pieces(bodies, 1);
    expect_frames(bodies);
}

TEST_P(ConnectionIoRead, RandomSplits) {
    for (const std::size_t size_max : {10UL, 1'000UL, 20'000UL}) {
        peer->frames.clear();
        peer->frames_seen = 0;
        const auto bodies = random_bodies(200, size_max);
        send_in_pieces(bodies, 3 * size_max);
        expect_frames(bodies);
    }
}

TEST_P(ConnectionIoRead, RandomSplitsWithoutKnowingWhatIsWanted) {
    peer->hides_wanted = true;
    const auto bodies = random_bodies(100, 20'000);
    send_in_pieces(bodies, 30'000);
    expect_frames(bodies);
}

TEST_P(ConnectionIoRead, ManyFramesAtOnce) {
    const auto bodies = random_bodies(2'000, 2'000);
    send_in_pieces(bodies, 1'000'000);
    expect_frames(bodies);
}

TEST_P(ConnectionIoRead, SmallAndLargeFramesMixed) {
    std::vector<Buffer> bodies;
    for (const std::size_t size :
         {0UL, 1UL, 300'000UL, 10UL, 5'000'000UL, 0UL, 70'000UL, 262'140UL, 262'144UL, 3UL, 50'000UL}) {
        bodies.push_back(random_bytes(prng, size));
    }
    send_in_pieces(bodies, 400'000);
    expect_frames(bodies);
}

TEST_P(ConnectionIoRead, ALargeFrameGetsOneChunkOfItsSizeAndIsOfferedOnce) {
    constexpr std::size_t size = 3'000'000;
    const std::vector<Buffer> bodies{random_bytes(prng, size)};
    Buffer stream;
    append_frame(stream, bodies.front());
    send_all(Bytes{stream}.first(10));
    ASSERT_TRUE(loop.run_until([&] { return peer->bytes_calls == 1; }));
    loop.poll();
    // The shared chunk, and the one for the frame.
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size() + size + 4);
    send_all(Bytes{stream}.subspan(10));
    expect_frames(bodies);
    EXPECT_EQ(peer->bytes_calls, 2U);
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size() + size + 4);
}

TEST_P(ConnectionIoRead, AnIdleConnectionHoldsNoMemory) {
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    peer->on_frame = [](const Payload&) {};
    Buffer stream;
    append_frame(stream, random_bytes(prng, 100));
    send_all(stream);
    ASSERT_TRUE(loop.run_until([&] { return peer->frames_seen == 1; }));
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size());  // The thread's, not the connection's.

    send_all(Bytes{stream}.first(50));
    ASSERT_TRUE(loop.run_until([&] { return peer->bytes_calls == 2; }));
    loop.poll();
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size() + ChunkPool::small_chunk_size);
    send_all(Bytes{stream}.subspan(50));
    ASSERT_TRUE(loop.run_until([&] { return peer->frames_seen == 2; }));
    loop.poll();
    EXPECT_EQ(pool.outstanding_bytes(), pool.chunk_size());
}

TEST_P(ConnectionIoRead, OneTurnForAllThatIsThere) {
    Buffer stream;
    for (int i = 0; i < 100; ++i) {
        append_frame(stream, random_bytes(prng, 100));
    }
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    ASSERT_TRUE(loop.run_until([&] { return peer->turns > 0; }));
    EXPECT_EQ(peer->frames_seen, 100U);
    EXPECT_EQ(peer->bytes_calls, 1U);
    EXPECT_EQ(peer->turns, 1U);
    EXPECT_EQ(peer->io().bytes_received(), stream.size());
}

TEST_P(ConnectionIoRead, TwoConnectionsShareOneBuffer) {
    auto pair = connected_pair(GetParam());
    FramedPeer other{loop, pool, read_buffer, std::move(pair.ours)};
    other.io().start();
    const auto mine = random_bodies(200, 3'000);
    const auto others = random_bodies(200, 3'000);
    for (std::size_t i = 0; i < mine.size(); ++i) {
        Buffer first;
        Buffer second;
        append_frame(first, mine[i]);
        append_frame(second, others[i]);
        const auto half = first.size() / 2;
        send_all(Bytes{first}.first(half));
        ASSERT_EQ(send_some(pair.theirs, second), second.size());
        loop.poll();
        send_all(Bytes{first}.subspan(half));
        loop.poll();
    }
    expect_frames(mine);
    ASSERT_TRUE(loop.run_until([&] { return other.frames.size() == others.size(); }));
    for (std::size_t i = 0; i < others.size(); ++i) {
        EXPECT_TRUE(equal(other.frames[i].bytes(), others[i])) << "frame " << i;
    }
    other.io().close();
    EXPECT_TRUE(loop.run_until([&] { return other.is_closed(); }));
}

INSTANTIATE_TEST_SUITE_P(Families, ConnectionIoRead, ::testing::Values(Family::tcp, Family::unix_socket), family_name);

}  // namespace
}  // namespace baton::net::test

// Writing: everything leaves in order whatever the speed of the reader, and the events say how far it is.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/net/framed_peer.hpp"

namespace baton::net::test {
namespace {

class ConnectionIoWrite : public ConnectionFixture {
protected:
    // Fills the outbox with frames; returns their bytes.
    Buffer fill_outbox(std::size_t frames, std::size_t size_max) {
        Buffer stream;
        for (std::size_t i = 0; i < frames; ++i) {
            const auto body = random_payload(static_cast<std::size_t>(prng.below(size_max + 1)));
            append_frame(stream, body.bytes());
            peer->send_frame(body);
        }
        return stream;
    }
};

TEST_P(ConnectionIoWrite, LeavesAtOnceIfTheSocketTakesIt) {
    const auto stream = fill_outbox(300, 100);
    peer->io().flush();
    EXPECT_FALSE(peer->io().is_write_waiting());
    EXPECT_EQ(peer->progress, std::vector<std::size_t>{0});
    EXPECT_EQ(peer->io().bytes_sent(), stream.size());
    Buffer received;
    ASSERT_TRUE(wait_for(theirs, POLLIN));
    EXPECT_EQ(receive_some(theirs, received), Received::bytes);
    EXPECT_TRUE(equal(received, stream));
}

TEST_P(ConnectionIoWrite, NothingToWriteIsNoProgress) {
    peer->io().flush();
    EXPECT_TRUE(peer->progress.empty());
    EXPECT_FALSE(peer->io().is_write_waiting());
}

TEST_P(ConnectionIoWrite, ASlowReaderGetsEverything) {
    const auto stream = fill_outbox(3'000, 8'000);
    peer->io().flush();
    EXPECT_TRUE(peer->io().is_write_waiting());
    peer->io().flush();  // Changes nothing.
    EXPECT_TRUE(equal(receive_all(stream.size(), 200'000), stream));
    EXPECT_TRUE(std::ranges::is_sorted(peer->progress, std::greater<>{}));
    EXPECT_EQ(peer->progress.back(), 0U);
    EXPECT_GT(peer->progress.size(), 2U);
    EXPECT_FALSE(peer->io().is_write_waiting());
    EXPECT_GE(peer->turns, peer->progress.size() - 1);  // Each progress after waiting ends in a turn of its own.
}

TEST_P(ConnectionIoWrite, AReceiverBelowItsLowWaterMarkCanBeFedFromTheEvent) {
    constexpr std::size_t total = 300;
    std::size_t appended = 0;
    Buffer expected;
    const auto body = random_payload(50'000);
    const auto feed = [&] {
        while (appended < total && peer->outbox().data_bytes() < 500'000) {
            peer->send_frame(body);
            append_frame(expected, body.bytes());
            ++appended;
        }
    };
    peer->on_progress = [&] {
        feed();
        peer->io().flush();
    };
    feed();
    peer->io().flush();
    const auto received = receive_all(total * (4 + body.size()), 200'000);
    EXPECT_TRUE(equal(received, expected));
    EXPECT_EQ(appended, total);
}

TEST_P(ConnectionIoWrite, Echo) {
    auto pair = connected_pair(GetParam());
    FramedPeer client{loop, pool, read_buffer, std::move(pair.ours)};
    FramedPeer server{loop, pool, read_buffer, std::move(pair.theirs)};
    server.on_frame = [&](const Payload& body) { server.send_frame(body); };
    client.io().start();
    server.io().start();
    std::vector<Payload> bodies;
    for (int i = 0; i < 500; ++i) {
        const std::uint64_t size_max = i % 50 == 0 ? 700'000 : i % 3 == 0 ? 5'000 : 100;
        bodies.push_back(random_payload(static_cast<std::size_t>(prng.below(size_max + 1))));
        client.send_frame(bodies.back());
        if (i % 7 == 0) {
            client.io().flush();
            loop.poll();
        }
    }
    client.io().flush();
    ASSERT_TRUE(loop.run_until([&] { return client.frames.size() == bodies.size(); }));
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        EXPECT_TRUE(equal(client.frames[i].bytes(), bodies[i].bytes())) << "frame " << i;
    }
    client.io().close();
    ASSERT_TRUE(loop.run_until([&] { return client.is_closed() && server.is_closed(); }));
    EXPECT_EQ(client.closed, std::vector<std::error_code>{std::error_code{}});
    EXPECT_EQ(server.closed, std::vector<std::error_code>{asio::error::eof});
}

INSTANTIATE_TEST_SUITE_P(Families, ConnectionIoWrite, ::testing::Values(Family::tcp, Family::unix_socket), family_name);

}  // namespace
}  // namespace baton::net::test

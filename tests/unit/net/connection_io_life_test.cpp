// The end of a connection: by whom ever, on_closed comes exactly once, from the event loop, after everything else.
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/net/framed_peer.hpp"

namespace baton::net::test {
namespace {

class ConnectionIoLife : public ConnectionFixture {
protected:
    [[nodiscard]] Buffer frame(std::size_t size) {
        Buffer stream;
        append_frame(stream, random_bytes(prng, size));
        return stream;
    }

    void fill_socket() {
        while (!peer->io().is_write_waiting()) {
            peer->send_frame(random_payload(100'000));
            peer->io().flush();
        }
    }

    // What on_closed was given, after running until then.
    [[nodiscard]] std::error_code closed_reason() {
        EXPECT_TRUE(loop.run_until([&] { return peer->is_closed(); }));
        return peer->closed.empty() ? std::error_code{} : peer->closed.front();
    }
};

const std::error_code some_reason = std::make_error_code(std::errc::timed_out);

TEST_P(ConnectionIoLife, CloseReportsItsReasonFromTheLoop) {
    peer->io().close(some_reason);
    peer->io().close();  // The first reason stays.
    EXPECT_FALSE(peer->is_closed());
    EXPECT_FALSE(peer->io().is_open());
    EXPECT_EQ(closed_reason(), some_reason);
    Buffer received;
    EXPECT_EQ(receive_some(theirs, received), Received::end);
}

TEST_P(ConnectionIoLife, CloseWhileWritingAndReading) {
    fill_socket();
    ASSERT_EQ(send_some(theirs, frame(100)), 104U);
    peer->io().close(some_reason);
    peer->io().flush();
    EXPECT_EQ(closed_reason(), some_reason);
    EXPECT_EQ(peer->bytes_calls, 0U);
    peer->destroy_io();
    peer.reset();
}

TEST_P(ConnectionIoLife, CloseFromInsideOnBytes) {
    peer->on_frame = [&](const Payload&) { peer->io().close(some_reason); };
    auto stream = frame(100);
    append_frame(stream, {});
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    EXPECT_EQ(closed_reason(), some_reason);
    EXPECT_EQ(peer->frames_seen, 1U);
    EXPECT_EQ(peer->turns, 1U);
}

TEST_P(ConnectionIoLife, CloseFromInsideOnBytesOfARemainder) {
    peer->on_frame = [&](const Payload& body) {
        peer->io().close(some_reason);
        peer->frames.push_back(body);
    };
    const auto stream = frame(10'000);
    ASSERT_EQ(send_some(theirs, Bytes{stream}.first(5'000)), 5'000U);
    ASSERT_TRUE(loop.run_until([&] { return peer->bytes_calls == 1; }));
    ASSERT_EQ(send_some(theirs, Bytes{stream}.subspan(5'000)), 5'004U);
    EXPECT_EQ(closed_reason(), some_reason);
    ASSERT_EQ(peer->frames.size(), 1U);
    EXPECT_TRUE(equal(peer->frames.front().bytes(), Bytes{stream}.subspan(4)));
}

TEST_P(ConnectionIoLife, CloseFromInsideProgressAndTurnEnd) {
    peer->on_progress = [&] { peer->io().close(some_reason); };
    peer->send_frame(random_payload(10));
    peer->io().flush();
    EXPECT_EQ(closed_reason(), some_reason);
    EXPECT_EQ(peer->progress.size(), 1U);
}

TEST_P(ConnectionIoLife, NeverStarted) {
    auto pair = connected_pair(GetParam());
    {
        const FramedPeer unused{loop, pool, read_buffer, std::move(pair.ours)};
    }
    Buffer received;
    EXPECT_EQ(receive_some(pair.theirs, received), Received::end);
}

TEST_P(ConnectionIoLife, EndOfStreamComesAfterTheBytesBeforeIt) {
    ASSERT_EQ(send_some(theirs, frame(100)), 104U);
    theirs.reset();
    EXPECT_EQ(closed_reason(), asio::error::eof);
    EXPECT_EQ(peer->frames_seen, 1U);
}

TEST_P(ConnectionIoLife, EndOfStreamInTheMiddleOfAFrame) {
    ASSERT_EQ(send_some(theirs, Bytes{frame(100)}.first(50)), 50U);
    theirs.reset();
    EXPECT_EQ(closed_reason(), asio::error::eof);
    EXPECT_EQ(peer->frames_seen, 0U);
}

TEST_P(ConnectionIoLife, LastWordsAreReadAlthoughSendingFails) {
    ASSERT_EQ(send_some(theirs, frame(100)), 104U);
    theirs.reset();
    // The first write to a closed TCP connection is answered by a reset, the second one fails.
    for (int i = 0; i < 3; ++i) {
        peer->send_frame(random_payload(10));
        peer->io().flush();
    }
    EXPECT_TRUE(closed_reason());
    EXPECT_EQ(peer->frames_seen, 1U);
}

TEST_P(ConnectionIoLife, ShutdownSendsEverythingFirst) {
    Buffer expected;
    for (int i = 0; i < 100; ++i) {
        const auto body = random_payload(50'000);
        append_frame(expected, body.bytes());
        peer->send_frame(body);
    }
    // Unread bytes of the peer must not cost it anything.
    ASSERT_EQ(send_some(theirs, frame(20'000)), 20'004U);
    peer->io().shutdown_after_flush();
    EXPECT_FALSE(peer->io().is_open());
    Buffer received;
    auto outcome = Received::nothing;
    ASSERT_TRUE(loop.run_until([&] {
        while (outcome = receive_some(theirs, received), outcome == Received::bytes) {
        }
        return outcome != Received::nothing;
    }));
    EXPECT_EQ(outcome, Received::end);
    EXPECT_TRUE(equal(received, expected));
    EXPECT_FALSE(peer->is_closed());
    EXPECT_GT(send_some(theirs, frame(20'000)), 0U);
    theirs.reset();
    EXPECT_EQ(closed_reason(), std::error_code{});
    EXPECT_EQ(peer->frames_seen, 0U);
    EXPECT_TRUE(peer->progress.empty());
}

TEST_P(ConnectionIoLife, ShutdownFromInsideOnBytes) {
    peer->on_frame = [&](const Payload& body) {
        peer->send_frame(body);
        peer->io().shutdown_after_flush();
    };
    const auto stream = frame(100);
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    Buffer received;
    auto outcome = Received::nothing;
    ASSERT_TRUE(loop.run_until([&] {
        while (outcome = receive_some(theirs, received), outcome == Received::bytes) {
        }
        return outcome == Received::end;
    }));
    EXPECT_TRUE(equal(received, stream));
    theirs.reset();
    EXPECT_EQ(closed_reason(), std::error_code{});
}

TEST_P(ConnectionIoLife, ShutdownOfAPeerThatDoesNotReadIsCutShortByClose) {
    fill_socket();
    peer->io().shutdown_after_flush();
    loop.poll();
    EXPECT_FALSE(peer->is_closed());
    peer->io().close(some_reason);
    EXPECT_EQ(closed_reason(), some_reason);
}

TEST_P(ConnectionIoLife, MovesToAnotherThread) {
    auto pair = connected_pair(GetParam());
    auto here = adopt(loop.executor(), std::move(pair.ours));
    ASSERT_TRUE(here);
    auto moved = release(std::move(*here));
    ASSERT_TRUE(moved);
    std::thread other_thread{[socket = std::move(*moved)]() mutable {
        TestLoop other_loop;
        ChunkPool other_pool;
        ReadBuffer other_buffer{other_pool};
        FramedPeer echo{other_loop, other_pool, other_buffer, std::move(socket)};
        echo.on_frame = [&](const Payload& body) { echo.send_frame(body); };
        echo.io().start();
        EXPECT_TRUE(other_loop.run_until([&] { return echo.is_closed(); }));
    }};
    const auto stream = frame(100);
    EXPECT_EQ(send_some(pair.theirs, stream), stream.size());
    Buffer received;
    while (received.size() < stream.size() && wait_for(pair.theirs, POLLIN) &&
           receive_some(pair.theirs, received) == Received::bytes) {
    }
    EXPECT_TRUE(equal(received, stream));
    pair.theirs.reset();
    other_thread.join();
}

TEST_P(ConnectionIoLife, MovesInTheMiddleOfAFrame) {
    auto pair = connected_pair(GetParam());
    auto first = std::make_unique<FramedPeer>(loop, pool, read_buffer, std::move(pair.ours));
    std::optional<Descriptor> descriptor;
    std::vector<std::byte> unread;
    first->on_end_of_turn = [&] {
        if (first->frames_seen == 1 && !descriptor) {
            descriptor = first->io().release(unread).value();
        }
    };
    first->io().start();
    Buffer stream = frame(100);
    const auto whole = stream.size();
    append_frame(stream, random_bytes(prng, 5'000));
    ASSERT_EQ(send_some(pair.theirs, Bytes{stream}.first(whole + 1'000)), whole + 1'000);
    ASSERT_TRUE(loop.run_until([&] { return first->is_closed(); }));
    ASSERT_TRUE(descriptor);
    EXPECT_EQ(first->closed, std::vector{std::error_code{}});
    EXPECT_TRUE(equal(unread, Bytes{stream}.subspan(whole, 1'000)));

    FramedPeer second{loop, pool, read_buffer, std::move(*descriptor)};
    second.io().start(unread);
    unread.clear();
    const auto rest = Bytes{stream}.subspan(whole + 1'000);
    ASSERT_EQ(send_some(pair.theirs, rest), rest.size());
    ASSERT_TRUE(loop.run_until([&] { return second.frames_seen == 1; }));
    EXPECT_TRUE(equal(second.frames.at(0).bytes(), Bytes{stream}.subspan(whole + sizeof(std::uint32_t))));
    pair.theirs.reset();
    ASSERT_TRUE(loop.run_until([&] { return second.is_closed(); }));
}

// --- Turns that are put off -----------------------------------------------------------------------------------------

TEST_P(ConnectionIoLife, ReadsWhenItsTurnHasCome) {
    peer->waits_for_turn = true;
    const auto stream = frame(100);
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    ASSERT_TRUE(loop.run_until([&] { return peer->put_off == 1; }));
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    loop.poll();
    EXPECT_EQ(peer->put_off, 1U) << "asked again";
    EXPECT_EQ(peer->bytes_calls, 0U);
    peer->waits_for_turn = false;
    peer->io().go_on();
    EXPECT_EQ(peer->frames_seen, 2U);
    EXPECT_EQ(peer->turns, 1U);
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    EXPECT_TRUE(loop.run_until([&] { return peer->frames_seen == 3; }));
}

TEST_P(ConnectionIoLife, ReadsAndWritesInOneTurnThatWasPutOff) {
    for (int i = 0; i < 200; ++i) {
        peer->send_frame(random_payload(50'000));
    }
    const auto size = peer->outbox().size_bytes();
    peer->io().flush();
    ASSERT_TRUE(peer->io().is_write_waiting());
    const auto sent = peer->io().bytes_sent();
    peer->waits_for_turn = true;
    const auto stream = frame(100);
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    auto received = receive_all(sent, 200'000);
    ASSERT_TRUE(loop.run_until([&] { return peer->put_off == 1; }));
    loop.poll();
    EXPECT_EQ(peer->put_off, 1U);
    EXPECT_EQ(peer->io().bytes_sent(), sent);
    peer->waits_for_turn = false;
    peer->io().go_on();
    const auto rest = receive_all(size - sent, 200'000);
    EXPECT_EQ(rest.size(), size - sent);
    EXPECT_TRUE(loop.run_until([&] { return peer->frames_seen == 1; }));
}

TEST_P(ConnectionIoLife, EndsBehindATurnThatWasPutOff) {
    peer->waits_for_turn = true;
    const auto stream = frame(100);
    ASSERT_EQ(send_some(theirs, stream), stream.size());
    ASSERT_TRUE(loop.run_until([&] { return peer->put_off == 1; }));
    peer->io().close();
    loop.poll();
    EXPECT_FALSE(peer->is_closed());
    peer->io().go_on();
    EXPECT_TRUE(peer->is_closed());
    EXPECT_EQ(peer->bytes_calls, 0U);
}

TEST_P(ConnectionIoLife, BytesThatCameWithItWaitForItsTurnToo) {
    auto pair = connected_pair(GetParam());
    FramedPeer moved{loop, pool, read_buffer, std::move(pair.ours)};
    moved.waits_for_turn = true;
    const auto stream = frame(100);
    moved.io().start(stream);
    ASSERT_TRUE(loop.run_until([&] { return moved.put_off == 1; }));
    EXPECT_EQ(moved.bytes_calls, 0U);
    moved.waits_for_turn = false;
    moved.io().go_on();
    EXPECT_EQ(moved.frames_seen, 1U);
    ASSERT_EQ(send_some(pair.theirs, stream), stream.size());
    EXPECT_TRUE(loop.run_until([&] { return moved.frames_seen == 2; }));
    pair.theirs.reset();
    ASSERT_TRUE(loop.run_until([&] { return moved.is_closed(); }));
}

INSTANTIATE_TEST_SUITE_P(Families, ConnectionIoLife, ::testing::Values(Family::tcp, Family::unix_socket), family_name);

TEST(PeerName, SaysWhoItIs) {
    const auto unix_pair = connected_pair(Family::unix_socket);
    EXPECT_EQ(peer_name(unix_pair.ours.number()),
              "unix:pid=" + std::to_string(::getpid()) + ",uid=" + std::to_string(::getuid()));
    const auto tcp_pair = connected_pair(Family::tcp);
    EXPECT_TRUE(peer_name(tcp_pair.ours.number()).starts_with("127.0.0.1:"));
    EXPECT_EQ(peer_name(-1), "unknown");
}

TEST(Adopt, RefusesWhatIsNoSocket) {
    TestLoop loop;
    EXPECT_FALSE(adopt(loop.executor(), Descriptor{::open("/dev/null", O_RDONLY | O_CLOEXEC)}));
    EXPECT_FALSE(adopt(loop.executor(), Descriptor{}));
}

}  // namespace
}  // namespace baton::net::test

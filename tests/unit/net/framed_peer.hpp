// A small protocol for tests: frames of a length (u32) and a body. FramedPeer is a connection that collects the frames
// it gets, and checks on the way what ConnectionIo promises to its events.
#pragma once

#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/outbox.hpp"
#include "common/base/prng.hpp"
#include "common/net/connection_io.hpp"
#include "tests/unit/net/test_loop.hpp"

namespace baton::net::test {

using Buffer = std::vector<std::byte>;

[[nodiscard]] inline Buffer random_bytes(Prng& prng, std::size_t size) {
    Buffer bytes(size);
    for (auto& each : bytes) {
        each = static_cast<std::byte>(prng.next());
    }
    return bytes;
}

inline void append_frame(Buffer& stream, Bytes body) {
    const auto at = stream.size();
    stream.resize(at + sizeof(std::uint32_t));
    store_u32(stream.data() + at, static_cast<std::uint32_t>(body.size()));
    stream.insert(stream.end(), body.begin(), body.end());
}

class FramedPeer final : public ConnectionEvents {
public:
    FramedPeer(TestLoop& loop, ChunkPool& pool, ReadBuffer& read_buffer, Descriptor socket)
        : outbox_{pool},
          io_{std::in_place, adopt(loop.executor(), std::move(socket)).value(), read_buffer, outbox_, *this} {}

    // What to do with each frame beside counting it; by default it is kept.
    std::function<void(const Payload& body)> on_frame = [this](const Payload& body) { frames.push_back(body); };
    std::function<void()> on_progress = [] {};
    std::function<void()> on_end_of_turn = [] {};
    // If set, bytes_wanted() says that it does not know.
    bool hides_wanted = false;
    // If set, its turn does not come by itself: go_on() is up to the test.
    bool waits_for_turn = false;

    std::vector<Payload> frames;
    std::vector<std::size_t> progress;  // unsent_bytes of each on_write_progress.
    std::size_t frames_seen = 0;
    std::size_t bytes_calls = 0;
    std::size_t turns = 0;
    std::size_t put_off = 0;
    std::vector<std::error_code> closed;  // Of each on_closed.

    [[nodiscard]] ConnectionIo& io() { return *io_; }
    [[nodiscard]] Outbox& outbox() { return outbox_; }
    [[nodiscard]] bool is_closed() const { return !closed.empty(); }
    // As the destructor of a session would do.
    void destroy_io() { io_.reset(); }

    void send_frame(const Payload& body) {
        std::byte length[sizeof(std::uint32_t)];
        store_u32(length, static_cast<std::uint32_t>(body.size()));
        outbox_.begin_frame(Lane::data);
        outbox_.append(Bytes{length});
        outbox_.append(body);
        outbox_.end_frame();
    }

    [[nodiscard]] bool on_turn_begin() noexcept override {
        put_off += waits_for_turn ? 1 : 0;
        return !waits_for_turn;
    }

    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable) noexcept override {
        ++bytes_calls;
        EXPECT_TRUE(io_->is_open());
        EXPECT_GE(readable.size, asked_);
        EXPECT_GT(readable.size, rest_.size());
        EXPECT_TRUE(rest_.size() <= readable.size && equal(rest_, readable.bytes().first(rest_.size())))
            << "the rest did not come again";
        std::size_t consumed = 0;
        while (true) {
            const auto rest = readable.sub(consumed, readable.size - consumed);
            if (rest.size < frame_size(rest.bytes())) {
                break;
            }
            const auto size = frame_size(rest.bytes());
            ++frames_seen;
            consumed += size;
            on_frame(rest.sub(sizeof(std::uint32_t), size - sizeof(std::uint32_t)).retain());
            if (!io_->is_open()) {
                return consumed;
            }
        }
        rest_.assign(readable.data + consumed, readable.data + readable.size);
        asked_ = rest_.empty() || hides_wanted ? 0 : frame_size(rest_);
        return consumed;
    }

    [[nodiscard]] std::size_t bytes_wanted() const noexcept override { return asked_; }

    void on_turn_end() noexcept override {
        ++turns;
        on_end_of_turn();
        if (io_->is_open() && !outbox_.empty()) {
            io_->flush();
        }
    }

    void on_write_progress(std::size_t unsent_bytes) noexcept override {
        progress.push_back(unsent_bytes);
        on_progress();
    }

    void on_closed(std::error_code reason) noexcept override { closed.push_back(reason); }

private:
    // Of the frame that begins here, or of what must be there to know it.
    [[nodiscard]] static std::size_t frame_size(Bytes bytes) noexcept {
        return sizeof(std::uint32_t) + (bytes.size() < sizeof(std::uint32_t) ? 0 : load_u32(bytes.data()));
    }

    Outbox outbox_;
    std::optional<ConnectionIo> io_;
    Buffer rest_;
    std::size_t asked_ = 0;
};

// One FramedPeer and the plain other end of its connection.
class ConnectionFixture : public ::testing::TestWithParam<Family> {
protected:
    void SetUp() override {
        auto pair = connected_pair(GetParam());
        theirs = std::move(pair.theirs);
        peer.emplace(loop, pool, read_buffer, std::move(pair.ours));
        peer->io().start();
    }

    void TearDown() override {
        if (peer) {
            peer->io().close();
            EXPECT_TRUE(loop.run_until([&] { return peer->is_closed(); }));
            EXPECT_EQ(peer->closed.size(), 1U);
        }
    }

    // Sends everything, running the loop whenever the socket is full.
    void send_all(Bytes bytes) {
        while (!bytes.empty()) {
            const auto sent = send_some(theirs, bytes);
            bytes = bytes.subspan(sent);
            if (sent == 0) {
                loop.poll();
            }
        }
    }

    // The other end reads pieces of up to `piece_max` bytes, with the loop run after each, until it has got `size`
    // bytes.
    [[nodiscard]] Buffer receive_all(std::size_t size, std::size_t piece_max) {
        Buffer received;
        received.reserve(size);
        const auto end = std::chrono::steady_clock::now() + watchdog;
        while (received.size() < size && std::chrono::steady_clock::now() < end) {
            const auto piece = 1 + static_cast<std::size_t>(prng.below(piece_max));
            if (receive_some(theirs, received, piece) == Received::nothing && loop.poll() == 0) {
                EXPECT_TRUE(wait_for(theirs, POLLIN));
            }
        }
        return received;
    }

    [[nodiscard]] Payload random_payload(std::size_t size) { return Payload::copy_of(pool, random_bytes(prng, size)); }

    TestLoop loop;
    ChunkPool pool;
    ReadBuffer read_buffer{pool};
    Prng prng{1};
    Descriptor theirs;
    std::optional<FramedPeer> peer;
};

inline std::string family_name(const ::testing::TestParamInfo<Family>& parameter) {
    return ::testing::PrintToString(parameter.param);
}

}  // namespace baton::net::test

// A whole broker core inside a test, without sockets and threads: shards, mailboxes that can be held back, a clock that
// stands still, and peers whose bytes go in and out by hand. Shared by the tests of server/session, server/runtime and
// the fuzz target; it knows nothing of GoogleTest.
// Next file: dialogue.hpp, which lets a peer speak and hear frames in words.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/clock.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "server/runtime/broker_state.hpp"
#include "server/runtime/placement.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/session/session_protocol.hpp"

namespace baton::session::test {

/// Batches under way between shards. They arrive when the world says so.
class HeldMail final : public runtime::MailboxPort {
public:
    explicit HeldMail(std::uint32_t shards) : queues_(shards) {}
    void send(std::uint32_t shard, runtime::EnvelopeBatch batch) override {
        queues_.at(shard).push_back(std::move(batch));
    }

    [[nodiscard]] bool empty(std::uint32_t shard) const { return queues_.at(shard).empty(); }
    [[nodiscard]] runtime::EnvelopeBatch take(std::uint32_t shard) {
        auto batch = std::move(queues_.at(shard).front());
        queues_.at(shard).pop_front();
        return batch;
    }

private:
    std::vector<std::deque<runtime::EnvelopeBatch>> queues_;
};

/// One connection of the broker: what session.hpp is, with a vector instead of a socket.
class Connection final : public SessionHost {
public:
    Connection(runtime::ShardBroker& broker, ChunkPool& pool, bool is_refused = false)
        : pool_{pool}, outbox_{pool}, protocol_{broker, pool, outbox_, *this, is_refused}, shard_{broker.shard()} {}
    /// One that has moved here.
    Connection(runtime::ShardBroker& broker, ChunkPool& pool, SessionProtocol::Greeting greeting)
        : pool_{pool},
          outbox_{pool},
          protocol_{broker, pool, outbox_, *this, std::move(greeting)},
          shard_{broker.shard()} {}
    ~Connection() { disconnect(); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Bytes arrive from the peer, in one piece.
    void arrive(Bytes bytes) {
        if (!is_connected_ || bytes.empty()) {
            return;
        }
        rest_.insert(rest_.end(), bytes.begin(), bytes.end());
        if (!protocol_.is_closing() && rest_.size() < protocol_.bytes_wanted()) {
            return;  // The contract of ConnectionIo: at least so much in one piece.
        }
        const auto chunk = pool_.allocate(rest_.size());
        copy_bytes(chunk.bytes(), rest_);
        const auto used = protocol_.on_bytes({&chunk, chunk.bytes(), rest_.size()});
        BATON_ASSERT(used <= rest_.size());
        rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(used));
        const bool is_moving = may_move && !moves.empty();
        BATON_ASSERT(protocol_.is_closing() || is_moving || rest_.empty() || protocol_.bytes_wanted() > rest_.size());
    }

    /// End of the turn: at most `bytes_max` bytes go to the peer. Returns whether there was anything to do.
    bool flush(std::size_t bytes_max) {
        if (!is_connected_ || !std::exchange(is_dirty_, false)) {
            return false;
        }
        protocol_.prepare_flush();
        write(bytes_max);
        return true;
    }
    /// The socket takes more bytes.
    void write(std::size_t bytes_max) {
        if (!is_connected_) {
            return;
        }
        std::array<iovec, 16> buffers{};
        std::size_t left = bytes_max;
        while (left > 0 && !outbox_.empty()) {
            const auto count = outbox_.gather(buffers, left);
            std::size_t size = 0;
            for (const auto& buffer : std::span{buffers}.first(count)) {
                const auto* data = static_cast<const std::byte*>(buffer.iov_base);
                written_.insert(written_.end(), data, data + buffer.iov_len);
                size += buffer.iov_len;
            }
            BATON_ASSERT(size > 0 && size <= left);
            outbox_.consume(size);
            left -= size;
        }
        protocol_.on_write_progress(outbox_.size_bytes());
    }
    void disconnect() {
        if (std::exchange(is_connected_, false)) {
            outbox_.clear();
            protocol_.on_disconnected();
        }
    }

    [[nodiscard]] std::vector<std::byte> take_written() { return std::exchange(written_, {}); }
    [[nodiscard]] SessionProtocol& protocol() noexcept { return protocol_; }
    /// Where the session wanted to go on; from then on it must use nothing.
    std::vector<std::uint32_t> moves;
    bool may_move = false;
    [[nodiscard]] const std::vector<std::byte>& unused() const noexcept { return rest_; }
    [[nodiscard]] const Outbox& outbox() const noexcept { return outbox_; }
    [[nodiscard]] std::uint32_t shard() const noexcept { return shard_; }
    [[nodiscard]] bool is_connected() const noexcept { return is_connected_; }
    /// The broker wants to close, or nothing.
    [[nodiscard]] const std::string& close_text() const noexcept { return close_text_; }
    [[nodiscard]] wire::Status close_reason() const noexcept { return close_reason_; }

private:
    bool move_to(std::uint32_t shard) noexcept override {
        moves.push_back(shard);
        return may_move;
    }
    void output_ready() noexcept override { is_dirty_ = true; }
    void close_after_flush(wire::Status reason, const std::string& text) noexcept override {
        BATON_ASSERT_MSG(close_text_.empty(), "a connection is closed once");
        close_reason_ = reason;
        close_text_ = text;
        is_dirty_ = true;
    }

    ChunkPool& pool_;
    Outbox outbox_;
    SessionProtocol protocol_;
    const std::uint32_t shard_;
    std::vector<std::byte> rest_;     ///< Came in, not used yet.
    std::vector<std::byte> written_;  ///< Went out, not taken yet.
    bool is_dirty_ = false;
    bool is_connected_ = true;
    wire::Status close_reason_ = wire::Status::ok;
    std::string close_text_;
};

class BrokerWorld {
public:
    static constexpr std::size_t everything = ~std::size_t{0};

    explicit BrokerWorld(std::uint32_t shards = 1, const runtime::Limits& limits = {},
                         std::size_t chunk_size = 64 * 1024)
        : state{limits, shards, clock}, mail{shards} {
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            pools.push_back(std::make_unique<ChunkPool>(chunk_size, 4, &state.memory));
            brokers.push_back(std::make_unique<runtime::ShardBroker>(shard, state, mail));
        }
    }
    BrokerWorld(const BrokerWorld&) = delete;
    BrokerWorld& operator=(const BrokerWorld&) = delete;

    [[nodiscard]] std::unique_ptr<Connection> connect(std::uint32_t shard = 0, bool is_refused = false) {
        return std::make_unique<Connection>(*brokers.at(shard), *pools.at(shard), is_refused);
    }

    /// The first of "<stem>0", "<stem>1", ... that lives on the shard.
    [[nodiscard]] std::string name_on(std::uint32_t shard, const std::string& stem = "c") const {
        for (int i = 0;; ++i) {
            auto name = stem + std::to_string(i);
            if (runtime::shard_of_channel(name, state.shard_count) == shard) {
                return name;
            }
        }
    }

    /// One turn of one shard: takes at most one batch from its mailbox.
    bool turn(std::uint32_t shard, std::span<Connection* const> connections, bool with_mail = true,
              std::size_t bytes_max = everything) {
        bool worked = false;
        if (with_mail && !mail.empty(shard)) {
            brokers[shard]->receive(mail.take(shard));
            worked = true;
        }
        worked |= brokers[shard]->end_turn();
        for (auto* connection : connections) {
            if (connection->shard() == shard) {
                worked |= connection->flush(bytes_max);
            }
        }
        return worked;
    }

    /// Clock pulse on every shard and connection.
    void tick(std::span<Connection* const> connections) {
        for (auto* connection : connections) {
            if (connection->is_connected() && connection->protocol().deadline() <= clock.now()) {
                connection->protocol().on_deadline(clock.now());
            }
        }
        for (auto& broker : brokers) {
            broker->tick();
        }
    }

    // In the order of destruction, backwards: brokers hold payloads of pools, pools charge the budget of the state.
    ManualClock clock;
    runtime::BrokerState state;
    HeldMail mail;
    std::vector<std::unique_ptr<ChunkPool>> pools;
    std::vector<std::unique_ptr<runtime::ShardBroker>> brokers;
};

}  // namespace baton::session::test

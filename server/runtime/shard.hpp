// A shard: one event loop with its thread, the broker core of its channels and sessions, and the memory they share. It works
// in turns: whatever wakes it handles all that it was given, then end_turn() dispatches, sends batches to other shards
// and writes each connection with output once. Of the connections that are ready together, and new ones, some have their turn
// and the others stand in line (turn_line.hpp).
// Not responsible for what a connection is (server/session makes them through ConnectionFactory) or for rules.
// Thread: everything is the shard's own except the functions marked "any thread". Next files: shard_broker.hpp,
// connection.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/base/deadline_wheel.hpp"
#include "common/base/payload.hpp"
#include "common/net/asio.hpp"
#include "common/net/descriptor.hpp"
#include "common/net/read_buffer.hpp"
#include "common/net/ticker.hpp"
#include "server/runtime/broker_state.hpp"
#include "server/runtime/connection.hpp"
#include "server/runtime/inbox.hpp"
#include "server/runtime/loop_thread.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/runtime/storage_start.hpp"
#include "server/runtime/sync_queue.hpp"
#include "server/runtime/turn_line.hpp"
#include "server/storage/io_worker.hpp"

namespace baton::runtime {

class Shard final : private MailboxPort {
public:
    /// Makes a connection of an accepted socket. Null if the socket is of no use any more.
    using ConnectionFactory = std::function<std::unique_ptr<Connection>(Shard&, net::Descriptor)>;

    static constexpr Duration tick_period = std::chrono::milliseconds{20};

    /// `state` outlives the shard. Not running yet.
    Shard(std::uint32_t index, BrokerState& state, ConnectionFactory make_connection);
    /// After join().
    ~Shard() override;

    /// Who the other shards are, this one included, by index. Before start().
    void connect(std::vector<Shard*> shards) { shards_ = std::move(shards); }
    /// Durable channels: `files` outlives the shard. What their storage submits waits here until it is run by
    /// run_storage_jobs() or, from serve_storage() on, by the workers. All on the starter's thread, before start().
    void open_store(storage::FileSystem& files, const ShardStoreSettings& settings);
    bool run_storage_jobs(storage::FileSystem& files);
    void serve_storage(storage::IoWorker& sync_worker, storage::IoWorker& bulk_worker);
    void start();

    // --- Any thread --------------------------------------------------------------------------------------------------

    /// Gives the shard a connection that was accepted elsewhere.
    void adopt(net::Descriptor socket);
    /// The same for one that has begun on another shard: `make` is called on this shard's thread, and returns null if the
    /// peer has gone. Not called if the shard ends before.
    using MakeConnection = std::move_only_function<std::unique_ptr<Connection>(Shard&)>;
    void adopt(MakeConnection make);
    /// Refuses new messages, stops dispatching and tells the peers.
    void begin_drain(std::uint32_t reconnect_after_ms);
    /// While draining: nothing is in flight in this shard's channels and everything is written. Updated each tick.
    [[nodiscard]] bool is_quiet() const noexcept { return is_quiet_.load(std::memory_order_acquire); }
    [[nodiscard]] std::size_t connection_count() const noexcept {
        return connection_count_.load(std::memory_order_acquire);
    }
    /// Sends what is queued to every peer and closes the connections.
    void finish_connections();
    /// Closes whatever is left at once and ends the thread.
    void stop();
    void join();

    // --- The shard's thread --------------------------------------------------------------------------------------------

    [[nodiscard]] ShardBroker& broker() noexcept { return broker_; }
    [[nodiscard]] BrokerState& state() noexcept { return state_; }
    [[nodiscard]] ChunkPool& pool() noexcept { return pool_; }
    [[nodiscard]] net::ReadBuffer& read_buffer() noexcept { return read_buffer_; }
    [[nodiscard]] net::Executor executor() noexcept { return io_.get_executor(); }
    void schedule(Connection& connection, MonotonicTime when) noexcept;
    /// The connection has output: flush it at the end of this turn.
    void mark_dirty(Connection& connection) noexcept;
    /// The connection has ended; destroys it.
    void remove(Connection& connection) noexcept;
    void end_turn() noexcept;
    /// True: the connection may read or write what is ready; end_turn_of() follows. False: others have their turn, then
    /// its go_on() is called; it is not removed before.
    [[nodiscard]] bool begin_turn_of(Connection& connection) noexcept;
    /// Done at once, or behind the others that wait for their turn.
    void take_turn(TurnLine::Work work);
    /// As end_turn(); the turn was about input of this connection.
    void end_turn_of(const Connection& connection) noexcept;
    /// Where a connection should live that talks to a channel of shard `wanted`; null: here. A shard that has many more
    /// connections than the others gets no more: messages that change shards cost less than one thread for all.
    [[nodiscard]] Shard* better_shard(std::uint32_t wanted) noexcept;

private:
    void send(std::uint32_t shard, EnvelopeBatch batch) override;
    void take_inbox();
    void wait_in_line(TurnLine::Work work, TurnLine::Load load = TurnLine::Load::light);
    void serve_line();
    void take(std::unique_ptr<Connection> connection);
    void stop_when_empty(MonotonicTime deadline);
    void note_served(const void* source) noexcept;
    [[nodiscard]] bool is_storage_idle();
    void tick();
    [[nodiscard]] bool dispatch_and_flush() noexcept;
    std::size_t flush_dirty(std::size_t most) noexcept;
    void run_sync_job() noexcept;
    [[nodiscard]] bool everything_is_written() const;

    const std::uint32_t index_;
    BrokerState& state_;
    ConnectionFactory make_connection_;
    Inbox inbox_;
    net::IoContext io_{ASIO_CONCURRENCY_HINT_UNSAFE_IO};
    // Before the broker, whose store submits to them.
    StartQueue sync_jobs_;
    StartQueue bulk_jobs_;
    std::unique_ptr<storage::IoQueue> sync_worker_queue_;
    std::unique_ptr<storage::IoQueue> bulk_queue_;
    std::optional<SyncQueue> sync_queue_;
    storage::FileSystem* files_ = nullptr;
    ChunkPool pool_;
    net::ReadBuffer read_buffer_{pool_};
    DeadlineWheel wheel_;
    ShardBroker broker_;
    std::vector<Shard*> shards_;
    std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
    std::vector<Connection*> dirty_;
    std::vector<Connection*> flushing_;
    bool is_turn_posted_ = false;  ///< Another turn follows by itself.
    TurnLine line_;
    net::Ticker ticker_;
    bool is_stopping_ = false;
    bool is_draining_ = false;
    std::uint32_t reconnect_after_ms_ = 0;
    std::atomic<bool> is_quiet_{false};
    std::atomic<std::size_t> connection_count_{0};
    LoopThread thread_;
};

}  // namespace baton::runtime

// The broker of a simulation: the real ShardBrokers and SessionProtocols, between them what runtime/shard.cpp and
// session/session.cpp do in the daemon: turns, flushing, deadlines, mailboxes, drain; and, if there is a disk, what
// app/data_store.cpp does with it. One life: it ends when it is killed or destroyed.
// Not responsible for clients, or for when it dies (machine.hpp). One thread. Next file: client.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/deadline_wheel.hpp"
#include "common/net/read_buffer.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/runtime/storage_start.hpp"
#include "server/session/session_protocol.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_worker.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/report.hpp"
#include "tests/sim/scheduler.hpp"

namespace baton::sim {

class SimShard;

// How a broker ends.
enum class Death : std::uint8_t {
    killed,     // The system closes its sockets: what it has written still arrives.
    reset,      // Nothing of that arrives.
    power_cut,  // The other side hears nothing at all.
};

// As session::Session.
class SimSession final : private net::ConnectionEvents, private session::SessionHost {
public:
    SimSession(SimShard& shard, std::shared_ptr<Wire> wire, std::string name);
    ~SimSession() = default;

    void flush_turn();
    void on_deadline(MonotonicTime now);
    void begin_drain();
    void finish();
    void die(Death death);
    [[nodiscard]] bool is_flushed() const noexcept { return outbox_.empty(); }

    bool is_dirty = false;
    Deadline deadline;

private:
    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable) noexcept override;
    [[nodiscard]] std::size_t bytes_wanted() const noexcept override { return protocol_.bytes_wanted(); }
    void on_turn_end() noexcept override;
    void on_write_progress(std::size_t unsent_bytes) noexcept override;
    void on_closed(std::error_code reason) noexcept override;
    void output_ready() noexcept override;
    void close_after_flush(wire::Status reason, const std::string& text) noexcept override;

    void schedule_if_earlier(MonotonicTime than);

    SimShard& shard_;
    const std::string name_;
    Outbox outbox_;
    session::SessionProtocol protocol_;
    SimSocket socket_;
    std::uint64_t bytes_heard_ = 0;
    bool is_finishing_ = false;
    bool is_finished_ = false;
};

class SimBroker;

// As runtime::Shard.
class SimShard final : private runtime::MailboxPort {
public:
    SimShard(std::uint32_t index, SimBroker& owner);

    void accept(std::shared_ptr<Wire> wire, const std::string& name);
    void remove(SimSession& session);
    void mark_dirty(SimSession& session);
    void schedule(SimSession& session, MonotonicTime when);
    void end_turn();
    void tick();
    void begin_drain();
    void finish_connections();
    void receive(runtime::EnvelopeBatch batch);
    [[nodiscard]] bool is_quiet();
    void die(Death death);
    [[nodiscard]] std::size_t session_count() const noexcept { return sessions_.size(); }

    // As runtime::Shard: before it serves.
    void open_store(SimDisk& disk, const runtime::ShardStoreSettings& settings);
    [[nodiscard]] bool run_storage_jobs(SimDisk& disk);
    void serve_storage(DiskWorker& sync_worker, DiskWorker& bulk_worker);

    [[nodiscard]] SimBroker& owner() noexcept { return owner_; }
    [[nodiscard]] ChunkPool& pool() noexcept { return pool_; }
    [[nodiscard]] net::ReadBuffer& read_buffer() noexcept { return read_buffer_; }
    [[nodiscard]] runtime::ShardBroker& broker() noexcept { return broker_; }

private:
    void send(std::uint32_t shard, runtime::EnvelopeBatch batch) override;
    void flush_dirty();

    const std::uint32_t index_;
    SimBroker& owner_;
    ChunkPool pool_;
    net::ReadBuffer read_buffer_{pool_};
    DeadlineWheel wheel_;
    runtime::StartQueue sync_jobs_;
    runtime::StartQueue bulk_jobs_;
    std::unique_ptr<storage::IoQueue> sync_queue_;
    std::unique_ptr<storage::IoQueue> bulk_queue_;
    runtime::ShardBroker broker_;
    std::vector<std::unique_ptr<SimSession>> sessions_;
    std::vector<SimSession*> dirty_;
    std::vector<SimSession*> flushing_;
    bool is_draining_ = false;
};

// Asks the broker what an administrator would ask, without a connection.
class Inspector final : public runtime::SessionEvents {
public:
    explicit Inspector(SimShard& shard) : shard_{shard}, id_{shard.broker().open_session(*this)} {}
    ~Inspector() override { shard_.broker().close_session(id_); }

    using Done = std::function<void(const std::string& json)>;
    void ask(const std::string& channel, const std::string& json, Done done);

private:
    void on_admin_reply(std::uint64_t request, const std::string& json) override;
    void on_attached(std::uint16_t, const runtime::Attachment&) override {}
    void on_attach_failed(std::uint16_t, std::error_code) override {}
    void on_confirmed(std::uint16_t, std::uint64_t, channel::ConfirmLevel) noexcept override {}
    void on_refused(std::uint16_t, std::uint64_t, std::uint32_t, std::error_code) noexcept override {}
    void on_sender_credit(std::uint16_t, channel::Credit) noexcept override {}
    void on_state(std::uint16_t, const runtime::LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t, const channel::Slice&) noexcept override {}
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t) noexcept override {}
    void on_closed(std::uint16_t, std::error_code) noexcept override {}
    void on_memory_granted(std::uint16_t) override {}

    SimShard& shard_;
    channel::SessionId id_;
    std::uint64_t requests_ = 0;
    std::map<std::uint64_t, Done> waiting_;
};

class SimBroker {
public:
    SimBroker(Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report, std::uint32_t shards);
    ~SimBroker();

    // Recovers what is on the disk, as app::DataStore. Before start_once(). `on_power_gone` may destroy this.
    [[nodiscard]] Result<void> open_storage(SimDisk& disk, std::function<void()> on_power_gone);
    void start_once();  // Its clock.
    void accept(std::shared_ptr<Wire> wire, const std::string& name);
    [[nodiscard]] bool is_draining() const noexcept { return is_draining_; }
    // As the operating system ends it: nothing is written or told any more. It can only be destroyed then.
    void die(Death death);

    // As app::Application: refuse, wait for settlements, close.
    void drain();
    [[nodiscard]] bool is_quiet();
    void finish_connections();
    [[nodiscard]] std::size_t session_count() const;
    // Everybody has disconnected: forgets all channels and says whether all memory has come back.
    void check_memory_at_end();

    // A log takes nothing any more.
    [[nodiscard]] bool has_failed();
    // What the disk had to do; for people.
    struct StorageTotals {
        std::uint64_t groups = 0;
        std::uint64_t log_bytes = 0;
        std::uint64_t log_files = 0;
        std::uint64_t segment_bytes = 0;
    };
    [[nodiscard]] StorageTotals storage_totals();
    // What was settled longer ago than this was handed to the disk, and the disk was done with it.
    [[nodiscard]] Duration settle_window() const;
    [[nodiscard]] const runtime::Recovery& recovery() const noexcept { return recovery_; }

    void send(std::uint32_t from, std::uint32_t to, runtime::EnvelopeBatch batch);
    void after(Duration delay, std::function<void()> action);
    [[nodiscard]] Inspector& inspector() noexcept { return *inspector_; }
    [[nodiscard]] SimShard& first_shard() noexcept { return *shards_.front(); }
    [[nodiscard]] runtime::BrokerState& state() noexcept { return state_; }
    [[nodiscard]] Scheduler& scheduler() noexcept { return scheduler_; }
    [[nodiscard]] Report& report() noexcept { return report_; }

private:
    void tick();

    Scheduler& scheduler_;
    Prng& prng_;
    const SimOptions& options_;
    Report& report_;
    runtime::BrokerState state_;
    std::unique_ptr<DiskWorker> sync_worker_;
    std::unique_ptr<DiskWorker> bulk_worker_;
    runtime::Recovery recovery_;  // Without its messages.
    std::vector<std::unique_ptr<SimShard>> shards_;
    std::unique_ptr<Inspector> inspector_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::deque<runtime::EnvelopeBatch>> mail_;
    bool is_started_ = false;
    bool is_draining_ = false;
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);  // For what is scheduled: gone when we are.
};

}  // namespace baton::sim

#include "tests/sim/broker.hpp"

#include <algorithm>
#include <utility>

#include "server/runtime/shard.hpp"
#include "server/session/session.hpp"

namespace baton::sim {

namespace {

constexpr int rounds_per_turn_max = 8;  // As in shard.cpp.
constexpr std::uint32_t reconnect_after_ms = 500;

}  // namespace

// --- SimSession -----------------------------------------------------------------------------------------------------

SimSession::SimSession(SimShard& shard, std::shared_ptr<Wire> wire, std::string name)
    : shard_{shard},
      name_{std::move(name)},
      outbox_{shard.pool()},
      protocol_{shard.broker(), shard.pool(), outbox_, *this, false},
      socket_{shard.owner().scheduler(), std::move(wire), Side::broker, shard.read_buffer(), outbox_, *this} {
    shard_.schedule(*this, protocol_.deadline());
}

void SimSession::flush_turn() {
    if (is_finished_) {
        return;
    }
    const auto deadline_before = protocol_.deadline();
    protocol_.prepare_flush();
    schedule_if_earlier(deadline_before);
    socket_.flush();
    protocol_.on_write_progress(outbox_.size_bytes());
    if (is_finishing_ && !is_finished_ && socket_.is_open()) {
        is_finished_ = true;
        socket_.shutdown_after_flush();
        shard_.schedule(*this, shard_.owner().scheduler().now() + session::Session::finish_timeout);
    }
}

void SimSession::schedule_if_earlier(MonotonicTime than) {
    if (protocol_.deadline() < than && !protocol_.is_closing()) {
        shard_.schedule(*this, protocol_.deadline());
    }
}

void SimSession::on_deadline(MonotonicTime now) {
    if (is_finished_) {
        return socket_.close(std::make_error_code(std::errc::timed_out));
    }
    if (std::exchange(bytes_heard_, socket_.bytes_received()) != socket_.bytes_received()) {
        protocol_.on_heard();
    }
    protocol_.on_deadline(now);
    if (!protocol_.is_closing()) {
        shard_.schedule(*this, protocol_.deadline());
    }
}

void SimSession::begin_drain() {
    protocol_.begin_drain(reconnect_after_ms);
}

void SimSession::finish() {
    if (!protocol_.is_closing()) {
        protocol_.fail_connection(wire::Status::draining, "the broker is going down");
    }
}

void SimSession::die(Death death) {
    Wire& wire = socket_.wire();
    if (death == Death::reset) {
        wire.reset();
    } else if (death == Death::power_cut) {
        wire.cut(Side::client);
        wire.cut(Side::broker);
    }
    protocol_.on_disconnected();
}

std::size_t SimSession::on_bytes(BorrowedBytes readable) noexcept {
    const auto deadline_before = protocol_.deadline();
    const auto used = protocol_.on_bytes(readable);
    schedule_if_earlier(deadline_before);
    return used;
}

void SimSession::on_turn_end() noexcept {
    shard_.end_turn();
}

void SimSession::on_write_progress(std::size_t unsent_bytes) noexcept {
    protocol_.on_write_progress(unsent_bytes);
}

void SimSession::on_closed(std::error_code reason) noexcept {
    shard_.owner().report().note("broker: " + name_ + " has ended " + (reason ? reason.message() : ""));
    protocol_.on_disconnected();
    auto& shard = shard_;
    shard.remove(*this);  // Destroys this.
    shard.end_turn();
}

void SimSession::output_ready() noexcept {
    shard_.mark_dirty(*this);
}

void SimSession::close_after_flush(wire::Status reason, const std::string& text) noexcept {
    auto& report = shard_.owner().report();
    report.note("broker: closes " + name_ + ": " + std::string{wire::to_string(reason)} + ": " + text);
    if (reason != wire::Status::heartbeat_timeout && reason != wire::Status::handshake_timeout &&
        reason != wire::Status::draining) {
        report.violation("the broker closed a connection of an honest client: " + text);
    }
    is_finishing_ = true;
    socket_.wire().give_up();
    socket_.wire().tap().ignore_what_broker_reads();
    shard_.mark_dirty(*this);
}

// --- SimShard -------------------------------------------------------------------------------------------------------

SimShard::SimShard(std::uint32_t index, SimBroker& owner)
    : index_{index},
      owner_{owner},
      pool_{256 * 1024, 64, &owner.state().memory},
      broker_{index, owner.state(), *this} {}

void SimShard::accept(std::shared_ptr<Wire> wire, const std::string& name) {
    owner_.state().connections.fetch_add(1);
    sessions_.push_back(std::make_unique<SimSession>(*this, std::move(wire), name));
    if (is_draining_) {
        sessions_.back()->begin_drain();
    }
    end_turn();
}

void SimShard::remove(SimSession& session) {
    std::erase(dirty_, &session);
    std::ranges::replace(flushing_, &session, static_cast<SimSession*>(nullptr));
    std::erase_if(sessions_, [&](const auto& candidate) { return candidate.get() == &session; });
    owner_.state().connections.fetch_sub(1);
}

void SimShard::mark_dirty(SimSession& session) {
    if (!std::exchange(session.is_dirty, true)) {
        dirty_.push_back(&session);
    }
}

void SimShard::schedule(SimSession& session, MonotonicTime when) {
    session.deadline.key = reinterpret_cast<std::uintptr_t>(&session);
    wheel_.schedule(session.deadline, when);
}

void SimShard::flush_dirty() {
    std::swap(dirty_, flushing_);
    for (std::size_t i = 0; i < flushing_.size(); ++i) {
        if (auto* session = flushing_[i]) {
            session->is_dirty = false;
            session->flush_turn();
        }
    }
    flushing_.clear();
}

void SimShard::end_turn() {
    for (int round = 0; round < rounds_per_turn_max; ++round) {
        const bool worked = broker_.end_turn();
        if (!worked && dirty_.empty()) {
            return;
        }
        flush_dirty();
        if (broker_.is_step_spent()) {
            break;
        }
    }
    if (!dirty_.empty() || broker_.has_more()) {
        owner_.after(Duration::zero(), [this] { end_turn(); });
    }
}

void SimShard::tick() {
    const auto now = owner_.scheduler().now();
    wheel_.tick(now, [now](Deadline& deadline) {
        reinterpret_cast<SimSession*>(static_cast<std::uintptr_t>(deadline.key))->on_deadline(now);
    });
    broker_.tick();
    end_turn();
}

void SimShard::begin_drain() {
    is_draining_ = true;
    broker_.begin_drain();
    for (auto& session : sessions_) {
        session->begin_drain();
    }
    end_turn();
}

void SimShard::finish_connections() {
    for (auto& session : sessions_) {
        session->finish();
    }
    end_turn();
}

bool SimShard::is_quiet() {
    runtime::ShardStore* store = broker_.store();
    if (store != nullptr && !store->is_idle()) {
        store->flush();
        return false;
    }
    return broker_.in_flight() == 0 &&
           std::ranges::all_of(sessions_, [](const auto& session) { return session->is_flushed(); });
}

void SimShard::receive(runtime::EnvelopeBatch batch) {
    broker_.receive(std::move(batch));
    end_turn();
}

void SimShard::send(std::uint32_t shard, runtime::EnvelopeBatch batch) {
    owner_.send(index_, shard, std::move(batch));
}

void SimShard::die(Death death) {
    for (auto& session : sessions_) {
        session->die(death);
    }
    dirty_.clear();
    sessions_.clear();
}

void SimShard::open_store(SimDisk& disk, const runtime::ShardStoreSettings& settings) {
    broker_.open_store({.files = &disk,
                        .sync_queue = &sync_jobs_,
                        .bulk_queue = &bulk_jobs_,
                        .clock = &owner_.state().clock,
                        .pool = &pool_,
                        .memory = &owner_.state().memory},
                       settings);
}

bool SimShard::run_storage_jobs(SimDisk& disk) {
    const bool had_bulk = bulk_jobs_.run_all(disk);
    return sync_jobs_.run_all(disk) || had_bulk;
}

void SimShard::serve_storage(DiskWorker& sync_worker, DiskWorker& bulk_worker) {
    sync_queue_ = sync_worker.queue([this] { end_turn(); });
    bulk_queue_ = bulk_worker.queue([this] { end_turn(); });
    sync_jobs_.forward_to(*sync_queue_);
    bulk_jobs_.forward_to(*bulk_queue_);
}

// --- Inspector ------------------------------------------------------------------------------------------------------

void Inspector::ask(const std::string& channel, const std::string& json, Done done) {
    waiting_[++requests_] = std::move(done);
    shard_.broker().admin(id_, requests_, channel, json);
    shard_.end_turn();
}

void Inspector::on_admin_reply(std::uint64_t request, const std::string& json) {
    if (const auto found = waiting_.find(request); found != waiting_.end()) {
        const Done done = std::move(found->second);
        waiting_.erase(found);
        done(json);
    }
}

// --- SimBroker ------------------------------------------------------------------------------------------------------

SimBroker::SimBroker(Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report, std::uint32_t shards)
    : scheduler_{scheduler},
      prng_{prng},
      options_{options},
      report_{report},
      state_{options.limits, shards, scheduler.clock()} {
    state_.is_durable_by_default = options.storage.durable == DurableChannels::all;
    if (options.storage.durable == DurableChannels::named) {
        state_.policies.configure({{.match = "channel 0*", .is_durable = true}, {.match = "channel 2*", .is_durable = true}});
    }
    for (std::uint32_t index = 0; index < shards; ++index) {
        shards_.push_back(std::make_unique<SimShard>(index, *this));
    }
    inspector_ = std::make_unique<Inspector>(*shards_.front());
}

SimBroker::~SimBroker() {
    life_.reset();
}

Result<void> SimBroker::open_storage(SimDisk& disk, std::function<void()> on_power_gone) {
    const auto& storage = options_.storage;
    runtime::StorageStart start{disk};
    if (auto done = start.recover(shards_.front()->pool()); !done) {
        return done;
    }
    recovery_.damage = start.recovery().damage;
    recovery_.torn = start.recovery().torn;
    for (const auto& image : start.recovery().channels) {
        if (!image.settings().damage.empty()) {
            recovery_.damage.push_back(image.settings().name + ": " + image.settings().damage);
        }
    }
    if (auto done = start.begin_generation(state_.shard_count); !done) {
        return done;
    }
    runtime::ShardStoreSettings settings{.generation = start.generation(),
                                         .shard_count = state_.shard_count,
                                         .wal_file_size = storage.wal_file_size,
                                         .segment_size = storage.segment_size,
                                         .settle_interval = storage.settle_interval,
                                         .disk_free_min = storage.disk_free_min,
                                         .read_ahead = storage.read_ahead,
                                         .entries_per_slice = storage.entries_per_slice};
    std::vector<runtime::ShardBroker*> brokers;
    for (auto& shard : shards_) {
        settings.shard = static_cast<std::uint32_t>(brokers.size());
        shard->open_store(disk, settings);
        brokers.push_back(&shard->broker());
    }
    const auto pump = [&] {
        bool had_any = false;
        for (auto& shard : shards_) {
            had_any = shard->run_storage_jobs(disk) || had_any;
        }
        return had_any;
    };
    if (auto done = start.install(brokers, pump); !done) {
        return done;
    }
    if (auto done = start.finish(); !done) {
        return done;
    }
    const auto worker = [&](DelayRange time) {
        return std::make_unique<DiskWorker>(scheduler_, prng_, disk, time, on_power_gone);
    };
    sync_worker_ = worker(storage.sync_time);
    bulk_worker_ = worker(storage.bulk_time);
    for (auto& shard : shards_) {
        shard->serve_storage(*sync_worker_, *bulk_worker_);
    }
    return {};
}

void SimBroker::die(Death death) {
    life_.reset();
    for (DiskWorker* worker : {sync_worker_.get(), bulk_worker_.get()}) {
        if (worker != nullptr) {
            worker->stop();
        }
    }
    for (auto& shard : shards_) {
        shard->die(death);
    }
    inspector_.reset();
    mail_.clear();
}

bool SimBroker::has_failed() {
    return std::ranges::any_of(shards_, [](auto& shard) {
        const auto* store = shard->broker().store();
        return store != nullptr && store->condition() == commit::Condition::failed;
    });
}

SimBroker::StorageTotals SimBroker::storage_totals() {
    StorageTotals totals;
    for (auto& shard : shards_) {
        if (const auto* store = shard->broker().store()) {
            const auto& log = store->local_log().wal();
            totals.groups += log.counters().groups;
            totals.log_bytes += log.counters().bytes_written;
            totals.log_files += log.files().empty() ? 0 : log.files().back().number;
            totals.segment_bytes += store->segment_bytes_written();
        }
    }
    return totals;
}

// To its shard by mailbox; waits for the interval and a tick; then for the group that is with the disk, and for its
// own.
Duration SimBroker::settle_window() const {
    if (!sync_worker_) {
        return {};
    }
    return options_.mailbox_delay.most + options_.storage.settle_interval + 2 * runtime::Shard::tick_period +
           2 * sync_worker_->longest();
}

void SimBroker::start_once() {
    if (std::exchange(is_started_, true)) {
        return;
    }
    after(runtime::Shard::tick_period, [this] { tick(); });
}

void SimBroker::after(Duration delay, std::function<void()> action) {
    scheduler_.after(delay, [life = std::weak_ptr{life_}, action = std::move(action)] {
        if (!life.expired()) {
            action();
        }
    });
}

void SimBroker::tick() {
    for (auto& shard : shards_) {
        shard->tick();
    }
    after(runtime::Shard::tick_period, [this] { tick(); });
}

void SimBroker::accept(std::shared_ptr<Wire> wire, const std::string& name) {
    shards_[prng_.below(shards_.size())]->accept(std::move(wire), name);
}

void SimBroker::send(std::uint32_t from, std::uint32_t to, runtime::EnvelopeBatch batch) {
    mail_[{from, to}].push_back(std::move(batch));
    after(options_.mailbox_delay.take(prng_), [this, from, to] {
        auto& queue = mail_[{from, to}];
        auto first = std::move(queue.front());
        queue.pop_front();
        shards_[to]->receive(std::move(first));
    });
}

void SimBroker::drain() {
    is_draining_ = true;
    state_.is_draining.store(true);
    for (auto& shard : shards_) {
        shard->begin_drain();
    }
}

bool SimBroker::is_quiet() {
    bool is_quiet = true;
    for (auto& shard : shards_) {
        is_quiet = shard->is_quiet() && is_quiet;
    }
    return is_quiet && std::ranges::all_of(mail_, [](const auto& queue) { return queue.second.empty(); });
}

void SimBroker::finish_connections() {
    for (auto& shard : shards_) {
        shard->finish_connections();
    }
}

std::size_t SimBroker::session_count() const {
    std::size_t count = 0;
    for (const auto& shard : shards_) {
        count += shard->session_count();
    }
    return count;
}

void SimBroker::check_memory_at_end() {
    std::size_t allocated = 0;
    for (const auto& shard : shards_) {
        allocated += shard->pool().outstanding_bytes();
        // One chunk to read into and one for small copies.
        if (shard->pool().outstanding_bytes() > 2 * shard->pool().chunk_size()) {
            report_.violation("a shard still holds " + std::to_string(shard->pool().outstanding_bytes()) +
                              " bytes of messages after the last channel is gone");
        }
    }
    if (state_.memory.used() != allocated) {
        report_.violation("the memory budget says " + std::to_string(state_.memory.used()) + " bytes, allocated are " +
                          std::to_string(allocated));
    }
    if (state_.channels.load() != 0 || state_.connections.load() != 0) {
        report_.violation("channels or connections are still counted at the end");
    }
}

}  // namespace baton::sim

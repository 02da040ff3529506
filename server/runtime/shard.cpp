#include "server/runtime/shard.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::runtime {

namespace {

/// A turn's dispatch can free credit that allows more dispatch. After so many rounds others get their turn.
constexpr int rounds_per_turn_max = 8;
/// Each is a system call of 5 µs, or of 20 if its socket has not been used for long.
constexpr std::size_t writes_per_turn_max = 64;
/// Of those that did not come to their turn in the one before.
constexpr std::size_t old_writes_per_turn = 16;
/// With more of them no more is given out than leaves in the same turn: a message for thousands would get far ahead of the
/// writes, and what others are sent would be somewhere in the middle of them.
constexpr std::size_t dirty_max = 128;
constexpr std::uint32_t slices_when_behind = 16;

/// Of chunks that nobody refers to any more: 0.3 ms or so.
constexpr std::size_t freed_per_turn = 1024 * 1024;

/// At the end: for what was settled last to reach the disk.
constexpr Duration storage_end_timeout = std::chrono::seconds{5};

}  // namespace

Shard::Shard(std::uint32_t index, BrokerState& state, ConnectionFactory make_connection)
    : index_{index},
      state_{state},
      make_connection_{std::move(make_connection)},
      pool_{256 * 1024, 64, &state.memory},
      broker_{index, state, *this},
      line_{state.clock},
      ticker_{io_.get_executor(), [this] { tick(); }},
      thread_{io_, "shard-" + std::to_string(index)} {
    pool_.free_in_steps();
}

Shard::~Shard() = default;

// --- Storage -----------------------------------------------------------------------------------------------------------

void Shard::open_store(storage::FileSystem& files, const ShardStoreSettings& settings) {
    files_ = &files;
    broker_.open_store({.files = &files,
                        .sync_queue = &sync_jobs_,
                        .bulk_queue = &bulk_jobs_,
                        .clock = &state_.clock,
                        .pool = &pool_,
                        .memory = &state_.memory},
                       settings);
}

bool Shard::run_storage_jobs(storage::FileSystem& files) {
    const bool had_bulk = bulk_jobs_.run_all(files);
    return sync_jobs_.run_all(files) || had_bulk;
}

void Shard::serve_storage(storage::IoWorker& sync_worker, storage::IoWorker& bulk_worker) {
    const auto queue_of = [this](storage::IoWorker& worker) {
        return worker.queue([this](std::move_only_function<void()> done) {
            asio::post(io_, [this, done = std::move(done)]() mutable {
                done();
                // Of many blocks that have come together the first one's turn is enough: with one each they would be a long one.
                is_turn_posted_ ? void() : end_turn();
            });
        });
    };
    sync_worker_queue_ = queue_of(sync_worker);
    bulk_queue_ = queue_of(bulk_worker);
    sync_queue_.emplace(*sync_worker_queue_, *files_, state_.clock);
    sync_jobs_.forward_to(*sync_queue_);
    bulk_jobs_.forward_to(*bulk_queue_);
}

/// Hands over what has not been yet. A log that finds no space is as idle as it will get.
bool Shard::is_storage_idle() {
    ShardStore* store = broker_.store();
    if (store == nullptr || store->is_idle()) {
        return true;
    }
    store->flush();
    return store->is_stuck();
}

void Shard::start() {
    BATON_ASSERT(shards_.size() == state_.shard_count && shards_[index_] == this);
    ticker_.start(tick_period);
    thread_.start();
}

// --- Any thread ------------------------------------------------------------------------------------------------------

void Shard::adopt(net::Descriptor socket) {
    adopt([socket = std::move(socket)](Shard& shard) mutable { return shard.make_connection_(shard, std::move(socket)); });
}

void Shard::adopt(MakeConnection make) {
    asio::post(io_, [this, make = std::move(make)]() mutable {
        take_turn([this, make = std::move(make)]() mutable {
            if (!is_stopping_) {
                take(make(*this));
            }
        });
    });
}

void Shard::begin_drain(std::uint32_t reconnect_after_ms) {
    asio::post(io_, [this, reconnect_after_ms] {
        is_draining_ = true;
        reconnect_after_ms_ = reconnect_after_ms;
        broker_.begin_drain();
        for (auto& [raw, connection] : connections_) {
            connection->begin_drain(reconnect_after_ms);
        }
        end_turn();
    });
}

void Shard::finish_connections() {
    asio::post(io_, [this] {
        for (auto& [raw, connection] : connections_) {
            connection->finish();
        }
        end_turn();
    });
}

void Shard::stop() {
    asio::post(io_, [this] {
        ticker_.stop();
        is_stopping_ = true;
        for (auto& [raw, connection] : connections_) {
            connection->abort();
        }
        stop_when_empty(state_.clock.now() + storage_end_timeout);
    });
}

/// The connections end through the event loop, each after its last outstanding operation; what was settled by then is
/// on its way to the disk.
void Shard::stop_when_empty(MonotonicTime deadline) {
    if (connections_.empty() && (is_storage_idle() || state_.clock.now() >= deadline)) {
        thread_.stop();
    } else {
        asio::post(io_, [this, deadline] { stop_when_empty(deadline); });
    }
}

void Shard::join() { thread_.join(); }

void Shard::send(std::uint32_t shard, EnvelopeBatch batch) {
    Shard& target = *shards_[shard];
    if (target.inbox_.put(std::move(batch))) {
        asio::post(target.io_, [&target] { target.take_inbox(); });
    }
}

/// All that has come by now is one turn: where there are many shards they wake, and answer, each other less often.
void Shard::take_inbox() {
    note_served(this);
    inbox_.take([this](EnvelopeBatch batch) { broker_.receive(std::move(batch)); });
    end_turn();
}

// --- Connections -----------------------------------------------------------------------------------------------------

void Shard::take(std::unique_ptr<Connection> connection) {
    if (!connection) {
        return;
    }
    Connection& added = *connection;
    connections_.emplace(&added, std::move(connection));
    connection_count_.store(connections_.size(), std::memory_order_release);
    added.start();
    if (is_draining_) {
        added.begin_drain(reconnect_after_ms_);
    }
    end_turn();
}

void Shard::remove(Connection& connection) noexcept {
    std::erase(dirty_, &connection);
    std::ranges::replace(flushing_, &connection, static_cast<Connection*>(nullptr));
    connections_.erase(&connection);
    connection_count_.store(connections_.size(), std::memory_order_release);
}

Shard* Shard::better_shard(std::uint32_t wanted) noexcept {
    if (wanted == index_ || is_draining_) {
        return nullptr;
    }
    std::size_t total = 0;
    for (const Shard* shard : shards_) {
        total += shard->connection_count();
    }
    // A quarter more than its share, and a few, so that it works for few connections, too.
    constexpr std::size_t few = 4;
    const auto share_max = (total + total / 4) / shards_.size() + few;
    return shards_[wanted]->connection_count() < share_max ? shards_[wanted] : nullptr;
}

void Shard::schedule(Connection& connection, MonotonicTime when) noexcept {
    connection.deadline.key = reinterpret_cast<std::uintptr_t>(&connection);
    wheel_.schedule(connection.deadline, when);
}

void Shard::mark_dirty(Connection& connection) noexcept {
    if (!connection.is_dirty) {
        connection.is_dirty = true;
        dirty_.push_back(&connection);
    }
}

// --- Turns -----------------------------------------------------------------------------------------------------------

/// At most so many, and a few of those that have waited longest; the others stay dirty. Returns the number.
std::size_t Shard::flush_dirty(std::size_t most) noexcept {
    std::swap(dirty_, flushing_);
    const auto flush = [this](std::size_t at) {
        if (auto* connection = flushing_[at]) {
            connection->is_dirty = false;
            connection->flush_turn();
        }
    };
    // The last one first: receivers get theirs at the end of a turn, and wait more than a sender does for its confirm.
    const std::size_t end = flushing_.size() - std::min(most, flushing_.size());
    for (std::size_t at = flushing_.size(); at-- != end;) {
        flush(at);
    }
    const std::size_t begin = std::min(end, old_writes_per_turn);
    for (std::size_t at = 0; at < begin; ++at) {
        flush(at);
    }
    const std::size_t flushed = flushing_.size() - end + begin;
    const std::span left = std::span{flushing_}.subspan(begin, end - begin);
    dirty_.insert(dirty_.begin(), left.begin(), left.end());
    std::erase(dirty_, nullptr);
    flushing_.clear();
    return flushed;
}

bool Shard::begin_turn_of(Connection& connection) noexcept {
    if (line_.begin()) {
        return true;
    }
    wait_in_line([&connection] { connection.go_on(); },
                 connection.brings_much ? TurnLine::Load::heavy : TurnLine::Load::light);
    return false;
}

void Shard::take_turn(TurnLine::Work work) {
    if (!line_.begin()) {
        return wait_in_line(std::move(work));
    }
    work();
    line_.end();
}

void Shard::wait_in_line(TurnLine::Work work, TurnLine::Load load) {
    if (line_.wait(std::move(work), load)) {
        asio::post(io_, [this] { serve_line(); });
    }
}

/// What is posted now is done behind the next look of the loop at what is ready, and in front of what that finds.
void Shard::serve_line() {
    if (line_.serve()) {
        asio::post(io_, [this] { serve_line(); });
    }
}

void Shard::note_served(const void* source) noexcept {
    if (sync_queue_) {
        sync_queue_->note_served(source);
    }
}

void Shard::end_turn_of(const Connection& connection) noexcept {
    note_served(&connection);
    end_turn();
    line_.end();
}

void Shard::end_turn() noexcept {
    const bool is_done = dispatch_and_flush() || (dirty_.empty() && !broker_.has_more());
    const bool has_dead_chunks = pool_.free_some(freed_per_turn);
    if ((!is_done || has_dead_chunks) && !std::exchange(is_turn_posted_, true)) {
        asio::post(io_, [this] {
            is_turn_posted_ = false;
            end_turn();
        });
    }
    run_sync_job();
}

/// False: others get their turn before it goes on.
bool Shard::dispatch_and_flush() noexcept {
    std::size_t writes = writes_per_turn_max;
    for (int round = 0; round < rounds_per_turn_max && writes > 0; ++round) {
        const bool worked = dirty_.size() > dirty_max ? broker_.end_turn(slices_when_behind) : broker_.end_turn();
        if (!worked && dirty_.empty()) {
            return true;
        }
        writes -= std::min(writes, flush_dirty(writes));
        if (broker_.is_step_spent()) {
            break;
        }
    }
    return false;
}

/// Everything that this turn had to send is on its way: now the disk may hold up the loop.
void Shard::run_sync_job() noexcept {
    if (!sync_queue_) {
        return;
    }
    if (auto job = sync_queue_->take_here()) {
        thread_.run_between_turns(std::move(job->run), [this, done = std::move(job->done)]() mutable {
            done();
            end_turn();
        });
    }
}

void Shard::tick() {
    const auto now = state_.clock.now();
    wheel_.tick(now, [now](Deadline& deadline) {
        reinterpret_cast<Connection*>(static_cast<std::uintptr_t>(deadline.key))->on_deadline(now);
    });
    broker_.tick();
    is_turn_posted_ ? void() : end_turn();
    if (is_draining_) {
        const bool is_idle = is_storage_idle();
        is_quiet_.store(is_idle && broker_.in_flight() == 0 && everything_is_written(), std::memory_order_release);
    }
}

bool Shard::everything_is_written() const {
    return std::ranges::all_of(connections_, [](const auto& entry) { return entry.second->is_flushed(); });
}

}  // namespace baton::runtime

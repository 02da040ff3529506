#include "server/storage/wal_writer.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/assert.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/wal_disk.hpp"
#include "server/storage/wal_group.hpp"

namespace baton::storage {

// Two groups take turns: one builds up while the other one is written. While is_writing, a job reads `writing`,
// `position` and `plan` and owns `disk` and `outcome`; the shard leaves them alone.
struct WalWriter::State {
    State(IoQueue& io_queue, WalEvents& wal_events, WalSettings wal_settings)
        : queue{io_queue},
          events{wal_events},
          settings{std::move(wal_settings)},
          file_size{wal_aligned(settings.file_size)},
          building{settings.salt},
          writing{settings.salt},
          disk{settings.directory, settings.zero_step} {}

    void begin(const std::shared_ptr<State>& self);
    void place();
    void submit(const std::shared_ptr<State>& self);
    void finish(const std::shared_ptr<State>& self);
    void finish_badly();
    [[nodiscard]] bool is_wanted() const noexcept { return !building.empty() && wanted >= building.first_index(); }

    IoQueue& queue;
    WalEvents& events;
    const WalSettings settings;
    const std::uint64_t file_size;

    bool is_closed = false;  // The writer is gone; a job may still be under way.
    bool is_writing = false;
    bool is_full = false;
    bool has_failed = false;
    Index appended = 0;
    Index synced = 0;
    Index wanted = 0;  // Somebody waits for all up to this one.
    std::uint64_t unsynced_bytes = 0;
    WalGroup building;
    WalGroup writing;
    std::deque<FileRange> files;
    std::deque<std::uint64_t> written;  // Of each of `files`: behind that it was only allocated.
    std::vector<WalSpare> spares;
    std::uint64_t position = 0;       // Of the group that is written, in the last of `files`.
    std::uint64_t end_position = 0;   // Behind it.
    std::optional<WalFilePlan> plan;  // If it begins a file.
    Counters counters;

    struct Outcome {
        Error error;
        bool is_final = false;
    };
    WalDisk disk;
    Outcome outcome;
};

WalWriter::WalWriter(IoQueue& queue, WalEvents& events, WalSettings settings)
    : state_{std::make_shared<State>(queue, events, std::move(settings))} {
    BATON_ASSERT(state_->settings.file_size >= 64 * 1024);
}

WalWriter::~WalWriter() {
    state_->is_closed = true;
}

Index WalWriter::append(StreamId stream, std::uint64_t number, Bytes head, const Payload& body) {
    State& state = *state_;
    const Index index = ++state.appended;
    state.unsynced_bytes += record_header_size + head.size() + body.size();
    if (!state.has_failed) [[likely]] {
        state.building.append(index, stream, number, head, body);
    }
    return index;
}

void WalWriter::flush(Index wanted) {
    State& state = *state_;
    state.wanted = std::max(state.wanted, wanted);
    if (state.is_writing || state.has_failed) {
        return;
    }
    if (!state.writing.empty()) {
        state.submit(state_);  // There was no space; again as it is, for a part of it may have been written.
    } else if (state.is_wanted()) {
        state.begin(state_);
    }
}

Index WalWriter::appended() const noexcept {
    return state_->appended;
}
Index WalWriter::synced() const noexcept {
    return state_->synced;
}
bool WalWriter::is_idle() const noexcept {
    return !state_->is_writing && (state_->has_failed || state_->synced == state_->appended);
}
bool WalWriter::is_full() const noexcept {
    return state_->is_full;
}
bool WalWriter::has_failed() const noexcept {
    return state_->has_failed;
}
std::uint64_t WalWriter::unsynced_bytes() const noexcept {
    return state_->unsynced_bytes;
}
const std::deque<WalWriter::FileRange>& WalWriter::files() const noexcept {
    return state_->files;
}
const WalWriter::Counters& WalWriter::counters() const noexcept {
    return state_->counters;
}

void WalWriter::recycle_before(std::uint64_t file_number) {
    State& state = *state_;
    while (state.files.size() > 1 && state.files.front().number < file_number) {
        const WalSpare spare{.number = state.files.front().number, .written = state.written.front()};
        state.files.pop_front();
        state.written.pop_front();
        if (state.spares.size() < state.settings.spare_files_max) {
            state.spares.push_back(spare);
        } else {
            state.queue.submit(
                {[path = state.disk.path(spare.number)](FileSystem& system) { WalDisk::remove(system, path); }, [] {}});
        }
    }
}

void WalWriter::drop_spares() {
    State& state = *state_;
    for (const WalSpare& spare : std::exchange(state.spares, {})) {
        state.queue.submit(
            {[path = state.disk.path(spare.number)](FileSystem& system) { WalDisk::remove(system, path); }, [] {}});
    }
}

void WalWriter::State::begin(const std::shared_ptr<State>& self) {
    BATON_ASSERT(!is_writing && writing.empty() && !building.empty());
    std::swap(building, writing);
    place();
    submit(self);
}

// Behind the group before it, or into the next file.
void WalWriter::State::place() {
    const std::uint64_t size = writing.size();
    if (files.empty() || end_position + size > files.back().size) {
        const std::uint64_t number = files.empty() ? 1 : files.back().number + 1;
        const std::uint64_t next_size = std::max(file_size, wal_alignment + size);
        plan = WalFilePlan{.header = {.generation = settings.generation,
                                      .shard = settings.shard,
                                      .file_number = number,
                                      .first_index = writing.first_index(),
                                      .salt = settings.salt},
                           .size = next_size,
                           .spare = std::nullopt};
        if (!spares.empty()) {
            plan->spare = spares.back();
            spares.pop_back();
        }
        files.push_back({.number = number, .first_index = writing.first_index(), .size = next_size});
        written.push_back(0);
        end_position = wal_alignment;
    }
    position = end_position;
    end_position += size;
    writing.set_header(files.back().number, synced);
}

void WalWriter::State::submit(const std::shared_ptr<State>& self) {
    is_writing = true;
    queue.submit({[self](FileSystem& system) {
                      State& state = *self;
                      auto done = state.disk.write(system, state.writing, state.position,
                                                   state.plan ? &*state.plan : nullptr, state.outcome.is_final);
                      state.outcome.error = done ? Error{} : std::move(done.error());
                  },
                  [self] { self->finish(self); },
                  writing.size() + (plan ? settings.file_size : 0)});
}

// `self` may be all that keeps this alive: the owner may end in each of the events.
void WalWriter::State::finish(const std::shared_ptr<State>& self) {
    is_writing = false;
    if (outcome.error.code) {
        finish_badly();
        return;
    }
    counters.groups += 1;
    counters.bytes_written += writing.size();
    counters.bytes_zeroed = disk.zeroed();
    written.back() = disk.written();
    synced = writing.last_index();
    unsynced_bytes -= writing.body_size();
    writing.clear();
    plan.reset();
    is_full = false;
    if (!is_closed) {
        events.on_wal_synced(synced);
    }
    // In the event somebody may have called flush().
    if (!is_closed && !is_writing && !has_failed && is_wanted()) {
        begin(self);
    }
}

void WalWriter::State::finish_badly() {
    if (outcome.error.code == Errc::no_space && !outcome.is_final) {
        is_full = true;
        return;
    }
    has_failed = true;
    is_full = false;
    writing.clear();
    building.clear();
    if (!is_closed) {
        events.on_wal_failed(outcome.error);
    }
}

}  // namespace baton::storage

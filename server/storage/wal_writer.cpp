#include "server/storage/wal_writer.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "common/base/assert.hpp"
#include "server/storage/errc.hpp"

namespace baton::storage {

namespace {

// A smaller body is copied behind its record header: cheaper than a buffer of its own in the write.
constexpr std::size_t reference_size_min = 4 * 1024;
// What a burst needed and the steady state does not goes back to the system.
constexpr std::size_t kept_buffer_max = 4U << 20U;
constexpr std::size_t zeros_size = 64 * 1024;

const std::array<std::byte, zeros_size> zeros{};

/// Records that are written and synced together. `bytes` has everything but the referenced bodies, which come in between.
struct Group {
    struct Reference {
        std::size_t behind = 0;  ///< So many of `bytes` come before it.
        Payload body;
    };

    std::vector<std::byte> bytes = std::vector<std::byte>(group_header_size);
    std::vector<Reference> references;
    Index first_index = 0;
    std::uint32_t records = 0;
    std::uint64_t body_size = 0;

    [[nodiscard]] bool empty() const noexcept { return records == 0; }
    [[nodiscard]] std::uint64_t size() const noexcept { return wal_aligned(group_header_size + body_size); }

    void clear() {
        if (bytes.capacity() > kept_buffer_max) {
            bytes = {};
        }
        bytes.resize(group_header_size);
        references.clear();
        records = 0;
        body_size = 0;
    }

    /// Header, bodies and padding, in order.
    void gather(std::vector<Bytes>& parts) const {
        std::size_t at = 0;
        for (const Reference& reference : references) {
            parts.push_back(Bytes{bytes}.subspan(at, reference.behind - at));
            parts.push_back(reference.body.bytes());
            at = reference.behind;
        }
        parts.push_back(Bytes{bytes}.subspan(at));
        parts.push_back(Bytes{zeros}.first(static_cast<std::size_t>(size() - group_header_size - body_size)));
    }
};

struct Spare {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
};

/// The next file, if the group is the first in it.
struct Roll {
    std::optional<Spare> spare;
    WalFileHeader header;
    std::uint64_t size = 0;
};

/// What is on the disk, as the worker knows it. Touched by jobs only.
struct Disk {
    std::unique_ptr<File> file;
    std::uint64_t number = 0;   ///< Of the open file; 0: none.
    std::uint64_t size = 0;
    std::uint64_t written = 0;  ///< From here on the file has never been written.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written_of_old;  ///< The same of files that were left.
    bool is_named = true;       ///< The name of the file is durable.
    std::uint64_t zeroed = 0;   ///< Bytes, in all.
};

}  // namespace

struct WalWriter::State {
    State(IoQueue& io_queue, WalEvents& wal_events, WalSettings wal_settings)
        : queue{io_queue}, events{wal_events}, settings{std::move(wal_settings)} {}

    // The shard's side.
    IoQueue& queue;
    WalEvents& events;
    const WalSettings settings;
    bool is_closed = false;
    bool is_writing = false;
    bool is_full = false;
    bool has_failed = false;
    Index appended = 0;
    Index synced = 0;
    Index wanted = 0;  // flush() was called for all up to this one.
    Group building;
    Group writing;
    Index writing_last = 0;
    std::uint64_t position = 0;       // Of the group that is written, in the last of `files`.
    std::uint64_t end_position = 0;   // Behind it.
    std::deque<FileRange> files;
    std::vector<Spare> spares;
    std::optional<Roll> roll;         // Of the group that is written.
    Counters counters;

    // The worker's side.
    Disk disk;
    std::vector<Bytes> parts;

    void place();
    void write(std::shared_ptr<State> self);
    void finish(std::shared_ptr<State> self, const Error& error, bool is_final);

    [[nodiscard]] Result<void> roll_to(FileSystem& system);
    [[nodiscard]] Result<void> open_next(FileSystem& system);
    [[nodiscard]] Result<void> fill_ahead();
    [[nodiscard]] Result<void> put_group();
    [[nodiscard]] std::string path(std::uint64_t number) const { return settings.directory + "/" + wal_file_name(number); }
};

// --- The shard's side ------------------------------------------------------------------------------------------------

WalWriter::WalWriter(IoQueue& queue, WalEvents& events, WalSettings settings)
    : state_{std::make_shared<State>(queue, events, std::move(settings))} {
    BATON_ASSERT(state_->settings.file_size >= 64 * 1024);
}

WalWriter::~WalWriter() { state_->is_closed = true; }

Index WalWriter::append(StreamId stream, std::uint64_t number, Bytes head, const Payload& body) {
    State& state = *state_;
    Group& group = state.building;
    const std::uint64_t body_size = head.size() + body.size();
    BATON_ASSERT(body_size <= UINT32_MAX);
    RecordHeader header{
        .body_size = static_cast<std::uint32_t>(body_size), .crc = 0, .stream = stream, .number = number};
    header.crc = record_crc(header, head, body.bytes());
    const bool is_copied = body.size() < reference_size_min;
    const std::size_t at = group.bytes.size();
    group.bytes.resize(at + record_header_size + head.size() + (is_copied ? body.size() : 0));
    encode(header, MutableBytes{group.bytes}.subspan(at));
    copy_bytes(group.bytes.data() + at + record_header_size, head);
    if (is_copied) {
        copy_bytes(group.bytes.data() + at + record_header_size + head.size(), body.bytes());
    } else {
        group.references.push_back({group.bytes.size(), body});
    }
    ++state.appended;
    if (group.empty()) {
        group.first_index = state.appended;
    }
    ++group.records;
    group.body_size += record_header_size + body_size;
    return state.appended;
}

void WalWriter::flush() {
    State& state = *state_;
    state.wanted = state.appended;
    if (state.is_writing || state.has_failed) {
        return;
    }
    if (state.writing.empty()) {  // Else it could not be written before, and is tried again as it is.
        if (state.building.empty()) {
            return;
        }
        std::swap(state.building, state.writing);
        state.writing_last = state.writing.first_index + state.writing.records - 1;
        state.place();
    }
    state.write(state_);
}

Index WalWriter::appended() const noexcept { return state_->appended; }
Index WalWriter::synced() const noexcept { return state_->synced; }
bool WalWriter::is_idle() const noexcept { return !state_->is_writing && state_->synced == state_->appended; }
bool WalWriter::is_full() const noexcept { return state_->is_full; }
bool WalWriter::has_failed() const noexcept { return state_->has_failed; }
std::uint64_t WalWriter::unsynced_bytes() const noexcept {
    return state_->building.body_size + state_->writing.body_size;
}
const std::deque<WalWriter::FileRange>& WalWriter::files() const noexcept { return state_->files; }
const WalWriter::Counters& WalWriter::counters() const noexcept { return state_->counters; }

// Where the group goes: behind the one before it, or into the next file.
void WalWriter::State::place() {
    const std::uint64_t size = writing.size();
    if (files.empty() || end_position + size > settings.file_size) {
        const std::uint64_t number = files.empty() ? 1 : files.back().number + 1;
        roll = Roll{.spare = {},
                    .header = {.generation = settings.generation,
                               .shard = settings.shard,
                               .file_number = number,
                               .first_index = writing.first_index},
                    .size = std::max(settings.file_size, wal_alignment + size)};
        if (!spares.empty()) {
            roll->spare = spares.back();
            spares.pop_back();
        }
        files.push_back({number, writing.first_index, roll->size});
        end_position = wal_alignment;
    }
    position = end_position;
    end_position += size;
    encode(GroupHeader{.file_number = files.back().number,
                       .first_index = writing.first_index,
                       .synced_index = synced,
                       .body_size = writing.body_size,
                       .records = writing.records,
                       .epoch = 0},
           writing.bytes);
}

void WalWriter::State::write(std::shared_ptr<State> self) {
    struct Outcome {
        Error error;
        bool is_final = false;
    };
    auto outcome = std::make_shared<Outcome>();
    is_writing = true;
    queue.submit({[self, outcome](FileSystem& system) {
                      auto done = self->roll ? self->roll_to(system) : Result<void>{};
                      if (done) {
                          done = self->put_group();
                      }
                      if (!done) {
                          outcome->error = done.error();
                          outcome->is_final = outcome->error.code != Errc::no_space;
                          return;
                      }
                      // From here on nothing can be tried again.
                      done = self->disk.file->sync();
                      if (done && !self->disk.is_named) {
                          done = system.sync_directory(self->settings.directory);
                          self->disk.is_named = done.has_value();
                      }
                      if (!done) {
                          outcome->error = done.error();
                          outcome->is_final = true;
                      }
                  },
                  [self, outcome]() mutable {
                      State& state = *self;
                      state.finish(std::move(self), outcome->error, outcome->is_final);
                  }});
}

void WalWriter::State::finish(std::shared_ptr<State> self, const Error& error, bool is_final) {
    is_writing = false;
    counters.bytes_zeroed = disk.zeroed;
    if (error.code) {
        if (is_final) {
            has_failed = true;
            if (!is_closed) {
                events.on_wal_failed(error);
            }
        } else {
            is_full = true;
        }
        return;
    }
    ++counters.groups;
    counters.bytes_written += writing.size() + (roll ? wal_alignment : 0);
    roll.reset();
    is_full = false;
    synced = writing_last;
    writing.clear();
    if (is_closed) {
        return;
    }
    events.on_wal_synced(synced);
    if (!is_closed && !is_writing && wanted > synced && !building.empty()) {
        std::swap(building, writing);
        writing_last = writing.first_index + writing.records - 1;
        place();
        write(std::move(self));
    }
}

void WalWriter::recycle_before(std::uint64_t file_number) {
    State& state = *state_;
    while (state.files.size() > 1 && state.files.front().number < file_number) {
        const FileRange file = state.files.front();
        state.files.pop_front();
        if (state.spares.size() < state.settings.spare_files_max) {
            state.spares.push_back({file.number, file.size});
            continue;
        }
        // Nobody waits for that; what stays is removed with its generation.
        state.queue.submit({[self = state_, number = file.number](FileSystem& system) {
                                static_cast<void>(system.remove(self->path(number)));
                                std::erase_if(self->disk.written_of_old,
                                              [number](const auto& old) { return old.first == number; });
                            },
                            [] {}});
    }
}

// --- The worker's side -----------------------------------------------------------------------------------------------

// May have been tried before and have failed anywhere: does what is still to be done.
Result<void> WalWriter::State::roll_to(FileSystem& system) {
    const std::uint64_t number = roll->header.file_number;
    if (disk.number != number) {
        if (auto opened = open_next(system); !opened) {
            return opened;
        }
    }
    std::array<std::byte, wal_alignment> header{};
    encode(roll->header, header);
    const Bytes part{header};
    return disk.file->write(0, {&part, 1});
}

Result<void> WalWriter::State::open_next(FileSystem& system) {
    const std::uint64_t number = roll->header.file_number;
    std::uint64_t written = 0;
    if (roll->spare) {
        auto renamed = system.rename(path(roll->spare->number), path(number));
        if (!renamed && renamed.error().code != Errc::not_found) {
            return renamed;
        }
        const auto old = std::ranges::find(disk.written_of_old, roll->spare->number,
                                           &std::pair<std::uint64_t, std::uint64_t>::first);
        if (old != disk.written_of_old.end()) {
            written = old->second;
        }
    }
    auto file = system.open(path(number), OpenMode::read_write);
    if (!file && file.error().code == Errc::not_found) {
        file = system.open(path(number), OpenMode::create);
        written = 0;
    }
    if (!file) {
        return fail(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return fail(size.error());
    }
    auto sized = *size > roll->size ? (*file)->truncate(roll->size) : (*file)->allocate(roll->size);
    if (!sized) {
        return sized;
    }
    if (roll->spare) {
        std::erase_if(disk.written_of_old, [this](const auto& old) { return old.first == roll->spare->number; });
    }
    if (disk.number != 0) {
        disk.written_of_old.emplace_back(disk.number, disk.written);
    }
    disk.file = std::move(*file);
    disk.file->prefer_direct();
    disk.number = number;
    disk.size = roll->size;
    disk.written = std::max<std::uint64_t>(std::min(written, roll->size), wal_alignment);
    disk.is_named = false;
    return {};
}

// A write into space that was only allocated makes the file system note, at the sync, that it is written now. So what
// comes next is written once in advance, in large steps.
Result<void> WalWriter::State::fill_ahead() {
    if (end_position <= disk.written || disk.written >= disk.size) {
        return {};
    }
    std::uint64_t at = std::max(disk.written, end_position);
    const std::uint64_t end = std::min(at + settings.zero_step, disk.size);
    while (at < end) {
        parts.clear();
        std::uint64_t size = 0;
        while (at + size < end && parts.size() < 8) {
            parts.push_back(
                Bytes{zeros}.first(static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end - at - size))));
            size += parts.back().size();
        }
        if (auto done = disk.file->write(at, parts); !done) {
            return done;
        }
        at += size;
        disk.zeroed += size;
    }
    disk.written = end;
    return {};
}

Result<void> WalWriter::State::put_group() {
    if (auto filled = fill_ahead(); !filled) {
        return filled;
    }
    parts.clear();
    writing.gather(parts);
    auto done = disk.file->write(position, parts);
    if (done) {
        disk.written = std::max(disk.written, end_position);
    }
    return done;
}

}  // namespace baton::storage

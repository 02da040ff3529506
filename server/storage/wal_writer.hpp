// The writing side of one shard's write-ahead log. append() changes memory only; flush() hands everything that was
// appended to the I/O queue as one group: one write, one sync. While that is under way the next group builds up, so
// that syncing batches itself and adds no delay. Not responsible for what records mean, for numbering them within their
// streams, or for deciding which files are no longer needed (recycle_before). Layout: wal_format.hpp. Thread: its
// shard's. Next file: wal_reader.hpp.
//
// Failures. No space: nothing is lost, what was appended stays in memory, is_full() is true, and flush() (called each
// tick) tries again. Any other failure is final: on_wal_failed once, and never again on_wal_synced. So is each failure
// of a sync, also for want of space: what it left on the disk nobody knows. After that append() only counts.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/base/payload.hpp"
#include "server/storage/io_queue.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

class WalEvents {
public:
    WalEvents() = default;
    WalEvents(const WalEvents&) = delete;
    WalEvents& operator=(const WalEvents&) = delete;
    virtual ~WalEvents() = default;
    /// Every record up to `index` is durable. Increasing.
    virtual void on_wal_synced(Index index) noexcept = 0;
    /// The log is lost for writing. Once. What was appended and not synced has an unknown outcome.
    virtual void on_wal_failed(const Error& reason) noexcept = 0;
};

struct WalSettings {
    std::string directory;  ///< "generation-…/shard-…"; exists, and is durable in its parent.
    std::uint64_t generation = 0;
    std::uint32_t shard = 0;
    /// Random, of this log, and not told to anybody. Recycled files hold what users have sent, and that could look like
    /// a group of the file's next life, if it were known how that will look.
    std::uint64_t salt = 0;
    std::uint64_t file_size = 32ULL << 20;  ///< Bytes of one file, at least 64 KiB.
    std::uint64_t zero_step = 4ULL << 20;   ///< A new file is filled with zeros so much ahead of what is written.
    std::uint32_t spare_files_max = 2;      ///< Files kept for recycling; more are removed.
};

class WalWriter {
public:
    /// The log is empty: the first record has index 1 in file 1. `queue` and `events` outlive the writer, except that
    /// jobs under way keep what they need alive.
    WalWriter(IoQueue& queue, WalEvents& events, WalSettings settings);
    WalWriter(const WalWriter&) = delete;
    WalWriter& operator=(const WalWriter&) = delete;
    ~WalWriter();

    /// Appends a record whose body is `head` (copied) followed by `body` (referenced if large, else copied). Less than
    /// 4 GiB together. Returns its index. `number`: of the record in its stream. Also after a failure or while full.
    Index append(StreamId stream, std::uint64_t number, Bytes head, const Payload& body = {});
    /// Somebody waits for everything up to `wanted`: hands what was appended to the queue if no group is under way;
    /// otherwise that happens by itself when it ends. What is behind `wanted` goes along, but gets no group of its own.
    void flush(Index wanted);
    void flush() { flush(appended()); }

    [[nodiscard]] Index appended() const noexcept;  ///< Index of the last appended record; 0: none.
    [[nodiscard]] Index synced() const noexcept;
    /// Nothing is under way, and nothing waits to be written (unless the log has failed).
    [[nodiscard]] bool is_idle() const noexcept;
    [[nodiscard]] bool is_full() const noexcept;  ///< No space; what was appended waits.
    [[nodiscard]] bool has_failed() const noexcept;
    [[nodiscard]] std::uint64_t unsynced_bytes() const noexcept;  ///< Appended and not durable.

    /// The files that exist, oldest first; the last one is being written. A record with index i is in the last file
    /// whose first_index is at most i, once it has been handed over by flush(). The last one is certain to exist when
    /// synced() has reached its first_index: before that a checkpoint must not begin with it.
    struct FileRange {
        std::uint64_t number = 0;
        Index first_index = 0;
        std::uint64_t size = 0;
    };
    [[nodiscard]] const std::deque<FileRange>& files() const noexcept;
    /// Files with a lower number hold nothing that is needed: they become spare, or are removed.
    void recycle_before(std::uint64_t file_number);
    /// Space is short: removes the spare ones.
    void drop_spares();

    /// Since the start, for statistics and tests.
    struct Counters {
        std::uint64_t groups = 0;         ///< Writes with a sync.
        std::uint64_t bytes_written = 0;  ///< Group headers, records and padding.
        std::uint64_t bytes_zeroed = 0;   ///< Filling of new files.
    };
    [[nodiscard]] const Counters& counters() const noexcept;

private:
    struct State;  // Shared with jobs under way, so that they can end after the writer is gone.
    std::shared_ptr<State> state_;
};

}  // namespace baton::storage

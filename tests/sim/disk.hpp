// A disk in memory that behaves as badly as real ones may: it forgets what was not synced, tears writes, fails, fills
// up, and loses power between any two operations. What it does is decided by seeds alone.
// Not responsible for time. One thread, although a FileSystem may be used by several. What is durable: disk_state.hpp.
// Next file: disk_queue.hpp.
//
// An exhaustive test runs its scenario once to count operations(), then again and again with crash_at(1), crash_at(2)…,
// each followed by one of the crash functions and a recovery.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/prng.hpp"
#include "server/storage/file_system.hpp"
#include "tests/sim/disk_state.hpp"

namespace baton::sim {

struct DiskOptions {
    std::uint64_t capacity = 1ULL << 40;  ///< Bytes of all files; a file counts with its size, holes or not.
    std::uint64_t seed = 1;               ///< Of how much a failing operation has done.
};

enum class DiskFault : std::uint8_t {
    io_error,   ///< A failing write has written a part; a failing sync has lost a part, and later ones succeed all the
                ///< same.
    no_space,   ///< Likewise.
    power_cut,  ///< The operation is under way when the power goes; every later one fails until a crash function is
                ///< called.
};

class SimDisk final : public storage::FileSystem {
public:
    explicit SimDisk(const DiskOptions& options = {});
    ~SimDisk() override;

    // --- The port
    [[nodiscard]] Result<std::unique_ptr<storage::File>> open(std::string_view path, storage::OpenMode mode) override;
    [[nodiscard]] Result<void> rename(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> link(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> remove(std::string_view path) override;
    [[nodiscard]] Result<void> make_directory(std::string_view path) override;
    [[nodiscard]] Result<void> sync_directory(std::string_view path) override;
    [[nodiscard]] Result<std::vector<std::string>> list(std::string_view path) override;
    [[nodiscard]] Result<storage::Space> space() override;
    [[nodiscard]] Result<std::unique_ptr<storage::FileLock>> lock(std::string_view path,
                                                                  std::string_view content) override;

    // --- Power. After each of these the disk works again; files that were open and locks that were held are dead.
    void crash(Prng& prng);                      ///< Of what was not synced, some survives.
    void crash_losing_everything();              ///< Nothing of it does.
    void crash_keeping_everything();             ///< All of it does; an operation that was cut off has been done.
    [[nodiscard]] bool is_off() const noexcept;  ///< A power_cut has happened, and no crash function was called yet.

    // --- Faults
    /// Calls so far that change something: open with create, rename, link, remove, make_directory, sync_directory,
    /// lock; write, sync, allocate, truncate. Reading does not count.
    [[nodiscard]] std::uint64_t operations() const noexcept;
    /// The operation with this number (the next one is operations() + 1) and the `count` - 1 behind it fail.
    void fail_at(std::uint64_t operation, DiskFault fault, std::uint64_t count = 1);
    void crash_at(std::uint64_t operation) { fail_at(operation, DiskFault::power_cut); }
    void fail_always(DiskFault fault);  ///< From now on, until clear_faults().
    void clear_faults();                ///< Also of reading.
    void set_capacity(std::uint64_t bytes);
    /// Reading this file fails, or no longer. It must exist; the file is meant, not the path.
    void fail_reads(std::string_view path, bool fails = true);
    /// Changes bits of a byte that exists, on the disk and in memory.
    void flip_byte(std::string_view path, std::uint64_t position, std::byte mask = std::byte{0xff});

    // --- The whole disk as a value, with what is durable and what is not; without faults. Cheap.
    [[nodiscard]] DiskState snapshot() const;
    void restore(DiskState state);  ///< Files that were open and locks that were held are dead.
    /// Every file, with the names of its directories, in order.
    [[nodiscard]] std::vector<std::string> all_files() const;
    [[nodiscard]] bool exists(std::string_view path) const;

private:
    struct Core;  // Shared with open files, which may outlive the disk.
    class OpenFile;
    class HeldLock;

    void power_on(Survival survival, Prng* prng);

    std::shared_ptr<Core> core_;
};

}  // namespace baton::sim

// The blocking half of a WalWriter: makes or recycles files, fills new ones with zeros, writes groups, syncs.
// Not responsible for which group goes where (wal_writer.cpp). Touched by jobs of the I/O queue only.
// Next file: wal_writer.cpp.
//
// Everything that fails for want of space may be tried again with the same arguments: what has been done is found done,
// and what was written in part is written again with the same bytes. A sync that fails may not: nobody knows what it
// left.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/storage/file_system.hpp"
#include "server/storage/wal_format.hpp"
#include "server/storage/wal_group.hpp"

namespace baton::storage {

/// A file that nothing needs any more.
struct WalSpare {
    std::uint64_t number = 0;
    std::uint64_t written = 0;  ///< Behind that it was never written, only allocated.
};

/// How a new file begins.
struct WalFilePlan {
    WalFileHeader header;
    std::uint64_t size = 0;
    std::optional<WalSpare> spare;  ///< Renamed for it.
};

class WalDisk {
public:
    WalDisk(std::string directory, std::uint64_t zero_step) : directory_{std::move(directory)}, zero_step_{zero_step} {}

    /// Makes the group durable at `position`; with a plan, in that file, which becomes the open one. `is_final` is set
    /// if a failure is one of a sync.
    [[nodiscard]] Result<void> write(FileSystem& system, const WalGroup& group, std::uint64_t position,
                                     const WalFilePlan* plan, bool& is_final);
    static void remove(FileSystem& system, const std::string& path);

    [[nodiscard]] std::string path(std::uint64_t number) const { return directory_ + "/" + wal_file_name(number); }
    /// Of the open file: from here on it has only been allocated.
    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
    [[nodiscard]] std::uint64_t zeroed() const noexcept { return zeroed_; }  ///< Bytes, since the start.

private:
    [[nodiscard]] Result<void> open_next(FileSystem& system, const WalFilePlan& plan);
    [[nodiscard]] Result<void> fill_ahead(std::uint64_t end);
    [[nodiscard]] Result<void> put(const WalGroup& group, std::uint64_t position, const WalFilePlan* plan);
    [[nodiscard]] Result<void> sync(FileSystem& system);

    const std::string directory_;
    const std::uint64_t zero_step_;
    std::unique_ptr<File> file_;
    std::uint64_t number_ = 0;  // Of the open file.
    std::uint64_t size_ = 0;
    std::uint64_t written_ = 0;
    std::uint64_t zeroed_ = 0;
    bool is_named_ = true;  // The name of the open file is durable.
    std::vector<Bytes> parts_;
};

}  // namespace baton::storage

// The data directory that is inspected: a copy, a backup, or that of a broker which does not run. Opened without taking
// the lock, so that nobody is ever kept from starting. What is in it, by name and size. Not responsible for contents.
// Blocking, one thread. Next file: command_line.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/inspect/read_only_files.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/posix_file_system.hpp"
#include "server/storage/segment.hpp"

namespace baton::inspect {

struct FileEntry {
    std::string path;  ///< In the data directory.
    std::uint64_t size = 0;
};

class Directory {
public:
    /// `not_found` if there is no such directory; `locked` if a running broker has it, unless `is_live`.
    [[nodiscard]] static Result<std::unique_ptr<Directory>> open(const std::string& path, bool is_live);
    /// Any file system, for tests.
    explicit Directory(storage::FileSystem& files) noexcept : files_{files} {}

    [[nodiscard]] ReadOnlyFiles& files() noexcept { return files_; }
    /// `not_found`: nothing of Baton's is there.
    [[nodiscard]] Result<storage::Manifest> manifest();
    /// Names in the root that begin with `prefix`, in order.
    [[nodiscard]] std::vector<std::string> roots(std::string_view prefix);
    /// Files of a directory whose names begin with `prefix`; empty if it is not there.
    [[nodiscard]] std::vector<FileEntry> files_in(const std::string& directory, std::string_view prefix);
    /// Streams that have a directory.
    [[nodiscard]] std::vector<storage::StreamId> streams();
    [[nodiscard]] bool is_live() const noexcept { return is_live_; }

private:
    std::unique_ptr<storage::PosixFileSystem> disk_;
    ReadOnlyFiles files_;
    bool is_live_ = false;
};

/// Generations that were kept because they are damaged: their numbers, in order.
[[nodiscard]] std::vector<std::uint64_t> damaged_generations(Directory& directory);

}  // namespace baton::inspect

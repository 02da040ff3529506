// The port to the disk: what Baton asks of a file system, and nothing more. Blocking calls: they are made by I/O workers
// (io_queue.hpp), at the start and by tools, never by a shard while it serves.
// Implementations: posix_file_system.hpp (the real one) and tests/sim/disk.hpp (forgets what was not synced, tears
// writes, fails, fills up); tests/conformance holds both to the same suite.
// Thread: a FileSystem may be used by several threads at once; a File by one at a time. Errors are storage::Errc with
// the path as context. Paths are relative to the root that the implementation was made with, separated by '/'.
// Next file: io_queue.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/result.hpp"

namespace baton::storage {

/// An open file; closed by its destructor, which syncs nothing.
class File {
public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File() = default;

    /// Reads up to `out.size()` bytes at `position`; fewer only at the end of the file (0: at or behind it).
    [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t position, MutableBytes out) = 0;
    /// Writes all of the parts, one behind the other, at `position`; makes the file longer if need be. After a failure
    /// any part of it may have been written. Not durable until sync().
    [[nodiscard]] virtual Result<void> write(std::uint64_t position, std::span<const Bytes> parts) = 0;
    /// Content and size are durable when it returns (fdatasync). After a failure nobody knows what is on the disk, and
    /// trying again proves nothing: the owner must give the file up.
    [[nodiscard]] virtual Result<void> sync() = 0;
    /// Reserves space for the first `size` bytes and makes the file at least so long; what is new reads as zeros.
    [[nodiscard]] virtual Result<void> allocate(std::uint64_t size) = 0;
    /// Writes whose position and size are multiples of 4096 had better go past the page cache: they are synced soon and
    /// not read. A wish; changes nothing but speed.
    virtual void prefer_direct() {}
    /// Makes the file exactly so long.
    [[nodiscard]] virtual Result<void> truncate(std::uint64_t size) = 0;
    [[nodiscard]] virtual Result<std::uint64_t> size() = 0;
};

/// Held until it is destroyed or the process ends.
class FileLock {
public:
    FileLock() = default;
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;
    virtual ~FileLock() = default;
};

enum class OpenMode : std::uint8_t {
    read,        ///< not_found if it is not there.
    read_write,  ///< not_found if it is not there.
    create,      ///< Read and write; exists if it is there.
};

struct Space {
    std::uint64_t total = 0;      ///< Bytes of the file system.
    std::uint64_t available = 0;  ///< Bytes that this process may still use.
};

class FileSystem {
public:
    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem() = default;

    [[nodiscard]] virtual Result<std::unique_ptr<File>> open(std::string_view path, OpenMode mode) = 0;
    /// Replaces what is at `to`. Both in place at once; durable after sync_directory of the parent.
    [[nodiscard]] virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
    /// A second name for the same content; exists if `to` is there.
    [[nodiscard]] virtual Result<void> link(std::string_view from, std::string_view to) = 0;
    /// Removes a file, or an empty directory. not_found if it is not there.
    [[nodiscard]] virtual Result<void> remove(std::string_view path) = 0;
    /// Its parent must be there. exists if it is there.
    [[nodiscard]] virtual Result<void> make_directory(std::string_view path) = 0;
    /// Names that were made, renamed or removed in it are durable when it returns. "" is the root.
    [[nodiscard]] virtual Result<void> sync_directory(std::string_view path) = 0;
    /// The names in a directory, without "." and "..", in order. "" is the root.
    [[nodiscard]] virtual Result<std::vector<std::string>> list(std::string_view path) = 0;
    [[nodiscard]] virtual Result<Space> space() = 0;
    /// Makes the file if need be and locks it, with `content` written into it. `locked` if somebody else has it.
    [[nodiscard]] virtual Result<std::unique_ptr<FileLock>> lock(std::string_view path, std::string_view content) = 0;
};

// What is made of these calls, for any implementation.

/// Everything in a file. `damaged` if it is longer than `size_max`.
[[nodiscard]] Result<std::vector<std::byte>> read_whole(FileSystem& files, std::string_view path,
                                                       std::uint64_t size_max = 4ULL << 30);
/// Writes `path` so that after a crash either the old or the new content is there: temporary file, sync, rename, sync
/// of the directory.
[[nodiscard]] Result<void> write_atomically(FileSystem& files, std::string_view path, std::span<const Bytes> parts);
/// Removes a directory with everything in it. Missing: no error.
[[nodiscard]] Result<void> remove_tree(FileSystem& files, std::string_view path);
/// make_directory that does not mind if it is there.
[[nodiscard]] Result<void> ensure_directory(FileSystem& files, std::string_view path);
/// The same for those above it as well.
[[nodiscard]] Result<void> ensure_directories(FileSystem& files, std::string_view path);

}  // namespace baton::storage

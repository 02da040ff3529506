// The data directory as a whole: manifest, lock, generations (docs/storage.md, section 2). Blocking; at the start and in tools.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/storage/file_system.hpp"

namespace baton::storage {

inline constexpr std::uint32_t data_format = 1;

struct Manifest {
    std::uint32_t format = data_format;
    std::uint64_t generation = 0;
    std::uint32_t shards = 0;
    friend bool operator==(const Manifest&, const Manifest&) = default;
};

[[nodiscard]] std::string encode(const Manifest& manifest);
/// `damaged`, `newer_version`.
[[nodiscard]] Result<Manifest> decode_manifest(std::string_view text);

/// Nothing if there is no manifest and the directory holds nothing of Baton's: it is new. A directory with generations
/// but without a manifest is `damaged`.
[[nodiscard]] Result<std::optional<Manifest>> load_manifest(FileSystem& files);
/// Atomically.
[[nodiscard]] Result<void> store_manifest(FileSystem& files, const Manifest& manifest);

/// Text in the form of the manifest: one line, and its checksum. Nothing: there is no such file. `damaged` names it.
[[nodiscard]] Result<std::optional<std::string>> load_line(FileSystem& files, const std::string& path);
/// Durable when it returns. The line has no newline.
[[nodiscard]] Result<void> store_line(FileSystem& files, const std::string& path, const std::string& line);
/// Of the policies that were set while the broker ran.
inline const std::string policies_path = "POLICIES";

/// "generation-0000000000000007"
[[nodiscard]] std::string generation_directory(std::uint64_t generation);
/// "damaged-0000000000000007"
[[nodiscard]] std::string damaged_directory(std::uint64_t generation);
/// "generation-0000000000000007/shard-0000"
[[nodiscard]] std::string shard_directory(std::uint64_t generation, std::uint32_t shard);
[[nodiscard]] std::optional<std::uint64_t> generation_number(std::string_view name) noexcept;
/// "backup-0000000700000001": a backup that is being fetched. Gone at the next start.
[[nodiscard]] std::string backup_directory(std::uint64_t id);
/// "restore-0000000700000001": a backup that is being brought in. The upper half of the id is the generation that it is
/// brought into. Gone after the next start.
[[nodiscard]] std::string restore_directory(std::uint64_t id);
[[nodiscard]] std::optional<std::uint64_t> generation_of_restore(std::string_view name) noexcept;
/// Whether a data directory has files of this name: its manifest, of a shard, of a channel; and no other spelling of it.
[[nodiscard]] bool is_data_file(std::string_view path);

/// Locks the directory for this process. `locked` names the process that has it, if it says so.
[[nodiscard]] Result<std::unique_ptr<FileLock>> lock_data_directory(FileSystem& files);

/// Removes what an interrupted start left (generations other than the manifest's, `.tmp` files) and backups that were being
/// fetched. Keeps damaged generations, and restores into the manifest's: they say which of its streams do not count.
[[nodiscard]] Result<void> remove_leftovers(FileSystem& files, const Manifest& manifest);
/// All restores: the generation that they were brought into does not count any more.
[[nodiscard]] Result<void> remove_restores(FileSystem& files);

}  // namespace baton::storage

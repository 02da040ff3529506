// Streams that are in the files of a generation and do not count yet: those of a restore into a running broker. They
// are named by one file, and count from the moment on at which it is gone. So many streams of several logs begin to be
// there at once, whenever the broker dies (docs/storage.md, section 2; ADR 11).
// Blocking: used inside I/O jobs, at the start and by tools. Next file: data_directory.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/storage/file_system.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

/// Durable when it returns, if the name of `directory` is.
[[nodiscard]] Result<void> store_pending(FileSystem& files, const std::string& directory,
                                         std::span<const StreamId> streams);
/// The moment. After a failure nobody knows whether they count.
[[nodiscard]] Result<void> remove_pending(FileSystem& files, const std::string& directory);

struct PendingStreams {
    std::vector<StreamId> streams;    ///< In order.
    std::vector<std::string> damage;  ///< For people, one line each: of these files it is not known what they name.
};
/// Of all restores that belong to this generation.
[[nodiscard]] Result<PendingStreams> find_pending(FileSystem& files, std::uint64_t generation);

}  // namespace baton::storage

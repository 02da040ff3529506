// The files of a backup: a data directory of its own below that of the broker, made of what a shard had at one moment.
// Segments are linked, not copied: they are only ever appended to, and a link keeps them when the broker removes its
// own. What was in the log only is written to a new log, because log files are written over when they are used again.
// Not responsible for the moment (backups.hpp). Blocking: used inside I/O jobs. Next file: backups.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/channel/channel.hpp"
#include "server/storage/data_directory.hpp"

namespace baton::runtime {

/// The durable channels of one shard at one moment.
struct BackupPart {
    struct Stream {
        storage::StreamId stream{0};
        std::vector<std::byte> state;
        std::vector<std::byte> settings;  ///< Its record.
        std::vector<storage::BlockRef> blocks;
        std::vector<channel::LoggedBatch> batches;
    };
    std::uint64_t generation = 1;  ///< Of the broker: so that no stream is newer than its directory.
    std::uint32_t shard = 0;
    std::vector<Stream> streams;
    std::vector<std::byte> steps;  ///< State of the shard's own stream; empty: nothing.
};

struct BackupFile {
    std::string path;        ///< In the backup.
    std::uint64_t size = 0;  ///< A segment may be longer by now; what is behind does not belong to the backup.
};

/// Makes the shard's part in `directory`. The segments that it names are still there.
[[nodiscard]] Result<std::vector<BackupFile>> write_backup_part(storage::FileSystem& files,
                                                                const std::string& directory, const BackupPart& part);
/// Behind every part: from now on it is a data directory.
[[nodiscard]] Result<BackupFile> write_backup_manifest(storage::FileSystem& files, const std::string& directory,
                                                       const storage::Manifest& manifest);
/// Bytes `position` .. `position + size` of a file, which has them.
[[nodiscard]] Result<std::vector<std::byte>> read_backup_file(storage::FileSystem& files, const std::string& path,
                                                              std::uint64_t position, std::size_t size);

}  // namespace baton::runtime

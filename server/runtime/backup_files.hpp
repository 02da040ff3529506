// The files of a backup: a data directory of its own below that of the broker, made of what a shard had at one moment.
// Segments are linked, not copied: they are only ever appended to, and a link keeps them when the broker removes its
// own. What was in the log only is written to a new log, because log files are written over when they are used again.
// Not responsible for the moment (backups.hpp). Blocking: used inside I/O jobs. Next file: backups.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/channel/channel.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/data_directory.hpp"

namespace baton::runtime {

/// A part of what one shard has: of some channels, and records that were submitted meanwhile.
struct BackupSlice {
    struct Blocks {
        storage::StreamId stream{0};
        std::vector<storage::BlockRef> blocks;  ///< Their segments are still there.
    };
    struct Logged {
        storage::StreamId stream{0};
        std::vector<channel::LoggedBatch> batches;
    };
    struct Record {
        storage::StreamId stream{0};
        std::uint64_t number = 0;
        std::vector<std::byte> head;
        Payload body;
    };
    struct State {
        storage::StreamId stream{0};
        std::uint64_t number = 0;  ///< Of the stream's last record when it was begun.
        channel::StateSlices slices;
    };
    std::vector<Blocks> blocks;
    std::vector<Logged> logged;
    std::vector<Record> records;
    std::vector<State> states;
};

/// What is known when the moment has come.
struct BackupEnd {
    std::vector<storage::StreamId> left_out;  ///< Channels that do not count.
    std::vector<std::byte> steps;             ///< State of the shard's own stream; empty: nothing.
};

struct BackupFile {
    std::string path;        ///< In the backup.
    std::uint64_t size = 0;  ///< A segment may be longer by now; what is behind does not belong to the backup.
};

/// The part of one shard, written slice by slice. Used by jobs of one thread, one after the other; an error shows at the end.
class BackupWriter {
public:
    /// `generation`: of the broker, so that no stream is newer than its directory.
    BackupWriter(std::string directory, std::uint64_t generation, std::uint32_t shard);
    BackupWriter(const BackupWriter&) = delete;
    BackupWriter& operator=(const BackupWriter&) = delete;
    ~BackupWriter();

    void add(storage::FileSystem& files, BackupSlice slice);
    [[nodiscard]] Result<std::vector<BackupFile>> finish(storage::FileSystem& files, const BackupEnd& end);

private:
    class Log;
    void prepare(storage::FileSystem& files);
    [[nodiscard]] Result<void> link_segments(storage::FileSystem& files, const BackupSlice::Blocks& part);
    [[nodiscard]] Result<void> write_checkpoint(storage::FileSystem& files, const BackupEnd& end);
    [[nodiscard]] Result<std::vector<BackupFile>> list(storage::FileSystem& files) const;

    const std::string directory_;
    const std::uint64_t generation_;
    const std::uint32_t shard_;
    const std::string target_;  ///< Of the log and the checkpoint.
    bool is_prepared_ = false;
    Result<void> done_;
    std::unique_ptr<Log> log_;
    std::vector<storage::CheckpointSection> sections_;
    std::map<std::string, std::uint64_t> segments_;  ///< Size by path, of those that were linked.
};

/// Behind every part: from now on it is a data directory.
[[nodiscard]] Result<BackupFile> write_backup_manifest(storage::FileSystem& files, const std::string& directory,
                                                       const storage::Manifest& manifest);
/// Bytes `position` .. `position + size` of a file, which has them.
[[nodiscard]] Result<std::vector<std::byte>> read_backup_file(storage::FileSystem& files, const std::string& path,
                                                              std::uint64_t position, std::size_t size);

}  // namespace baton::runtime

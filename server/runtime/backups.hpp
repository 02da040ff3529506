// Backups of a running broker: `backup.begin`, `.list`, `.read`, `.end` (docs/protocol.md, section 11; ADR 10). The
// shard of the session that asks leads: every shard takes a picture of its durable channels and holds back its commits
// until all have taken theirs. So nobody hears of anything that came behind one picture before the last one is taken,
// and what was passed on from one channel to another is in at least one of them.
//
//     begin -> each shard: snapshot, hold -> taken (all) -> each shard: release
//              each shard: files in a job -> written (all) -> manifest -> reply
//
// The files live in the data directory until `backup.end`, the end of the session, or the next start of the broker.
// Not responsible for files (backup_files.hpp). Thread: its shard's. Next file: backup_files.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "server/channel/types.hpp"
#include "server/runtime/backup_files.hpp"
#include "server/runtime/envelope.hpp"
#include "server/runtime/shard_store.hpp"

namespace baton::runtime {

/// What a shard's broker does for its backups.
class BackupHost {
public:
    BackupHost() = default;
    BackupHost(const BackupHost&) = delete;
    BackupHost& operator=(const BackupHost&) = delete;
    virtual ~BackupHost() = default;
    /// To any shard, also this one.
    virtual void send(std::uint32_t shard, Envelope envelope) = 0;
    /// The answer to an administrative request of a session of this shard, if it is still there.
    virtual void reply(channel::SessionId session, std::uint64_t request, const std::string& json) = 0;
};

class Backups {
public:
    Backups(std::uint32_t shard, std::uint32_t shard_count, DurableChannels& channels, BackupHost& host) noexcept
        : shard_{shard}, shard_count_{shard_count}, channels_{channels}, host_{host} {}
    Backups(const Backups&) = delete;
    Backups& operator=(const Backups&) = delete;

    [[nodiscard]] static bool is_request(std::string_view json);
    /// A request of a session of this shard; answered once, now or later. `store` may be null.
    void ask(ShardStore* store, channel::SessionId session, std::uint64_t request, std::string_view json,
             std::size_t reply_size_max);
    /// Its backup is removed.
    void close_session(ShardStore* store, channel::SessionId session);

    void on(ShardStore& store, const BackupSnapshotCommand& command);
    void on(ShardStore& store, const BackupReleaseCommand& command);
    void on(const BackupTakenEvent& event);
    void on(ShardStore& store, BackupWrittenEvent& event);

private:
    /// One that is led by this shard.
    struct Backup {
        channel::SessionId session{0};
        std::uint64_t request = 0;  ///< That waits for its files.
        std::uint32_t not_taken = 0;
        std::uint32_t not_written = 0;
        bool is_ready = false;
        bool is_abandoned = false;  ///< The session has ended.
        std::string error;          ///< A reply; empty: none.
        std::uint64_t generation = 0;
        std::map<std::string, std::uint64_t> files;  ///< Size by path.
    };
    /// A request on its way through `ask`.
    struct Question {
        channel::SessionId session{0};
        std::uint64_t request = 0;
        std::size_t reply_size_max = 0;
    };

    void begin(ShardStore& store, const Question& question);
    [[nodiscard]] std::string list(const Backup& backup, std::uint64_t from, std::size_t reply_size_max) const;
    void read(ShardStore& store, const Question& question, std::uint64_t id, const std::string& path,
              std::uint64_t offset, std::uint64_t size);
    void finish(ShardStore& store, std::uint64_t id, Backup& backup);
    void give_up(ShardStore& store, std::uint64_t id);
    /// Removes the files, then answers.
    void remove(ShardStore& store, std::uint64_t id, channel::SessionId session, std::uint64_t request,
                std::string reply);

    const std::uint32_t shard_;
    const std::uint32_t shard_count_;
    DurableChannels& channels_;
    BackupHost& host_;
    std::uint64_t made_ = 0;
    std::map<std::uint64_t, Backup> backups_;  ///< By id.
};

}  // namespace baton::runtime

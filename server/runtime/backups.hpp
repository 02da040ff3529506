// Backups of a running broker: `backup.begin`, `.list`, `.read`, `.end` (docs/protocol.md, section 11; ADR 10). The
// shard of the session that asks leads. Every shard goes through its durable channels, slice by slice (channel/state_slices.hpp),
// while they go on, and copies what is submitted to its log meanwhile. When all have been through, each ends the copy, and with it
// its picture, and holds back its commits until all have. So nobody hears of anything that came behind one picture before the
// last one is taken, and what was passed on from one channel to another is in at least one of them.
//
//     begin -> each shard: slices -> begun (all) -> each shard: snapshot, hold -> taken (all) -> each shard: release
//              each shard: files in jobs -> written (all) -> manifest -> reply
//
// The files live in the data directory until `backup.end`, the end of the session, or the next start of the broker.
// Not responsible for files (backup_files.hpp). Thread: its shard's. Next file: backup_files.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/channel/types.hpp"
#include "server/runtime/admin_json.hpp"
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

class Backups final : private commit::RecordListener {
public:
    Backups(std::uint32_t shard, std::uint32_t shard_count, DurableChannels& channels, BackupHost& host) noexcept
        : shard_{shard}, shard_count_{shard_count}, channels_{channels}, host_{host} {}
    Backups(const Backups&) = delete;
    Backups& operator=(const Backups&) = delete;

    [[nodiscard]] static bool is_request(std::string_view op) noexcept { return op.starts_with("backup."); }
    /// A request of a session of this shard; answered once, now or later. `store` may be null.
    void ask(ShardStore* store, channel::SessionId session, std::uint64_t request_id, const Json& request,
             std::size_t reply_size_max);
    /// Its backup is removed.
    void close_session(ShardStore* store, channel::SessionId session);

    void on(ShardStore& store, const BackupBeginCommand& command);
    void on(ShardStore& store, const BackupSnapshotCommand& command);
    void on(ShardStore& store, const BackupReleaseCommand& command);
    void on(const BackupBegunEvent& event);
    void on(const BackupTakenEvent& event);
    void on(ShardStore& store, BackupWrittenEvent& event);

private:
    /// One that is led by this shard.
    struct Backup {
        channel::SessionId session{0};
        std::uint64_t request = 0;  ///< That waits for its files.
        std::uint32_t not_begun = 0;
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

    /// The picture of this shard, for one backup of any leader.
    struct Picture {
        std::uint32_t leader = 0;
        std::shared_ptr<BackupWriter> writer;
        BackupSlice slice;               ///< The next one.
        std::uint64_t record_bytes = 0;  ///< In it.
        ChannelId visited{0};            ///< The last channel that it is done with.
        struct Part {
            ChannelId id{0};
            channel::LoggedSlices logged;
            bool has_logged = false;
            std::size_t blocks = 0;  ///< That were handed over.
            BackupSlice::State state{};
        };
        std::optional<Part> part;  ///< The channel that it is not done with yet.
    };

    // commit::RecordListener
    void on_record(commit::StreamId stream, std::uint64_t number, Bytes head, const Payload& body) override;

    void picture_some(ShardStore& store, std::uint64_t id);
    [[nodiscard]] bool take_some(ShardStore& store, Picture& picture, std::size_t channels, std::uint64_t entries);
    [[nodiscard]] bool take(ShardStore& store, Picture& picture, ChannelId id, std::uint64_t& entries);
    static void hand_over(ShardStore& store, Picture& picture, std::function<void()> done);

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
    ShardStore* copied_ = nullptr;             ///< Whose records are copied, while there are pictures.
    std::map<std::uint64_t, Picture> pictures_;
};

}  // namespace baton::runtime

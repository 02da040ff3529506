// Bringing a backup into a running broker: `restore.begin`, `.write`, `.end`, `.abort` (docs/protocol.md, section 11;
// ADR 11). The shard of the session that asks leads. Until the moment nobody sees anything, and a crash leaves nothing:
//
//     begin, write...  the backup's files, in DATA/restore-ID
//     end -> read (job) -> each shard: check the names -> copy to new streams (jobs)
//         -> list of the streams, which do not count (job) -> each shard: install, hidden; two checkpoints
//         -> the list is removed (job): the moment -> each shard: reveal -> reply
//     whatever fails -> each shard: drop -> everything is removed (job) -> reply
//
// Two checkpoints, because the one before the last is used when the last is damaged, and no record makes these
// channels. Whoever asks for the name of a hidden channel waits until it is there, or is not.
//
// Not responsible for files (restore_files.hpp). Thread: its shard's. Next file: restore_files.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/runtime/backups.hpp"
#include "server/runtime/envelope.hpp"
#include "server/runtime/restore_files.hpp"
#include "server/runtime/shard_store.hpp"

namespace baton::runtime {

/// What a shard's broker does for its restores.
class RestoreHost : public BackupHost {
public:
    /// Also one that is hidden.
    [[nodiscard]] virtual bool has_channel(const std::string& name) const = 0;
    /// Begins to make a channel that nobody finds yet. `channel` stays where it is until it is made or dropped.
    [[nodiscard]] virtual Result<ChannelId> begin_hidden(const RestoredChannel& channel) = 0;
    /// Goes on with it, as far as so many `units` allow (channel_restore.hpp). True: it is made. An error: it is damaged, and gone.
    [[nodiscard]] virtual Result<bool> make_hidden(ChannelId id, std::uint64_t& units) = 0;
    /// From now on it is a channel like others.
    virtual void reveal(ChannelId id) = 0;
    /// Made or not. Its deletion is submitted.
    virtual void drop_hidden(ChannelId id) = 0;
    [[nodiscard]] virtual std::size_t channel_name_size_max() const = 0;
};

/// What all shards are told about one restore.
struct RestorePlan {
    std::vector<std::string> names;
    std::vector<RestoredChannel> channels;  ///< In the same order; empty until they are copied.
};

class Restores {
public:
    Restores(std::uint32_t shard, std::uint32_t shard_count, RestoreHost& host) noexcept
        : shard_{shard}, shard_count_{shard_count}, host_{host} {}
    Restores(const Restores&) = delete;
    Restores& operator=(const Restores&) = delete;

    [[nodiscard]] static bool is_request(std::string_view op) noexcept { return op.starts_with("restore."); }
    /// A request of a session of this shard; answered once, now or later. `store` may be null.
    void ask(ShardStore* store, channel::SessionId session, std::uint64_t request_id, const Json& request);
    /// What came in is removed. A restore that has begun to be installed is finished.
    void close_session(ShardStore* store, channel::SessionId session);

    void on(ShardStore& store, const RestoreCommand& command);
    void on(ShardStore& store, const RestoreAnswer& answer);
    /// Of this shard's log.
    void on_committed(ShardStore& store);
    void on_condition(ShardStore& store);

private:
    /// One that is led by this shard.
    struct Restore {
        channel::SessionId session{0};
        std::uint64_t request = 0;                   ///< `restore.end`, when it has come.
        bool is_ended = false;                       ///< `restore.end` has come.
        bool is_abandoned = false;                   ///< The session has ended.
        bool is_pending = false;                     ///< The list of its streams is there.
        bool has_leftovers = false;                  ///< Of a shard that could not delete what it had installed.
        std::map<std::string, std::uint64_t> files;  ///< Size by path.
        std::uint32_t writing = 0;                   ///< Pieces that are under way.
        RestoreTrouble trouble;                      ///< The first.
        std::vector<std::string> taken;              ///< Names that the broker has.
        std::shared_ptr<RestoreCopy> copy;
        std::shared_ptr<RestorePlan> plan;
        std::uint32_t missing = 0;  ///< Answers of shards.
        std::uint64_t messages = 0;
    };
    /// This shard's part of one that any shard leads.
    struct Part {
        RestoreCommand command;
        std::size_t next = 0;  ///< Of the plan's channels.
        std::vector<ChannelId> made;
        bool is_making = false;  ///< The last one of those is not made yet.
        bool is_answered = false;
        commit::Index dropped_at = 0;  ///< Its drop is over when the log has got so far.
    };
    using Entry = std::map<std::uint64_t, Restore>::iterator;

    void begin(ShardStore& store, channel::SessionId session, std::uint64_t request);
    void write(ShardStore& store, Entry entry, std::uint64_t request, const std::string& path, std::uint64_t offset,
               std::vector<std::byte> bytes);
    void end(ShardStore& store, Entry entry, std::uint64_t request, const RestoreWishes& wishes);

    // The leader's steps, in this order.
    void check(ShardStore& store, std::uint64_t id);
    void copy_some(ShardStore& store, std::uint64_t id);
    void list_streams(ShardStore& store, std::uint64_t id);
    void install(ShardStore& store, std::uint64_t id);
    void let_them_count(ShardStore& store, std::uint64_t id);
    void finish(ShardStore& store, std::uint64_t id);
    /// Instead of the next one.
    void fail_with(ShardStore& store, std::uint64_t id, RestoreTrouble trouble);
    void remove(ShardStore& store, std::uint64_t id);
    [[nodiscard]] bool is_given_up(ShardStore& store, std::uint64_t id);

    /// To each shard that has one of the channels.
    bool send_all(std::uint64_t id, RestoreCommand::Step step);
    [[nodiscard]] bool is_mine(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> taken_names(const RestorePlan& plan) const;
    void install_some(ShardStore& store, std::uint64_t id);
    [[nodiscard]] Result<void> make_some(Part& part, const RestoredChannel& channel, std::uint64_t& units);
    [[nodiscard]] bool is_installing(std::uint64_t id) const;
    void answer(Part& part, RestoreTrouble trouble, std::vector<std::string> taken = {});
    void drop(ShardStore& store, const RestoreCommand& command);
    static void let_go(ShardStore& store, std::shared_ptr<const RestorePlan> plan);
    /// Those whose deletion the log has got to.
    void end_drops(commit::Index committed, const RestoreTrouble& trouble);

    const std::uint32_t shard_;
    const std::uint32_t shard_count_;
    RestoreHost& host_;
    std::uint64_t made_ = 0;
    std::map<std::uint64_t, Restore> restores_;  ///< By id.
    std::map<std::uint64_t, Part> parts_;        ///< By id: those that are being installed.
};

}  // namespace baton::runtime

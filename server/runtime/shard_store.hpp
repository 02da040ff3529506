// The durable side of one shard: its commit log, and what keeps the disk and the memory in bounds. Reads and writes blocks of
// channels, evicts what need not be in memory, removes files of deleted channels, watches the free space. Checkpoints and the
// recycling of log files are in checkpointer.hpp.
// Not responsible for rules (server/channel) or file formats (server/storage). All blocking work goes to the two queues.
// Thread: its shard's. Next files: checkpointer.hpp, recovery.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "common/base/payload.hpp"
#include "server/channel/channel.hpp"
#include "server/commit/local_commit_log.hpp"
#include "server/runtime/session_events.hpp"
#include "server/runtime/storage_settings.hpp"
#include "server/storage/segment.hpp"

namespace baton::runtime {

/// The channels of a shard, as its store needs them.
class DurableChannels {
public:
    DurableChannels() = default;
    DurableChannels(const DurableChannels&) = delete;
    DurableChannels& operator=(const DurableChannels&) = delete;
    virtual ~DurableChannels() = default;
    /// Durable channels in the order of their making: the first `count` behind `after`. There may be very many, so whatever
    /// visits all of them does it over several turns.
    [[nodiscard]] virtual std::vector<ChannelId> durable_channels(ChannelId after, std::size_t count) const = 0;
    [[nodiscard]] std::vector<ChannelId> durable_channels() const { return durable_channels(ChannelId{0}, SIZE_MAX); }
    /// Null if it has been deleted.
    [[nodiscard]] virtual channel::Channel* find_channel(ChannelId id) = 0;
    /// Of channels that are being restored and do not count yet.
    [[nodiscard]] virtual std::vector<commit::StreamId> hidden_streams() = 0;
    /// What channels have noted in this turn is submitted.
    virtual void write_notes() = 0;
    /// What the shard has to remember of steps.
    [[nodiscard]] virtual commit::StepsState steps_state() const = 0;
    /// It may have something to do at the end of the turn.
    virtual void touch_channel(ChannelId id) = 0;
    virtual void on_committed() = 0;
    virtual void on_condition(commit::Condition condition, const Error& reason) = 0;
};

struct ShardStoreSettings {
    std::uint64_t generation = 1;
    std::uint32_t shard = 0;
    std::uint32_t shard_count = 1;
    std::uint64_t wal_file_size = 32ULL << 20;
    bool is_disk_small = false;  ///< Log files are smaller than was wished: see wal_file_size_on().
    std::uint64_t wal_salt = 0;  ///< Random; see storage::WalSettings. Each shard has its own.
    std::uint64_t segment_size = 64ULL << 20;
    Duration settle_interval = std::chrono::milliseconds{15};
    std::optional<std::uint64_t> disk_free_min{};  ///< Bytes; nothing: disk_free_min_auto.
    std::uint64_t read_ahead = 4ULL << 20;  ///< Bytes of a backlog that are read before a receiver wants them.
    /// Of the states of channels, for a checkpoint, in one turn (Channel::add_to_state); at least 1.
    std::uint64_t entries_per_slice = 16'384;
    /// A sentence for the operator; empty: what the last one said is over. Called on the shard's thread.
    std::function<void(const std::string& trouble)> on_trouble{};
};

/// What a store borrows from its surroundings; all of it outlives the store.
struct StorePorts {
    storage::FileSystem* files = nullptr;  ///< For the few things that are read at once (peek).
    storage::IoQueue* sync_queue = nullptr;  ///< For the log alone: nothing slow may be in its way.
    storage::IoQueue* bulk_queue = nullptr;  ///< For everything else.
    const Clock* clock = nullptr;
    ChunkPool* pool = nullptr;
    MemoryBudget* memory = nullptr;
};

class Checkpointer;
class SegmentCompactor;

class ShardStore final : private commit::CommitEvents {
public:
    ShardStore(DurableChannels& channels, const StorePorts& ports, const ShardStoreSettings& settings);
    ~ShardStore() override;

    // --- Channels --------------------------------------------------------------------------------------------------

    [[nodiscard]] commit::CommitLog& log() noexcept { return log_; }
    /// For a new channel; never used before in this data directory.
    [[nodiscard]] commit::StreamId new_stream() noexcept;
    /// A channel that is new, or comes from the disk: with its blocks, also those of which nobody wanted anything when it did.
    void adopt(channel::Channel& channel);
    /// The channel's deletion was submitted: when it is committed its files go.
    void forget(commit::StreamId stream);
    [[nodiscard]] bool wants_blocks(const channel::Channel& channel) const {
        return channel.wants_blocks(read_ahead(), is_memory_short());
    }
    /// Reads blocks that the channel wants; it hears of each.
    void request_blocks(ChannelId id, channel::Channel& channel);
    /// Reads one of a channel while the shard goes on; `done` is called in another turn.
    void fetch_block(commit::StreamId stream, const storage::BlockRef& ref, std::function<void(Result<Payload>)> done);
    /// Reads one at once.
    [[nodiscard]] Payload read_block_now(commit::StreamId stream, const storage::BlockRef& ref);
    /// Bytes that are worth having in front of the cursor of a channel; few when memory is short.
    [[nodiscard]] std::uint64_t read_ahead() const noexcept {
        return is_memory_short() ? settings_.read_ahead / 16 : std::min(settings_.read_ahead, memory_share());
    }
    [[nodiscard]] bool is_memory_short() const noexcept { return ports_.memory->used() > ports_.memory->limit() / 4 * 3; }

    // --- The shard's turns -----------------------------------------------------------------------------------------

    void end_turn();
    void tick();
    /// Whatever was submitted goes to the disk now. Before the end.
    void flush() { log_.flush(); }
    [[nodiscard]] bool is_idle() const noexcept { return log_.is_idle(); }
    /// The log has found no space for a while: what is in it and not on the disk would wait until somebody makes some.
    [[nodiscard]] bool is_stuck() const noexcept;
    /// See commit::LocalCommitLog.
    void hold_commits() { log_.hold(); }
    void release_commits() { log_.release(); }
    void set_listener(commit::RecordListener* listener) noexcept { log_.set_listener(listener); }
    /// Blocking work of others, behind all that the store has submitted and before all that it will.
    void submit_bulk(storage::IoJob job) { ports_.bulk_queue->submit(std::move(job)); }
    /// Makes a checkpoint of everything as it is; `done` is called when it is durable, or not at all if it cannot be.
    void checkpoint(std::function<void()> done);

    [[nodiscard]] ChunkPool& pool() noexcept { return *ports_.pool; }
    [[nodiscard]] MemoryBudget& memory() noexcept { return *ports_.memory; }

    // --- Questions ---------------------------------------------------------------------------------------------------

    [[nodiscard]] const ShardStoreSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] commit::Condition condition() const noexcept { return log_.condition(); }
    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }  ///< Why it is not open.
    [[nodiscard]] const commit::LocalCommitLog& local_log() const noexcept { return log_; }
    [[nodiscard]] std::uint64_t segment_bytes_written() const noexcept { return segment_bytes_written_; }

private:
    friend class Checkpointer;
    friend class SegmentCompactor;

    /// The segment files of one channel.
    struct StreamFiles {
        struct Segment {
            std::uint32_t live_blocks = 0;
            std::uint64_t size = 0;  ///< Of the file, as far as the known blocks reach.
        };
        std::shared_ptr<storage::SegmentWriter> writer;
        std::map<std::uint32_t, Segment> segments;
        std::uint32_t newest = 0;   ///< That the writer has open, if it has written.
        std::uint32_t writing = 0;  ///< Jobs that are under way.

        void add(const storage::BlockRef& ref);
        /// Its writer, until the job ends.
        [[nodiscard]] std::shared_ptr<storage::SegmentWriter> begin_writing(commit::StreamId stream, std::uint64_t segment_size);
    };
    struct Garbage {
        commit::StreamId stream{0};
        std::uint32_t segment = 0;
    };

    // commit::CommitEvents
    void on_committed(commit::Index index) noexcept override;
    void on_condition(commit::Condition condition, const Error& reason) noexcept override;

    /// Writes a plan of the channel; `done` is called when the channel has been told, with what went wrong.
    void write_plan(ChannelId id, channel::Channel& channel, channel::RelocationPlan plan,
                    std::function<void(const std::error_code&)> done);
    void on_write_failed(const Error& error);
    void finish_plan(ChannelId id, commit::StreamId stream, std::uint64_t bytes,
                     const Result<std::vector<storage::BlockRef>>& written);
    void collect_dead_blocks(channel::Channel& channel);
    void bury(commit::StreamId stream, StreamFiles& files, const std::vector<storage::BlockRef>& dead);
    void keep_memory_in_bounds();
    void look_for_memory(std::size_t count);
    void free_memory();
    [[nodiscard]] channel::KeepAhead keep_ahead() const noexcept;
    /// What a channel may have in front of its cursors.
    [[nodiscard]] std::uint64_t memory_share() const noexcept { return ports_.memory->limit() / 16 / settings_.shard_count; }
    void watch_space();
    void remove_deleted();

    DurableChannels& channels_;
    const StorePorts ports_;
    void tell(const std::string& trouble) const;
    [[nodiscard]] std::uint64_t space_to_go_on(std::uint64_t file_system_bytes) const;
    void ask_space(storage::IoQueue& queue, std::function<void()> done);

    const ShardStoreSettings settings_;
    commit::LocalCommitLog log_;
    std::uint64_t streams_made_ = 0;
    std::unordered_map<commit::StreamId, StreamFiles> streams_;
    std::vector<Garbage> garbage_;  ///< Segments in which nothing lives; they go after the next checkpoint.
    struct Deleted {
        commit::StreamId stream{0};
        commit::Index index = 0;
    };
    std::vector<Deleted> deleted_;
    bool is_spilling_ = false;
    struct Resident {
        std::uint64_t bytes = 0;
        ChannelId id{0};
    };
    std::vector<Resident> resident_;  ///< Of this look over the channels: the largest are freed in the end.
    ChannelId looked_at_{0};          ///< The last one.
    bool is_asking_space_ = false;
    MonotonicTime space_asked_{};
    std::uint64_t space_file_ = 0;  ///< The last log file behind which it was asked.
    std::optional<MonotonicTime> full_since_;  ///< The log finds no space.
    std::string trouble_;
    std::uint64_t segment_bytes_written_ = 0;
    std::uint64_t copied_bytes_ = 0;  ///< Of the log, to segments, that no checkpoint names yet.
    std::unique_ptr<Checkpointer> checkpointer_;
    std::unique_ptr<SegmentCompactor> compactor_;
};

}  // namespace baton::runtime

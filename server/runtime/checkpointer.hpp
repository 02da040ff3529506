// Lets go of old log files: what lives in them moves to segments (or, if it is little, to the end of the log), a checkpoint is
// written, the files are recycled, and segments without life are removed. One round at a time, in steps between which
// the shard serves:
//
//     relocating -> snapshotting -> committing (the log must have got as far as the checkpoint speaks of) -> writing -> idle
//
// Not responsible for when memory is freed (shard_store.hpp). Thread: its shard's. Next file: recovery.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "server/runtime/shard_store.hpp"
#include "server/storage/checkpoint.hpp"

namespace baton::runtime {

class Checkpointer {
public:
    explicit Checkpointer(ShardStore& store) noexcept : store_{store} {}
    Checkpointer(const Checkpointer&) = delete;
    Checkpointer& operator=(const Checkpointer&) = delete;

    /// Begins a round if there is a reason: too many log files, or garbage that has waited long enough.
    void tick();
    /// A round now (or behind the one that is under way), without moving anything; `done` when it is durable.
    void request(std::function<void()> done);
    void on_committed();

private:
    // Relocating and snapshotting take several turns if there are very many channels or messages.
    enum class Phase : std::uint8_t { idle, relocating, snapshotting, committing, writing };

    /// A channel's part of the snapshot. Encoded, or dropped if it is not over, by the bulk thread.
    struct Taken {
        ChannelId id{0};
        commit::StreamId stream{0};
        std::uint64_t number = 0;  ///< Of the stream's last record when it was begun.
        channel::StateSlices slices;
    };

    void begin(std::uint64_t first_file);
    void relocate_some();
    [[nodiscard]] bool relocate(ChannelId id);
    [[nodiscard]] bool collect_some();
    void begin_snapshot();
    void snapshot_some();
    [[nodiscard]] bool take_some(std::vector<Taken>& taken);
    [[nodiscard]] bool take(ChannelId id, std::uint64_t& entries, std::vector<Taken>& taken);
    void end_snapshot();
    /// In one turn. A checkpoint that somebody waits for, at the start, moves all at once: no turns come then.
    [[nodiscard]] std::size_t channels_per_turn() const noexcept;
    void write();
    void finish(const std::error_code& error);
    void give_up();

    ShardStore& store_;
    Phase phase_ = Phase::idle;
    std::uint64_t first_file_ = 1;  ///< The oldest that will be kept.
    commit::Index below_ = 0;       ///< Records before this one have to go.
    ChannelId visited_{0};  ///< The last one that this phase is done with.
    bool is_writing_plan_ = false;
    std::uint64_t moved_bytes_ = 0;
    std::shared_ptr<storage::CheckpointBuilder> builder_;  ///< Of jobs of the bulk thread.
    std::optional<Taken> taking_;                           ///< The channel that is not done with yet.
    commit::Index snapshot_index_ = 0;
    std::uint64_t named_bytes_ = 0;             ///< Of what had been copied to segments when the snapshot ended.
    std::vector<ShardStore::Garbage> garbage_;  ///< That the snapshot no longer names.
    std::uint64_t number_ = 0;                  ///< Of the last checkpoint file.
    MonotonicTime last_end_{};
    std::vector<std::function<void()>> requested_;  ///< Behind the round that is under way.
    std::vector<std::function<void()>> answering_;  ///< With this round.
};

}  // namespace baton::runtime

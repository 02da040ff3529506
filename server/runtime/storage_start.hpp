// The start of a broker on a data directory, in steps: recover what is there, begin a new generation, hand each channel to
// the shard that owns its name now, write the first checkpoints, switch the manifest, tidy up. Until the switch a crash
// changes nothing. The simulation uses the same steps.
// Blocking, on one thread, before the shards serve. Next file: recovery.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "server/runtime/recovery.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/storage/io_queue.hpp"

namespace baton::runtime {

/// The queue of a shard that does not run yet: keeps jobs until it is told to run them here, and later passes them on.
class StartQueue final : public storage::IoQueue {
public:
    void submit(storage::IoJob job) override;
    /// Runs the first one. False: there is none.
    bool run_one(storage::FileSystem& files);
    /// Runs what is there, and what that submits. True if there was anything.
    bool run_all(storage::FileSystem& files);
    /// From now on jobs go there. Nothing is waiting.
    void forward_to(storage::IoQueue& queue);

private:
    std::deque<storage::IoJob> jobs_;
    storage::IoQueue* target_ = nullptr;
};

class StorageStart {
public:
    /// `files` outlives it. The directory is locked.
    explicit StorageStart(storage::FileSystem& files) noexcept : files_{files} {}

    /// Messages that come from log files are in chunks of the pool. What an interrupted checkpoint has copied is removed.
    [[nodiscard]] Result<void> recover(ChunkPool& pool, const RecoveryProgress& progress = {});
    [[nodiscard]] const Recovery& recovery() const noexcept { return recovery_; }

    /// Makes the folders of a new generation for so many shards.
    [[nodiscard]] Result<void> begin_generation(std::uint32_t shards);
    /// Of the file system, roughly, until finish() has removed what was there before.
    [[nodiscard]] std::uint64_t bytes_needed(std::uint64_t wal_file_size) const;
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

    /// Gives each channel to its broker, whose stores are open, and writes their first checkpoints. `pump` runs what the
    /// stores have submitted, and says whether there was anything.
    [[nodiscard]] Result<void> install(const std::vector<ShardBroker*>& brokers, const std::function<bool()>& pump);
    /// The new generation counts from here on. The old one is removed, or kept as damaged.
    [[nodiscard]] Result<void> finish();

private:
    [[nodiscard]] Result<void> install_all(const std::vector<ShardBroker*>& brokers, const std::function<bool()>& pump);
    [[nodiscard]] Result<void> remove_unfinished_copies();
    [[nodiscard]] Result<void> remove_orphans();
    /// Segments that are not among these, and the directories of streams of which none is.
    [[nodiscard]] Result<void> remove_unnamed(const SegmentNumbers& named);

    storage::FileSystem& files_;
    Recovery recovery_;
    std::uint64_t generation_ = 1;
    std::uint32_t shards_ = 0;
    bool has_damage_ = false;
};

}  // namespace baton::runtime

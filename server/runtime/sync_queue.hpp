// Where the jobs of one shard's log are carried out: by the sync worker, or by the shard's thread between two turns, which
// saves two changes of thread (they cost about as much as a quarter of a sync; ADR 13). The shard's thread does it if nobody
// else would have to wait for the disk: since the job before only one source has kept the shard busy, the job is small,
// and the disk has been quick for a while.
// Not responsible for what happens when the disk is slow all the same (loop_thread.hpp). Thread: the shard's.
// Next file: shard.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "common/base/clock.hpp"
#include "server/storage/io_queue.hpp"

namespace baton::runtime {

class SyncQueue final : public storage::IoQueue {
public:
    /// A disk is quick if it has done so many jobs one after the other in no more than this each.
    static constexpr int quick_jobs_min = 16;
    static constexpr Duration quick_job_max = std::chrono::milliseconds{1};
    /// What has more bytes takes longer than the jobs before it.
    static constexpr std::uint64_t quick_bytes_max = 64 * 1024;

    /// Both outlive it. `worker` runs jobs on another thread.
    SyncQueue(storage::IoQueue& worker, storage::FileSystem& files, const Clock& clock)
        : worker_{worker}, files_{files}, clock_{clock} {}

    void submit(storage::IoJob job) override;

    /// The shard has done something for this source, say a connection. Compared with others, not used.
    void note_served(const void* source) noexcept {
        has_company_ = has_company_ || (served_ != nullptr && served_ != source);
        served_ = source;
    }

    struct HereJob {
        std::move_only_function<void()> run;  ///< Blocks.
        std::move_only_function<void()> done;
    };
    /// At the end of a turn: the job to run between this turn and the next one.
    [[nodiscard]] std::optional<HereJob> take_here() noexcept { return std::exchange(here_, std::nullopt); }

    /// Since the start, for tests.
    [[nodiscard]] std::uint64_t jobs_here() const noexcept { return jobs_here_; }

private:
    struct Timed;
    void finish(Timed& timed);

    storage::IoQueue& worker_;
    storage::FileSystem& files_;
    const Clock& clock_;
    std::optional<HereJob> here_;
    std::uint32_t under_way_ = 0;
    int quick_jobs_ = 0;
    const void* served_ = nullptr;
    bool has_company_ = false;
    std::uint64_t jobs_here_ = 0;
};

}  // namespace baton::runtime

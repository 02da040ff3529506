// The thread for blocking work of a simulated broker: jobs of all shards, one at a time, each taking some virtual time
// to be carried out and some until its shard hears of it. As storage::IoWorker. When the power goes in the middle of a
// job nothing of it, or behind it, is ever told. Not responsible for what the disk does (disk.hpp). One thread. Next
// file: broker.hpp.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "server/storage/io_queue.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/scheduler.hpp"

namespace baton::sim {

class DiskWorker {
public:
    /// `on_power_gone` may destroy the worker.
    DiskWorker(Scheduler& scheduler, Prng& prng, SimDisk& disk, DelayRange time, std::function<void()> on_power_gone);
    DiskWorker(const DiskWorker&) = delete;
    DiskWorker& operator=(const DiskWorker&) = delete;
    ~DiskWorker();

    /// For one shard; `after_done` follows each `done`. The worker outlives it.
    [[nodiscard]] std::unique_ptr<storage::IoQueue> queue(std::function<void()> after_done);
    /// What waits is dropped, and what comes; nothing is told any more.
    void stop();
    /// The longest that any job has taken, from its submission until it was told, or has been waiting by now.
    [[nodiscard]] Duration longest() const;

private:
    class Queue;
    struct Work {
        storage::IoJob job;
        const std::function<void()>* after_done = nullptr;
        MonotonicTime submitted;
    };

    void submit(Work work);
    void run_later();
    void run();
    void tell();
    void after(Duration delay, void (DiskWorker::*step)());

    Scheduler& scheduler_;
    Prng& prng_;
    SimDisk& disk_;
    const DelayRange time_;
    const std::function<void()> on_power_gone_;
    std::deque<Work> waiting_;
    std::deque<Work> to_tell_;
    bool is_running_ = false;
    bool is_stopped_ = false;
    Duration longest_{};
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);
};

}  // namespace baton::sim

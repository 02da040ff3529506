// An I/O queue for tests: jobs run when the test says so, on its own thread, and their ends are told at once or when
// the test says so. Next file: disk.hpp.
#pragma once

#include <deque>
#include <utility>

#include "server/storage/io_queue.hpp"

namespace baton::sim {

class SimQueue final : public storage::IoQueue {
public:
    explicit SimQueue(storage::FileSystem& files) : files_{files} {}

    void submit(storage::IoJob job) override { waiting_.push_back(std::move(job)); }

    [[nodiscard]] std::size_t pending() const noexcept { return waiting_.size(); }  ///< To be run.
    [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }        ///< Run, their `done` held back.

    /// Runs the oldest job and holds its `done` back. False: there is none.
    bool run_next();
    /// Calls the `done` that has been held back longest. False: there is none.
    bool finish_next();
    /// Runs and finishes everything, also what is submitted meanwhile. Returns the number of jobs run.
    std::size_t run_all();
    /// As at a power cut or when a worker is stopped: what waits is not run, and nothing is told.
    void drop();

private:
    storage::FileSystem& files_;
    std::deque<storage::IoJob> waiting_;
    std::deque<storage::IoJob> held_;  // Whole: a worker sends the whole job home as well.
};

/// Runs a job inside submit(), and tells its end there as well. For tests to which the order does not matter; code
/// whose `done` submits again recurses.
class InlineQueue final : public storage::IoQueue {
public:
    explicit InlineQueue(storage::FileSystem& files) : files_{files} {}
    void submit(storage::IoJob job) override;

private:
    storage::FileSystem& files_;
};

}  // namespace baton::sim

// Where blocking work goes: jobs that are carried out one after the other on another thread, and whose end is told on the
// thread that submitted them. Implementations: io_worker.hpp (a thread), and the simulation's, which runs them at a
// time of its choosing. Next file: wal_writer.hpp.
#pragma once

#include <cstdint>
#include <functional>

#include "server/storage/file_system.hpp"

namespace baton::storage {

/// A piece of blocking work as a value. `run` gets the file system and touches nothing else that its submitter may
/// touch before `done`; `done` is called on the submitter's thread after it. Both are called exactly once, unless the
/// queue is stopped first: then the job is destroyed, and `done` is not called.
struct IoJob {
    std::move_only_function<void(FileSystem&)> run;
    std::move_only_function<void()> done;
    std::uint64_t bytes = 0;  ///< That it writes, about: who waits for it wants to know.
};

class IoQueue {
public:
    IoQueue() = default;
    IoQueue(const IoQueue&) = delete;
    IoQueue& operator=(const IoQueue&) = delete;
    virtual ~IoQueue() = default;

    /// Never blocks. Jobs of one queue run in the order of submission, one at a time.
    virtual void submit(IoJob job) = 0;
};

}  // namespace baton::storage

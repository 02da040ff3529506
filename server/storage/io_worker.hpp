// A thread that does blocking work for several submitters (shards): one job after the other, in the order of submission
// over all its queues. Not responsible for what jobs do. queue() and stop(): the owner's thread; an IoQueue: its
// submitter's. Next file: wal_writer.hpp.
//
// How `done` comes home is the submitter's business: `post` is called on the worker's thread with a function and brings
// it to the submitter's (storage knows no event loop). The whole job goes with it, so that what its two functions hold
// is let go of on the submitter's thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "server/storage/io_queue.hpp"

namespace baton::storage {

class IoWorker {
public:
    using Post = std::move_only_function<void(std::move_only_function<void()>)>;

    /// `files` outlives it. The name is the thread's, at most 15 characters.
    explicit IoWorker(FileSystem& files, const std::string& thread_name = "storage");
    IoWorker(const IoWorker&) = delete;
    IoWorker& operator=(const IoWorker&) = delete;
    ~IoWorker();  ///< stop(Waiting::dropped)

    /// A queue for one submitter; may outlive the worker. When the queue is destroyed its waiting jobs are dropped, one
    /// that is under way ends untold, and `post` is never called again.
    [[nodiscard]] std::unique_ptr<IoQueue> queue(Post post);

    enum class Waiting : std::uint8_t { finished, dropped };
    /// Returns when the thread has ended. Jobs that are submitted later are dropped. A second call does nothing.
    void stop(Waiting waiting);

private:
    class Front;
    struct Home;   // The way back to one submitter.
    struct Board;  // What the submitters and the thread share.

    const std::shared_ptr<Board> board_;
    std::thread thread_;
};

}  // namespace baton::storage

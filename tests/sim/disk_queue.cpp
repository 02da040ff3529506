#include "tests/sim/disk_queue.hpp"

#include <utility>

namespace baton::sim {

bool SimQueue::run_next() {
    if (waiting_.empty()) {
        return false;
    }
    storage::IoJob job = std::move(waiting_.front());
    waiting_.pop_front();
    job.run(files_);
    held_.push_back(std::move(job));
    return true;
}

bool SimQueue::finish_next() {
    if (held_.empty()) {
        return false;
    }
    storage::IoJob job = std::move(held_.front());
    held_.pop_front();
    if (job.done) {
        job.done();
    }
    return true;
}

std::size_t SimQueue::run_all() {
    std::size_t count = 0;
    for (;;) {
        if (finish_next()) {
            continue;
        }
        if (!run_next()) {
            return count;
        }
        ++count;
    }
}

void SimQueue::drop() {
    // What jobs hold may ask the queue things when it dies.
    const auto waiting = std::exchange(waiting_, {});
    const auto held = std::exchange(held_, {});
}

void InlineQueue::submit(storage::IoJob job) {
    job.run(files_);
    if (job.done) {
        job.done();
    }
}

}  // namespace baton::sim

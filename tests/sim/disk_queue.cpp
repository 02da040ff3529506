#include "tests/sim/disk_queue.hpp"

#include <utility>

namespace baton::sim {

namespace {

// Runs it and lets go of what `run` holds, as a worker does.
std::move_only_function<void()> carry_out(storage::IoJob job, storage::FileSystem& files) {
    job.run(files);
    return std::move(job.done);
}

}  // namespace

bool SimQueue::run_next() {
    if (waiting_.empty()) {
        return false;
    }
    storage::IoJob job = std::move(waiting_.front());
    waiting_.pop_front();
    held_.push_back(carry_out(std::move(job), files_));
    return true;
}

bool SimQueue::finish_next() {
    if (held_.empty()) {
        return false;
    }
    std::move_only_function<void()> done = std::move(held_.front());
    held_.pop_front();
    done();
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
    waiting_.clear();
    held_.clear();
}

void InlineQueue::submit(storage::IoJob job) {
    carry_out(std::move(job), files_)();
}

}  // namespace baton::sim

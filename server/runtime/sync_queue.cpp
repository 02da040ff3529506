#include "server/runtime/sync_queue.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace baton::runtime {

struct SyncQueue::Timed {
    storage::IoJob job;
    Duration took{};

    void run(storage::FileSystem& files, const Clock& clock) {
        const auto began = clock.now();
        job.run(files);
        took = clock.now() - began;
    }
};

void SyncQueue::submit(storage::IoJob job) {
    const bool is_alone = !std::exchange(has_company_, false);
    const bool is_here = is_alone && job.bytes <= quick_bytes_max && under_way_ == 0 && quick_jobs_ >= quick_jobs_min;
    ++under_way_;
    auto timed = std::make_shared<Timed>(std::move(job));
    if (is_here) {
        ++jobs_here_;
        here_ = HereJob{.run = [timed, this] { timed->run(files_, clock_); }, .done = [timed, this] { finish(*timed); }};
    } else {
        worker_.submit({[timed, &clock = clock_](storage::FileSystem& files) { timed->run(files, clock); },
                        [timed = std::move(timed), this] { finish(*timed); }});
    }
}

void SyncQueue::finish(Timed& timed) {
    --under_way_;
    quick_jobs_ = timed.took <= quick_job_max ? std::min(quick_jobs_ + 1, quick_jobs_min) : 0;
    timed.job.done();
}

}  // namespace baton::runtime

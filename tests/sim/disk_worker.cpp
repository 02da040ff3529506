#include "tests/sim/disk_worker.hpp"

#include <algorithm>
#include <utility>

namespace baton::sim {

class DiskWorker::Queue final : public storage::IoQueue {
public:
    Queue(DiskWorker& worker, std::function<void()> after_done) : worker_{worker}, after_done_{std::move(after_done)} {}
    void submit(storage::IoJob job) override {
        worker_.submit({std::move(job), &after_done_, worker_.scheduler_.now()});
    }

private:
    DiskWorker& worker_;
    const std::function<void()> after_done_;
};

DiskWorker::DiskWorker(Scheduler& scheduler, Prng& prng, SimDisk& disk, DelayRange time,
                       std::function<void()> on_power_gone)
    : scheduler_{scheduler}, prng_{prng}, disk_{disk}, time_{time}, on_power_gone_{std::move(on_power_gone)} {}

DiskWorker::~DiskWorker() = default;

std::unique_ptr<storage::IoQueue> DiskWorker::queue(std::function<void()> after_done) {
    return std::make_unique<Queue>(*this, std::move(after_done));
}

void DiskWorker::stop() {
    is_stopped_ = true;
    // What jobs hold may submit when it dies.
    const auto waiting = std::exchange(waiting_, {});
    const auto to_tell = std::exchange(to_tell_, {});
}

Duration DiskWorker::longest() const {
    Duration longest = longest_;
    for (const auto* works : {&waiting_, &to_tell_}) {
        for (const Work& work : *works) {
            longest = std::max(longest, scheduler_.now() - work.submitted);
        }
    }
    return longest;
}

void DiskWorker::after(Duration delay, void (DiskWorker::*step)()) {
    scheduler_.after(delay, [this, step, life = std::weak_ptr{life_}] {
        if (!life.expired() && !is_stopped_) {
            (this->*step)();
        }
    });
}

void DiskWorker::submit(Work work) {
    if (!is_stopped_) {
        waiting_.push_back(std::move(work));
        run_later();
    }
}

void DiskWorker::run_later() {
    if (!waiting_.empty() && !std::exchange(is_running_, true)) {
        after(time_.take(prng_), &DiskWorker::run);
    }
}

void DiskWorker::run() {
    is_running_ = false;
    Work work = std::move(waiting_.front());
    waiting_.pop_front();
    work.job.run(disk_);
    if (disk_.is_off()) {
        longest_ = std::max(longest(), scheduler_.now() - work.submitted);
        stop();
        return on_power_gone_();
    }
    to_tell_.push_back(std::move(work));
    after(time_.take(prng_) / 8, &DiskWorker::tell);
    run_later();
}

// In order: which of the events comes first does not matter.
void DiskWorker::tell() {
    Work work = std::move(to_tell_.front());
    to_tell_.pop_front();
    longest_ = std::max(longest_, scheduler_.now() - work.submitted);
    if (work.job.done) {
        work.job.done();
    }
    (*work.after_done)();
}

}  // namespace baton::sim

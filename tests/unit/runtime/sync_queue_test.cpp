// Which jobs of the log the shard's thread carries out itself. Time is virtual: a job takes what it says.
#include "server/runtime/sync_queue.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sim/disk.hpp"

namespace baton::runtime {
namespace {

/// Runs what it gets when it is told to.
class FakeWorker final : public storage::IoQueue {
public:
    explicit FakeWorker(storage::FileSystem& files) : files_{files} {}
    void submit(storage::IoJob job) override { jobs_.push_back(std::move(job)); }
    [[nodiscard]] bool run() {
        if (jobs_.empty()) {
            return false;
        }
        auto job = std::move(jobs_.front());
        jobs_.erase(jobs_.begin());
        job.run(files_);
        job.done();
        return true;
    }

private:
    storage::FileSystem& files_;
    std::vector<storage::IoJob> jobs_;
};

class SyncQueueTest : public ::testing::Test {
protected:
    enum class Where { here, worker };

    void submit(Duration takes, std::uint64_t bytes = 0) {
        queue_.submit({[this, takes](storage::FileSystem&) { clock_.advance(takes); }, [this] { ++done_; }, bytes});
    }
    /// One job from beginning to end.
    Where sync(Duration takes = quick) {
        const int before = done_;
        submit(takes);
        const Where where = finish();
        EXPECT_EQ(done_, before + 1);
        return where;
    }
    Where finish() {
        if (auto job = queue_.take_here()) {
            job->run();
            job->done();
            return Where::here;
        }
        EXPECT_TRUE(worker_.run());
        return Where::worker;
    }
    void warm_up() {
        for (int i = 0; i < SyncQueue::quick_jobs_min; ++i) {
            EXPECT_EQ(sync(), Where::worker) << i;
        }
        EXPECT_EQ(sync(), Where::here);
    }

    static constexpr Duration quick = std::chrono::microseconds{90};
    static constexpr Duration slow = SyncQueue::quick_job_max + std::chrono::microseconds{1};

    sim::SimDisk disk_;
    ManualClock clock_;
    FakeWorker worker_{disk_};
    SyncQueue queue_{worker_, disk_, clock_};
    int done_ = 0;
    int first_ = 0;
    int second_ = 0;
};

TEST_F(SyncQueueTest, a_large_job_is_the_workers) {
    queue_.note_served(&first_);
    warm_up();
    submit(quick, SyncQueue::quick_bytes_max + 1);
    EXPECT_EQ(finish(), Where::worker);
    submit(quick, SyncQueue::quick_bytes_max);
    EXPECT_EQ(finish(), Where::here);
}

TEST_F(SyncQueueTest, a_disk_that_has_been_quick_for_a_while_is_waited_for_here) {
    queue_.note_served(&first_);
    warm_up();
    EXPECT_EQ(sync(), Where::here);
    EXPECT_EQ(queue_.jobs_here(), 2U);
}

TEST_F(SyncQueueTest, a_slow_job_sends_the_next_ones_to_the_worker) {
    warm_up();
    EXPECT_EQ(sync(slow), Where::here);
    warm_up();
}

TEST_F(SyncQueueTest, a_slow_job_of_the_worker_counts_too) {
    for (int i = 0; i < SyncQueue::quick_jobs_min - 1; ++i) {
        EXPECT_EQ(sync(), Where::worker);
    }
    EXPECT_EQ(sync(slow), Where::worker);
    warm_up();
}

TEST_F(SyncQueueTest, nobody_waits_for_the_disk_of_another) {
    queue_.note_served(&first_);
    warm_up();
    queue_.note_served(&second_);
    EXPECT_EQ(sync(), Where::worker);
    EXPECT_EQ(sync(), Where::here);  // The second one has gone quiet.
    queue_.note_served(&first_);
    EXPECT_EQ(sync(), Where::worker);
    queue_.note_served(&first_);
    EXPECT_EQ(sync(), Where::here);
}

TEST_F(SyncQueueTest, jobs_stay_in_order) {
    warm_up();
    queue_.note_served(&first_);
    queue_.note_served(&second_);
    submit(quick);  // With the worker.
    submit(quick);  // Behind it, also with the worker.
    EXPECT_FALSE(queue_.take_here());
    EXPECT_EQ(finish(), Where::worker);
    EXPECT_EQ(finish(), Where::worker);
    EXPECT_EQ(sync(), Where::here);
}

}  // namespace
}  // namespace baton::runtime

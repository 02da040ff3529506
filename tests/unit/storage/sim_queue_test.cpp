// Queues for tests: order, and that nothing happens before it is told to.
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"

namespace baton::sim {

namespace {

struct Journal {
    std::string text;

    storage::IoJob job(std::string name) {
        return {.run = [this, name](storage::FileSystem&) { text += "run" + name + " "; },
                .done = [this, name] { text += "done" + name + " "; }};
    }
};

TEST(SimQueue, runs_and_tells_when_it_is_told_to) {
    SimDisk disk;
    SimQueue queue{disk};
    Journal journal;
    queue.submit(journal.job("1"));
    queue.submit(journal.job("2"));
    EXPECT_EQ(queue.pending(), 2U);
    EXPECT_EQ(journal.text, "");
    EXPECT_FALSE(queue.finish_next());
    EXPECT_TRUE(queue.run_next());
    EXPECT_TRUE(queue.run_next());
    EXPECT_FALSE(queue.run_next());
    EXPECT_EQ(journal.text, "run1 run2 ");
    EXPECT_EQ(queue.held(), 2U);
    EXPECT_TRUE(queue.finish_next());
    EXPECT_EQ(journal.text, "run1 run2 done1 ");
    EXPECT_TRUE(queue.finish_next());
    EXPECT_FALSE(queue.finish_next());
    EXPECT_EQ(journal.text, "run1 run2 done1 done2 ");
}

TEST(SimQueue, run_all_runs_what_done_submits) {
    SimDisk disk;
    SimQueue queue{disk};
    Journal journal;
    queue.submit({.run = [](storage::FileSystem&) {}, .done = [&] { queue.submit(journal.job("2")); }});
    EXPECT_EQ(queue.run_all(), 2U);
    EXPECT_EQ(journal.text, "run2 done2 ");
    EXPECT_EQ(queue.run_all(), 0U);
}

TEST(SimQueue, drop_lets_go_of_everything_and_tells_nothing) {
    SimDisk disk;
    SimQueue queue{disk};
    Journal journal;
    const auto token = std::make_shared<int>(1);
    for (int i = 0; i < 2; ++i) {
        queue.submit({.run = [token](storage::FileSystem&) {}, .done = [&journal] { journal.text += "done "; }});
    }
    EXPECT_TRUE(queue.run_next());
    EXPECT_EQ(token.use_count(), 3);
    queue.drop();
    EXPECT_EQ(token.use_count(), 1);
    EXPECT_EQ(queue.run_all(), 0U);
    EXPECT_EQ(journal.text, "");
}

TEST(InlineQueue, does_it_at_once) {
    SimDisk disk;
    InlineQueue queue{disk};
    Journal journal;
    queue.submit(journal.job("1"));
    queue.submit(journal.job("2"));
    EXPECT_EQ(journal.text, "run1 done1 run2 done2 ");
}

}  // namespace

}  // namespace baton::sim

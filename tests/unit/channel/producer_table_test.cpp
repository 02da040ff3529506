// What a channel remembers of its producers, and whom it forgets first.
#include "server/channel/producer_table.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;
const MonotonicTime start{seconds{100}};

TEST(ProducerTable, RemembersTheLastNumberAcrossLinks) {
    ProducerTable table{10};
    Producer* producer = table.attach(producer_of(1), link_of(1));
    ASSERT_NE(producer, nullptr);
    EXPECT_EQ(producer->last_decided, 0U);
    producer->last_decided = 42;
    table.detach(*producer, start);
    producer = table.attach(producer_of(1), link_of(2));
    ASSERT_NE(producer, nullptr);
    EXPECT_EQ(producer->last_decided, 42U);
    EXPECT_EQ(producer->link, link_of(2));
    EXPECT_EQ(table.size(), 1U);
}

TEST(ProducerTable, ForgetsTheDetachedAfterTheirTime) {
    ProducerTable table{10};
    table.detach(*table.attach(producer_of(1), link_of(1)), start);
    table.detach(*table.attach(producer_of(2), link_of(2)), start + seconds{5});
    (void)table.attach(producer_of(3), link_of(3));
    table.forget_detached_before(start);
    EXPECT_EQ(table.size(), 3U);
    table.forget_detached_before(start + seconds{5});
    EXPECT_EQ(table.find(producer_of(1)), nullptr);
    EXPECT_NE(table.find(producer_of(2)), nullptr);
    table.forget_detached_before(start + seconds{1'000});
    EXPECT_EQ(table.size(), 1U);
    EXPECT_NE(table.find(producer_of(3)), nullptr);
}

TEST(ProducerTable, AFullTableForgetsWhoWasDetachedLongestAgo) {
    ProducerTable table{3};
    Producer* first = table.attach(producer_of(1), link_of(1));
    Producer* second = table.attach(producer_of(2), link_of(2));
    Producer* third = table.attach(producer_of(3), link_of(3));
    EXPECT_EQ(table.attach(producer_of(4), link_of(4)), nullptr);
    table.detach(*second, start);
    table.detach(*first, start + seconds{1});
    table.detach(*third, start + seconds{2});
    (void)table.attach(producer_of(2), link_of(5));  // Back: no longer the oldest.
    ASSERT_NE(table.attach(producer_of(4), link_of(6)), nullptr);
    EXPECT_EQ(table.find(producer_of(1)), nullptr);
    EXPECT_NE(table.find(producer_of(3)), nullptr);
    EXPECT_EQ(table.size(), 3U);
}

TEST(ProducerTable, ALowerMaximumForgetsDetachedOnesOnly) {
    ProducerTable table{3};
    (void)table.attach(producer_of(1), link_of(1));
    Producer* second = table.attach(producer_of(2), link_of(2));
    table.detach(*table.attach(producer_of(3), link_of(3)), start);
    table.set_max(1);
    EXPECT_EQ(table.size(), 2U);
    table.detach(*second, start);
    EXPECT_EQ(table.size(), 1U);
    EXPECT_NE(table.find(producer_of(1)), nullptr);
}

}  // namespace
}  // namespace baton::channel::test

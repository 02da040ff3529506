// The links of a channel, few and many.
#include "server/channel/link_table.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/channel_world.hpp"

namespace baton::channel::test {
namespace {

struct SomeLink {
    LinkAddress address;
};

TEST(LinkTable, FindsAndForgetsHoweverManyThereAre) {
    for (const std::uint16_t count : std::initializer_list<std::uint16_t>{1, 8, 9, 100}) {
        LinkTable<SomeLink> table;
        for (std::uint16_t i = count; i > 0; --i) {
            const SomeLink& added = table.add(std::make_unique<SomeLink>(SomeLink{link_of(i)}));
            EXPECT_EQ(table.find(link_of(i)), &added);
        }
        EXPECT_EQ(table.size(), count);
        EXPECT_EQ(table.find(link_of(0)), nullptr);
        const std::vector<LinkAddress> addresses = table.addresses();
        ASSERT_EQ(addresses.size(), count);
        EXPECT_TRUE(std::ranges::is_sorted(addresses));
        table.remove(link_of(0));
        for (std::uint16_t i = 1; i <= count; ++i) {
            ASSERT_NE(table.find(link_of(i)), nullptr);
            EXPECT_EQ(table.find(link_of(i))->address, link_of(i));
            table.remove(link_of(i));
            EXPECT_EQ(table.find(link_of(i)), nullptr);
            EXPECT_EQ(table.size(), static_cast<std::size_t>(count - i));
        }
        EXPECT_TRUE(table.empty());
        table.add(std::make_unique<SomeLink>(SomeLink{link_of(5)}));
        EXPECT_EQ(table.size(), 1U);
    }
}

}  // namespace
}  // namespace baton::channel::test

// Which shard owns what.
#include "server/runtime/placement.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

TEST(Placement, IsStable) {
    // Written down: two processes must agree, and a later version, too.
    EXPECT_EQ((std::vector{shard_of_channel("greetings", 16), shard_of_channel("orders", 16), shard_of_channel("a", 16),
                           shard_of_channel("b", 16)}),
              (std::vector{10U, 3U, 8U, 6U}));
}

TEST(Placement, StaysInRange) {
    for (const std::uint32_t shards : {1U, 2U, 3U, 7U, 256U}) {
        for (int i = 0; i < 1000; ++i) {
            EXPECT_LT(shard_of_channel("channel-" + std::to_string(i), shards), shards);
        }
    }
    EXPECT_EQ(shard_of_channel("anything", 1), 0U);
}

TEST(Placement, SpreadsSimilarNamesEvenly) {
    for (const std::uint32_t shards : {2U, 3U, 4U, 8U}) {
        std::vector<int> counts(shards);
        constexpr int names = 8000;
        for (int i = 0; i < names; ++i) {
            ++counts[shard_of_channel("orders." + std::to_string(i), shards)];
        }
        for (const int count : counts) {
            EXPECT_GT(count, names / static_cast<int>(shards) * 8 / 10);
            EXPECT_LT(count, names / static_cast<int>(shards) * 12 / 10);
        }
    }
}

TEST(Placement, ASessionCarriesItsShard) {
    for (const std::uint32_t shard : {0U, 1U, 255U}) {
        const auto session = make_session_id(shard, 123'456'789);
        EXPECT_EQ(shard_of_session(session), shard);
        EXPECT_NE(session, make_session_id(shard, 123'456'790));
        EXPECT_NE(session, make_session_id(shard + 1, 123'456'789));
    }
}

}  // namespace
}  // namespace baton::runtime

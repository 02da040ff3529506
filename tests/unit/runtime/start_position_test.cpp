// Where a subscription begins, as ATTACH and subscription.create say it.
#include "server/runtime/start_position.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace baton::runtime {
namespace {

using Json = nlohmann::json;
using Kind = channel::StartPosition::Kind;

TEST(StartPosition, IsAWordAnOffsetOrATime) {
    EXPECT_EQ(start_position_of("first")->kind, Kind::first);
    EXPECT_EQ(start_position_of("last")->kind, Kind::last);
    EXPECT_EQ(start_position_of("new")->kind, Kind::next);
    const auto offset = start_position_of({{"offset", 7U}});
    EXPECT_EQ(offset->kind, Kind::offset);
    EXPECT_EQ(offset->offset, 7U);
    const auto time = start_position_of({{"time_us", -5}});
    EXPECT_EQ(time->kind, Kind::time);
    EXPECT_EQ(time->time.us, -5);
}

TEST(StartPosition, IsNothingElse) {
    for (const auto& json : {Json("next"), Json(""), Json(7U), Json(nullptr), Json::object(), Json{{"offset", -1}},
                             Json{{"offset", "7"}}, Json{{"offset", 1.5}}, Json{{"time_us", "now"}}, Json{{"place", 7U}},
                             Json{{"offset", 7U}, {"time_us", 7U}}, Json::array({7U})}) {
        EXPECT_FALSE(start_position_of(json)) << json;
    }
}

}  // namespace
}  // namespace baton::runtime

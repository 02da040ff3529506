// What the options of a receiver say to the broker.
#include "client/src/receiver_options.hpp"

#include <gtest/gtest.h>

#include <baton/wait_limit.hpp>

namespace baton::client {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

TEST(ReceiverOptions, NothingIsSaidByDefault) {
    EXPECT_EQ(attach_options({}).value(), "");
    EXPECT_EQ(attach_options({.create = false, .window_messages = 5, .on_demand = true}).value(), "");
}

TEST(ReceiverOptions, EachHasItsKey) {
    EXPECT_EQ(attach_options({.subscription = "a%\xff"}).value(), R"({"subscription":"a%25%FF"})");
    EXPECT_EQ(attach_options({.filter = "orders.*.>"}).value(), R"({"filter":"orders.*.>"})");
    EXPECT_EQ(attach_options({.lease = 5s}).value(), R"({"lease_ms":5000})");
    EXPECT_EQ(attach_options({.exclusive = true}).value(), R"({"exclusive":true})");
}

TEST(ReceiverOptions, BeginsAnywhere) {
    const auto from = [](const StartFrom& start) { return attach_options({.from = start}).value(); };
    EXPECT_EQ(from(StartFrom::first()), R"({"from":"first"})");
    EXPECT_EQ(from(StartFrom::last()), R"({"from":"last"})");
    EXPECT_EQ(from(StartFrom::now()), R"({"from":"new"})");
    EXPECT_EQ(from(StartFrom::at_offset(7)), R"({"from":{"offset":7}})");
    EXPECT_EQ(from(StartFrom::at_time(std::chrono::system_clock::time_point{1500ms})),
              R"({"from":{"time_us":1500000}})");
}

TEST(ReceiverOptions, FiltersHaveAForm) {
    for (const char* filter : {"a", "*", ">", "a.b", "a.*.c", "a.>", "*.>", "a>", "a*.b", "\u00e4"}) {
        EXPECT_TRUE(is_filter(filter)) << filter;
        EXPECT_TRUE(attach_options({.filter = filter})) << filter;
    }
    for (const std::string filter : {".", "a.", ".a", "a..b", ">.a", "a.>.b", "\xff"}) {
        EXPECT_FALSE(is_filter(filter)) << filter;
        EXPECT_EQ(attach_options({.filter = filter}).error().code(), ClientErrc::bad_argument) << filter;
    }
    EXPECT_FALSE(is_filter(""));
    EXPECT_FALSE(is_filter(std::string(1'025, 'a')));
}

TEST(ReceiverOptions, NamesOfSubscriptionsHaveALimit) {
    EXPECT_TRUE(attach_options({.subscription = std::string(255, 'a')}));
    const auto refused = attach_options({.subscription = std::string(256, 'a')});
    EXPECT_EQ(refused.error().code(), ClientErrc::bad_argument);
    EXPECT_NE(refused.error().text().find("256 bytes"), std::string::npos);
}

TEST(WaitLimit, ADurationThatIsOverIsOver) {
    EXPECT_LT(WaitLimit{-1s}.until(), WaitLimit::Clock::now());
    for (const auto hours : {std::chrono::hours{-24 * 365 * 300}, std::chrono::hours::min()}) {
        EXPECT_LT(WaitLimit{hours}.until(), WaitLimit::Clock::now());
    }
    EXPECT_TRUE(WaitLimit{std::chrono::hours::max()}.is_forever());
}

TEST(ReceiverOptions, LeasesHaveLimits) {
    EXPECT_TRUE(attach_options({.lease = 100ms}));
    EXPECT_TRUE(attach_options({.lease = 24h}));
    for (const Milliseconds lease : {Milliseconds{99}, Milliseconds{-1}, Milliseconds{86'400'001}}) {
        EXPECT_EQ(attach_options({.lease = lease}).error().code(), ClientErrc::bad_argument);
    }
}

}  // namespace
}  // namespace baton::client

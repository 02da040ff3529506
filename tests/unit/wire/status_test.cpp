// Names of statuses. Their numbers are compared with docs/protocol.md in tests/golden/protocol_page_test.cpp.
#include "common/wire/status.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace baton::wire {
namespace {

TEST(Status, EveryNameIsItsOwnAndLeadsBack) {
    std::set<std::string_view> names;
    for (std::uint32_t code = 0; code <= static_cast<std::uint32_t>(Status::slow_subscriber); ++code) {
        const auto status = static_cast<Status>(code);
        EXPECT_TRUE(names.insert(to_string(status)).second) << code;
        EXPECT_EQ(status_from_string(to_string(status)), status);
    }
    EXPECT_FALSE(names.contains("unknown"));
}

TEST(Status, NumbersAndNamesOfTheFuture) {
    EXPECT_EQ(to_string(static_cast<Status>(35)), "unknown");
    EXPECT_EQ(to_string(static_cast<Status>(0xffff'ffff)), "unknown");
    EXPECT_FALSE(is_retryable(static_cast<Status>(35)));
    EXPECT_FALSE(status_from_string("unknown"));
    EXPECT_FALSE(status_from_string(""));
    EXPECT_FALSE(status_from_string("OK"));
}

}  // namespace
}  // namespace baton::wire

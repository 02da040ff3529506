// Times as people type them, and where a subscription begins.
#include "client/cli/times.hpp"

#include <gtest/gtest.h>

#include "common/base/units.hpp"

namespace baton::cli {
namespace {

std::int64_t us_of(std::string_view text) {
    const auto time = parse_time(text);
    return time ? time->time_since_epoch().count() : -1;
}

TEST(Times, Rfc3339) {
    EXPECT_EQ(us_of("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(us_of("1970-01-01t00:00:01.5z"), 1'500'000);
    EXPECT_EQ(us_of("1970-01-01 00:00:00.0000019Z"), 1);
    EXPECT_EQ(us_of("1970-01-01T01:00:00+01:00"), 0);
    EXPECT_EQ(us_of("1970-01-01T00:00:00-00:30"), 1'800'000'000);
    EXPECT_EQ(us_of("2024-02-29T12:34:56Z"), 1'709'210'096'000'000);
    EXPECT_EQ(utc_text(1'709'210'096'000'001), "2024-02-29T12:34:56.000001Z");
    EXPECT_EQ(utc_text(-1), "1969-12-31T23:59:59.999999Z");
    EXPECT_EQ(us_of(utc_text(1'767'225'600'123'456)), 1'767'225'600'123'456);
}

TEST(Times, SecondsSince1970) {
    EXPECT_EQ(us_of("0"), 0);
    EXPECT_EQ(us_of("1767225600"), 1'767'225'600'000'000);
    EXPECT_EQ(us_of("1.25"), 1'250'000);
}

TEST(Times, WhatIsNone) {
    for (const char* text :
         {"", "now", "-1", "1.", "1.x", "1e9", "2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00",
          "2026-02-30T12:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:00:61Z",
          "2026-1-31T12:00:00Z", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+0100", "2026-01-31T12:00:00+24:00",
          "2026-01-31T12:00:00Zx", "9223372036854775807"}) {
        EXPECT_FALSE(parse_time(text)) << text;
    }
}

TEST(Times, WhatIsWrongWithADuration) {
    EXPECT_EQ(duration_problem("5x"), "\"5x\" is not a duration such as 250ms, 5s, 2m or 1h");
    for (const char* text : {"106752d", "100000000000h", "99999999999999999999s"}) {
        EXPECT_EQ(duration_problem(text), "\"" + std::string{text} + "\" is too long: the limit is 106751d");
    }
    EXPECT_TRUE(parse_duration("106751d"));
}

TEST(Times, WhereASubscriptionBegins) {
    const std::chrono::system_clock::time_point now{std::chrono::hours{10}};
    EXPECT_EQ(parse_start("first", now)->kind(), StartFrom::Kind::first);
    EXPECT_EQ(parse_start("last", now)->kind(), StartFrom::Kind::last);
    EXPECT_EQ(parse_start("new", now)->kind(), StartFrom::Kind::now);
    EXPECT_EQ(parse_start("17", now)->offset(), 17U);
    EXPECT_EQ(parse_start("1970-01-01T00:00:05Z", now)->time().time_since_epoch(), std::chrono::seconds{5});
    EXPECT_EQ(parse_start("1h", now)->time().time_since_epoch(), std::chrono::hours{9});
    for (const char* text : {"", "newest", "-1", "1.5", "5 m", "2026-01-31"}) {
        EXPECT_FALSE(parse_start(text, now)) << text;
    }
}

}  // namespace
}  // namespace baton::cli

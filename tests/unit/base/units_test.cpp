// Durations and sizes as people write them.
#include "common/base/units.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""us;
using std::chrono_literals::operator""ns;

TEST(units, durations_are_read) {
    EXPECT_EQ(parse_duration("250ms").value(), 250ms);
    EXPECT_EQ(parse_duration("5s").value(), 5s);
    EXPECT_EQ(parse_duration("2m").value(), 2min);
    EXPECT_EQ(parse_duration("1h").value(), 1h);
    EXPECT_EQ(parse_duration("3d").value(), 72h);
    EXPECT_EQ(parse_duration("7us").value(), 7us);
    EXPECT_EQ(parse_duration("8ns").value(), 8ns);
    EXPECT_EQ(parse_duration("0").value(), 0s);
    EXPECT_EQ(parse_duration("0s").value(), 0s);
}

TEST(units, what_is_not_a_duration_is_refused) {
    for (const char* text : {"", "5", "s", "-5s", "+5s", "5 s", " 5s", "5s ", "5S", "1.5s", "5sec", "0x5s"}) {
        EXPECT_FALSE(parse_duration(text)) << text;
    }
    for (const char* text : {"99999999999999999999s", "9223372037s", "106752d"}) {
        ASSERT_FALSE(parse_duration(text)) << text;
        EXPECT_EQ(parse_duration(text).error().code, std::errc::result_out_of_range) << text;
    }
    EXPECT_EQ(parse_duration("9223372036854775807ns").value(), Duration::max());
    EXPECT_NE(parse_duration("5sec").error().message().find("'5sec'"), std::string::npos);
}

TEST(units, sizes_are_read) {
    EXPECT_EQ(parse_size("0").value(), 0U);
    EXPECT_EQ(parse_size("1000").value(), 1000U);
    EXPECT_EQ(parse_size("64k").value(), 65'536U);
    EXPECT_EQ(parse_size("64K").value(), 65'536U);
    EXPECT_EQ(parse_size("64kb").value(), 65'536U);
    EXPECT_EQ(parse_size("64KiB").value(), 65'536U);
    EXPECT_EQ(parse_size("10m").value(), 10U << 20);
    EXPECT_EQ(parse_size("1g").value(), 1U << 30);
    EXPECT_EQ(parse_size("2t").value(), std::uint64_t{2} << 40);
    EXPECT_EQ(parse_size("18446744073709551615").value(), UINT64_MAX);
}

TEST(units, what_is_not_a_size_is_refused) {
    for (const char* text : {"", "k", "-1", "1 k", "1kk", "1kibi", "1b", "1ib", "1.5k", "1x"}) {
        EXPECT_FALSE(parse_size(text)) << text;
    }
    for (const char* text : {"18446744073709551616", "16777216t"}) {
        ASSERT_FALSE(parse_size(text)) << text;
        EXPECT_EQ(parse_size(text).error().code, std::errc::result_out_of_range) << text;
    }
}

TEST(units, values_are_shown_in_the_largest_exact_unit) {
    EXPECT_EQ(format_duration(0s), "0s");
    EXPECT_EQ(format_duration(90s), "90s");
    EXPECT_EQ(format_duration(120s), "2m");
    EXPECT_EQ(format_duration(250ms), "250ms");
    EXPECT_EQ(format_duration(24h), "1d");
    EXPECT_EQ(format_duration(-5s), "-5s");
    EXPECT_EQ(format_duration(Duration::min()), "-9223372036854775808ns");
    EXPECT_EQ(format_size(0), "0");
    EXPECT_EQ(format_size(1000), "1000");
    EXPECT_EQ(format_size(65'536), "64k");
    EXPECT_EQ(format_size(std::uint64_t{1} << 40), "1t");
}

TEST(units, what_is_shown_can_be_read) {
    Prng prng{11};
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t value = prng.next() >> prng.range(1, 63) << prng.range(0, 20);
        const Duration duration{static_cast<std::int64_t>(value & INT64_MAX)};
        ASSERT_EQ(parse_duration(format_duration(duration)).value(), duration);
        ASSERT_EQ(parse_size(format_size(value)).value(), value);
    }
}

}  // namespace
}  // namespace baton

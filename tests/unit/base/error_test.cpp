// Errors, results and assertions.
#include <cerrno>

#include <gtest/gtest.h>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/result.hpp"

namespace baton {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) {
        return fail(std::make_error_code(std::errc::invalid_argument), "half of " + std::to_string(number));
    }
    return number / 2;
}

TEST(result, carries_a_value_or_an_error) {
    ASSERT_TRUE(half(4));
    EXPECT_EQ(*half(4), 2);
    ASSERT_FALSE(half(3));
    EXPECT_EQ(half(3).error().code, std::errc::invalid_argument);
    EXPECT_EQ(half(3).error().message(), "half of 3: Invalid argument");
}

TEST(error, message_uses_what_there_is) {
    EXPECT_EQ((Error{std::make_error_code(std::errc::io_error), ""}).message(), "Input/output error");
    EXPECT_EQ((Error{{}, "only context"}).message(), "only context");
}

TEST(error, context_is_added_in_front) {
    EXPECT_EQ(with_context(half(3).error(), "compute").message(), "compute: half of 3: Invalid argument");
    EXPECT_EQ(with_context(Error{std::make_error_code(std::errc::io_error), ""}, "read").context, "read");
}

TEST(error, errno_is_taken_over) {
    errno = ENOENT;
    EXPECT_EQ(errno_error("open").message(), "open: No such file or directory");
}

TEST(error, a_folder_enum_becomes_a_code_of_its_category) {
    const std::error_code code = BatchErrc::count_zero;
    EXPECT_STREQ(code.category().name(), "batch");
    EXPECT_EQ(code, make_error_code(BatchErrc::count_zero));
    EXPECT_NE(code.message(), make_error_code(BatchErrc::crc_mismatch).message());
    EXPECT_FALSE(std::error_code{BatchErrc::ok});
}

TEST(assert_death, a_failed_assertion_says_what_and_where_and_aborts) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(BATON_ASSERT(1 + 1 == 3), "error_test.cpp:[0-9]+: assertion failed: 1 \\+ 1 == 3");
    EXPECT_DEATH(BATON_ASSERT_MSG(false, "the sky falls"), "assertion failed: false: the sky falls");
    EXPECT_DEATH(BATON_UNREACHABLE(), "unreachable");
}

TEST(assert_death, a_condition_is_evaluated_once) {
    int count = 0;
    BATON_ASSERT(++count == 1);
    EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace baton

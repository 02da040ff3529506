// Every error has a text of its own, and what an errno comes to.
#include "server/storage/errc.hpp"

#include <cerrno>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/storage/posix_call.hpp"

namespace baton::storage {

namespace {

TEST(Errc, each_has_a_text_of_its_own) {
    std::set<std::string> texts;
    for (int value = static_cast<int>(Errc::io_error); value <= static_cast<int>(Errc::not_a_directory); ++value) {
        texts.insert(storage_category().message(value));
    }
    EXPECT_EQ(texts.size(), 9U);
    EXPECT_FALSE(texts.contains(""));
    EXPECT_EQ(storage_category().message(0), "unknown error 0");
    EXPECT_EQ(storage_category().message(10), "unknown error 10");
    EXPECT_EQ(make_error_code(Errc::damaged).category(), storage_category());
}

TEST(Errc, what_an_errno_comes_to) {
    EXPECT_EQ(errc_of(ENOSPC), Errc::no_space);
    EXPECT_EQ(errc_of(EDQUOT), Errc::no_space);
    EXPECT_EQ(errc_of(ENOENT), Errc::not_found);
    EXPECT_EQ(errc_of(EEXIST), Errc::exists);
    EXPECT_EQ(errc_of(ENOTEMPTY), Errc::exists);
    EXPECT_EQ(errc_of(EACCES), Errc::not_permitted);
    EXPECT_EQ(errc_of(EPERM), Errc::not_permitted);
    EXPECT_EQ(errc_of(EROFS), Errc::not_permitted);
    EXPECT_EQ(errc_of(ENOTDIR), Errc::not_a_directory);
    EXPECT_EQ(errc_of(EIO), Errc::io_error);
    EXPECT_EQ(errc_of(EMFILE), Errc::no_space);
}

TEST(Errc, the_context_has_path_call_and_the_systems_words) {
    const Error error = fail_errno("dir/a", "write", ENOSPC).error();
    EXPECT_EQ(error.message(), "dir/a: write: No space left on device: no space left");
}

}  // namespace

}  // namespace baton::storage

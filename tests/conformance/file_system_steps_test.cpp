// What is made of the calls (read_whole, write_atomically, remove_tree, ensure_directory), on every implementation.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/conformance/file_system_kinds.hpp"

namespace baton::storage {

namespace {

using Texts = std::vector<std::string>;
using StepsTest = FileSystemTest;
BATON_ON_EVERY_FILE_SYSTEM(StepsTest);

std::string write_whole(FileSystem& files, std::string_view path, std::string_view text) {
    const std::vector<Bytes> parts{as_bytes(text.substr(0, text.size() / 2)), as_bytes(text.substr(text.size() / 2))};
    return outcome(write_atomically(files, path, parts));
}

TEST_P(StepsTest, read_whole) {
    make_file(files(), "a", "content", false);
    make_file(files(), "empty", "", false);
    EXPECT_EQ(content_of(files(), "a"), "content");
    EXPECT_EQ(content_of(files(), "empty"), "");
    EXPECT_EQ(content_of(files(), "missing"), "!not found");
    EXPECT_EQ(outcome(read_whole(files(), "a", 7)), "ok");
    EXPECT_EQ(outcome(read_whole(files(), "a", 6)), "damaged");
}

TEST_P(StepsTest, write_atomically_makes_and_replaces) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(write_whole(files(), "d/a", "old content"), "ok");
    EXPECT_EQ(content_of(files(), "d/a"), "old content");
    EXPECT_EQ(write_whole(files(), "d/a", "new"), "ok");
    EXPECT_EQ(content_of(files(), "d/a"), "new");
    EXPECT_EQ(files().list("d").value_or(Texts{}), (Texts{"a"})) << "nothing is left behind";
    EXPECT_EQ(write_whole(files(), "top", ""), "ok");
    EXPECT_EQ(content_of(files(), "top"), "");
    EXPECT_EQ(write_whole(files(), "missing/a", "x"), "not found");
}

TEST_P(StepsTest, write_atomically_does_not_mind_what_an_earlier_run_left) {
    make_file(files(), "a.tmp", "much longer than what comes", false);
    EXPECT_EQ(write_whole(files(), "a", "new"), "ok");
    EXPECT_EQ(content_of(files(), "a"), "new");
    EXPECT_EQ(content_of(files(), "a.tmp"), "!not found");
}

TEST_P(StepsTest, remove_tree) {
    EXPECT_EQ(outcome(remove_tree(files(), "missing")), "ok");
    EXPECT_EQ(outcome(remove_tree(files(), "missing/below")), "ok");
    for (const char* path : {"d", "d/e", "d/e/f", "other"}) {
        EXPECT_EQ(outcome(files().make_directory(path)), "ok");
        make_file(files(), std::string{path} + "/file", "x", false);
    }
    EXPECT_EQ(outcome(remove_tree(files(), "d")), "ok");
    EXPECT_EQ(files().list("").value_or(Texts{}), (Texts{"other"}));
    EXPECT_EQ(outcome(remove_tree(files(), "other/file")), "ok") << "a tree of one";
    EXPECT_EQ(files().list("other").value_or(Texts{"?"}), Texts{});
}

TEST_P(StepsTest, ensure_directory) {
    EXPECT_EQ(outcome(ensure_directory(files(), "d")), "ok");
    make_file(files(), "d/a", "x", false);
    EXPECT_EQ(outcome(ensure_directory(files(), "d")), "ok");
    EXPECT_EQ(content_of(files(), "d/a"), "x");
    for (const char* within : {"d/any", "d/any/any"}) {
        EXPECT_EQ(outcome(ensure_directory(files(), within)), "ok");
        EXPECT_EQ(outcome(ensure_directory(files(), "d")), "ok") << "whatever is in it";
    }
    EXPECT_EQ(outcome(ensure_directory(files(), "d/a")), "not a directory");
    EXPECT_EQ(outcome(ensure_directory(files(), "missing/d")), "not found");
}

}  // namespace

}  // namespace baton::storage

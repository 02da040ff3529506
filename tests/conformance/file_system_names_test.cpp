// What names, directories and locks do, on every implementation. Next file: file_system_steps_test.cpp.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/conformance/file_system_kinds.hpp"

namespace baton::storage {

namespace {

using Texts = std::vector<std::string>;
using NamesTest = FileSystemTest;
BATON_ON_EVERY_FILE_SYSTEM(NamesTest);

Texts names_in(FileSystem& files, std::string_view path) {
    auto names = files.list(path);
    EXPECT_TRUE(names) << text_of(names);
    return names.value_or(Texts{});
}

TEST_P(NamesTest, list_is_in_order_and_without_dots) {
    EXPECT_EQ(names_in(files(), ""), Texts{});
    for (const char* name : {"b", "a", "c.tmp", "B"}) {
        make_file(files(), name, "", false);
    }
    EXPECT_EQ(outcome(files().make_directory("aa")), "ok");
    make_file(files(), "aa/x", "", false);
    EXPECT_EQ(names_in(files(), ""), (Texts{"B", "a", "aa", "b", "c.tmp"}));
    EXPECT_EQ(names_in(files(), "aa"), (Texts{"x"}));
    EXPECT_EQ(outcome(files().list("missing")), "not found");
    EXPECT_EQ(outcome(files().list("a")), "not a directory");
}

TEST_P(NamesTest, rename_replaces) {
    make_file(files(), "a", "new", true);
    make_file(files(), "b", "old", true);
    const auto old = open_file(files(), "b", OpenMode::read);
    EXPECT_EQ(outcome(files().rename("a", "b")), "ok");
    EXPECT_EQ(names_in(files(), ""), (Texts{"b"}));
    EXPECT_EQ(content_of(files(), "b"), "new");
    EXPECT_EQ(old->size().value_or(0), 3U);
    EXPECT_EQ(outcome(files().rename("b", "b")), "ok");
    EXPECT_EQ(content_of(files(), "b"), "new");
}

TEST_P(NamesTest, rename_moves_between_directories) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().make_directory("e")), "ok");
    make_file(files(), "d/a", "content", true);
    EXPECT_EQ(outcome(files().rename("d/a", "e/b")), "ok");
    EXPECT_EQ(outcome(files().rename("d", "e/d")), "ok");
    make_file(files(), "e/d/c", "", true);
    EXPECT_EQ(names_in(files(), ""), (Texts{"e"}));
    EXPECT_EQ(names_in(files(), "e"), (Texts{"b", "d"}));
    EXPECT_EQ(outcome(files().rename("e", "f")), "ok");
    EXPECT_EQ(names_in(files(), "f/d"), (Texts{"c"}));
    EXPECT_EQ(content_of(files(), "f/b"), "content");
}

TEST_P(NamesTest, renames_that_cannot_be) {
    make_file(files(), "a", "content", true);
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().make_directory("empty")), "ok");
    make_file(files(), "d/x", "", true);
    EXPECT_EQ(outcome(files().rename("missing", "b")), "not found");
    EXPECT_EQ(outcome(files().rename("a", "missing/b")), "not found");
    EXPECT_EQ(outcome(files().rename("a", "a/b")), "not a directory");
    EXPECT_EQ(outcome(files().rename("a", "d")), "not permitted") << "a file over a directory";
    EXPECT_EQ(outcome(files().rename("d", "a")), "not a directory") << "a directory over a file";
    EXPECT_EQ(outcome(files().rename("empty", "d")), "exists already") << "over a directory that is not empty";
    EXPECT_EQ(outcome(files().rename("d", "d/y")), "the system could not read or write") << "into itself";
    EXPECT_EQ(outcome(files().rename("d", "empty")), "ok") << "over an empty directory";
    EXPECT_EQ(names_in(files(), ""), (Texts{"a", "empty"}));
    EXPECT_EQ(names_in(files(), "empty"), (Texts{"x"}));
}

TEST_P(NamesTest, link_is_a_second_name) {
    make_file(files(), "a", "content", true);
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().link("a", "d/b")), "ok");
    write_text(*open_file(files(), "d/b", OpenMode::read_write), 0, "C");
    EXPECT_EQ(content_of(files(), "a"), "Content");
    EXPECT_EQ(outcome(files().rename("a", "d/b")), "ok") << "two names of one file: nothing happens";
    EXPECT_EQ(names_in(files(), ""), (Texts{"a", "d"}));
    EXPECT_EQ(outcome(files().remove("a")), "ok");
    EXPECT_EQ(content_of(files(), "d/b"), "Content");
}

TEST_P(NamesTest, links_that_cannot_be) {
    make_file(files(), "a", "content", true);
    make_file(files(), "b", "other", true);
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().link("a", "b")), "exists already");
    EXPECT_EQ(outcome(files().link("missing", "c")), "not found");
    EXPECT_EQ(outcome(files().link("a", "missing/c")), "not found");
    EXPECT_EQ(outcome(files().link("d", "c")), "not permitted");
    EXPECT_EQ(content_of(files(), "b"), "other");
}

TEST_P(NamesTest, remove_takes_files_and_empty_directories) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    make_file(files(), "d/a", "", true);
    EXPECT_EQ(outcome(files().remove("missing")), "not found");
    EXPECT_EQ(outcome(files().remove("d/a/b")), "not a directory");
    EXPECT_EQ(outcome(files().remove("d")), "exists already") << "not empty";
    EXPECT_EQ(outcome(files().remove("d/a")), "ok");
    EXPECT_EQ(outcome(files().remove("d")), "ok");
    EXPECT_EQ(names_in(files(), ""), Texts{});
}

TEST_P(NamesTest, make_directory_needs_its_parent) {
    EXPECT_EQ(outcome(files().make_directory("d/e")), "not found");
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().make_directory("d/e")), "ok");
    EXPECT_EQ(outcome(files().make_directory("d/e")), "exists already");
    make_file(files(), "f", "", true);
    EXPECT_EQ(outcome(files().make_directory("f")), "exists already");
    EXPECT_EQ(outcome(files().make_directory("f/g")), "not a directory");
}

TEST_P(NamesTest, sync_directory_is_for_directories) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    make_file(files(), "f", "", true);
    EXPECT_EQ(outcome(files().sync_directory("")), "ok");
    EXPECT_EQ(outcome(files().sync_directory("d")), "ok");
    EXPECT_EQ(outcome(files().sync_directory("missing")), "not found");
    EXPECT_EQ(outcome(files().sync_directory("f")), "not a directory");
}

TEST_P(NamesTest, space_is_plausible) {
    const auto space = files().space();
    ASSERT_TRUE(space) << text_of(space);
    EXPECT_GT(space->total, 0U);
    EXPECT_LE(space->available, space->total);
}

TEST_P(NamesTest, a_lock_is_held_by_one_until_it_is_given_up) {
    auto first = files().lock("LOCK", "first");
    ASSERT_TRUE(first) << text_of(first);
    EXPECT_EQ(content_of(files(), "LOCK"), "first");
    EXPECT_EQ(outcome(files().lock("LOCK", "second")), "locked by another process");
    EXPECT_EQ(content_of(files(), "LOCK"), "first") << "who does not get it writes nothing";
    first->reset();
    const auto again = files().lock("LOCK", "2nd");
    EXPECT_EQ(outcome(again), "ok");
    EXPECT_EQ(content_of(files(), "LOCK"), "2nd") << "nothing is left of the longer content";
}

TEST_P(NamesTest, locks_that_cannot_be) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    EXPECT_EQ(outcome(files().lock("d", "x")), "not permitted");
    EXPECT_EQ(outcome(files().lock("missing/LOCK", "x")), "not found");
}

TEST_P(NamesTest, a_lock_whose_file_is_removed_holds_nobody_up) {
    const auto first = files().lock("LOCK", "first");
    EXPECT_EQ(outcome(files().remove("LOCK")), "ok");
    const auto second = files().lock("LOCK", "second");
    EXPECT_EQ(outcome(second), "ok");
    EXPECT_EQ(outcome(files().lock("LOCK", "third")), "locked by another process");
}

}  // namespace

}  // namespace baton::storage

// What an open file does, on every implementation: the comments of server/storage/file_system.hpp one after the other.
// Next file: file_system_names_test.cpp.
#include "server/storage/file_system.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/conformance/file_system_kinds.hpp"

namespace baton::storage {

namespace {

using FileTest = FileSystemTest;
BATON_ON_EVERY_FILE_SYSTEM(FileTest);

std::string read_text(File& file, std::uint64_t position, std::size_t size) {
    std::string text(size, '?');
    const auto count = file.read(position, std::as_writable_bytes(std::span{text}));
    EXPECT_TRUE(count) << text_of(count);
    return text.substr(0, count.value_or(0));
}

std::uint64_t size_of(File& file) {
    const auto size = file.size();
    EXPECT_TRUE(size) << text_of(size);
    return size.value_or(UINT64_MAX);
}

TEST_P(FileTest, a_new_file_is_empty) {
    const auto file = open_file(files(), "a", OpenMode::create);
    EXPECT_EQ(size_of(*file), 0U);
    EXPECT_EQ(read_text(*file, 0, 10), "");
}

TEST_P(FileTest, parts_are_written_one_behind_the_other) {
    const auto file = open_file(files(), "a", OpenMode::create);
    const std::vector<Bytes> parts{as_bytes("one"), Bytes{}, as_bytes("two"), as_bytes("three"), Bytes{}};
    EXPECT_EQ(outcome(file->write(0, parts)), "ok");
    EXPECT_EQ(content_of(files(), "a"), "onetwothree");
}

TEST_P(FileTest, writing_nothing_changes_nothing) {
    const auto file = open_file(files(), "a", OpenMode::create);
    const std::vector<Bytes> parts{Bytes{}, Bytes{}};
    EXPECT_EQ(outcome(file->write(100, {})), "ok");
    EXPECT_EQ(outcome(file->write(100, parts)), "ok");
    EXPECT_EQ(size_of(*file), 0U);
}

TEST_P(FileTest, more_parts_than_the_system_takes_at_once) {
    const auto file = open_file(files(), "a", OpenMode::create);
    std::string expected;
    for (int i = 0; i < 3'000; ++i) {
        expected += std::to_string(i) + std::string(static_cast<std::size_t>(i % 50), '.');
    }
    std::vector<Bytes> parts;
    for (std::size_t at = 0; at < expected.size(); at += 7) {
        parts.push_back(as_bytes(std::string_view{expected}.substr(at, 7)));
    }
    ASSERT_GT(parts.size(), 4'096U);
    EXPECT_EQ(outcome(file->write(5, parts)), "ok");
    EXPECT_EQ(content_of(files(), "a"), std::string(5, '\0') + expected);
}

TEST_P(FileTest, a_write_replaces_in_the_middle_and_grows_at_the_end) {
    const auto file = open_file(files(), "a", OpenMode::create);
    write_text(*file, 0, "0123456789");
    write_text(*file, 3, "abc");
    EXPECT_EQ(content_of(files(), "a"), "012abc6789");
    write_text(*file, 8, "xyz");
    EXPECT_EQ(content_of(files(), "a"), "012abc67xyz");
}

TEST_P(FileTest, a_gap_reads_as_zeros) {
    const auto file = open_file(files(), "a", OpenMode::create);
    write_text(*file, 10'000, "x");
    EXPECT_EQ(content_of(files(), "a"), std::string(10'000, '\0') + "x");
}

TEST_P(FileTest, a_read_is_short_only_at_the_end) {
    make_file(files(), "a", std::string(5'000, 'a') + std::string(5'000, 'b'), false);
    const auto file = open_file(files(), "a", OpenMode::read);
    EXPECT_EQ(read_text(*file, 4'999, 2), "ab");
    EXPECT_EQ(read_text(*file, 0, 10'000).size(), 10'000U);
    EXPECT_EQ(read_text(*file, 0, 20'000).size(), 10'000U);
    EXPECT_EQ(read_text(*file, 9'990, 20), std::string(10, 'b'));
    EXPECT_EQ(read_text(*file, 10'000, 1), "");
    EXPECT_EQ(read_text(*file, 1'000'000, 1), "");
    EXPECT_EQ(read_text(*file, 0, 0), "");
}

TEST_P(FileTest, a_file_open_for_reading_cannot_be_changed) {
    make_file(files(), "a", "content", true);
    const auto file = open_file(files(), "a", OpenMode::read);
    const Bytes part = as_bytes("x");
    EXPECT_EQ(outcome(file->write(0, {&part, 1})), "not permitted");
    EXPECT_EQ(outcome(file->truncate(0)), "not permitted");
    EXPECT_EQ(outcome(file->allocate(100)), "not permitted");
    EXPECT_EQ(outcome(file->sync()), "ok");
    EXPECT_EQ(content_of(files(), "a"), "content");
}

TEST_P(FileTest, allocate_makes_longer_and_never_shorter) {
    const auto file = open_file(files(), "a", OpenMode::create);
    EXPECT_EQ(outcome(file->allocate(0)), "ok");
    EXPECT_EQ(size_of(*file), 0U);
    write_text(*file, 0, "content");
    EXPECT_EQ(outcome(file->allocate(200'000)), "ok");
    EXPECT_EQ(content_of(files(), "a"), "content" + std::string(200'000 - 7, '\0'));
    EXPECT_EQ(outcome(file->allocate(10)), "ok");
    EXPECT_EQ(size_of(*file), 200'000U);
}

TEST_P(FileTest, truncate_makes_exactly_so_long) {
    const auto file = open_file(files(), "a", OpenMode::create);
    write_text(*file, 0, std::string(10'000, 'x'));
    EXPECT_EQ(outcome(file->truncate(3)), "ok");
    EXPECT_EQ(content_of(files(), "a"), "xxx");
    EXPECT_EQ(outcome(file->truncate(9'000)), "ok");
    EXPECT_EQ(content_of(files(), "a"), "xxx" + std::string(8'997, '\0')) << "what was cut off came back";
    EXPECT_EQ(outcome(file->truncate(0)), "ok");
    EXPECT_EQ(content_of(files(), "a"), "");
}

TEST_P(FileTest, two_open_files_are_one_content) {
    const auto first = open_file(files(), "a", OpenMode::create);
    const auto second = open_file(files(), "a", OpenMode::read_write);
    write_text(*first, 0, "first");
    write_text(*second, 5, "second");
    EXPECT_EQ(read_text(*first, 0, 100), "firstsecond");
    EXPECT_EQ(outcome(first->sync()), "ok");
    EXPECT_EQ(outcome(second->sync()), "ok");
}

TEST_P(FileTest, an_open_file_survives_its_name) {
    make_file(files(), "a", "content", true);
    const auto file = open_file(files(), "a", OpenMode::read_write);
    EXPECT_EQ(outcome(files().remove("a")), "ok");
    EXPECT_EQ(outcome(files().sync_directory("")), "ok");
    make_file(files(), "a", "other", true);
    write_text(*file, 7, "!");
    EXPECT_EQ(read_text(*file, 0, 100), "content!");
    EXPECT_EQ(content_of(files(), "a"), "other");
    EXPECT_EQ(outcome(file->sync()), "ok");
}

TEST_P(FileTest, open_modes) {
    EXPECT_EQ(outcome(files().open("a", OpenMode::read)), "not found");
    EXPECT_EQ(outcome(files().open("a", OpenMode::read_write)), "not found");
    EXPECT_EQ(outcome(files().open("a", OpenMode::create)), "ok");
    EXPECT_EQ(outcome(files().open("a", OpenMode::create)), "exists already");
    EXPECT_EQ(outcome(files().open("a", OpenMode::read)), "ok");
    EXPECT_EQ(outcome(files().open("a", OpenMode::read_write)), "ok");
}

TEST_P(FileTest, what_cannot_be_opened) {
    EXPECT_EQ(outcome(files().make_directory("d")), "ok");
    make_file(files(), "f", "", false);
    for (const OpenMode mode : {OpenMode::read, OpenMode::read_write}) {
        EXPECT_EQ(outcome(files().open("d", mode)), "not permitted") << "a directory";
        EXPECT_EQ(outcome(files().open("f/a", mode)), "not a directory");
        EXPECT_EQ(outcome(files().open("d/e/a", mode)), "not found");
    }
    EXPECT_EQ(outcome(files().open("d", OpenMode::create)), "exists already");
    EXPECT_EQ(outcome(files().open("f/a", OpenMode::create)), "not a directory");
    EXPECT_EQ(outcome(files().open("e/a", OpenMode::create)), "not found");
}

TEST_P(FileTest, an_error_says_which_file) {
    const auto missing = files().open("somewhere", OpenMode::read);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Errc::not_found);
    EXPECT_NE(missing.error().context.find("somewhere"), std::string::npos) << missing.error().context;
}

}  // namespace

}  // namespace baton::storage

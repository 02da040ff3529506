// Short words for tests that work on a FileSystem; each fails the test if the call fails. One thread.
// Next file: sim_disk_test.cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "server/storage/file_system.hpp"

namespace baton::storage {

template <class T>
[[nodiscard]] std::string text_of(const Result<T>& result) {
    return result ? "no error" : result.error().message();
}

/// The code of a failure as text, "ok" without one: what tests compare.
template <class T>
[[nodiscard]] std::string outcome(const Result<T>& result) {
    return result ? "ok" : result.error().code.message();
}

[[nodiscard]] inline std::unique_ptr<File> open_file(FileSystem& files, std::string_view path, OpenMode mode) {
    auto file = files.open(path, mode);
    EXPECT_TRUE(file) << text_of(file);
    return file ? std::move(*file) : nullptr;
}

inline void write_text(File& file, std::uint64_t position, std::string_view text) {
    const Bytes part = as_bytes(text);
    const auto written = file.write(position, {&part, 1});
    EXPECT_TRUE(written) << text_of(written);
}

inline void make_file(FileSystem& files, std::string_view path, std::string_view text, bool is_synced) {
    const auto file = open_file(files, path, OpenMode::create);
    ASSERT_TRUE(file);
    write_text(*file, 0, text);
    if (is_synced) {
        const auto synced = file->sync();
        EXPECT_TRUE(synced) << text_of(synced);
    }
}

/// The content, or "!" and the reason.
[[nodiscard]] inline std::string content_of(FileSystem& files, std::string_view path) {
    const auto content = read_whole(files, path);
    return content ? std::string{as_text(*content)} : "!" + content.error().code.message();
}

}  // namespace baton::storage

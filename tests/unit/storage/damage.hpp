// The small language in which tests damage files: bytes in, damaged bytes out, and the same for a file of a simulated
// disk. Next file: segment_test.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/bytes.hpp"
#include "tests/sim/disk.hpp"

namespace baton::storage::testing {

using Content = std::vector<std::byte>;

[[nodiscard]] inline Content flip(Content bytes, std::size_t at, std::byte mask = std::byte{0xff}) {
    bytes.at(at) ^= mask;
    return bytes;
}

[[nodiscard]] inline Content cut(Content bytes, std::size_t size) {
    bytes.resize(std::min(size, bytes.size()));
    return bytes;
}

[[nodiscard]] inline Content zero(Content bytes, std::size_t at, std::size_t size) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), size, std::byte{0});
    return bytes;
}

/// `size` bytes from `at` stand there twice; what is behind moves.
[[nodiscard]] inline Content duplicate(Content bytes, std::size_t at, std::size_t size) {
    const Content piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
    return bytes;
}

/// The bytes from `at` are replaced by `piece`.
[[nodiscard]] inline Content overwrite(Content bytes, std::size_t at, Bytes piece) {
    bytes.resize(std::max(bytes.size(), at + piece.size()));
    copy_bytes(bytes.data() + at, piece);
    return bytes;
}

[[nodiscard]] inline Content content_bytes(std::string_view text) {
    const Bytes bytes = as_bytes(text);
    return {bytes.begin(), bytes.end()};
}

[[nodiscard]] inline Content load(FileSystem& files, const std::string& path) {
    auto content = read_whole(files, path);
    EXPECT_TRUE(content) << (content ? "" : content.error().message());
    return content ? *std::move(content) : Content{};
}

/// The file has exactly this content; its directory is there.
inline void store(FileSystem& files, const std::string& path, Bytes content) {
    static_cast<void>(files.remove(path));
    const auto file = files.open(path, OpenMode::create);
    ASSERT_TRUE(file) << file.error().message();
    const Bytes parts[] = {content};
    ASSERT_TRUE((*file)->write(0, parts));
    ASSERT_TRUE((*file)->sync());
}

}  // namespace baton::storage::testing
